"""Handlers of PyTorch operators that choose: what routers of mixtures of experts are written with."""

from __future__ import annotations

import math
from types import SimpleNamespace as Args
from typing import Any

from torch.fx import Node

from .experts import einsum_of_experts, panels, table_of
from .torch_walk import Importer, handles


@handles("topk")
def topk(b: Importer, node: Node, a: Args) -> list[Any]:
    """values, indices: of the last axis; another one is moved there and back."""
    x = b.operand(a.self)
    shape, k = b.graph.shape_of(x), b.get(a.k)
    if b.graph.dtype_of(x) != "float32" or not shape or not isinstance(k, int):
        raise b.unsupported("integers, a single number or a dynamic k")
    axis, results = a.dim % len(shape), []
    perm = [*(place for place in range(len(shape)) if place != axis), axis]
    back = sorted(range(len(shape)), key=perm.__getitem__)
    x = b.transpose(x, perm)
    rows = tuple(b.graph.shape_of(x)[:-1])
    if not a.largest:
        x = b.emit("neg", [x], "float32", (*rows, shape[axis]))
    for result, dtype in (("values", "float32"), ("indices", "int64")):
        out = b.emit("topk", [x], dtype, (*rows, k), k=k, result=result)
        if result == "values" and not a.largest:
            out = b.emit("neg", [out], dtype, (*rows, k))
        results.append(b.transpose(out, back))
    return results


@handles("einsum")
def einsum(b: Importer, node: Node, a: Args) -> Any:
    """Rows times weights that an index chooses become `expert_linear`; two other operands a product of matrices."""
    terms, arrow, out = a.equation.replace(" ", "").partition("->")
    terms = terms.split(",")
    plain = arrow and all(len(set(term)) == len(term) and term.isalpha() for term in (*terms, out))
    if not plain or len(terms) != 2:
        raise b.unsupported(f"the equation {a.equation!r}")
    left, right = (b.operand(item) for item in a.tensors)
    gather = b.producer(right)
    table = table_of(b.graph, gather)
    if table is not None:
        found = einsum_of_experts(*terms, out, len(b.graph.shape_of(gather.inputs[1])))
        if found is not None:
            return chosen_weights(b, left, table, gather, *found)
    return matrices(b, left, right, *terms, out)


def chosen_weights(b: Importer, x: str, table: Any, gather: Any, order: list[int], inputs_last: bool) -> str:
    source, choice = gather.inputs
    outputs, weight = table.shape[1 if inputs_last else 2], panels(table, inputs_last)
    name = b._constant((source, "experts", inputs_last), weight, source)
    shape = tuple(b.graph.shape_of(choice))
    width = len(weight) // len(table)
    y = b.emit("expert_linear", [b.transpose(x, order), name, choice], "float32", (*shape, width), experts=len(table))
    if width == outputs:
        return y
    cut = {"axes": [len(shape)], "starts": [0], "ends": [outputs], "steps": [1]}
    return b.emit("slice", [y], "float32", (*shape, outputs), **cut)


def matrices(b: Importer, x: str, y: str, left: str, right: str, out: str) -> str:
    """A transpose of each, a product of matrices, a transpose."""
    sizes = {**dict(zip(left, b.graph.shape_of(x), strict=True)), **dict(zip(right, b.graph.shape_of(y), strict=True))}
    both = [name for name in left if name in right and name in out]
    summed = [name for name in left if name in right and name not in out]
    rows = [name for name in left if name not in right]
    columns = [name for name in right if name not in left]
    if set(out) != {*both, *rows, *columns}:
        raise b.unsupported(f"the equation {left},{right}->{out}: an index is summed in one operand alone")

    def extent(group: list[str]) -> Any:
        if len(group) == 1:
            return sizes[group[0]]
        numbers = [sizes[name] for name in group]
        return math.prod(numbers) if all(isinstance(number, int) for number in numbers) else None

    def arrange(value: str, term: str, *groups: list[str]) -> str:
        value = b.transpose(value, [term.index(name) for group in groups for name in group])
        return b.reshape(value, [*(sizes[name] for name in groups[0]), *(extent(group) for group in groups[1:])])

    lead = [sizes[name] for name in both]
    x, y = arrange(x, left, both, rows, summed), arrange(y, right, both, summed, columns)
    z = b.emit("matmul", [x, y], "float32", (*lead, extent(rows), extent(columns)))
    order = [*both, *rows, *columns]
    return b.transpose(b.reshape(z, [sizes[name] for name in order]), [order.index(name) for name in out])
