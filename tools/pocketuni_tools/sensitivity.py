"""Chooses a precision for each weight by what it does to the outputs.

Every weight starts at int8. For each, int4 is tried alone and the outputs on inputs that took no part in rounding are
compared with the exact ones. Weights then go to int4 in the order of harm per byte saved, as long as the sum of their
harms stays within the bound; where int8 alone breaks the bound, the most harmful go to float16 instead. The sum is an
estimate, so the choice is measured, and weights are taken back until it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from .forward import Forward
from .ir import Graph
from .packing import Packed
from .progress import Progress
from .quantize import INTEGER, possible, round_tower, weights_of
from .report import cosines, stack
from .source import Outputs, Tower
from .writer import as_read

TARGET = 0.99  # mean cosine of the worst output
MARGIN = 0.0025  # texts for which it was not measured do a little worse
TRIES = 4


def difference(got: np.ndarray, wanted: np.ndarray) -> float:
    """1 - the mean cosine of rows [n, width]. Rows of one number, perhaps a probability, all have the cosine 1: there
    it is the largest difference, as a part of the largest number."""
    if wanted.shape[-1] > 1:
        return 1 - float(np.mean(cosines(got, wanted)))
    largest = float(np.abs(wanted).max(initial=0))
    return float(np.abs(got - wanted).max(initial=0)) / largest if largest > 0 else 0.0


class Measure:
    """The `difference` of outputs from the exact ones on `tower.checks`, for weights as packed."""

    def __init__(self, tower: Tower):
        self.graph, self.feeds = tower.graph, tower.checks
        self.names = [name for name in self.graph.outputs if self.graph.values[name].dtype == "float32"]
        self.wanted = self.start().finish({}, ())

    def start(self) -> Forward:
        return Forward(self.graph, self.feeds)

    def error(self, got: list[Outputs]) -> float:
        """Of the worst output."""
        return max((difference(stack(got, name), stack(self.wanted, name)) for name in self.names), default=0.0)

    def of(self, packed: Mapping[str, Packed]) -> float:
        return self.error(self.start().finish(*as_run(self.graph, packed)))


def as_run(graph: Graph, packed: Mapping[str, Packed]) -> tuple[dict[str, np.ndarray], set[str]]:
    """Weights as the kernels see them, and those that round their activations."""
    return as_read(graph, packed), {name for name, item in packed.items() if item.encoding in INTEGER}


def harms(
    measure: Measure,
    base: Mapping[str, Packed],
    other: Mapping[str, Packed],
    names: Collection[str],
    progress: Progress,
) -> dict[str, float]:
    """The error of the outputs when one weight alone is taken from `other` instead of `base`."""
    weights, integer = as_run(measure.graph, base)
    run, result = measure.start(), {}
    progress.expect(len(names))
    for node in measure.graph.nodes:
        for name in node.inputs:
            if name in names and name not in result:
                changed, rounds = as_run(measure.graph, {name: other[name]})
                got = run.fork().finish(weights | changed, integer - {name} | rounds)
                result[name] = measure.error(got)
                progress.tick("measuring sensitivity")
        run.step(weights, integer)
    return result


def choose(tower: Tower, done: Mapping[str, Packed], progress: Progress) -> tuple[dict[str, str], dict[str, Any]]:
    """weight -> precision for one tower, and what was measured. Weights that are `done` stay as they are."""
    if not tower.feeds or not tower.checks:
        raise ValueError(f"tower {tower.graph.name!r}: weights 'auto' need calibration inputs (--calibration)")
    graph, feeds = tower.graph, tower.feeds
    roles = {name: role for name, role in weights_of(graph, True).items() if name not in done}
    measure = Measure(tower)
    shared = {name: item for name, item in done.items() if name in graph.constants}
    choice = dict.fromkeys(roles, "int8")
    int8 = shared | round_tower(graph, feeds, choice, shared, progress)
    base, bound = measure.of(int8), 1 - TARGET - MARGIN
    lower = "f16" if base > bound else "int4"
    names = [name for name in roles if possible(graph, name, roles[name], lower) == lower]
    other = shared | round_tower(graph, feeds, dict.fromkeys(names, lower), shared, progress)
    found = harms(measure, int8, other, names, progress)
    gain = {name: abs(len(int8[name].data) - len(other[name].data)) for name in names}
    if lower == "f16":
        error = promote(choice, base, bound, found, gain)
    else:
        error = demote(choice, base, bound, found, gain)
        error = verify(tower, measure, choice, found, shared, bound, progress, error)
    notes = {"target": TARGET, "int8_error": base, "error": error, "harm": found, "harm_of": lower}
    return choice, notes


def hold(
    tower: Tower, done: Mapping[str, Packed], int8: Mapping[str, Packed], progress: Progress
) -> tuple[dict[str, str], dict[str, Any]]:
    """weight -> precision where int8 alone breaks the bound: the most harmful weights stay float16. Nothing where it
    does not. int8: all weights of the tower as rounded; those that are `done` stay as they are."""
    measure, bound = Measure(tower), 1 - TARGET - MARGIN
    base = measure.of(int8)
    if base <= bound:
        return {}, {}
    names = [name for name in weights_of(tower.graph, True) if name not in done]
    half = dict(int8) | round_tower(tower.graph, tower.feeds, dict.fromkeys(names, "f16"), done, progress)
    found = harms(measure, int8, half, names, progress)
    choice = dict.fromkeys(names, "int8")
    cost = {name: abs(len(int8[name].data) - len(half[name].data)) for name in names}
    error = promote(choice, base, bound, found, cost)
    kept = sorted(name for name, precision in choice.items() if precision == "f16")
    return choice, {"target": TARGET, "int8_error": base, "error": error, "harm": found, "f16": kept}


def demote(
    choice: dict[str, str], base: float, bound: float, found: Mapping[str, float], gain: Mapping[str, int]
) -> float:
    """Sends weights to int4 while the sum of harms allows it; returns the estimated error."""
    total = base
    for name in sorted(found, key=lambda name: max(found[name] - base, 0) / max(gain[name], 1)):
        harm = max(found[name] - base, 0)
        if total + harm <= bound:
            choice[name], total = "int4", total + harm
    return total


def promote(
    choice: dict[str, str], base: float, bound: float, found: Mapping[str, float], cost: Mapping[str, int]
) -> float:
    """Sends weights to float16 until the error is within the bound; returns the estimated error."""
    total = base
    for name in sorted(found, key=lambda name: (found[name] - base) / max(cost[name], 1)):
        if total <= bound or found[name] >= base:
            break
        choice[name], total = "f16", total - (base - found[name])
    return total


def verify(
    tower: Tower,
    measure: Measure,
    choice: dict[str, str],
    found: Mapping[str, float],
    shared: Mapping[str, Packed],
    bound: float,
    progress: Progress,
    estimate: float,
) -> float:
    """Measures the choice as a whole and takes the most harmful int4 weights back until it is within the bound."""
    error = estimate
    for attempt in range(TRIES):
        rounded = shared | round_tower(tower.graph, tower.feeds, choice, shared, progress)
        error = measure.of(rounded)
        lowered = sorted((name for name in found if choice[name] == "int4"), key=lambda name: -found[name])
        if error <= bound or not lowered:
            break
        for name in lowered[: 1 << attempt]:
            choice[name] = "int8"
    return error
