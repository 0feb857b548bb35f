"""What the operators of a mixture of experts mean (docs/format.md): a router's choice, products with what it chose."""

from __future__ import annotations

import numpy as np

from .meanings import Array, finish, meaning, round_rows


@meaning("topk")
def topk(x: Array, k: int, result: str) -> Array:
    """The k largest of each row, the largest first; of equal ones the first, NaN before all others."""
    if not 0 <= k <= x.shape[-1]:
        raise ValueError(f"k is {k}, the rows have {x.shape[-1]} elements")
    order = np.argsort(np.where(np.isnan(x), -np.inf, -x.astype(np.float64)), axis=-1, kind="stable")
    first_nan = np.argsort(~np.isnan(np.take_along_axis(x, order, -1)), axis=-1, kind="stable")
    chosen = np.take_along_axis(order, first_nan, -1)[..., :k]
    return chosen.astype(np.int64) if result == "indices" else np.take_along_axis(x, chosen, -1)


@meaning("expert_linear")
def expert_linear(
    x: Array,
    w: Array,
    choice: Array,
    bias: Array | None = None,
    *,
    experts: int,
    activation: str = "none",
    quantized: bool = False,
) -> Array:
    """x [.., K], or [.., T, K] with a row for each choice, w [E N, K], choice [.., T] -> [.., T, N]."""
    if choice.size and not 0 <= choice.min() <= choice.max() < experts:
        raise ValueError(f"a choice in {choice.min()}..{choice.max()} is not one of {experts} experts")
    rows = x if x.ndim > choice.ndim else x[..., None, :]
    rows = np.broadcast_to(rows, (*choice.shape, x.shape[-1])).reshape(-1, x.shape[-1])
    weights = w.reshape(experts, -1, w.shape[1])
    rows, scale = round_rows(rows) if quantized else (rows, np.float32(1))
    y = np.empty((len(rows), weights.shape[1]), np.float32)
    for expert in np.unique(choice):
        mine = choice.reshape(-1) == expert
        y[mine] = rows[mine] @ weights[expert].T
    own = None if bias is None else bias.reshape(experts, -1)[choice]
    return finish((y * scale).reshape(*choice.shape, weights.shape[1]), own, None, activation)
