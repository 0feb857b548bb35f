"""Recognizes functions of one value that a source spells out of arithmetic: gelu, silu, mish and so on.

Spellings differ in every exporter (halves multiplied first or last, powers or products, erf or tanh), so the expression
is recognized by what it computes: it is evaluated on a grid and compared with the operators.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import evaluate
from .ir import Node
from .rewrite import View

UNARY = {"erf", "tanh", "sigmoid", "exp", "log", "sqrt", "neg", "abs", "reciprocal", "clip", "relu", "softplus"} | {
    "rsqrt", "hard_sigmoid", "silu", "gelu",
}  # fmt: skip
BINARY = {"add", "sub", "mul", "div", "pow", "minimum", "maximum"}
# Where a closed form overflows in float32, sources overflow too: the grid stays inside.
GRID = np.concatenate([np.linspace(-12, 12, 769), np.linspace(-0.01, 0.01, 21)]).astype(np.float32)
CANDIDATES: tuple[tuple[str, dict], ...] = (
    ("gelu", {"approximate": 0}),
    ("gelu", {"approximate": 1}),
    ("silu", {}),
    ("mish", {}),
    ("hard_swish", {}),
    ("sigmoid", {}),
    ("softplus", {}),
    ("relu", {}),
    ("tanh", {}),
    ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
)
TOLERANCE = 2e-6
LIMIT = 12  # nodes of one expression


def expressions(view: View, root: Node) -> Iterator[tuple[str, list[Node]]]:
    """(x, nodes in order) for every cut of the expression above `root` through which one value alone comes in."""
    order = {id(node): place for place, node in enumerate(view.graph.nodes)}
    inside = [root]
    while len(inside) <= LIMIT:
        known = {node.outputs[0] for node in inside}
        frontier = {
            operand
            for node in inside
            for operand in node.inputs
            if operand is not None and operand not in known and view.scalar(operand) is None
        }
        if len(frontier) == 1 and len(inside) > 1:
            yield frontier.copy().pop(), sorted(inside, key=lambda node: order[id(node)])
        makers = [view.maker(operand, *UNARY, *BINARY) for operand in frontier]
        makers = [node for node in makers if node is not None and id(node) in order]
        if not makers:
            return
        inside.append(max(makers, key=lambda node: order[id(node)]))


def values_on_grid(view: View, x: str, nodes: list[Node]) -> np.ndarray | None:
    arrays = {x: GRID}
    for node in nodes:
        operands = [arrays.get(item, view.constant(item)) for item in node.inputs if item is not None]
        operands = [item.reshape(()) if item.size == 1 else item for item in operands]
        if any(item.dtype != np.float32 for item in operands):
            return None
        arrays[node.outputs[0]] = evaluate.apply(node, operands, {})
    return arrays[nodes[-1].outputs[0]]


def named_function(view: View, node: Node) -> bool:
    """Replaces the largest expression above `node` that equals one of `CANDIDATES` within rounding."""
    if node.op not in BINARY and node.op not in ("reciprocal", "log"):
        return False
    found = None
    for x, nodes in expressions(view, node):
        if view.graph.dtype_of(x) != "float32" or view.shape(x) != view.shape(node.outputs[0]):
            continue
        got = values_on_grid(view, x, nodes)
        if got is None or got.shape != GRID.shape:
            continue
        for op, attributes in CANDIDATES:
            wanted = evaluate.apply(Node(op, op, [x], [op], attributes), [GRID], {})
            if np.abs(got - wanted).max() <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
                found = (op, x, attributes)
                break
    if found is None:
        return False
    op, x, attributes = found
    view.become(node, op, [x], **attributes)
    return True
