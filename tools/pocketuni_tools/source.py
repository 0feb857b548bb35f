"""What a conversion starts from: towers as imported, what to calibrate and compare them with, and what goes along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .ir import Graph

Feed = Mapping[str, np.ndarray]  # one run's inputs by name
Outputs = Mapping[str, np.ndarray]


class Unrunnable(Exception):
    """The source framework, as it is installed here, cannot run a tower."""


@dataclass
class Tower:
    """One graph with what belongs to it.

    feeds: inputs for calibration, as real as possible; they decide how weights are rounded.
    checks: inputs for the report and for choosing precisions; other ones than `feeds` where there is a choice.
    reference: runs the source framework on one feed; None where it cannot be run, `Unrunnable` where that shows late.
    """

    graph: Graph
    feeds: Sequence[Feed] = ()
    checks: Sequence[Feed] = ()
    reference: Callable[[Feed], Outputs] | None = None


@dataclass
class Source:
    """Everything that goes into one file; `meta` and `blobs` as in docs/format.md.

    precisions: for sources that say themselves how precisely each weight is stored under a plan: (towers, plan) ->
    constant -> precision. Weights of towers without feeds are then rounded by themselves.
    """

    name: str
    towers: list[Tower]
    meta: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    precisions: Callable[[Sequence[Tower], str], dict[str, str]] | None = None


class MissingPackage(ValueError):
    """A conversion needs a package that is not installed; the message says how to get it."""

    def __init__(self, package: str, reason: str):
        super().__init__(f"{reason} needs the package {package}; pip install 'pocketuni[tools]'")


def separate_names(towers: Sequence[Tower]) -> None:
    """Constants of one name in several towers are one tensor; where their contents differ, later ones are renamed."""
    seen: dict[str, np.ndarray] = {}
    for tower in towers:
        graph = tower.graph
        for name, array in list(graph.constants.items()):
            other = seen.setdefault(name, array)
            if other is not array and (other.dtype != array.dtype or not np.array_equal(other, array)):
                new = graph.unique(f"{graph.name}.{name}")
                graph.constants[new] = graph.constants.pop(name)
                graph.replace_uses(name, new)
                seen[new] = array
