"""How far a converted model is from its source: errors of each output, sizes and precisions; and its text form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .evaluate import evaluate
from .packing import Packed
from .source import Outputs, Tower, Unrunnable
from .writer import as_read


def errors(got: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Largest absolute error, largest error relative to the largest magnitude, mean cosine of rows (the last
    dimension), and signal to noise ratio in dB."""
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    difference = np.abs(got - wanted)
    peak = float(np.abs(wanted).max(initial=0))
    noise, signal = float((difference**2).sum()), float((wanted**2).sum())
    worst = float(difference.max(initial=0))
    return {
        "max_abs": worst,
        "relative": worst / peak if peak else worst,
        "cosine": float(cosines(got, wanted).mean()) if got.size else 1.0,
        "snr_db": 10 * float(np.log10(signal / noise)) if noise and signal else (99.0 if not noise else -99.0),
    }


def cosines(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Cosine of each row. Rows of zeros on both sides agree."""
    a, b = (x.reshape(-1, x.shape[-1] if x.ndim else 1).astype(np.float64) for x in (got, wanted))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = (norms == 0) & (np.abs(a - b).max(axis=1, initial=0) == 0)
    return np.where(both_zero, 1.0, (a * b).sum(1) / np.where(norms == 0, 1, norms))


def stack(results: Sequence[Outputs], name: str) -> np.ndarray:
    """One output of several runs, as rows of its last dimension."""
    arrays = [np.asarray(result[name]) for result in results]
    return np.concatenate([array.reshape(-1, array.shape[-1] if array.ndim else 1) for array in arrays])


def outputs_as_stored(tower: Tower, packed: Mapping[str, Packed]) -> list[Outputs]:
    """The outputs for `tower.checks` with the weights as stored and activations rounded as the runtime does."""
    constants = as_read(tower.graph, packed)
    integer = {name for name, item in packed.items() if item.encoding in ("gemm_i8", "gemm_i4")}
    return [evaluate(tower.graph, feed, constants=constants, quantized=integer) for feed in tower.checks]


def compare(towers: Sequence[Tower], packed: Mapping[str, Packed]) -> dict[str, dict[str, dict[str, float]]]:
    """tower -> output -> errors against the source framework; nothing of outputs that it cannot compute here. Towers
    that have none to run are left out."""
    report: dict[str, dict[str, dict[str, float]]] = {}
    for tower in towers:
        if tower.reference is None or not tower.checks:
            continue
        try:
            wanted = [tower.reference(feed) for feed in tower.checks]
        except Unrunnable:
            report[tower.graph.name] = {}
            continue
        got = outputs_as_stored(tower, packed)
        names = [name for name in tower.graph.outputs if tower.graph.values[name].dtype == "float32"]
        report[tower.graph.name] = {name: errors(stack(got, name), stack(wanted, name)) for name in names}
    return report


def describe(towers: Sequence[Tower], packed: Mapping[str, Packed], plan: str) -> dict[str, Any]:
    """Sizes and encodings of the weights."""
    layers = [
        {"name": name, "dims": [int(dim) for dim in item.dims], "encoding": item.encoding, "bytes": len(item.data)}
        for name, item in packed.items()
    ]
    arrays = {name: array for tower in towers for name, array in tower.graph.constants.items()}
    other = sum(array.nbytes for name, array in arrays.items() if name not in packed)
    nodes = {tower.graph.name: len(tower.graph.nodes) for tower in towers}
    return {"weights": plan, "nodes": nodes, "layers": layers, "other_bytes": other}


def text(report: Mapping[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = []
    by_encoding: dict[str, list[int]] = {}
    for layer in report["layers"]:
        by_encoding.setdefault(layer["encoding"], []).append(layer["bytes"])
    for layer in report["layers"]:
        dims = "x".join(map(str, layer["dims"]))
        lines.append(f"  {layer['encoding']:9} {dims:>12} {layer['bytes'] / 1e6:8.3f} MB  {layer['name']}")
    for encoding, sizes in sorted(by_encoding.items()):
        lines.append(f"{len(sizes):4} weights as {encoding}: {sum(sizes) / 1e6:.2f} MB")
    lines.append(f"     everything else: {report['other_bytes'] / 1e6:.2f} MB")
    for tower, outputs in report["outputs"].items():
        if not outputs:
            lines.append(
                f"{tower}: not compared with its source, which cannot be run here; for ONNX, install onnxruntime"
            )
        for name, error in outputs.items():
            lines.append(
                f"{tower}.{name}: max abs error {error['max_abs']:.2e}, relative {error['relative']:.2e}, "
                f"cosine {error['cosine']:.5f}, SNR {error['snr_db']:.1f} dB"
            )
    if "file_bytes" in report:
        lines.append(f"file: {report['file_bytes'] / 1e6:.2f} MB, {report['seconds']:.1f} s")
    return "\n".join(lines)
