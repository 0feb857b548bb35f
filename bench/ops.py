"""int8 against our own fp32, operator by operator; the rounding of activations is part of the time.

    python bench/ops.py [--threads N ...]

Each operator runs alone in a file of its own, on inputs of sizes as they are in small models. Times are the best of
rounds that take turns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from machine import best_times, cpu_name
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

import pocketuni

ROUNDS, SECONDS = 12, 0.04
RANDOM = np.random.default_rng(0)


def picture(
    channels: int, outputs: int, size: int, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1
):
    """x, weight and attributes of a conv2d that keeps the size of the picture but for its stride."""
    pads = [dilation * (kernel // 2)] * 4
    attributes = {"kernel": [kernel] * 2, "stride": [stride] * 2, "dilation": [dilation] * 2, "pads": pads}
    shape = (outputs, kernel * kernel * channels // groups)
    return (1, size, size, channels), shape, {**attributes, "groups": groups, "activation": "relu"}


def cases() -> Iterator[tuple[str, str, tuple[int, ...], tuple[int, ...], dict]]:
    """Note, operator, shapes of x and of the weight, attributes."""
    for rows, inner, outer in ((1, 256, 256), (64, 256, 256), (2400, 32, 32), (9600, 16, 32), (196, 384, 1536)):
        yield f"{rows} x {inner} -> {outer}", "linear", (rows, inner), (outer, inner), {"activation": "relu"}
    for note, options in {
        "16 -> 16, 32 x 32": (16, 16, 32), "64 -> 64, 8 x 8": (64, 64, 8), "64 -> 128, 28 x 28": (64, 128, 28),
        "strided, 32 -> 64, 32 x 32": (32, 64, 32, 3, 2), "dilated, 64 -> 64, 28 x 28": (64, 64, 28, 3, 1, 2),
        "4 groups, 64 -> 64, 28 x 28": (64, 64, 28, 3, 1, 1, 4), "5 x 5, 32 -> 32, 28 x 28": (32, 32, 28, 5),
    }.items():  # fmt: skip
        yield note, "conv2d", *picture(*options)
    for kernel, channels, size, stride in (
        (3, 64, 56, 1), (5, 120, 28, 1), (5, 480, 14, 1), (5, 240, 28, 2),
        (7, 96, 56, 1), (7, 384, 14, 1), (7, 96, 56, 2),
    ):  # fmt: skip
        x, _, attributes = picture(channels, channels, size, kernel, stride, groups=channels)
        del attributes["groups"]
        note = f"{kernel} x {kernel}, {'strided, ' * (stride > 1)}{channels}, {size} x {size}"
        yield note, "depthwise_conv2d", x, (kernel * kernel, channels), attributes
    for note, channels, outputs, groups, dilation in (
        ("80 -> 256", 80, 256, 1, 1), ("256 -> 256", 256, 256, 1, 1), ("dilated, 256 -> 256", 256, 256, 1, 3),
        ("4 groups, 256 -> 256", 256, 256, 4, 1),
    ):  # fmt: skip
        attributes = {"taps": 5, "pad_left": 2 * dilation, "pad_right": 2 * dilation}
        attributes |= {"groups": groups, "dilation": dilation}
        yield note, "conv1d", (1, 100, channels), (outputs, 5 * channels // groups), attributes
    yield "256 -> 128, by 8", "conv_transpose1d", (1, 50, 256), (8 * 128, 2 * 256), {"taps": 16, "stride": 8}
    for op, gates in (("gru", 3), ("lstm", 4), ("rnn", 1)):
        for width, time_steps, batch in ((64, 32, 1), (256, 32, 1), (128, 32, 16)):
            note = f"width {width}, {time_steps} steps, batch {batch}"
            yield note, op, (time_steps, batch, gates * width), (gates * width, width), {}


def runs(path: Path, threads: int, op: str, x: np.ndarray, w: np.ndarray, attributes: dict) -> dict[str, Callable]:
    calls = {}
    for precision in ("f32", "int8"):
        graph = Graph("main")
        operands = [graph.add_input("x", "float32", x.shape), graph.add_constant("w", w)]
        rank = 3 if op in ("gru", "lstm", "rnn") else x.ndim
        graph.outputs = graph.add_node(op, operands, [Value("y", "float32", (None,) * rank)], **attributes)
        write_model(path / f"{precision}.puni", [graph], precisions={"w": precision})
        tower = pocketuni.Model(path / f"{precision}.puni", threads=threads).towers["main"]
        calls[precision] = lambda tower=tower: tower.run(x=x)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    for threads in args.threads:
        print(f"\n{cpu_name()}, {threads} thread(s), microseconds")
        print("| operator | | fp32 | int8 | |\n|---|---|---|---|---|")
        for note, op, shape, weight, attributes in cases():
            x, w = (RANDOM.standard_normal(size).astype(np.float32) for size in (shape, weight))
            with tempfile.TemporaryDirectory() as folder:
                best = best_times(runs(Path(folder), threads, op, x, w / 8, attributes), ROUNDS, SECONDS)
            ratio = best["f32"] / best["int8"]
            print(f"| {op} | {note} | {1e6 * best['f32']:.1f} | {1e6 * best['int8']:.1f} | {ratio:.2f} x |", flush=True)


if __name__ == "__main__":
    main()
