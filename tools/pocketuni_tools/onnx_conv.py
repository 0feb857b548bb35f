"""Handlers of ONNX convolutions: over time, and those that cut pictures into patches. ONNX's tensors are
[batch, channels, ..], those of the operators [batch, .., channels]: each handler puts a transpose in front and one
behind, and those of neighbours cancel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .onnx_ops import reduce
from .onnx_products import linear
from .onnx_sizes import Size, product
from .onnx_walk import Call, Importer, Known, Operand, handles

SWAP = [0, 2, 1]


@dataclass
class Window:
    """What a convolution does along its spatial axes; `pads` are those in front, then those behind."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    groups: int

    def patches(self) -> bool:
        plain = self.groups == 1 and not any(self.pads) and set(self.dilations) == {1}
        return plain and self.strides == self.kernel


def window_of(b: Importer, call: Call, kernel: list[int]) -> Window:
    rank, automatic = len(kernel), call.get("auto_pad", "NOTSET")
    steps, dilations = (call.get(name, [1] * rank) for name in ("strides", "dilations"))
    window = Window(kernel, steps, dilations, [0] * 2 * rank, call.get("group", 1))
    if {len(steps), len(dilations)} != {rank} or min(*steps, *dilations, window.groups) < 1:
        raise ValueError(f"strides {steps}, dilations {dilations} and {window.groups} groups of a kernel {kernel}")
    if automatic == "NOTSET":
        window.pads = call.get("pads", window.pads)
        if len(window.pads) != 2 * rank or min(window.pads) < 0:
            raise ValueError(f"pads {window.pads} of a kernel {kernel}")
    elif automatic in ("SAME_UPPER", "SAME_LOWER"):
        for axis, size in enumerate(b.shape(call[0])[2:]):
            total = same_padding(call, size, window, axis)
            front = total // 2 if automatic == "SAME_UPPER" else total - total // 2
            window.pads[axis], window.pads[rank + axis] = front, total - front
    return window


def same_padding(call: Call, size: Size, window: Window, axis: int) -> int:
    """How much makes the result ceil(size / stride) long."""
    span, stride = (window.kernel[axis] - 1) * window.dilations[axis] + 1, window.strides[axis]
    if size.constant is None and stride != 1:
        raise call.unsupported("auto_pad and a stride along a dynamic dimension")
    rows = 1 if size.constant is None else -(-size.constant // stride)
    return max(0, span - 1 if stride == 1 else (rows - 1) * stride + span - size.constant)


@handles("Conv")
def conv(b: Importer, call: Call) -> Operand:
    weight = b.numbers(call[1])
    if weight is None or (call[2] is not None and b.numbers(call[2]) is None):
        raise call.unsupported("weights that are not constants")
    if weight.ndim != b.rank(call[0]) or weight.ndim < 3:
        raise ValueError(f"a kernel of shape {list(weight.shape)} meets a tensor of shape {list(b.shape(call[0]))}")
    window = window_of(b, call, list(weight.shape[2:]))
    channels = b.shape(call[0])[1].constant
    if channels not in (None, weight.shape[1] * window.groups):
        raise ValueError(f"{channels} channels meet a kernel of {window.groups} times {weight.shape[1]}")
    if window.patches() and divides(b.shape(call[0])[2:], window.kernel):
        return patches(b, call[0], call[1], call[2], window.kernel)
    if weight.ndim == 3:
        return over_time(b, call, window)
    raise call.unsupported(
        f"kernel {window.kernel}, strides {window.strides}, pads {window.pads}, groups {window.groups}: only windows "
        "over time, or patches that do not overlap and fill the picture"
    )


def divides(spatial: tuple[Size, ...], steps: list[int]) -> bool:
    return all(
        step == 1 or (item.constant is not None and item.constant % step == 0)
        for item, step in zip(spatial, steps, strict=True)
    )


def patches(b: Importer, x: Operand, weight: Known, bias: Operand | None, kernel: list[int]) -> Operand:
    """Windows that do not overlap: each patch is one row of a product."""
    batch, channels, *spatial = b.shape(x)
    counts = [item if step == 1 else Size(item.constant // step) for item, step in zip(spatial, kernel, strict=True)]
    parts = [size for pair in zip(counts, map(Size, kernel), strict=True) for size in pair]
    x = b.reshape(x, (batch, channels, *parts))
    places = range(2, 2 + len(parts), 2)
    x = b.transpose(x, [0, *places, 1, *(place + 1 for place in places)])
    x = b.reshape(x, (batch, *counts, product([channels, *map(Size, kernel)])))
    matrix = Known(weight.array.reshape(len(weight.array), -1), weight.name)
    out = linear(b, x, matrix, False, bias)
    return b.transpose(out, [0, len(counts) + 1, *range(1, len(counts) + 1)])


def over_time(b: Importer, call: Call, window: Window) -> Operand:
    weight, bias = call[1].array, [] if call[2] is None else [call[2]]
    outputs, width, taps = weight.shape
    (stride,), (dilation,), (left, right) = window.strides, window.dilations, window.pads
    batch, _, time = b.shape(call[0])
    length = (time + left + right - ((taps - 1) * dilation + 1)) // stride + 1
    rows, shape = b.transpose(call[0], SWAP), (batch, length, Size(outputs))
    options = {"stride": stride, "dilation": dilation, "pad_left": left, "pad_right": right}
    if width == 1 and outputs == window.groups:
        kernel = Known(np.ascontiguousarray(weight[:, 0].T), call[1].name)
        return b.transpose(b.emit("depthwise_conv1d", [rows, kernel, *bias], "float32", shape, **options), SWAP)
    matrix = Known(weight.transpose(0, 2, 1).reshape(outputs, -1), call[1].name)
    options |= {"taps": taps, "groups": window.groups}
    out = b.emit("conv1d", [rows, b.operand(matrix, "linear"), *bias], "float32", shape, **options)
    return b.transpose(out, SWAP)


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b: Importer, call: Call) -> Operand:
    kind = {"GlobalAveragePool": "reduce_mean", "GlobalMaxPool": "reduce_max"}[call.op]
    return reduce(b, kind, call[0], list(range(2, b.rank(call[0]))))


@handles("Pad")
def pad(b: Importer, call: Call) -> Operand:
    """A constant around a tensor."""
    x, amounts = call[0], b.numbers(call[1])
    if call.get("mode", "constant") != "constant" or amounts is None or (amounts < 0).any():
        raise call.unsupported(f"mode {call.get('mode', 'constant')!r} or amounts that are not constants from 0 on")
    axes = range(b.rank(x)) if call[3] is None else b.numbers(call[3])
    if axes is None:
        raise call.unsupported("axes that depend on inputs")
    value = b.number(0, b.dtype(x)) if call[2] is None else call[2]
    half = len(amounts) // 2
    for axis, before, after in zip(axes, amounts[:half].tolist(), amounts[half:].tolist(), strict=True):
        shape, axis = b.shape(x), int(axis) % b.rank(x)
        parts = [x]
        for place, count in ((0, before), (2, after)):
            if count:
                filler = b.reshape(value, [Size(1)] * len(shape))
                parts.insert(place, b.expand(filler, (*shape[:axis], Size(count), *shape[axis + 1 :])))
        if len(parts) > 1:
            total = shape[axis] + before + after
            x = b.emit("concat", parts, b.dtype(x), (*shape[:axis], total, *shape[axis + 1 :]), axis=axis)
    return x
