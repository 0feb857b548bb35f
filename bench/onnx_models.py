"""Vision and audio models of ../shared/data against ONNX Runtime, side by side in one process.

    python bench/onnx_models.py [--threads N] [NAME ...]

Each model is converted to fp32 and int8; ONNX Runtime runs it in fp32 and with dynamically quantized weights. Times are
the best of rounds that take turns, inputs are normal numbers. Prints a table and the geometric mean of the ratios.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from machine import cpu_name
from onnxruntime.quantization import QuantType, quantize_dynamic
from pocketuni_tools.convert import convert
from pocketuni_tools.import_onnx_file import import_onnx_file, made_up

import pocketuni

MODELS = Path(__file__).resolve().parents[2] / "shared" / "data" / "models"
NAMES = {
    "ic": "mlperf_tiny/ic", "vww": "mlperf_tiny/vww", "kws": "mlperf_tiny/kws", "ad": "mlperf_tiny/ad",
    "ultraface": "ultraface/version-slim-320_simplified", "dnsmos": "dnsmos/model_v8",
    "silero": "silero_vad/silero_vad_op18_ifless", "gtcrn": "gtcrn/gtcrn_simple",
}  # fmt: skip
OPTIONS = {"silero": {"fixed": {"sr": np.array(16000)}, "carried": "input=64+512"}}
ROUNDS, SECONDS = 8, 0.2


def runtime(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def plain_file(source: Path, folder: Path) -> Path:
    """The model with its weights as constants only: as inputs they keep ONNX Runtime from optimizing."""
    model = onnx.load(source)
    weights = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    onnx.save(model, folder / source.name)
    return folder / source.name


def theirs(name: str, folder: Path, threads: int) -> dict[str, onnxruntime.InferenceSession]:
    path = plain_file((MODELS / NAMES[name]).with_suffix(".onnx"), folder)
    sessions = {"ort fp32": runtime(path, threads)}
    try:
        quantize_dynamic(path, folder / "int8.onnx", weight_type=QuantType.QUInt8)
        sessions["ort int8"] = runtime(folder / "int8.onnx", threads)
    except Exception as error:  # some models it cannot quantize, or not run afterwards
        logging.warning("%s: ONNX Runtime has no int8: %s", name, str(error).partition("\n")[0])
    return sessions


def calls(name: str, folder: Path, threads: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    found: dict[str, Callable[[], object]] = {}
    path, options = (MODELS / NAMES[name]).with_suffix(".onnx"), OPTIONS.get(name, {})
    for weights in ("fp32", "int8"):
        source = import_onnx_file(path, **options)
        graph = source.towers[0].graph
        fixed = {value: tuple(1 if isinstance(dim, str) else dim for dim in graph.values[value].shape)
                 for value in graph.inputs}  # fmt: skip
        feed = {value: array[tuple(slice(size) for size in fixed[value])] for value, array in made_up(graph).items()}
        source.towers[0].checks = ()
        convert(source, folder / f"{weights}.puni", weights)
        tower = pocketuni.Model(folder / f"{weights}.puni", threads=threads).towers["main"]
        found[weights] = lambda tower=tower, feed=feed: tower.run(**feed)
    given = dict(feed)
    if name == "silero":
        given = {"input": np.concatenate([feed["input.before"], feed["input"]], 1), "state": feed["state"]}
        given["sr"] = np.array(16000)
    for kind, session in theirs(name, folder, threads).items():
        found[kind] = lambda session=session: session.run(None, given)
    return found


def best_times(found: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds: the least of many runs, in rounds that take turns."""
    best = dict.fromkeys(found, np.inf)
    for _ in range(ROUNDS):
        for name, call in found.items():
            end = time.perf_counter() + SECONDS
            while (start := time.perf_counter()) < end:
                call()
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; without: all")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{cpu_name()}, {args.threads} thread(s), onnxruntime {onnxruntime.__version__}, milliseconds")
    print("| model | fp32 | int8 | ONNX Runtime fp32 | int8 | our best against theirs |\n|---|---|---|---|---|---|")
    ratios = []
    for name in args.names or NAMES:
        with tempfile.TemporaryDirectory() as folder:
            best = best_times(calls(name, Path(folder), args.threads))
        ratios.append(
            min(best.get(kind, np.inf) for kind in ("ort fp32", "ort int8")) / min(best["fp32"], best["int8"])
        )
        cells = [f"{1e3 * best[kind]:.3f}" if kind in best else "" for kind in ("fp32", "int8", "ort fp32", "ort int8")]
        print(f"| {name} | {' | '.join(cells)} | {ratios[-1]:.2f} x |", flush=True)
    print(f"geometric mean: {np.exp(np.mean(np.log(ratios))):.2f} x")


if __name__ == "__main__":
    main()
