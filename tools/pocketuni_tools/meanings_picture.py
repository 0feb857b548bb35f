"""What the operators over pictures of docs/format.md mean: windows over [batch, height, width, channels], resizing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .meanings import FLOAT, Array, finish, meaning, round_rows
from .meanings_time import product_by_group, rounded_by_group


def pixels_of(
    x: Array,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    fill: float = 0,
) -> Array:
    """[B, H, W, C] -> [B, H', W', taps, C]: the pixels that each pixel of the result reads, line by line."""
    padded = np.pad(x, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)), constant_values=fill)
    places = []
    for axis in (0, 1):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        count = max(0, (padded.shape[1 + axis] - span) // stride[axis] + 1)
        places.append(np.arange(count)[:, None] * stride[axis] + np.arange(kernel[axis]) * dilation[axis])
    rows, columns = places
    windows = padded[:, rows[:, None, :, None], columns[None, :, None, :]]
    return windows.reshape(len(x), len(rows), len(columns), kernel[0] * kernel[1], x.shape[3])


@meaning("conv2d")
def conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    groups: int = 1,
    activation: str = "none",
    quantized: bool = False,
) -> Array:
    x = rounded_by_group(x, groups) if quantized else x
    windows = pixels_of(x, kernel, stride, dilation, pads)
    return finish(product_by_group(windows, w, groups), bias, residual, activation)


def rounded_by_channel(x: Array) -> Array:
    """[B, H, W, C] rounded to int8, each channel of a picture by a scale of its own."""
    rows, scale = round_rows(x.reshape(len(x), x.shape[1] * x.shape[2], x.shape[3]).transpose(0, 2, 1), exact=True)
    return (rows * scale).transpose(0, 2, 1).reshape(x.shape)


@meaning("depthwise_conv2d")
def depthwise_conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    activation: str = "none",
    quantized: bool = False,
) -> Array:
    x = rounded_by_channel(x) if quantized else x
    windows = pixels_of(x, kernel, stride, dilation, pads)
    return finish((windows * w).sum(axis=3, dtype=FLOAT), bias, None, activation)


@meaning("pool2d")
def pool2d(
    x: Array,
    *,
    mode: str,
    counted: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
) -> Array:
    """The largest number (of nothing -inf), or the mean over the pixels inside and those that are `counted` beyond the
    edges."""
    if mode == "max":
        return pixels_of(x, kernel, stride, dilation, pads, -np.inf).max(axis=3)
    total = pixels_of(x, kernel, stride, dilation, pads).sum(axis=3, dtype=np.float64)
    inside = np.ones((1, *x.shape[1:3], 1), FLOAT)
    inside = np.pad(inside, ((0, 0), (counted[0], counted[2]), (counted[1], counted[3]), (0, 0)), constant_values=1)
    # The counted frame may be wider than the pads, or narrower: what lies within the pads is looked at.
    top, left, bottom, right = (pad - count for pad, count in zip(pads, counted, strict=True))
    inside = np.pad(inside, ((0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)), (0, 0)))
    inside = inside[
        :, max(-top, 0) : inside.shape[1] - max(-bottom, 0), max(-left, 0) : inside.shape[2] - max(-right, 0)
    ]
    count = pixels_of(inside, kernel, stride, dilation, [0] * 4).sum(axis=3)
    return (total / np.maximum(count, 1)).astype(FLOAT)


@meaning("resample")
def resample(x: Array, indices: Array, weights: Array, axis: int) -> Array:
    """Element j along the axis is the sum over t of weights[j, t] times element indices[j, t]."""
    taken = np.moveaxis(x, axis, 0)[indices]  # [size, taps, ...]
    y = np.einsum("jt...,jt->j...", taken, weights)
    return np.moveaxis(y, 0, axis).astype(FLOAT)


@meaning("argmax")
def argmax(x: Array, axis: int, keepdims: int = 0, last: int = 0) -> Array:
    if last:
        y = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis, keepdims=bool(keepdims))
    else:
        y = np.argmax(x, axis=axis, keepdims=bool(keepdims))
    return y.astype(np.int64)
