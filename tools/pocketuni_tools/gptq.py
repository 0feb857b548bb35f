"""Error-compensated rounding of weights (GPTQ, Frantar et al. 2022, algorithm 1).

Inputs are rounded one after another; the error that each makes on calibration data is passed on to the inputs that are
not rounded yet, so that what the layer computes changes least, not what its weights are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .packing import GROUP, int4_scales, pad, quantize_int8

Scales = Callable[[np.ndarray, np.ndarray], np.ndarray]
DAMPING = 0.01  # of the mean diagonal of the Hessian


def hessian(x: np.ndarray) -> np.ndarray:
    """x [rows, K] -> the damped second moment [K, K], float64. Damping keeps inputs apart that are always 0."""
    moment = np.matmul(x.T, x).astype(np.float64) / max(len(x), 1)
    diagonal = np.diagonal(moment)
    moment[np.diag_indices_from(moment)] += max(DAMPING * float(diagonal.mean()), 1e-10)
    return moment


def factor(moment: np.ndarray) -> np.ndarray:
    """The upper Cholesky factor of the inverse: row k tells how the error at input k spreads over the later ones."""
    lower = np.linalg.cholesky(moment[::-1, ::-1])  # flipped: H = U U^T with U upper
    return inverse_upper(np.ascontiguousarray(lower[::-1, ::-1])).astype(np.float32)


def inverse_upper(u: np.ndarray) -> np.ndarray:
    """The inverse of an upper triangular matrix, by halves: products instead of a general elimination."""
    size = len(u)
    if size <= 64:
        return np.linalg.inv(u)
    half = size // 2
    result = np.zeros_like(u)
    first, last = inverse_upper(u[:half, :half]), inverse_upper(u[half:, half:])
    result[:half, :half], result[half:, half:] = first, last
    result[:half, half:] = -np.matmul(np.matmul(first, u[:half, half:]), last)
    return result


def output_error(error: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Mean squared error of each output for errors [N, K] of the weights."""
    return (np.matmul(error, moment.astype(np.float32)) * error).sum(1)


def order_of(moment: np.ndarray, grouped: bool) -> np.ndarray:
    """The order in which inputs are rounded: large ones first, while much is left to take up their errors. int4 groups
    stay together, since they share a scale."""
    diagonal = np.diagonal(moment)
    if not grouped:
        return np.argsort(-diagonal, kind="stable")
    groups = diagonal.reshape(-1, GROUP)
    inner = np.argsort(-groups, axis=1, kind="stable") + np.arange(len(groups))[:, None] * GROUP
    return inner[np.argsort(-groups.sum(1), kind="stable")].reshape(-1)


def compensate(
    w: np.ndarray, spread: np.ndarray, order: np.ndarray, scales_of: Scales, low: int, high: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rounds w [N, K] to low..high, inputs in `order`; `spread` is the `factor` of the moment in that order.
    `scales_of(block [N, 32], inputs [32])` gives the scales [N] of the inputs that come next. Returns q int8 [N, K],
    inputs in their old order, and the scales in the order of asking."""
    work = np.ascontiguousarray(w.T[order], np.float32)  # [K, N]: one input is one row
    whole = np.empty_like(work)
    scales = []
    for begin in range(0, len(work), GROUP):
        end = min(begin + GROUP, len(work))
        block, errors = work[begin:end], np.empty((end - begin, work.shape[1]), np.float32)
        scale = scales_of(block.T, order[begin:end])
        inverse = np.where(scale != 0, 1 / np.where(scale != 0, scale, 1), 0).astype(np.float32)
        scales.append(scale)
        for at in range(end - begin):
            row, share = block[at], spread[begin + at, begin + at : end]
            whole[begin + at] = np.clip(np.rint(row * inverse), low, high)
            errors[at] = (row - whole[begin + at] * scale) / share[0]
            block[at + 1 :] -= share[1:, None] * errors[at]
        work[end:] -= np.matmul(spread[begin:end, end:].T, errors)
    q = np.empty(w.shape, np.int8)
    q[:, order] = whole.T
    return q, scales


def round_int8(w: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w [N, K], its inputs x [rows, K] -> q int8 [N, K], scale [N]. Each output takes the clip, and rounding with or
    without compensation, that errs least on x."""
    moment = hessian(x)
    order = order_of(moment, grouped=False)
    spread = factor(moment[np.ix_(order, order)])
    best_q, best_scale = quantize_int8(w)
    best = output_error(best_q * best_scale[:, None] - w, moment)
    for scale in {scale.tobytes(): scale for scale in (best_scale, peak_scale(w))}.values():
        q, _ = compensate(w, spread, order, lambda block, inputs, s=scale: s, -127, 127)
        error = output_error(q * scale[:, None] - w, moment)
        better = error < best
        best_q[better], best_scale[better], best[better] = q[better], scale[better], error[better]
    return best_q, best_scale


def peak_scale(w: np.ndarray) -> np.ndarray:
    return (np.abs(w).max(1, initial=0) / 127).astype(np.float32)


def round_int4(w: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w [N, K], its inputs x [rows, K] -> q in -8..7 [N, K'], scale [N, K'/32] as stored (float16 values), K' = K
    rounded up to 32. The scale of each group weighs inputs by their mean squares."""
    w, x = pad(w.astype(np.float32), 1, GROUP), pad(x, 1, GROUP)
    moment = hessian(x)
    importance = np.diagonal(moment).astype(np.float32)
    order = order_of(moment, grouped=True)

    def scales_of(block: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        return int4_scales(block, weight=importance[inputs])[:, 0]

    q, scales = compensate(w, factor(moment[np.ix_(order, order)]), order, scales_of, -8, 7)
    scale = np.zeros((len(w), w.shape[1] // GROUP), np.float32)
    for place, values in zip(order[::GROUP] // GROUP, scales, strict=True):
        scale[:, place] = values
    return q, scale
