"""Recognizes the mean over the tokens that a mask keeps: sum(x * mask) / max(sum(mask), tiny)."""

from __future__ import annotations

from .fuse_attention import indicator
from .ir import Node, Value
from .rewrite import View

TINY = 0.5  # a bound on the number of tokens that only an empty sequence reaches


def narrow(view: View, operand: str) -> str:
    """The operand before it was broadcast."""
    while (maker := view.maker(operand, "expand")) is not None:
        operand = maker.inputs[0]
    return operand


def sum_over_tokens(view: View, operand: str) -> str | None:
    """What is summed over axis 1, or None."""
    node = view.maker(operand, "reduce_sum")
    return node.inputs[0] if node is not None and list(node.attributes["axes"]) in ([1], [-2]) else None


def bounded(view: View, operand: str) -> str:
    """The operand without a lower bound that keeps a division from going wrong."""
    operand = narrow(view, operand)
    bound = view.maker(operand, "clip", "maximum")
    if bound is None:
        return operand
    if bound.op == "clip":
        fits = 0 < bound.attributes.get("min", -1.0) <= TINY and "max" not in bound.attributes
        return bound.inputs[0] if fits else operand
    pair = view.split(bound, lambda item: 0 < (view.scalar(item) or 0) <= TINY)
    return operand if pair is None else pair[1]


def mean_pool(view: View, node: Node) -> bool:
    if node.op != "div" or view.rank(node.outputs[0]) != 2:
        return False
    product = view.maker(sum_over_tokens(view, node.inputs[0]), "mul")
    counted = sum_over_tokens(view, narrow(view, bounded(view, node.inputs[1])))
    if product is None or counted is None:
        return False
    weights = narrow(view, counted)
    pair = view.split(product, lambda item: narrow(view, item) == weights)
    if pair is None or view.rank(pair[1]) != 3 or view.shape(pair[1]) != view.shape(product.outputs[0]):
        return False
    shape = (*view.shape(pair[1])[:2], 1)
    if view.shape(weights) != shape or None in shape:
        return False
    truth = indicator(view, node, weights)
    if truth is None:
        return False
    value = Value(f"{truth}_rows", view.graph.dtype_of(truth), shape[:2])
    mask = view.insert(node, "reshape", [truth], value, shape=list(shape[:2]))
    view.become(node, "pool", [pair[1], mask], mode="mean")
    return True


POOL_RULES = (mean_pool,)
