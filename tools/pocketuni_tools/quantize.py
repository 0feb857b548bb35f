"""Chooses how precisely each weight is stored, and rounds it.

Weights are rounded in the order in which the graph uses them, each on the activations that the weights before it, as
rounded, give on calibration inputs; activations in front of int8 and int4 weights are rounded to int8 as the runtime
does. Without calibration inputs weights are rounded by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import gptq
from .forward import Forward
from .ir import Graph, Node
from .meanings import round_rows
from .meanings_picture import pixels_of
from .meanings_time import taps_of
from .packing import (
    GROUP,
    Packed,
    pack_gemm_int4,
    pack_gemm_int8,
)
from .progress import Progress
from .source import Feed, Tower
from .writer import WEIGHT_ROLES, as_read, pack_constant, tensor_role, usable_precision

PLANS = ("fp32", "fp16", "int8", "int4", "auto")
PRECISION = {"fp32": "f32", "fp16": "f16", "int8": "int8", "int4": "int4"}
SMALL = 512  # elements; below, rounding saves nothing worth an error
SMALL_KERNEL = 4096  # the same for convolutions and recurrent operators that are rounded without calibration inputs
FEW = 16  # inputs or outputs; with fewer, int8 is no faster than float, and they are a bottleneck or the result itself
FEW_TAPS, TAPS_OF_PIXEL = 25, 12  # see few_taps; docs/decisions.md, "depthwise convolutions in int8", measures them
ROWS = 8192  # calibration rows that one weight is rounded on
INTEGER = ("gemm_i8", "gemm_i4")


def weights_of(graph: Graph, calibrated: bool = False) -> dict[str, str]:
    """Constants that may be stored less precisely -> role: weights of products, convolutions and recurrent operators
    ("gemm"), tables of `embedding` ("rows"), weights of large depthwise convolutions ("taps"). Small ones, biases and
    norms stay float32. calibrated: they are rounded on calibration inputs, which spares the first layers of a small
    network most of the harm."""
    roles = {}
    for node in graph.nodes:
        if node.op in WEIGHT_ROLES and node.inputs[1] in graph.constants and not few_taps(node):
            array = graph.constants[node.inputs[1]]
            least = SMALL if calibrated or node.op in ("linear", "embedding") else SMALL_KERNEL
            if array.ndim == 2 and array.size >= least and min(array.shape) >= FEW and array.dtype == np.float32:
                roles[node.inputs[1]] = tensor_role(graph, node.inputs[1])
    return {name: role for name, role in roles.items() if role != "plain"}


def few_taps(node: Node) -> bool:
    """Whether a depthwise convolution is no faster in int8: to round a pixel takes as long as some taps, and taps are
    multiplied four of a line at a time."""
    if node.op != "depthwise_conv2d":
        return False
    (lines, taps), stride = node.attributes["kernel"], math.prod(node.attributes["stride"])
    return taps < 3 or lines * taps < max(FEW_TAPS, TAPS_OF_PIXEL * stride)


def makes_spectrum(graph: Graph, name: str) -> bool:
    """Whether the results of a product are squared and added to others: a power spectrum. Its quiet parts, which share
    rows with loud ones, count as much once their logarithm is taken."""

    def readers(nodes: list[Node], op: str) -> list[Node]:
        return [r for node in nodes for output in node.outputs for r in graph.consumers(output) if r.op == op]

    products = [node for node in graph.consumers(name) if node.attributes.get("activation", "none") == "none"]
    squares = [node for node in readers(products, "mul") if len(set(node.inputs)) == 1]
    return bool(readers(squares, "add"))


def possible(graph: Graph, name: str, role: str, precision: str) -> str:
    """`precision`, or a finer one: where a reader of the weight knows none as coarse, int8 where int4 has no room for
    its groups of 32."""
    precision, shape = usable_precision(graph, name, precision), graph.constants[name].shape
    narrow = shape[1] < GROUP if role == "gemm" else shape[1] % GROUP != 0
    return "int8" if precision == "int4" and narrow else precision


def round_weight(array: np.ndarray, role: str, precision: str, x: np.ndarray | None) -> Packed:
    """A weight as stored. x: the rows that it multiplies, as the kernel sees them, or None."""
    if role == "gemm" and x is not None and len(x):
        x = x[:: -(-len(x) // ROWS)]
        if precision == "int8":
            return pack_gemm_int8(*gptq.round_int8(array, x))
        if precision == "int4":
            return pack_gemm_int4(*gptq.round_int4(array, x), array.shape)
    return pack_constant(array, role, precision)


def as_seen(x: np.ndarray) -> np.ndarray:
    """Rows after the runtime has rounded them to int8."""
    with np.errstate(divide="ignore", invalid="ignore"):  # rows of zeros, whose scale is 0
        whole, scale = round_rows(x)
    return whole * scale


def rows_of(run: Forward, node: Node) -> np.ndarray | None:
    """The rows that a weight multiplies, of all feeds, with the rounding that the runtime does; None where they are not
    at hand: groups of convolutions, states of recurrent operators."""
    if node.op == "linear":
        return as_seen(run.rows(node.inputs[0]))
    if node.op not in ("conv1d", "conv2d") or node.attributes.get("groups", 1) != 1:
        return None
    rows = []
    for x in run.arrays(node.inputs[0]):
        a, seen = node.attributes, as_seen(x)
        if node.op == "conv2d":
            windows = pixels_of(seen, a["kernel"], a["stride"], a["dilation"], a["pads"])
        else:
            steps = [a.get("stride", 1), a.get("dilation", 1), a.get("pad_left", 0), a.get("pad_right", 0)]
            windows = taps_of(seen, a["taps"], *steps)
        windows = windows.reshape(-1, windows.shape[-2] * windows.shape[-1])
        rows.append(windows[:: -(-len(windows) * len(run.values) // ROWS) or 1])
    return np.concatenate(rows)


def round_tower(
    graph: Graph,
    feeds: Sequence[Feed],
    choice: Mapping[str, str],
    done: Mapping[str, Packed],
    progress: Progress,
) -> dict[str, Packed]:
    """Rounds the weights of one tower that are not `done` yet, and returns them.

    choice: weight -> "f32", "f16", "int8" or "int4"; other weights stay as they are.
    """
    packed = {name: item for name, item in done.items() if name in graph.constants}
    progress.expect(len(choice.keys() - packed.keys()))
    roles = weights_of(graph, bool(feeds))
    seen = as_read(graph, packed)
    integer = {name for name, item in packed.items() if item.encoding in INTEGER}
    run = Forward(graph, feeds)
    for node in graph.nodes:
        name = node.inputs[1] if node.op in WEIGHT_ROLES else None
        if name in choice and name in roles and name not in packed:
            role, array = roles[name], graph.constants[name]
            precision = possible(graph, name, role, choice[name])
            x = None
            if role == "gemm" and feeds and precision in ("int8", "int4"):
                x = rows_of(run, node)
            packed[name] = round_weight(array, role, precision, x)
            seen |= as_read(graph, {name: packed[name]})
            if packed[name].encoding in INTEGER:
                integer.add(name)
            progress.tick(f"rounding to {precision}")
        if feeds:
            run.step(seen, integer)
    return {name: item for name, item in packed.items() if name not in done}


def allow_int8_attention(graph: Graph) -> None:
    """Lets attention round its rows, as the products around it do."""
    for node in graph.nodes:
        if node.op == "attention":
            node.attributes["int8"] = 1


def quantize(
    towers: Sequence[Tower], plan: str, progress: Progress | None = None
) -> tuple[dict[str, Packed], dict[str, Any]]:
    """Every weight as it will be stored, and notes for the report. plan: one of `PLANS`.

    Raises ValueError for an unknown plan and for calibration inputs that do not fit their tower.
    """
    from .sensitivity import choose, hold

    if plan not in PLANS:
        raise ValueError(f"weights {plan!r} is not one of {', '.join(PLANS)}")
    progress = progress or Progress()
    packed: dict[str, Packed] = {}
    notes: dict[str, Any] = {}
    for tower in towers:
        if plan in ("int8", "int4", "auto"):
            allow_int8_attention(tower.graph)
        if plan == "auto":
            choice, notes.setdefault("auto", {})[tower.graph.name] = choose(tower, packed, progress)
        else:
            choice = dict.fromkeys(weights_of(tower.graph, bool(tower.feeds)), PRECISION[plan])
            if plan in ("int8", "int4") and not tower.feeds:
                choice |= {name: "f16" for name in choice if makes_spectrum(tower.graph, name)}
        rounded = round_tower(tower.graph, tower.feeds, choice, packed, progress)
        if plan == "int8" and tower.feeds and tower.checks:
            done = {name: item for name, item in packed.items() if name in tower.graph.constants}
            choice, note = hold(tower, done, done | rounded, progress)
            if note:
                notes.setdefault("kept", {})[tower.graph.name] = note
                rounded = round_tower(tower.graph, tower.feeds, choice, packed, progress)
        packed |= rounded
    return packed, notes
