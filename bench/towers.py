"""Several towers in one file, and mixtures of experts: what sharing, running beside each other and choosing save.

    python bench/towers.py [--threads N]

Made-up towers, side by side in one process; the best of rounds that take turns. The first table: two heads over one
encoder (12 layers of 512 x 512, int8, 64 rows), run one after the other and together (`run_many`), against one alone;
then two towers that share nothing. The second: an expert layer (8 experts, 384 -> 1536 -> 384, two chosen for each
row) in every precision.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from machine import best_times, cpu_name
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.pack import pack_main
from pocketuni_tools.writer import write_model

import pocketuni

WIDTH, LAYERS, ROWS = 512, 12, 64
EXPERTS, INNER, OUTER, TOP = 8, 1536, 384, 2
PRECISIONS = ("f32", "f16", "int8", "int4")
ROUNDS = 30


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).normal(size=shape) / shape[-1] ** 0.5, np.float32)


def encoder_with_head(path: Path, seed: int, head: int) -> None:
    graph = Graph("main")
    value = graph.add_input("x", "float32", ("rows", WIDTH))
    names = [graph.add_constant(f"w{layer}", normal(seed + layer, WIDTH, WIDTH)) for layer in range(LAYERS)]
    for name in names:
        (value,) = graph.add_node("linear", [value, name], [Value("h", "float32", ("rows", WIDTH))], activation="relu")
    own = graph.add_constant("head", normal(head, 64, WIDTH))
    graph.outputs = graph.add_node("linear", [value, own], [Value("y", "float32", ("rows", 64))])
    write_model(path, [graph], precisions=dict.fromkeys([*names, own], "int8"))


def towers(folder: Path, threads: int) -> None:
    for name, seed, head in (("one", 0, 100), ("two", 0, 101), ("other", 50, 102)):
        encoder_with_head(folder / f"{name}.puni", seed, head)
    pack_main([str(folder / f"{name}.puni") for name in ("one", "two", "other")] + ["-o", str(folder / "all.puni")])
    pack_main([str(folder / f"{name}.puni") for name in ("one", "two")] + ["-o", str(folder / "both.puni")])
    sizes = {name: (folder / f"{name}.puni").stat().st_size / 1e6 for name in ("one", "two", "both")}
    x = normal(7, ROWS, WIDTH)
    with pocketuni.Model(folder / "all.puni", threads=threads) as model:
        run = {name: (lambda tower=tower: tower.run(x=x)) for name, tower in model.towers.items()}
        many = {pair: (lambda pair=pair: model.run_many({name: {"x": x} for name in pair}))
                for pair in (("one", "two"), ("one", "other"))}  # fmt: skip
        for work in many.values():
            for _ in range(10):  # until the better way is chosen
                work()
        took = best_times({
            "one alone": run["one"],
            "one, then two": lambda: (run["one"](), run["two"]()),
            "one and two together": many["one", "two"],
            "one, then other": lambda: (run["one"](), run["other"]()),
            "one and other together": many["one", "other"],
        }, ROUNDS)  # fmt: skip
    print(f"Packed: {sizes['both']:.2f} MB, apart {sizes['one']:.2f} and {sizes['two']:.2f} MB.\n")
    print("| towers | ms | x one alone |\n|---|---|---|")
    for name, value in took.items():
        print(f"| {name} | {1e3 * value:.3f} | {value / took['one alone']:.2f} |")


def experts(path: Path, precision: str) -> None:
    graph = Graph("main")
    graph.add_input("x", "float32", ("rows", OUTER))
    gate = graph.add_constant("gate", normal(1, EXPERTS, OUTER))
    up, down = (graph.add_constant(name, normal(seed, EXPERTS * n, k))
                for name, seed, n, k in (("up", 2, INNER, OUTER), ("down", 3, OUTER, INNER)))  # fmt: skip
    (sure,) = graph.add_node("linear", ["x", gate], [Value("scores", "float32", ("rows", EXPERTS))])
    (sure,) = graph.add_node("softmax", [sure], [Value("sure", "float32", ("rows", EXPERTS))])
    parts = []
    for result, dtype in (("values", "float32"), ("indices", "int64")):
        parts += graph.add_node("topk", [sure], [Value(result, dtype, ("rows", TOP))], k=TOP, result=result)
    y = "x"
    for weight, width, activation in ((up, INNER, "gelu"), (down, OUTER, "none")):
        (y,) = graph.add_node("expert_linear", [y, weight, parts[1]], [Value("h", "float32", ("rows", TOP, width))],
                              experts=EXPERTS, activation=activation)  # fmt: skip
    (share,) = graph.add_node("unsqueeze", [parts[0]], [Value("share", "float32", ("rows", TOP, 1))], axes=[2])
    (y,) = graph.add_node("mul", [y, share], [Value("mixed", "float32", ("rows", TOP, OUTER))])
    graph.outputs = graph.add_node("reduce_sum", [y], [Value("y", "float32", ("rows", OUTER))], axes=[1])
    write_model(path, [graph], precisions={up: precision, down: precision})


def mixtures(folder: Path, threads: int) -> None:
    models = {}
    for precision in PRECISIONS:
        experts(folder / f"{precision}.puni", precision)
        models[precision] = pocketuni.Model(folder / f"{precision}.puni", threads=threads).towers["main"]
    print(f"\n| rows | {' | '.join(PRECISIONS)} | int8 against fp32 |\n|{'---|' * (len(PRECISIONS) + 2)}")
    for rows in (1, 16, 128):
        x = normal(rows, rows, OUTER)
        took = best_times({name: (lambda tower=tower, x=x: tower.run(x=x)) for name, tower in models.items()}, ROUNDS)
        times = " | ".join(f"{1e3 * took[name]:.3f}" for name in PRECISIONS)
        print(f"| {rows} | {times} | {took['f32'] / took['int8']:.2f}x |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(f"{cpu_name()}, {args.threads} threads\n")
    with tempfile.TemporaryDirectory() as folder:
        towers(Path(folder), args.threads)
        mixtures(Path(folder), args.threads)


if __name__ == "__main__":
    main()
