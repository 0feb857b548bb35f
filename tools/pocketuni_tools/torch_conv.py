"""Handlers of PyTorch convolutions over time. PyTorch's tensors are [batch, channels, time], those of the operators
[batch, time, channels]: each handler writes a transpose in front and one behind, and those of neighbours cancel."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch

from .torch_walk import Importer, handles

Node = torch.fx.Node
Args = SimpleNamespace
SWAP = [0, 2, 1]


def arranged(
    b: Importer, weight: torch.Tensor, kind: str, arrange: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """A weight in another order: one copy for each constant and order, so that a shared weight is stored once."""
    key = (id(weight), kind)
    if key not in b.arranged:
        b.arranged[key] = b.keep(arrange(weight.detach()).contiguous(), b.name_of(weight))
    return b.arranged[key]


def one(value: int | list[int]) -> int:
    return value[0] if isinstance(value, (list, tuple)) else value


def paddings(b: Importer, padding: int | str | list[int], span: int) -> tuple[int, int]:
    if padding == "same":
        return (span - 1) // 2, span - 1 - (span - 1) // 2
    if padding == "valid":
        return 0, 0
    if isinstance(padding, str):
        raise b.unsupported(f"padding {padding!r}")
    return one(padding), one(padding)


@handles("constant_pad_nd", "pad")
def pad(b: Importer, node: Node, a: Args) -> str:
    """Zeros (or another number) around the last axes. A convolution over time that reads the result takes zeros around
    the last axis as its own."""
    if getattr(a, "mode", "constant") != "constant":
        raise b.unsupported(f"mode {a.mode!r}")
    if min(a.pad) < 0:
        raise b.unsupported(f"pad={list(a.pad)}, which cuts")
    source, rank = b.operand(a.input if hasattr(a, "input") else a.self), len(b.shape(node))
    x, value = source, a.value or 0
    for back, (before, after) in enumerate(zip(a.pad[::2], a.pad[1::2], strict=True), 1):
        x = pad_axis(b, node, x, rank - back, before, after, value)
    if value == 0 and len(a.pad) == 2 and x != source:
        b.padded[x] = (source, a.pad[0], a.pad[1])
    return x


def pad_axis(b: Importer, node: Node, x: str, axis: int, before: int, after: int, value: float) -> str:
    shape = tuple(b.graph.shape_of(x))
    longer = b.shape(node)[axis]
    parts = [x]
    for place, count in ((0, before), (2, after)):
        if count:
            filler = b.operand(torch.full((1,) * len(shape), value).to(node.meta["val"].dtype))
            parts.insert(place, b.expand(filler, (*shape[:axis], count, *shape[axis + 1 :])))
    if len(parts) == 1:
        return x
    return b.emit("concat", parts, b.dtype(node), (*shape[:axis], longer, *shape[axis + 1 :]), axis=axis)


@handles("conv1d", "convolution")
def conv1d(b: Importer, node: Node, a: Args) -> str:
    weight = b.constant(a.weight)
    if weight is None:
        raise b.unsupported("a weight that is computed")
    if weight.dim() != 3 or len(b.shape(node)) != 3:
        raise b.unsupported("an input that is not [batch, channels, time]")
    if getattr(a, "transposed", False):
        return conv_transpose1d(b, node, a)
    outputs, width, taps = weight.shape
    stride, dilation, groups = one(a.stride), one(a.dilation), a.groups
    left, right = paddings(b, a.padding, (taps - 1) * dilation + 1)
    x = b.operand(a.input, "float32")
    if x in b.padded:
        x, before, after = b.padded[x]
        left, right = left + before, right + after
    rows = b.transpose(x, SWAP)
    batch, _, time = b.shape(node)
    shape = (batch, time, outputs)
    bias = [] if a.bias is None else [b.operand(a.bias)]
    if taps == 1 and stride == 1 and groups == 1 and left == right == 0:
        matrix = b.operand(arranged(b, weight, "matrix", lambda w: w[:, :, 0]), role="gemm")
        return b.transpose(b.emit("linear", [rows, matrix, *bias], "float32", shape), SWAP)
    window = {"stride": stride, "dilation": dilation, "pad_left": left, "pad_right": right}
    if width == 1 and outputs == groups:
        kernel = b.operand(arranged(b, weight, "depthwise", lambda w: w[:, 0].t()))
        return b.transpose(b.emit("depthwise_conv1d", [rows, kernel, *bias], "float32", shape, **window), SWAP)
    matrix = b.operand(arranged(b, weight, "taps", lambda w: w.transpose(1, 2).reshape(outputs, -1)), role="gemm")
    return b.transpose(
        b.emit("conv1d", [rows, matrix, *bias], "float32", shape, taps=taps, groups=groups, **window), SWAP
    )


def by_phases(weight: torch.Tensor, stride: int) -> torch.Tensor:
    """[C, N, taps] -> [stride N, M C]: docs/format.md, `conv_transpose1d`."""
    channels, outputs, taps = weight.shape
    count = -(-taps // stride)
    filled = torch.nn.functional.pad(weight, (0, count * stride - taps))
    return filled.reshape(channels, outputs, count, stride).flip(2).permute(3, 1, 2, 0).reshape(stride * outputs, -1)


@handles("conv_transpose1d")
def conv_transpose1d(b: Importer, node: Node, a: Args) -> str:
    weight, stride = b.constant(a.weight), one(a.stride)
    if weight is None or weight.dim() != 3 or len(b.shape(node)) != 3:
        raise b.unsupported("a weight that is computed, or an input that is not [batch, channels, time]")
    if a.groups != 1 or one(a.dilation) != 1:
        raise b.unsupported("groups or dilation")
    cut, extra = one(a.padding), one(a.output_padding)
    batch, outputs, time = b.shape(node)
    matrix = b.operand(arranged(b, weight, f"phases{stride}", lambda w: by_phases(w, stride)), role="gemm")
    bias = [] if a.bias is None else [b.operand(a.bias)]
    rows = b.transpose(b.operand(a.input, "float32"), SWAP)
    window = {"taps": weight.shape[2], "stride": stride, "cut_left": cut, "cut_right": cut - extra}
    out = b.emit("conv_transpose1d", [rows, matrix, *bias], "float32", (batch, time, outputs), **window)
    return b.transpose(out, SWAP)
