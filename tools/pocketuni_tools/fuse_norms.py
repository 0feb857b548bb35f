"""Recognizes layer norms, RMS norms and normalization to unit length that a source spells out of arithmetic."""

from __future__ import annotations

import numpy as np

from .ir import Node
from .rewrite import View, is_last_axis


def square_of(view: View, operand: str) -> str | None:
    """x where the operand is x * x or x^2."""
    node = view.maker(operand, "mul", "pow")
    if node is None:
        return None
    if node.op == "pow":
        return node.inputs[0] if view.scalar(node.inputs[1]) == 2 else None
    return node.inputs[0] if node.inputs[0] == node.inputs[1] else None


def mean_square(view: View, operand: str) -> tuple[str, float] | None:
    """(x, eps) where the operand is mean(x^2 over the last axis) + eps."""
    node, eps = view.maker(operand, "add", "reduce_mean"), 0.0
    if node is not None and node.op == "add":
        pair = view.split(node, lambda item: view.scalar(item) is not None)
        if pair is None:
            return None
        eps, node = view.scalar(pair[0]), view.maker(pair[1], "reduce_mean")
    if node is None or not is_last_axis(view, node):
        return None
    x = square_of(view, node.inputs[0])
    return None if x is None else (x, eps)


def over_root(view: View, node: Node) -> tuple[str, str] | None:
    """(x, s) where the node is x / sqrt(s), in any of its spellings."""
    if node.op == "div":
        root = view.maker(node.inputs[1], "sqrt", "pow")
        if root is None or (root.op == "pow" and view.scalar(root.inputs[1]) != 0.5):
            return None
        return node.inputs[0], root.inputs[0]
    if node.op != "mul":
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        inverse = view.maker(other, "rsqrt", "reciprocal", "pow", "div")
        if inverse is None:
            continue
        if inverse.op == "rsqrt" or (inverse.op == "pow" and view.scalar(inverse.inputs[1]) == -0.5):
            return x, inverse.inputs[0]
        below = inverse.inputs[-1]
        if inverse.op == "reciprocal" or (inverse.op == "div" and view.scalar(inverse.inputs[0]) == 1):
            if (root := view.maker(below, "sqrt")) is not None:
                return x, root.inputs[0]
    return None


def normalization(view: View, node: Node) -> bool:
    """(x - mean) / sqrt(mean((x - mean)^2) + eps), and the same without the mean."""
    pair = over_root(view, node)
    moments = mean_square(view, pair[1]) if pair is not None else None
    if moments is None or view.shape(pair[0]) != view.shape(node.outputs[0]):
        return False
    (x, eps), gamma = moments, None
    if pair[0] != x:  # gamma * (x - mean) / ...
        product = view.maker(pair[0], "mul")
        if product is None or x not in product.inputs:
            return False
        gamma = next((item for item in product.inputs if item != x), x)
        if not row_constant(view, gamma, view.shape(x)[-1]) or view.rank(gamma) != 1:
            return False
    weights = [] if gamma is None else [gamma]
    centered = view.maker(x, "sub")
    if centered is not None:
        mean = view.maker(centered.inputs[1], "reduce_mean")
        if mean is not None and mean.inputs[0] == centered.inputs[0] and is_last_axis(view, mean):
            view.become(node, "layer_norm", [centered.inputs[0], *weights], eps=eps)
            return True
    view.become(node, "rms_norm", [x, *weights], eps=eps)
    return True


def row_constant(view: View, operand: str, width: object) -> bool:
    """Whether an operand is one constant row of `width` numbers."""
    array = view.constant(operand)
    return array is not None and array.size == width and array.shape[-1:] == (width,) and array.dtype == np.float32


def norm_weights(view: View, node: Node) -> bool:
    """norm * gamma, norm + beta."""
    if node.op not in ("mul", "add"):
        return False
    for operand, other in (node.inputs, node.inputs[::-1]):
        norm = view.maker(operand, "layer_norm", "rms_norm")
        if norm is None or not view.only_once(operand) or not row_constant(view, other, view.shape(operand)[-1]):
            continue
        gamma = norm.inputs[1] if len(norm.inputs) > 1 else None
        beta = norm.inputs[2] if len(norm.inputs) > 2 else None
        if beta is not None or (node.op == "mul" and gamma is not None) or view.rank(other) > view.rank(operand):
            continue
        if node.op == "add" and norm.op == "rms_norm":
            continue
        row = other
        if view.rank(other) != 1:
            row = view.derived((other, "row"), other, lambda name=other: view.constant(name).reshape(-1))
        operands = [norm.inputs[0], row] if node.op == "mul" else [norm.inputs[0], gamma, row]
        view.become(node, norm.op, operands, eps=norm.attributes["eps"])
        return True
    return False


def unit_length(view: View, node: Node) -> bool:
    """x / max(sqrt(sum of x^2), eps) over the last axis."""
    if node.op != "div":
        return False
    x, below = node.inputs
    while (maker := view.maker(below, "expand")) is not None:
        below = maker.inputs[0]
    eps, bound = 0.0, view.maker(below, "clip", "maximum")
    if bound is not None and bound.op == "clip":
        if bound.attributes.get("max", np.inf) != np.inf:
            return False
        eps, below = bound.attributes.get("min", 0.0), bound.inputs[0]
    elif bound is not None:
        pair = view.split(bound, lambda item: view.scalar(item) is not None)
        if pair is None:
            return False
        eps, below = view.scalar(pair[0]), pair[1]
    root = view.maker(below, "sqrt")
    total = view.maker(root.inputs[0], "reduce_sum") if root is not None else None
    if total is None or not is_last_axis(view, total) or square_of(view, total.inputs[0]) != x:
        return False
    view.become(node, "l2_normalize", [x], eps=eps)
    return True


NORM_RULES = (normalization, norm_weights, unit_length)
