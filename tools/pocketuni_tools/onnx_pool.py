"""Handlers of ONNX pooling, padding and resizing."""

from __future__ import annotations

import math

import numpy as np

from .onnx_conv import Window, channels_first, channels_last, window_of
from .onnx_index import cut, gather
from .onnx_ops import join, reduce
from .onnx_sizes import Size, product
from .onnx_walk import Call, Importer, Known, Operand, handles


@handles("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(b: Importer, call: Call) -> Operand:
    x, axes = call[0], list(range(2, b.rank(call[0])))
    if call.op == "GlobalLpPool":
        power = float(call.get("p", 2))
        total = reduce(b, "reduce_sum", join(b, "pow", join(b, "abs", x), b.number(power)), axes)
        return join(b, "pow", total, b.number(1 / power))
    return reduce(b, {"GlobalAveragePool": "reduce_mean", "GlobalMaxPool": "reduce_max"}[call.op], x, axes)


@handles("MaxPool", "AveragePool", "LpPool")
def pool(b: Importer, call: Call) -> Operand:
    """One result; the places of the largest elements are not supported."""
    if b.dtype(call[0]) != "float32":
        raise call.unsupported("integers")
    window = window_of(b, call, list(call.get("kernel_shape", [])))
    if window.rank != b.rank(call[0]) - 2 or not 1 <= window.rank <= 3:
        raise call.unsupported(f"a kernel {window.kernel} of a tensor of rank {b.rank(call[0])}")
    counted = list(window.pads) if call.get("count_include_pad", 0) else [0] * 2 * window.rank
    if call.get("ceil_mode", 0):
        for axis, size in enumerate(b.shape(call[0])[2:]):
            round_up(call, window, axis, size)
    x, mode = channels_last(b, call[0]), "max" if call.op == "MaxPool" else "mean"
    if call.op != "LpPool":
        return channels_first(b, pool_rows(b, x, window, counted, mode))
    power = float(call.get("p", 2))
    x = join(b, "pow", join(b, "abs", x), b.number(power))
    mean = pool_rows(b, x, window, window.pads, "mean")
    total = join(b, "mul", mean, b.number(float(math.prod(window.kernel))))
    return channels_first(b, join(b, "pow", total, b.number(1 / power)))


def round_up(call: Call, window: Window, axis: int, size: Size) -> None:
    """ceil_mode: pads the end so far that the last window, which begins inside, fits."""
    if size.constant is None:
        raise call.unsupported("ceil_mode along a dynamic dimension")
    front, stride, span = window.pads[axis], window.strides[axis], window.span(axis)
    rows = -(-(size.constant + front + window.pads[window.rank + axis] - span) // stride) + 1
    if (rows - 1) * stride >= size.constant + front:
        rows -= 1
    window.pads[window.rank + axis] = max(0, (rows - 1) * stride + span - size.constant - front)


def pool_rows(b: Importer, x: Operand, window: Window, counted: list[int], mode: str) -> Operand:
    """[batch, .., channels], one to three spatial dimensions: the largest and the mean go axis by axis too."""
    rank, (batch, *spatial, channels) = window.rank, b.shape(x)
    result = [window.result(axis, size) for axis, size in enumerate(spatial)]
    if rank == 3:
        first = axes_of_window(window, [1, 2]), [counted[axis] for axis in (1, 2, 4, 5)]
        x = b.reshape(x, (batch * spatial[0], spatial[1], spatial[2], channels))
        x = pool_rows(b, x, *first, mode)
        x = b.reshape(x, (batch, spatial[0], result[1] * result[2], channels))
        x = pool_rows(b, x, *lines(axes_of_window(window, [0]), [counted[0], counted[3]]), mode)
        return b.reshape(x, (batch, *result, channels))
    if rank == 1:
        x = b.reshape(x, (batch, spatial[0], Size(1), channels))
        return b.reshape(pool_rows(b, x, *lines(window, counted), mode), (batch, *result, channels))
    options = {"mode": mode, "counted": counted, **window.attributes()}
    return b.emit("pool2d", [x], "float32", (batch, *result, channels), **options)


def axes_of_window(window: Window, axes: list[int]) -> Window:
    pads = [window.pads[axis] for axis in (*axes, *(axis + window.rank for axis in axes))]
    return Window(*([item[axis] for axis in axes] for item in (window.kernel, window.strides, window.dilations)), pads)


def lines(window: Window, counted: list[int]) -> tuple[Window, list[int]]:
    """A window over time as one over lines of one pixel."""
    front, back = window.pads
    wide = Window([*window.kernel, 1], [*window.strides, 1], [*window.dilations, 1], [front, 0, back, 0])
    return wide, [counted[0], 0, counted[1], 0]


# Padding.


@handles("Pad")
def pad(b: Importer, call: Call) -> Operand:
    """A constant around a tensor, or what lies beside its edges; negative amounts cut."""
    x, mode = call[0], call.get("mode", "constant")
    amounts = b.numbers(call[1])
    if amounts is None:
        raise call.unsupported("amounts that depend on inputs")
    axes = range(b.rank(x)) if call[3] is None else b.numbers(call[3])
    if axes is None:
        raise call.unsupported("axes that depend on inputs")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise call.unsupported(f"mode {mode!r}")
    value = b.number(0, b.dtype(x)) if call[2] is None else call[2]
    half = len(amounts) // 2
    for axis, before, after in zip(axes, amounts[:half].tolist(), amounts[half:].tolist(), strict=True):
        x = pad_axis(b, x, int(axis) % b.rank(x), before, after, mode, value)
    return x


def pad_axis(b: Importer, x: Operand, axis: int, before: int, after: int, mode: str, value: Operand) -> Operand:
    if before < 0 or after < 0:
        size = b.shape(x)[axis]
        x = cut(b, x, axis, Size(max(0, -before)), size + min(0, after))
        before, after = max(0, before), max(0, after)
    shape = b.shape(x)
    if mode != "constant" and before + after:
        return pad_by_lookup(b, x, axis, before, after, mode)
    parts = [x]
    for place, count in ((0, before), (2, after)):
        if count:
            filler = b.reshape(value, [Size(1)] * len(shape))
            parts.insert(place, b.expand(filler, (*shape[:axis], Size(count), *shape[axis + 1 :])))
    if len(parts) == 1:
        return x
    total = shape[axis] + before + after
    return b.emit("concat", parts, b.dtype(x), (*shape[:axis], total, *shape[axis + 1 :]), axis=axis)


def pad_by_lookup(b: Importer, x: Operand, axis: int, before: int, after: int, mode: str) -> Operand:
    shape, size = b.shape(x), b.shape(x)[axis].constant
    b.limited(before + after + (size or 0))
    if size is not None:
        numpy_mode = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}[mode]
        return gather(b, x, Known(np.pad(np.arange(size), (before, after), mode=numpy_mode)), axis)
    # Elements are counted from either end: that the dimension is long enough is checked when the model runs.
    front = {"reflect": np.arange(before, 0, -1), "edge": np.zeros(before, np.int64), "wrap": np.arange(-before, 0)}
    back = {"reflect": -2 - np.arange(after), "edge": np.full(after, -1), "wrap": np.arange(after)}
    parts = [gather(b, x, Known(front[mode]), axis)] if before else []
    parts += [x, *([gather(b, x, Known(back[mode]), axis)] if after else [])]
    total = shape[axis] + before + after
    return b.emit("concat", parts, b.dtype(x), (*shape[:axis], total, *shape[axis + 1 :]), axis=axis)


# Space and depth.


@handles("DepthToSpace")
def depth_to_space(b: Importer, call: Call) -> Operand:
    (batch, channels, height, width), step = b.shape(call[0]), call.get("blocksize")
    block, rest = Size(step), channels // (step * step)
    if call.get("mode", "DCR") == "DCR":
        x = b.reshape(call[0], (batch, block, block, rest, height, width))
        x = b.transpose(x, [0, 3, 4, 1, 5, 2])
    else:
        x = b.reshape(call[0], (batch, rest, block, block, height, width))
        x = b.transpose(x, [0, 1, 4, 2, 5, 3])
    return b.reshape(x, (batch, rest, height * step, width * step))


@handles("SpaceToDepth")
def space_to_depth(b: Importer, call: Call) -> Operand:
    (batch, channels, height, width), step = b.shape(call[0]), call.get("blocksize")
    block = Size(step)
    x = b.reshape(call[0], (batch, channels, height // step, block, width // step, block))
    x = b.transpose(x, [0, 3, 5, 1, 2, 4])
    return b.reshape(x, (batch, product([block, block, channels]), height // step, width // step))
