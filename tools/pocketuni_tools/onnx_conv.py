"""Handlers of ONNX convolutions, over time and over pictures. ONNX's tensors are [batch, channels, ..], those of our
operators [batch, .., channels]: a handler puts a transpose in front and one behind, and those of neighbours cancel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .onnx_index import cut
from .onnx_products import linear
from .onnx_sizes import Size, product
from .onnx_walk import Call, Importer, Known, Operand, handles

MAX_PHASES = 4096  # of a transposed convolution: each becomes a kernel of its own


@dataclass
class Window:
    """What a convolution does along its spatial axes; `pads` are those in front, then those behind."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    groups: int = 1

    @property
    def rank(self) -> int:
        return len(self.kernel)

    def patches(self) -> bool:
        plain = self.groups == 1 and not any(self.pads) and set(self.dilations) == {1}
        return plain and self.strides == self.kernel

    def point(self) -> bool:
        return not any(self.pads) and {*self.kernel, *self.strides} == {1}

    def span(self, axis: int) -> int:
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def result(self, axis: int, size: Size) -> Size:
        rows = size + self.pads[axis] + self.pads[self.rank + axis] - self.span(axis)
        return (
            Size(max(0, rows.constant // self.strides[axis] + 1))
            if rows.constant is not None
            else (rows if self.strides[axis] == 1 else rows // self.strides[axis]) + 1
        )

    def require_steps(self) -> None:
        """Throws where strides, dilations or groups are none of a kernel."""
        steps = [*self.strides, *self.dilations, self.groups]
        if {len(self.strides), len(self.dilations)} != {self.rank} or min(steps) < 1:
            raise ValueError(
                f"strides {self.strides}, dilations {self.dilations} and {self.groups} groups of a kernel {self.kernel}"
            )

    def attributes(self) -> dict[str, list[int]]:
        """Those of an operator over pictures."""
        return {"kernel": self.kernel, "stride": self.strides, "dilation": self.dilations, "pads": self.pads}


def window_of(b: Importer, call: Call, kernel: list[int]) -> Window:
    rank, automatic = len(kernel), call.get("auto_pad", "NOTSET")
    steps, dilations = (call.get(name, [1] * rank) for name in ("strides", "dilations"))
    window = Window(kernel, steps, dilations, [0] * 2 * rank, call.get("group", 1))
    window.require_steps()
    if automatic == "NOTSET":
        window.pads = list(call.get("pads", window.pads))
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
    span, stride = window.span(axis), window.strides[axis]
    if size.constant is None and stride != 1:
        raise call.unsupported("auto_pad and a stride along a dynamic dimension")
    rows = 1 if size.constant is None else -(-size.constant // stride)
    return max(0, span - 1 if stride == 1 else (rows - 1) * stride + span - size.constant)


def channels_last(b: Importer, x: Operand) -> Operand:
    return b.transpose(x, [0, *range(2, b.rank(x)), 1])


def channels_first(b: Importer, x: Operand) -> Operand:
    return b.transpose(x, [0, b.rank(x) - 1, *range(1, b.rank(x) - 1)])


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
    if window.patches() and divides(b.shape(call[0])[2:], window.kernel) and not window.point():
        return patches(b, call[0], call[1], call[2], window.kernel)
    if window.rank > 2:
        raise call.unsupported(f"a kernel of {window.rank} spatial dimensions")
    rows = convolve(b, channels_last(b, call[0]), call[1], call[2], window)
    return channels_first(b, rows)


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
    return channels_first(b, linear(b, x, matrix, False, bias))


def convolve(b: Importer, rows: Operand, weight: Known, bias: Operand | None, window: Window) -> Operand:
    """[batch, .., channels], of one or two spatial dimensions, with a weight [outputs, channels / groups, ..]."""
    array, operands = weight.array, [] if bias is None else [bias]
    outputs, width = array.shape[:2]
    batch, *spatial, _ = b.shape(rows)
    shape = (batch, *(window.result(axis, size) for axis, size in enumerate(spatial)), Size(outputs))
    if window.point() and window.groups == 1:
        return linear(b, rows, Known(array.reshape(outputs, width), weight.name), False, bias)
    if window.rank == 1:
        (stride,), (dilation,), (left, right) = window.strides, window.dilations, window.pads
        options = {"stride": stride, "dilation": dilation, "pad_left": left, "pad_right": right}
    else:
        options = window.attributes()
    op = f"conv{window.rank}d"
    if width == 1 and outputs == window.groups:
        kernel = Known(np.ascontiguousarray(array.reshape(outputs, -1).T), weight.name)
        return b.emit(f"depthwise_{op}", [rows, kernel, *operands], "float32", shape, **options)
    matrix = Known(np.moveaxis(array, 1, -1).reshape(outputs, -1), weight.name)
    options |= {"groups": window.groups} | ({"taps": window.kernel[0]} if window.rank == 1 else {})
    return b.emit(op, [rows, b.operand(matrix, "linear"), *operands], "float32", shape, **options)


# Transposed convolutions: stride S is S dense convolutions, one for each phase of the result.


@dataclass
class Phase:
    """Which taps an axis' result u S + phase reads: the first reads row u - `pad`, the others follow `step` apart."""

    taps: list[int]
    step: int
    pad: int


def phases_of(kernel: int, stride: int, dilation: int, cut_front: int) -> list[Phase]:
    phases = []
    for phase in range(stride):
        place = phase + cut_front
        behind = {(tap * dilation - place % stride) // stride: tap for tap in range(kernel)
                  if (tap * dilation - place) % stride == 0}  # fmt: skip
        order = sorted(behind, reverse=True)  # from the row that lies farthest back on
        step = order[0] - order[1] if len(order) > 1 else 1
        pad = order[0] - place // stride if order else 0
        phases.append(Phase([behind[item] for item in order], step, pad))
    return phases


@handles("ConvTranspose")
def conv_transpose(b: Importer, call: Call) -> Operand:
    weight = b.numbers(call[1])
    if weight is None or (call[2] is not None and b.numbers(call[2]) is None):
        raise call.unsupported("weights that are not constants")
    rank = weight.ndim - 2
    if rank not in (1, 2) or b.rank(call[0]) != weight.ndim:
        raise call.unsupported(f"a kernel of {rank} spatial dimensions")
    kernel, groups = list(weight.shape[2:]), call.get("group", 1)
    window = Window(kernel, call.get("strides", [1] * rank), call.get("dilations", [1] * rank), [0] * 2 * rank, groups)
    window.require_steps()
    if math.prod(window.strides) > MAX_PHASES:
        raise call.unsupported(f"strides of {window.strides}")
    lengths = [transposed_length(b, call, window, axis) for axis in range(rank)]
    name, bias = call[1].name, call[2]
    if bias is None:
        bias = Known(np.zeros(b.limited(weight.shape[1] * groups), np.float32), "zeros")
    rows = channels_last(b, call[0])
    if rank == 1:  # one line of a picture
        batch, time, channels = b.shape(rows)
        rows = b.reshape(rows, (batch, Size(1), time, channels))
        weight, lengths = weight[:, :, None], [Size(1), *lengths]
        window = Window([1, *kernel], [1, *window.strides], [1, *window.dilations], [0, window.pads[0], 0, 0], groups)
    # [C, M / groups, ..] -> [M, C / groups, ..]
    split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    turned = split.swapaxes(1, 2).reshape(-1, split.shape[1], *weight.shape[2:])
    out = by_phases(b, rows, Known(turned, name), bias, window, lengths)
    if rank == 1:
        out = b.reshape(out, (b.shape(out)[0], *b.shape(out)[2:]))
    return channels_first(b, out)


def transposed_length(b: Importer, call: Call, window: Window, axis: int) -> Size:
    """The length of the result; sets how much of its front is cut."""
    rank, size = window.rank, b.shape(call[0])[2 + axis]
    stride, span = window.strides[axis], window.span(axis)
    extra = call.get("output_padding", [0] * rank)[axis]
    whole, wanted, automatic = (
        (size - 1) * stride + span + extra,
        call.get("output_shape"),
        call.get("auto_pad", "NOTSET"),
    )
    if wanted is None and automatic not in ("SAME_UPPER", "SAME_LOWER"):
        pads = call.get("pads", [0] * 2 * rank) if automatic == "NOTSET" else [0] * 2 * rank
        window.pads[axis] = pads[axis]
        return whole - pads[axis] - pads[rank + axis]
    length = size * stride if wanted is None else Size(wanted[-rank:][axis])
    cut_all = (whole - length).constant
    if cut_all is None:
        raise call.unsupported("output_shape along a dynamic dimension")
    window.pads[axis] = max(0, cut_all // 2 if automatic != "SAME_LOWER" else cut_all - cut_all // 2)
    return length


def by_phases(
    b: Importer, rows: Operand, weight: Known, bias: Operand, window: Window, lengths: Sequence[Size]
) -> Operand:
    """[batch, height, width, channels] -> [batch, lengths.., outputs]."""
    axes = [phases_of(window.kernel[axis], window.strides[axis], window.dilations[axis], window.pads[axis])
            for axis in (0, 1)]  # fmt: skip
    counts = [-(-length // stride) if length.constant is None else Size(-(-length.constant // stride))
              for length, stride in zip(lengths, window.strides, strict=True)]  # fmt: skip
    if None in [(count - size).constant for count, size in zip(counts, b.shape(rows)[1:3], strict=True)]:
        raise b.call.unsupported("a stride along a dynamic dimension")
    parts = [one_phase(b, rows, weight, bias, window.groups, (down, across), counts)
             for down in axes[0] for across in axes[1]]  # fmt: skip
    outputs, batch = Size(len(weight.array)), b.shape(rows)[0]
    if len(parts) == 1:
        return parts[0]
    joined = b.emit("concat", parts, "float32", (batch, *counts, outputs * len(parts)), axis=3)
    steps = [Size(step) for step in window.strides]
    joined = b.reshape(joined, (batch, *counts, *steps, outputs))
    joined = b.transpose(joined, [0, 1, 3, 2, 4, 5])
    joined = b.reshape(joined, (batch, *(count * step for count, step in zip(counts, steps, strict=True)), outputs))
    for axis, length in enumerate(lengths):
        joined = cut(b, joined, 1 + axis, Size(0), length)
    return joined


def one_phase(
    b: Importer,
    rows: Operand,
    weight: Known,
    bias: Operand,
    groups: int,
    phase: tuple[Phase, Phase],
    counts: Sequence[Size],
) -> Operand:
    batch, outputs = b.shape(rows)[0], len(weight.array)
    if not all(item.taps for item in phase):  # nothing reaches this phase
        return b.expand(b.reshape(bias, [Size(1)] * 3 + [Size(outputs)]), (batch, *counts, Size(outputs)))
    kernel = weight.array[:, :, phase[0].taps][:, :, :, phase[1].taps]
    window = Window(list(kernel.shape[2:]), [1, 1], [item.step for item in phase], [0] * 4, groups)
    for axis, item in enumerate(phase):
        size = b.shape(rows)[1 + axis]
        behind = (counts[axis] - size).constant - item.pad + window.span(axis) - 1
        if item.pad < 0 or behind < 0:
            rows = cut(b, rows, 1 + axis, Size(max(0, -item.pad)), size - max(0, -behind))
        window.pads[axis], window.pads[2 + axis] = max(0, item.pad), max(0, behind)
    return convolve(b, rows, Known(np.ascontiguousarray(kernel), weight.name), bias, window)
