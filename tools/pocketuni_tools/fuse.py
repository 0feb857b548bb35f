"""Rewrites an imported graph into the fused operators that the runtime is fast at.

Every rule keeps what the graph computes, up to rounding, with two exceptions that are stated where they are made: masks
(fuse_attention.py), where a row that may attend to nothing becomes zeros.
"""

from __future__ import annotations

import numpy as np

from .experts import EXPERT_RULES, gathered_product
from .fuse_attention import ATTENTION_RULES, MASK_RULES, PACK_RULES
from .fuse_conv import CONV_RULES
from .fuse_elementwise import named_function
from .fuse_layout import LAYOUT_RULES
from .fuse_norms import NORM_RULES
from .fuse_pool import POOL_RULES
from .fuse_views import HEAD_RULES, VIEW_RULES
from .ir import Graph, Node
from .rewrite import DERIVED, View, apply, scaled
from .simplify import simplify

ACTIVATION_OPS = ("relu", "gelu", "silu", "tanh", "sigmoid")


def bare_linear(view: View, operand: str) -> Node | None:
    """The `linear` behind an operand that nothing else reads and that has neither activation nor residual yet."""
    node = view.maker(operand, "linear")
    if node is None or not view.only_once(operand):
        return None
    plain = node.attributes.get("activation", "none") == "none" and (len(node.inputs) < 4 or node.inputs[3] is None)
    return node if plain else None


def bias_of(node: Node) -> str | None:
    return node.inputs[2] if len(node.inputs) > 2 else None


def matmul_to_linear(view: View, node: Node) -> bool:
    """A product with a constant matrix."""
    if node.op != "matmul":
        return False
    x, name = node.inputs
    weight = view.constant(name)
    if weight is None or weight.ndim != 2 or view.constant(x) is not None or view.rank(x) < 1:
        return False
    scale, transposed = node.attributes.get("scale", 1.0), node.attributes.get("transpose_b", 0)

    def oriented() -> np.ndarray:
        matrix = weight if transposed else weight.T
        return np.ascontiguousarray(matrix if scale == 1 else matrix * np.float32(scale))

    view.become(node, "linear", [x, view.derived((name, "linear", transposed, scale), name, oriented)])
    return True


def linear_bias(view: View, node: Node) -> bool:
    """linear + constant row."""
    if node.op != "add":
        return False
    pair = view.split(node, lambda item: bare_linear(view, item) is not None)
    if pair is None or (row := view.constant(pair[1])) is None:
        return False
    linear = view.maker(pair[0])
    width = view.shape(pair[0])[-1]
    if row.size not in (1, width) or (row.size == width and row.shape[-1:] != (width,)):
        return False
    if view.shape(node.outputs[0]) != view.shape(pair[0]):
        return False
    old = bias_of(linear)
    if old is not None and view.constant(old) is None:
        return False

    def bias() -> np.ndarray:
        total = np.broadcast_to(row.reshape(-1), (width,)).astype(np.float32)
        return np.ascontiguousarray(total if old is None else view.constant(old) + total)

    name = view.derived((pair[1], old, "bias", width), pair[1], bias)
    view.become(node, "linear", [*linear.inputs[:2], name])
    return True


def linear_scale(view: View, node: Node) -> bool:
    """(linear) * number: the number goes into weight and bias, where the weight serves this product alone."""
    base, factor = scaled(view, node.outputs[0])
    if node.op not in ("mul", "div") or factor == 1 or not np.isfinite(factor):
        return False
    linear = bare_linear(view, base)
    if linear is None or len(view.readers[linear.inputs[1]]) != 1:
        return False
    operands: list[str | None] = [linear.inputs[0]]
    for name in [linear.inputs[1], bias_of(linear)]:
        if name is not None:
            if (array := view.constant(name)) is None:
                return False
            name = view.derived((name, "times", factor), name, lambda a=array: a * np.float32(factor))
        operands.append(name)
    view.become(node, "linear", operands if operands[2] else operands[:2])
    return True


def sink_scale(view: View, node: Node) -> bool:
    """view(x) * number -> view(x * number), so that the number reaches the `linear` that made x."""
    base, factor = scaled(view, node.outputs[0])
    if node.op not in ("mul", "div") or factor == 1 or not view.only_once(base):
        return False
    maker = view.maker(base, "reshape", "transpose")
    if maker is None:
        return False
    source = maker.inputs[0]
    while (inner := view.maker(source, "reshape", "transpose")) is not None:
        source = inner.inputs[0]
    if bare_linear(view, source) is None:
        return False
    value = view.graph.values[maker.inputs[0]]
    number = view.derived(("number", factor), "factor", lambda: np.array(factor, np.float32))
    product = view.insert(maker, "mul", [maker.inputs[0], number], value)
    view.become(node, maker.op, [product], **maker.attributes)
    return True


def linear_activation(view: View, node: Node) -> bool:
    if node.op not in ACTIVATION_OPS or (linear := bare_linear(view, node.inputs[0])) is None:
        return False
    name = "gelu_tanh" if node.op == "gelu" and node.attributes.get("approximate", 0) else node.op
    view.become(node, "linear", list(linear.inputs), activation=name)
    return True


