"""Vision and audio models against ONNX Runtime, side by side in one process: how fast, and how much rounding changes.

    python bench/onnx_models.py [--threads N ...] [NAME ...]

Each model (of ../shared/data, and a ViT-S/16 of random weights) is converted to fp32 and int8, the ResNets to int4,
too; ONNX Runtime runs it in fp32 and with dynamically quantized weights. Times are the best of rounds that take turns,
inputs are normal numbers. Prints a table with the geometric mean of the ratios for each number of threads, then what of
the decisions is left after rounding (bench/onnx_accuracy.py).
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch_models
from machine import best_times, cpu_name
from onnx_accuracy import CHECKS, MODELS, cifar, heard, normalized, recordings
from onnxruntime.quantization import QuantType, quantize_dynamic
from pocketuni_tools.convert import convert
from pocketuni_tools.import_onnx_file import import_onnx_file, made_up

import pocketuni

NAMES = {
    "ic": "mlperf_tiny/ic", "vww": "mlperf_tiny/vww", "kws": "mlperf_tiny/kws", "ad": "mlperf_tiny/ad",
    "ultraface": "ultraface/version-slim-320_simplified",
    "dnsmos": "dnsmos/sig_bak_ovr", "dnsmos_p808": "dnsmos/model_v8",
    "silero": "silero_vad/silero_vad_op18_ifless", "gtcrn": "gtcrn/gtcrn_simple",
    "resnet20": "", "resnet56": "", "vit": "",
}  # fmt: skip
OPTIONS = {"silero": {"fixed": {"sr": np.array(16000)}, "carried": "input=64+512"}}
ROUNDS, SECONDS = 8, 0.2
CALIBRATION = 128  # pictures, without their labels, that the weights of ResNets are rounded on


def runtime(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def save_plain(source: Path, path: Path) -> None:
    """The model with its weights as constants only: as inputs they keep ONNX Runtime from optimizing."""
    model = onnx.load(source)
    weights = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    onnx.save(model, path)


def onnx_file(name: str, folder: Path) -> Path:
    """The model of that name, put into `folder` when it is first asked for."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        if NAMES[name]:
            save_plain((MODELS / NAMES[name]).with_suffix(".onnx"), path)
        else:
            torch_models.export(name, MODELS, path)
    return path


def theirs(name: str, path: Path, threads: int) -> dict[str, onnxruntime.InferenceSession]:
    sessions = {"ort fp32": runtime(path, threads)}
    try:
        if not path.with_suffix(".int8").exists():
            quantize_dynamic(path, path.with_suffix(".int8"), weight_type=QuantType.QUInt8)
        sessions["ort int8"] = runtime(path.with_suffix(".int8"), threads)
    except Exception as error:  # some models it cannot quantize, or not run afterwards
        logging.warning("%s: ONNX Runtime has no int8: %s", name, str(error).partition("\n")[0])
    return sessions


def frames_of(tower: pocketuni.Tower, path: Path) -> list[dict[str, np.ndarray]]:
    """Inputs of the tower, states among them, at all frames of a recording: the even ones in one batch, and the odd."""
    state, before, frames = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32), []
    samples = heard(path)
    for chunk in samples[: len(samples) // 512 * 512].reshape(-1, 1, 512):
        frames.append({"input": chunk, "state": state, "input.before": before})
        state, before = tower.run(**frames[-1])["stateN"], chunk[:, -64:]
    axes = {"input": 0, "state": 1, "input.before": 0}
    return [
        {name: np.concatenate([frame[name] for frame in frames[first::2]], axis) for name, axis in axes.items()}
        for first in (0, 1)
    ]


def converted(name: str, path: Path, weights: str) -> tuple[Path, dict[str, np.ndarray]]:
    """The model as a .puni file, and an input for it. What voice activity needs in float16 is found on recordings."""
    target = path.with_suffix(f".{weights}.puni")
    source = import_onnx_file(path, **OPTIONS.get(name, {}))
    tower = source.towers[0]
    graph = tower.graph
    fixed = {value: tuple(1 if isinstance(dim, str) else dim for dim in graph.values[value].shape)
             for value in graph.inputs}  # fmt: skip
    feed = {value: array[tuple(slice(size) for size in fixed[value])] for value, array in made_up(graph).items()}
    if not target.exists():
        tower.checks = ()  # NumPy takes minutes for some of them
        if name in torch_models.RESNETS:
            tower.feeds = [{"x": part} for part in np.split(normalized(cifar(CALIBRATION)[0]), 4)]
        if name == "silero" and weights == "int8":
            exact = pocketuni.Model(converted(name, path, "fp32")[0], threads=1).towers["main"]
            tower.feeds, tower.checks = zip(*(frames_of(exact, file) for file in recordings(10, 5)), strict=True)
        convert(source, target, weights)
    return target, feed


def calls(name: str, path: Path, threads: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    found: dict[str, Callable[[], object]] = {}
    for weights in ("fp32", "int8"):
        target, feed = converted(name, path, weights)
        tower = pocketuni.Model(target, threads=threads).towers["main"]
        found[weights] = lambda tower=tower, feed=feed: list(tower.run(**feed).values())
    given = dict(feed)
    if name == "silero":
        given = {"input": np.concatenate([feed["input.before"], feed["input"]], 1), "state": feed["state"]}
        given["sr"] = np.array(16000)
    for kind, session in theirs(name, path, threads).items():
        found[kind] = lambda session=session: session.run(None, given)
    return found


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The mean of the rows'."""
    return float(np.mean((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)))


def print_times(names: list[str], folder: Path, threads: int) -> None:
    print(f"\n{cpu_name()}, {threads} thread(s), onnxruntime {onnxruntime.__version__}, milliseconds")
    print("| model | fp32 | int8 | ONNX Runtime fp32 | int8 | our best against theirs |\n|---|---|---|---|---|---|")
    ratios = []
    for name in names:
        best = best_times(calls(name, onnx_file(name, folder / name), threads), ROUNDS, SECONDS)
        ratio = min(best.get(kind, np.inf) for kind in ("ort fp32", "ort int8")) / min(best["fp32"], best["int8"])
        ratios.append(ratio)
        cells = [f"{1e3 * best[kind]:.3f}" if kind in best else "" for kind in ("fp32", "int8", "ort fp32", "ort int8")]
        print(f"| {name} | {' | '.join(cells)} | {ratio:.2f} x |", flush=True)
    print(f"geometric mean: {np.exp(np.mean(np.log(ratios))):.2f} x, least: {min(ratios):.2f} x", flush=True)


def print_accuracy(names: list[str], folder: Path) -> None:
    print("\n| model | after rounding |\n|---|---|")
    for name in names:
        path = onnx_file(name, folder / name)
        if name in CHECKS:
            kinds = ("fp32", "int8", "int4") if name in torch_models.RESNETS else ("fp32", "int8")
            models = {kind: pocketuni.Model(converted(name, path, kind)[0], threads=1) for kind in kinds}
            print(f"| {name} | {CHECKS[name](models)} |", flush=True)
        elif name == "vit":
            got = {kind: call()[0] for kind, call in calls(name, path, 1).items()}
            ours, other = (cosine(got[kind], got["ort fp32"]) for kind in ("int8", "ort int8"))
            print(f"| {name} | cosine to fp32: int8 {ours:.5f}, ONNX Runtime's dynamic int8 {other:.5f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; without: all")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if unknown := set(args.names) - NAMES.keys():
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    names = args.names or list(NAMES)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / name).mkdir()
        for threads in args.threads:
            print_times(names, Path(folder), threads)
        print_accuracy(names, Path(folder))


if __name__ == "__main__":
    main()
