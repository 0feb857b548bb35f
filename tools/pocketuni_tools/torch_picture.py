"""Handlers of PyTorch operators on pictures [batch, channels, height, width]; see torch_conv.py for the transposes."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from .torch_conv import arranged
from .torch_walk import Importer, handles

Node = torch.fx.Node
Args = SimpleNamespace
ROWS, BACK = [0, 2, 3, 1], [0, 3, 1, 2]


def pair(value: int | list[int]) -> list[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * 2 if len(values) == 1 else values


def turned(shape: tuple) -> tuple:
    """A shape [batch, channels, height, width] with the channels last."""
    return (shape[0], *shape[2:], shape[1])


@handles("conv2d")
def conv2d(b: Importer, node: Node, a: Args) -> str:
    weight = b.constant(a.weight)
    if weight is None or len(b.shape(node)) != 4:
        raise b.unsupported("a weight that is computed, or an input that is not [batch, channels, height, width]")
    outputs, width, *kernel = weight.shape
    stride, dilation, groups = pair(a.stride), pair(a.dilation), a.groups
    if a.padding == "same":
        spans = [(taps - 1) * step for taps, step in zip(kernel, dilation, strict=True)]
        pads = [span // 2 for span in spans] + [span - span // 2 for span in spans]
    else:
        pads = [0] * 4 if a.padding == "valid" else pair(a.padding) * 2
    rows, shape = b.transpose(b.operand(a.input, "float32"), ROWS), turned(b.shape(node))
    bias = [] if a.bias is None else [b.operand(a.bias)]
    if [*kernel, *stride, groups] == [1] * 5 and not any(pads):
        matrix = b.operand(arranged(b, weight, "matrix", lambda w: w[:, :, 0, 0]), role="gemm")
        return b.transpose(b.emit("linear", [rows, matrix, *bias], "float32", shape), BACK)
    options = {"kernel": list(kernel), "stride": stride, "dilation": dilation, "pads": pads}
    if width == 1 and outputs == groups:
        taps = b.operand(arranged(b, weight, "depthwise", lambda w: w.reshape(outputs, -1).t()))
        return b.transpose(b.emit("depthwise_conv2d", [rows, taps, *bias], "float32", shape, **options), BACK)
    matrix = b.operand(arranged(b, weight, "taps", lambda w: w.permute(0, 2, 3, 1).reshape(outputs, -1)), role="gemm")
    return b.transpose(b.emit("conv2d", [rows, matrix, *bias], "float32", shape, groups=groups, **options), BACK)


@handles("batch_norm", "_native_batch_norm_legit_no_training")
def batch_norm(b: Importer, node: Node, a: Args) -> str | list[str | None]:
    """A factor and a shift for each channel."""
    arrays = [b.constant(item) for item in (a.running_mean, a.running_var)]
    if getattr(a, "training", False) or any(item is None for item in arrays):
        raise b.unsupported("statistics of the batch: call eval() on the module")
    shape = tuple(node.meta["val"][0].shape) if node.target._schema.name.endswith("no_training") else b.shape(node)
    if not all(isinstance(item, (int, str)) or item is None for item in shape):
        shape = tuple(b.dim(item) for item in shape)
    mean, variance = (item.double() for item in arrays)
    factor = 1 / torch.sqrt(variance + a.eps)
    if a.weight is not None:
        factor = factor * b.constant(a.weight).double()
    shift = -mean * factor
    if a.bias is not None:
        shift = shift + b.constant(a.bias).double()
    column = (-1, *[1] * (len(shape) - 2))
    rows = [b.operand(b.keep(row.float().reshape(column), node.name)) for row in (factor, shift)]
    x = b.operand(a.input, "float32")
    scaled = b.emit("mul", [x, rows[0]], "float32", shape)
    out = b.emit("add", [scaled, rows[1]], "float32", shape)
    return [out, None, None] if node.target._schema.name.endswith("no_training") else out


def pooled(b: Importer, node: Node, x: object, mode: str, window: dict[str, list[int]], counted: list[int]) -> str:
    shape = b.shape(node)
    if len(shape) != 4:
        raise b.unsupported("an input that is not [batch, channels, height, width]")
    rows = b.transpose(b.operand(x, "float32"), ROWS)
    return b.transpose(b.emit("pool2d", [rows], "float32", turned(shape), mode=mode, counted=counted, **window), BACK)


@handles("max_pool2d", "avg_pool2d")
def pool2d(b: Importer, node: Node, a: Args) -> str:
    if a.ceil_mode or getattr(a, "divisor_override", None):
        raise b.unsupported("ceil_mode or divisor_override")
    kernel, x = pair(a.kernel_size), a.self
    pads = pair(a.padding) * 2
    window = {"kernel": kernel, "stride": pair(a.stride) if a.stride else kernel, "pads": pads}
    window["dilation"] = pair(getattr(a, "dilation", 1))
    counted = pads if getattr(a, "count_include_pad", False) else [0] * 4
    return pooled(b, node, x, "max" if "max" in node.target._schema.name else "mean", window, counted)


@handles("adaptive_avg_pool2d", "_adaptive_avg_pool2d")
def adaptive_pool(b: Importer, node: Node, a: Args) -> str:
    """To one pixel, or to sizes that divide the picture's."""
    wanted, x = pair(a.output_size), b.operand(a.self, "float32")
    if wanted == [1, 1]:
        return b.emit("reduce_mean", [x], "float32", b.shape(node), axes=[2, 3], keepdims=1)
    sizes = b.graph.shape_of(x)[2:]
    if any(not isinstance(size, int) or size % count for size, count in zip(sizes, wanted, strict=True)):
        raise b.unsupported(f"output_size {wanted} of a picture {list(sizes)}")
    kernel = [size // count for size, count in zip(sizes, wanted, strict=True)]
    window = {"kernel": kernel, "stride": kernel, "dilation": [1, 1], "pads": [0] * 4}
    return pooled(b, node, a.self, "mean", window, [0] * 4)


@handles("prelu")
def prelu(b: Importer, node: Node, a: Args) -> str:
    slopes, shape, x = b.constant(a.weight), b.shape(node), b.operand(a.self, "float32")
    if slopes is None:
        raise b.unsupported("slopes that are computed")
    if slopes.numel() == 1:
        return b.emit("leaky_relu", [x], "float32", shape, alpha=float(slopes))
    zero = b.operand(0.0, "float32")
    row = b.operand(b.keep(slopes.reshape(-1, *[1] * (len(shape) - 2)), node.name))
    above = b.emit("maximum", [x, zero], "float32", shape)
    below = b.emit("mul", [b.emit("minimum", [x, zero], "float32", shape), row], "float32", shape)
    return b.emit("add", [above, below], "float32", shape)