def linear_residual(view: View, node: Node) -> bool:
    """linear + x of the same shape. The product moves behind whatever makes x."""
    if node.op != "add":
        return False
    for operand, other in (node.inputs, node.inputs[::-1]):
        linear = view.maker(operand, "linear")
        if linear is None or not view.only_once(operand) or len(linear.inputs) > 3:
            continue
        shape = view.shape(operand)
        if view.constant(other) is None and None not in shape and shape == view.shape(other):
            view.become(node, "linear", [*linear.inputs[:2], bias_of(linear), other], **linear.attributes)
            return True
    return False


# Sums of embeddings.


def constant_row(view: View, node: Node) -> bool:
    """x + embedding of one constant id -> x + that row of the table."""
    if node.op != "add":
        return False
    for x, other in (node.inputs, node.inputs[::-1]):
        maker = view.maker(other, "expand", "embedding")
        lookup = view.maker(maker.inputs[0], "embedding") if maker is not None and maker.op == "expand" else maker
        if lookup is None or view.shape(x) != view.shape(node.outputs[0]):
            continue
        if lookup.op != "embedding" or view.constant(lookup.inputs[1]) is None:
            continue
        source = lookup.inputs[0]
        while (step := view.maker(source, "expand", "slice", "reshape")) is not None:
            source = step.inputs[0]
        ids = view.constant(source)
        if ids is None or not ids.size or (ids != ids.flat[0]).any():
            continue
        table, row = view.constant(lookup.inputs[1]), int(ids.flat[0])
        name = view.derived((lookup.inputs[1], "row", row), f"{lookup.inputs[1]}.{row}", lambda t=table, r=row: t[r])
        view.become(node, "add", [x, name])
        return True
    return False


def lookups(view: View, operand: str) -> list[Node]:
    """The embeddings with tables of their own that a sum adds up."""
    node = view.maker(operand, "add", "embedding")
    if node is None or not view.only_once(operand):
        return []
    if node.op == "add":
        return [item for side in node.inputs for item in lookups(view, side)]
    return [node] if view.constant(node.inputs[1]) is not None and len(view.readers[node.inputs[1]]) == 1 else []


def row_past_sum(view: View, node: Node) -> bool:
    """(a + row) + embeddings: the row goes into the smallest table of these embeddings."""
    if node.op != "add":
        return False
    for x, other in (node.inputs, node.inputs[::-1]):
        inner = view.maker(other, "add")
        if inner is None or not view.only_once(other):
            continue
        pair = view.split(inner, lambda item: view.constant(item) is not None)
        if pair is not None and view.shape(pair[1]) == view.shape(other):
            if put_row(view, node, pair[0], lookups(view, x), [x, pair[1]]):
                return True
    return False


def row_into_table(view: View, node: Node) -> bool:
    """embeddings + constant row: the row goes into the smallest table."""
    if node.op != "add":
        return False
    for x, other in (node.inputs, node.inputs[::-1]):
        if view.constant(other) is not None and view.shape(x) == view.shape(node.outputs[0]):
            return put_row(view, node, other, lookups(view, x), [x])
    return False


def put_row(view: View, node: Node, row_name: str, candidates: list[Node], rest: list[str]) -> bool:
    """Adds a row to the smallest table of the candidates; `node` becomes the sum of the rest."""
    row = view.constant(row_name)
    fitting = [
        c for c in candidates if view.constant(c.inputs[1]).shape[-1:] == row.shape[-1:] and row.size in row.shape
    ]
    if not fitting:
        return False
    lookup = min(fitting, key=lambda c: view.constant(c.inputs[1]).size)
    name = lookup.inputs[1]
    table = view.derived((name, "plus", row_name), name, lambda: view.constant(name) + row.reshape(-1))
    view.become(lookup, "embedding", [lookup.inputs[0], table])
    if len(rest) == 1:
        return view.forward(node, rest[0])
    view.become(node, "add", rest)
    return True


def tidy_names(graph: Graph) -> None:
    """Constants that were derived from one that is gone take over its name."""
    for name in [name for name in graph.constants if DERIVED in name]:
        array = graph.constants.pop(name)
        graph.replace_uses(name, graph.add_constant(name.partition(DERIVED)[0], array))


def fuse(graph: Graph) -> Graph:
    """Rewrites `graph` in place and returns it. The inputs and outputs stay as they are."""
    simplify(graph)
    if apply(graph, *LAYOUT_RULES):
        simplify(graph)
    apply(graph, gathered_product)
    apply(graph, matmul_to_linear)
    apply(graph, linear_bias)
    apply(graph, named_function)
    apply(graph, *NORM_RULES)
    apply(graph, *HEAD_RULES)
    apply(graph, *ATTENTION_RULES)
    apply(graph, *POOL_RULES)
    simplify(graph)
    apply(graph, *MASK_RULES)
    apply(graph, linear_scale, sink_scale)
    simplify(graph)
    apply(graph, *MASK_RULES)
    apply(graph, *VIEW_RULES)
    apply(graph, *PACK_RULES)
    apply(graph, *CONV_RULES)
    apply(graph, linear_bias, linear_activation, linear_residual)
    apply(graph, *EXPERT_RULES)
    apply(graph, constant_row)
    apply(graph, row_past_sum)
    apply(graph, row_into_table)
    simplify(graph)
    tidy_names(graph)
    graph.check()
    return graph
