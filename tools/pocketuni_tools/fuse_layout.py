"""Moves the transposes that convolutions bring along (channels last to channels first) behind what follows, until those
of neighbours meet and cancel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ir import Node, Shape, Value
from .rewrite import View

WINDOWS = {"conv1d", "conv2d", "depthwise_conv1d", "depthwise_conv2d", "conv_transpose1d", "pool2d", "resample"}
UNARY = {
    "relu", "gelu", "silu", "tanh", "sigmoid", "erf", "exp", "log", "sqrt", "rsqrt", "neg", "abs", "reciprocal", "sin",
    "cos", "floor", "ceil", "round", "softplus", "elu", "leaky_relu", "hard_sigmoid", "hard_swish", "mish", "clip",
    "cast", "not",
}  # fmt: skip
BINARY = {"add", "sub", "mul", "div", "pow", "minimum", "maximum", "greater", "less", "equal"}
ALONG = {"softmax", "log_softmax", "resample"}


def has_windows(view: View) -> bool:
    return any(node.op in WINDOWS for node in view.graph.nodes)


def turned(view: View, operand: str | None) -> tuple[str, list[int]] | None:
    """(x, perm) where the operand is x with its last axis, the channels, moved to the second place."""
    node = view.maker(operand, "transpose")
    if node is None:
        return None
    perm = list(node.attributes["perm"])
    rank = len(perm)
    return (node.inputs[0], perm) if rank > 2 and perm == [0, rank - 1, *range(1, rank - 1)] else None


def back(perm: Sequence[int], items: Sequence) -> list:
    """Sizes of the transposed tensor, in the order of the tensor before."""
    result = [None] * len(perm)
    for place, axis in enumerate(perm):
        result[axis] = items[place]
    return result


def behind(view: View, node: Node, perm: list[int], op: str, inputs: list[str | None], **attributes) -> bool:
    """The operator on tensors that are not transposed, then the transpose."""
    (output,) = node.outputs
    shape: Shape = tuple(back(perm, view.shape(output)))
    value = Value(f"{output}_rows", view.graph.dtype_of(output), shape)
    rows = view.insert(node, op, inputs, value, **attributes)
    view.become(node, "transpose", [rows], perm=perm)
    return True


def sink_elementwise(view: View, node: Node) -> bool:
    """f(transposed x), f(transposed x, transposed y), f(transposed x, constant)."""
    if node.op in UNARY:
        found = turned(view, node.inputs[0])
        return found is not None and behind(view, node, found[1], node.op, [found[0]], **node.attributes)
    if node.op not in BINARY or not has_windows(view):
        return False
    found = [turned(view, operand) for operand in node.inputs]
    perm = next((item[1] for item in found if item is not None), None)
    if perm is None:
        return False
    operands = []
    for operand, item in zip(node.inputs, found, strict=True):
        if item is not None and item[1] == perm:
            operands.append(item[0])
        elif (array := view.constant(operand)) is not None and array.ndim <= len(perm):
            operands.append(turned_constant(view, operand, array, perm))
        else:
            return False
    return behind(view, node, perm, node.op, operands, **node.attributes)


def turned_constant(view: View, name: str, array: np.ndarray, perm: list[int]) -> str:
    """A constant that meets a transposed tensor, for the tensor before: without the leading ones."""

    def make() -> np.ndarray:
        wide = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
        rows = np.ascontiguousarray(wide.transpose(back(perm, range(len(perm)))))
        while rows.ndim > 1 and rows.shape[0] == 1:
            rows = rows[0]
        return rows

    return name if array.ndim == 0 else view.derived((name, "rows", tuple(perm)), name, make)


def sink_along(view: View, node: Node) -> bool:
    """Functions along an axis, slices, lookups and reductions of a transposed tensor."""
    found = turned(view, node.inputs[0]) if node.inputs else None
    if found is None or not has_windows(view):
        return False
    x, perm = found
    rank, attributes = len(perm), dict(node.attributes)
    if node.op in ALONG or (node.op == "gather" and len(view.shape(node.inputs[1])) == 1):
        attributes["axis"] = perm[attributes.get("axis", -1 if node.op != "gather" else 0) % rank]
        return behind(view, node, perm, node.op, [x, *node.inputs[1:]], **attributes)
    if node.op == "slice":
        attributes["axes"] = [perm[axis % rank] for axis in attributes["axes"]]
        return behind(view, node, perm, "slice", [x], **attributes)
    if not node.op.startswith("reduce_"):
        return False
    axes = [perm[axis % rank] for axis in attributes["axes"]]
    if attributes.get("keepdims", 0):
        return behind(view, node, perm, node.op, [x], axes=sorted(axes), keepdims=1)
    left = [axis for axis in perm if axis not in axes]
    if left != sorted(left):
        return False
    view.become(node, node.op, [x], axes=sorted(axes), keepdims=0)
    return True


def sink_concat(view: View, node: Node) -> bool:
    if node.op != "concat":
        return False
    found = [turned(view, operand) for operand in node.inputs]
    perm = next((item[1] for item in found if item is not None), None)
    if perm is None:
        return False
    fillers = [filler(view, operand) for operand in node.inputs]
    if any(item is None and other is None for item, other in zip(found, fillers, strict=True)):
        return False
    parts = []
    for operand, item, number in zip(node.inputs, found, fillers, strict=True):
        parts.append(item[0] if item is not None else turned_filler(view, node, operand, number, perm))
    return behind(view, node, perm, "concat", parts, axis=perm[node.attributes["axis"] % len(perm)])


def filler(view: View, operand: str) -> str | None:
    """The constant of one element that an operand repeats (padding), or None."""
    node = view.maker(operand, "expand")
    return node.inputs[0] if node is not None and view.scalar(node.inputs[0]) is not None else None


def turned_filler(view: View, node: Node, operand: str, number: str, perm: list[int]) -> str:
    shape = back(perm, view.shape(operand))
    single = view.derived((number, "single"), number, lambda: view.constant(number).reshape(()))
    value = Value(f"{operand}_rows", view.graph.dtype_of(operand), tuple(shape))
    return view.insert(node, "expand", [single], value, shape=shape)


LAYOUT_RULES = (sink_elementwise, sink_along, sink_concat)
