"""Error-compensated rounding of weights (GPTQ, Frantar et al. 2022, algorithm 1).

Inputs are rounded one after another; the error that each makes on calibration data is passed on to the inputs that are
not rounded yet, so that what the layer computes changes least, not what its weights are.
"""

from __future__ import annotations

import numpy as np

from .packing import GROUP, int4_scales, pad, quantize_int8

DAMPING = 0.01  # of the mean diagonal of the Hessian
INT8_RATIOS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
BLOCK = 128  # inputs whose error is passed on at once; a multiple of GROUP


def hessian(x: np.ndarray) -> np.ndarray:
    """x [rows, K] -> the damped second moment [K, K], float64. An input that is always 0 gets a small one of its own."""
    moment = np.matmul(x.T, x).astype(np.float64) / max(len(x), 1)
    diagonal = np.diagonal(moment)
    moment[np.diag_indices_from(moment)] += max(DAMPING * float(diagonal.mean()), 1e-10)
    return moment


def factor(moment: np.ndarray) -> np.ndarray:
    """The upper Cholesky factor of the inverse: row k tells how the error at input k spreads over the later ones."""
    lower = np.linalg.cholesky(moment[::-1, ::-1])  # H = U U^T with U upper, flipped
    upper = lower[::-1, ::-1]
    return np.linalg.inv(upper).astype(np.float32)


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


def compensate(w: np.ndarray, moment: np.ndarray, scales_of, low: int, high: int, order: np.ndarray):
    """Rounds w [N, K] in `order`. `scales_of(block, columns)` gives the scale [N] of a group of columns that begins.
    Returns q int8 [N, K] in the original order and the scales in the order in which they were asked for."""
    work = w[:, order].astype(np.float32)
    spread = factor(moment[np.ix_(order, order)])
    q = np.zeros(w.shape, np.int8)
    scales = []
    for begin in range(0, work.shape[1], BLOCK):
        end = min(begin + BLOCK, work.shape[1])
        block, errors = work[:, begin:end], np.zeros((len(w), end - begin), np.float32)
        for at in range(end - begin):
            if (begin + at) % GROUP == 0:
                scale = scales_of(block[:, at : at + GROUP], order[begin + at : begin + at + GROUP])
                safe = np.where(scale != 0, scale, np.float32(1))
                scales.append(scale)
            whole = np.clip(np.rint(block[:, at] / safe), low, high)
            q[:, order[begin + at]] = whole
            error = (block[:, at] - whole * scale) / spread[begin + at, begin + at]
            errors[:, at] = error
            block[:, at + 1 :] -= error[:, None] * spread[begin + at, begin + at + 1 : end]
        work[:, end:] -= np.matmul(errors, spread[begin:end, end:])
    return q, scales


def round_int8(w: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w [N, K], its inputs x [rows, K] -> q int8 [N, K], scale [N]. Each output's clip is the one that, rounded with
    compensation, errs least on x."""
    moment = hessian(x)
    order = order_of(moment, grouped=False)
    plain_q, plain_scale = quantize_int8(w)
    best_q, best_scale = plain_q, plain_scale
    best = output_error(plain_q * plain_scale[:, None] - w, moment)
    peak = np.abs(w).max(1, initial=0)
    for ratio in (1.0, 0.9):
        scale = (peak * ratio / 127).astype(np.float32)
        q, _ = compensate(w, moment, lambda block, columns, s=scale: s, -127, 127, order)
        error = output_error(q * scale[:, None] - w, moment)
        better = error < best
        best_q[better], best_scale[better], best[better] = q[better], scale[better], error[better]
    return best_q, best_scale


def round_int4(w: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w [N, K], its inputs x [rows, K] -> q in -8..7 [N, K'], scale [N, K'/32] as stored (float16 values), K' = K
    rounded up to 32. The scale of each group weighs inputs by their mean squares."""
    w, x = pad(w.astype(np.float32), 1, GROUP), pad(x, 1, GROUP)
    moment = hessian(x)
    importance = np.diagonal(moment).astype(np.float32)
    order = order_of(moment, grouped=True)

    def scales_of(block: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return int4_scales(block, weight=importance[columns])[:, 0]

    q, scales = compensate(w, moment, scales_of, -8, 7, order)
    scale = np.zeros((len(w), w.shape[1] // GROUP), np.float32)
    for place, values in zip(order[::GROUP] // GROUP, scales, strict=True):
        scale[:, place] = values
    return q, scale
