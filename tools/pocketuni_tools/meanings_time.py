"""What the operators over time of docs/format.md mean: convolutions of [batch, time, channels]."""

from __future__ import annotations

import numpy as np

from .meanings import FLOAT, Array, finish, meaning, round_rows


def taps_of(x: Array, taps: int, stride: int, dilation: int, pad_left: int, pad_right: int) -> Array:
    """[B, T, C] -> [B, T', taps, C]: the rows that each output row reads."""
    padded = np.pad(x, ((0, 0), (pad_left, pad_right), (0, 0)))
    rows = max(0, (padded.shape[1] - (taps - 1) * dilation - 1) // stride + 1)
    index = np.arange(rows)[:, None] * stride + np.arange(taps) * dilation
    return padded[:, index]


@meaning("conv1d")
def conv1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    taps: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    pad_left: int = 0,
    pad_right: int = 0,
    activation: str = "none",
    quantized: bool = False,
) -> Array:
    split = x.reshape(*x.shape[:2], groups, x.shape[2] // groups)
    if quantized:
        rows, scale = round_rows(split)
        split = rows * scale
    windows = taps_of(split.reshape(x.shape), taps, stride, dilation, pad_left, pad_right)
    windows = windows.reshape(*windows.shape[:3], groups, x.shape[2] // groups)
    kernel = w.reshape(groups, len(w) // groups, taps, x.shape[2] // groups)
    y = np.einsum("btkgc,gnkc->btgn", windows, kernel, optimize=True)
    return finish(y.reshape(*y.shape[:2], len(w)).astype(FLOAT), bias, residual, activation)


@meaning("depthwise_conv1d")
def depthwise_conv1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    pad_left: int = 0,
    pad_right: int = 0,
    activation: str = "none",
) -> Array:
    windows = taps_of(x, len(w), stride, dilation, pad_left, pad_right)
    return finish((windows * w).sum(axis=2, dtype=FLOAT), bias, None, activation)
