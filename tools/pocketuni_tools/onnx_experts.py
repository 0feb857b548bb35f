"""Handlers of ONNX operators that choose: TopK, and ONNX Runtime's mixture of experts."""

from __future__ import annotations

import numpy as np

from .experts import panels, rows
from .onnx_ops import join
from .onnx_sizes import Size, product
from .onnx_walk import Call, Importer, Known, Operand, handles
from .packing import PANEL, pad

ACTIVATIONS = {"identity": {}, "relu": {"activation": "relu"}, "silu": {"activation": "silu"},
               "gelu": {"activation": "gelu_tanh"}}  # fmt: skip


@handles("TopK")
def top_k(b: Importer, call: Call) -> list[Operand]:
    """values, indices: of the last axis; another one is moved there and back."""
    x, count = call[0], call.get("k", 0) if call.version < 10 else b.numbers(call[1])
    if count is None or b.dtype(x) != "float32":
        raise call.unsupported("integers, or a k that is not constant")
    shape, k = b.shape(x), int(np.asarray(count).reshape(-1)[0])
    axis = call.get("axis", -1) % len(shape)
    perm = [*(place for place in range(len(shape)) if place != axis), axis]
    back = sorted(range(len(shape)), key=perm.__getitem__)
    smallest = not call.get("largest", 1)
    x = b.transpose(x, perm)
    x = join(b, "neg", x) if smallest else x
    out, results = (*b.shape(x)[:-1], Size(k)), []
    for result, dtype in (("values", "float32"), ("indices", "int64")):
        chosen: Operand = b.emit("topk", [x], dtype, out, k=k, result=result)
        chosen = join(b, "neg", chosen) if smallest and result == "values" else chosen
        results.append(b.transpose(chosen, back))
    return results


def expert_product(b: Importer, x: Operand, choice: Operand, table: np.ndarray, bias: Operand | None, name: str,
                   **options: str) -> str:  # fmt: skip
    """x [.., K] (or a row for each choice) with [E, N, K] -> [.., T, N'], N' = N rounded up to 16."""
    operands: list[Operand | None] = [x, Known(panels(table, True), name), choice]
    if bias is not None:
        operands.append(Known(rows(b.numbers(bias)), f"{name}.bias"))
    width = -(-table.shape[1] // PANEL) * PANEL
    return b.emit("expert_linear", operands, "float32", (*b.shape(choice), Size(width)), experts=len(table), **options)


@handles("com.microsoft::MoE")
def mixture_of_experts(b: Importer, call: Call) -> Operand:
    """rows, scores [rows, E], then for two layers weights [E, out, in] and biases [E, out] -> rows."""
    activation, k = call.get("activation_type", "relu"), call.get("k", 1)
    tables = [b.numbers(call[place]) for place in (2, 4)]
    if activation not in ACTIVATIONS or call[6] is not None or call.get("use_sparse_mixer", 0):
        raise call.unsupported(f"activation_type {activation!r}, a third layer or a sparse mixer")
    if any(table is None or table.ndim != 3 for table in tables):
        raise call.unsupported("weights that are not constants [experts, outputs, inputs]")
    first, second = tables
    if first.shape[1] != second.shape[2]:
        raise call.unsupported(f"layers of {list(first.shape)} and {list(second.shape)}")
    shape = b.shape(call[0])
    x = b.reshape(call[0], (product(shape[:-1]), shape[-1]))
    sure = b.emit("softmax", [call[1]], "float32", b.shape(call[1]), axis=-1)
    chosen = (b.shape(sure)[0], Size(k))
    weights: Operand = b.emit("topk", [sure], "float32", chosen, k=k, result="values")
    choice = b.emit("topk", [sure], "int64", chosen, k=k, result="indices")
    if call.get("normalize_routing_weights", 0):
        total = b.emit("reduce_sum", [weights], "float32", (chosen[0], Size(1)), axes=[1], keepdims=1)
        weights = join(b, "div", weights, total)
    hidden = expert_product(b, x, choice, first, call[3], f"{call.name}.in", **ACTIVATIONS[activation])
    # What was added to the hidden rows to make full panels meets weights of zero.
    out = expert_product(b, hidden, choice, pad(second, 2, PANEL), call[5], f"{call.name}.out")
    mixed = join(b, "mul", out, b.reshape(weights, (*chosen, Size(1))))
    total = b.emit("reduce_sum", [mixed], "float32", (chosen[0], b.shape(out)[-1]), axes=[1])
    outputs = second.shape[1]
    if outputs % PANEL:
        total = b.emit("slice", [total], "float32", (chosen[0], Size(outputs)), axes=[1], starts=[0], ends=[outputs],
                       steps=[1])  # fmt: skip
    return b.reshape(total, (*shape[:-1], Size(outputs)))
