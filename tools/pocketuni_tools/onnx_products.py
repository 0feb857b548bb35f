"""Handlers of ONNX operators that multiply matrices. A product with a constant matrix becomes `linear`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .experts import einsum_of_experts, panels, table_of
from .onnx_ops import join
from .onnx_sizes import Size, broadcast, product
from .onnx_walk import Call, Importer, Known, Operand, handles


def linear(b: Importer, x: Operand, weight: Known, transposed: bool, bias: Operand | None = None) -> str:
    """x times a constant: [N, K] or, `transposed`, [K, N]."""
    k, n = weight.array.shape if transposed else weight.array.shape[::-1]
    if b.shape(x)[-1].constant not in (None, k):
        raise ValueError(f"a last dimension of {b.shape(x)[-1]} meets a matrix of {k} rows")
    operands = [x, b.operand(weight, "transposed" if transposed else "linear"), bias]
    return b.emit("linear", operands[: 2 if bias is None else 3], "float32", (*b.shape(x)[:-1], Size(n)))


def matmul(b: Importer, x: Operand, y: Operand) -> Operand:
    """NumPy's rule for any ranks."""
    constant = b.numbers(y)
    if constant is not None and constant.ndim == 2 and b.rank(x) > 0:
        return linear(b, x, y, transposed=True)
    left, right = b.shape(x), b.shape(y)
    if not left or not right:
        raise ValueError("a factor is a single number")
    if len(left) == 1:
        x = b.reshape(x, (Size(1), *left))
    if len(right) == 1:
        y = b.reshape(y, (*right, Size(1)))
    lead = broadcast(b.shape(x)[:-2], b.shape(y)[:-2])
    out = b.emit("matmul", [x, y], "float32", (*lead, b.shape(x)[-2], b.shape(y)[-1]))
    rows = () if len(left) == 1 else left[-2:-1]
    columns = () if len(right) == 1 else right[-1:]
    return b.reshape(out, (*lead, *rows, *columns))


@handles("MatMul")
def matmul_(b: Importer, call: Call) -> Operand:
    if b.dtype(call[0]) != "float32":
        raise call.unsupported("integers")
    return matmul(b, call[0], call[1])


@handles("com.microsoft::FusedMatMul")
def fused_matmul(b: Importer, call: Call) -> Operand:
    if call.get("transBatchA", 0) or call.get("transBatchB", 0):
        raise call.unsupported("transposed batches")
    sides = []
    for value, flag in ((call[0], "transA"), (call[1], "transB")):
        last = b.rank(value)
        swap = call.get(flag, 0) and last > 1
        sides.append(b.transpose(value, [*range(last - 2), last - 1, last - 2]) if swap else value)
    out, alpha = matmul(b, *sides), call.get("alpha", 1.0)
    return out if alpha == 1 else join(b, "mul", out, b.number(alpha))


@handles("Gemm")
def gemm(b: Importer, call: Call) -> Operand:
    a, c = call[0], call[2]
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if call.get("transA", 0):
        a = b.transpose(a, [1, 0])
    if c is not None and beta != 1:
        scaled = Known(c.array * np.float32(beta), c.name) if b.numbers(c) is not None else None
        c = scaled or join(b, "mul", c, b.number(beta))
    weight = b.numbers(call[1])
    if weight is None:
        right = b.transpose(call[1], [1, 0]) if call.get("transB", 0) else call[1]
        out = matmul(b, a, right)
        out = out if alpha == 1 else join(b, "mul", out, b.number(alpha))
        return out if c is None else join(b, "add", out, c)
    known = call[1] if alpha == 1 else Known(weight * np.float32(alpha), call[1].name)
    transposed = not call.get("transB", 0)
    outputs = weight.shape[1] if transposed else weight.shape[0]
    row = b.numbers(c) is not None and c.array.size == outputs and c.array.shape[-1:] == (outputs,)
    out = linear(b, a, known, transposed, b.reshape(c, [Size(outputs)]) if row else None)
    return out if row or c is None else join(b, "add", out, c)


# Einsum.


def parse_einsum(call: Call) -> tuple[list[str], str]:
    left, arrow, out = call.get("equation", "").replace(" ", "").partition("->")
    terms = left.split(",")
    plain = arrow and all(len(set(term)) == len(term) and term.isalpha() for term in (*terms, out))
    if not plain or len(terms) != 2 or len(terms) != len(call.inputs):
        raise call.unsupported(f"the equation {call.get('equation')!r}")
    return terms, out


def chosen_weights(b: Importer, call: Call, left: str, right: str, out: str) -> Operand | None:
    """Rows times weights that an index chooses from a constant table, or None."""
    gather = b.producer(call[1])
    table = table_of(b.graph, gather)
    found = None if table is None else einsum_of_experts(left, right, out, b.rank(gather.inputs[1]))
    if found is None:
        return None
    order, inputs_last = found
    choice, outputs = gather.inputs[1], table.shape[1 if inputs_last else 2]
    weight = Known(panels(table, inputs_last), gather.inputs[0])
    shape = (*b.shape(choice), Size(len(weight.array) // len(table)))
    y = b.emit("expert_linear", [b.transpose(call[0], order), weight, choice], "float32", shape, experts=len(table))
    if shape[-1] == outputs:
        return y
    cut = {"axes": [len(shape) - 1], "starts": [0], "ends": [outputs], "steps": [1]}
    return b.emit("slice", [y], "float32", (*shape[:-1], Size(outputs)), **cut)


@handles("Einsum")
def einsum(b: Importer, call: Call) -> Operand:
    """Two operands, no index twice in one of them: a transpose of each, a product of matrices, a transpose."""
    (left, right), out = parse_einsum(call)
    if (chosen := chosen_weights(b, call, left, right, out)) is not None:
        return chosen
    sizes = {**dict(zip(left, b.shape(call[0]), strict=True)), **dict(zip(right, b.shape(call[1]), strict=True))}
    both = [name for name in left if name in right and name in out]
    summed = [name for name in left if name in right and name not in out]
    rows = [name for name in left if name not in right]
    columns = [name for name in right if name not in left]
    if set(out) != {*both, *rows, *columns}:
        raise call.unsupported(f"the equation {call.get('equation')!r}: an index is summed in one operand alone")

    def arrange(value: Operand, term: str, *groups: Sequence[str]) -> Operand:
        value = b.transpose(value, [term.index(name) for group in groups for name in group])
        return b.reshape(value, [*(sizes[name] for name in groups[0]), *(extent(group) for group in groups[1:])])

    def extent(group: Sequence[str]) -> Size:
        return product(sizes[name] for name in group)

    x = arrange(call[0], left, both, rows, summed)
    y = arrange(call[1], right, both, summed, columns)
    z = b.reshape(matmul(b, x, y), [sizes[name] for name in (*both, *rows, *columns)])
    order = [*both, *rows, *columns]
    return b.transpose(z, [order.index(name) for name in out])


def heads_scale(call: Call, width: Size, heads: int) -> float:
    """1 / sqrt(width of a head), unless the node says else."""
    given = call.get("scale", 0.0)
    if not given and width.constant is None:
        raise call.unsupported("heads of unknown width")
    return float(given or 1 / math.sqrt(width.constant // heads))
