"""`pocketuni bench`: how long towers take, and which operators take it."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from .doctor import cpu_name
from .model import Model, Tower
from .text_table import table

WARM_UP_RUNS = 3
SLOWEST_SHOWN = 10
DEFAULT_SIZES = {"batch": 1}
DEFAULT_SIZE = 128


def index_limits(model: Model, tower: Tower) -> dict[str, int]:
    """Input name -> rows of the smallest table that it indexes."""
    dims = {tensor["name"]: tensor["dims"] for tensor in model.tensors()}
    limits: dict[str, int] = {}
    for node in tower.nodes():
        if node["op"] not in ("embedding", "gather"):
            continue
        first, second = node["inputs"]
        ids, table_operand = (first, second) if node["op"] == "embedding" else (second, first)
        if table_operand[0] == "tensor" and ids[0] == "value" and ids[1] in tower.inputs:
            axis = node["attributes"].get("axis", 0)
            limits[ids[1]] = min(limits.get(ids[1], 2**31 - 1), dims[table_operand[1]][axis])
    return limits


def random_inputs(model: Model, tower: Tower, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Seeded inputs that the tower accepts. Raises ValueError for a dimension that it does not have."""
    names = {dim for spec in tower.inputs.values() for dim in spec.shape if isinstance(dim, str)}
    if unknown := sorted(sizes.keys() - names):
        there = ", ".join(sorted(names)) or "none"
        raise ValueError(f"tower {tower.name!r} has no dimension {unknown[0]!r} to give a size; it has: {there}")
    limits = index_limits(model, tower)
    generator = np.random.default_rng(0)
    arrays = {}
    for name, spec in tower.inputs.items():
        shape = [sizes.get(d, DEFAULT_SIZES.get(d, DEFAULT_SIZE)) if isinstance(d, str) else d for d in spec.shape]
        if spec.dtype == "float32":
            arrays[name] = generator.standard_normal(shape, np.float32)
        elif name in limits:
            arrays[name] = generator.integers(0, limits[name], shape, spec.dtype)
        else:
            arrays[name] = np.ones(shape, spec.dtype)
    return arrays


def measure(tower: Tower, arrays: dict[str, np.ndarray], rounds: int) -> list[float]:
    """Milliseconds of each round, sorted."""
    for _ in range(WARM_UP_RUNS):
        tower.run(**arrays)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        tower.run(**arrays)
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)


def measure_profile(tower: Tower, arrays: dict[str, np.ndarray], rounds: int) -> list[dict[str, Any]]:
    """Per operator: name, op, milliseconds per run, share of the sum. Runs of its own: timing each op costs time."""
    tower.set_profiling(True)
    for _ in range(rounds):
        tower.run(**arrays)
    entries = tower.profile()
    tower.set_profiling(False)
    total = sum(entry["seconds"] for entry in entries) or 1.0
    return [
        {
            "name": entry["name"],
            "op": entry["op"],
            "ms": entry["seconds"] * 1e3 / max(entry["runs"], 1),
            "share": entry["seconds"] / total,
        }
        for entry in entries
    ]


def bench_tower(model: Model, tower: Tower, args: argparse.Namespace) -> dict[str, Any]:
    arrays = random_inputs(model, tower, dict(args.shape))
    times = measure(tower, arrays, args.rounds)
    result: dict[str, Any] = {
        "tower": tower.name,
        "inputs": {name: list(array.shape) for name, array in arrays.items()},
        "isa": tower.isa,
        "threads": tower.threads,
        "rounds": args.rounds,
        "median_ms": statistics.median(times),
        "p95_ms": times[-(-95 * len(times) // 100) - 1],
        "min_ms": times[0],
    }
    if args.profile:
        result["profile"] = measure_profile(tower, arrays, args.rounds)
    return result


def profile_text(profile: list[dict[str, Any]]) -> str:
    """Two tables: kinds of operators, and the slowest operators."""
    kinds: dict[str, list[float]] = {}
    for entry in profile:
        sums = kinds.setdefault(entry["op"], [0, 0.0, 0.0])
        sums[0] += 1
        sums[1] += entry["ms"]
        sums[2] += entry["share"]
    ordered = sorted(kinds.items(), key=lambda item: -item[1][1])
    rows = [[op, count, f"{ms:.3f}", f"{share:.1%}"] for op, (count, ms, share) in ordered]
    slowest = sorted(profile, key=lambda entry: -entry["ms"])[:SLOWEST_SHOWN]
    detail = [[e["name"], e["op"], f"{e['ms']:.3f}", f"{e['share']:.1%}"] for e in slowest]
    return "\n".join(
        [
            table([["operator", "number", "ms a run", "share"], *rows], {1, 2, 3}),
            "",
            table([["slowest", "operator", "ms a run", "share"], *detail], {2, 3}),
        ]
    )


def result_text(result: dict[str, Any]) -> str:
    inputs = ", ".join(f"{name} {shape}" for name, shape in result["inputs"].items())
    head = f"tower {result['tower']}: {inputs}; {result['isa']}, threads: {result['threads']}, runs: {result['rounds']}"
    figures = f"  median {result['median_ms']:.3f} ms, p95 {result['p95_ms']:.3f} ms, min {result['min_ms']:.3f} ms"
    lines = [head, figures]
    if "profile" in result:
        lines += ["", profile_text(result["profile"])]
    return "\n".join(lines)


def main(args: argparse.Namespace) -> int:
    results = []
    with Model(args.file, threads=args.threads, isa=args.isa) as model:
        if args.tower is not None and args.tower not in model.towers:
            there = ", ".join(model.towers) or "none"
            raise ValueError(f"{args.file}: no tower {args.tower!r}; there are: {there}")
        if not args.json:
            print(cpu_name(), flush=True)
        for name, tower in model.towers.items():
            if args.tower in (None, name):
                results.append(bench_tower(model, tower, args))
                if not args.json:
                    print(result_text(results[-1]), flush=True)
    if args.json:
        print(json.dumps({"cpu": cpu_name(), "python": platform.python_version(), "results": results}, indent=1))
    return 0
