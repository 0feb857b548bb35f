"""Handlers of ONNX operators that are made of several: functions, norms over channels, quantization, scattering."""

from __future__ import annotations

import math

import numpy as np

from .onnx_index import element_places, gather
from .onnx_load import dtype_name
from .onnx_ops import axes_in, axis_of, given_axes, join, layer_norm, reduce
from .onnx_shapes import positions
from .onnx_sizes import Size, product
from .onnx_walk import Call, Importer, Known, Operand, handles

# Functions of one value.


def compared(b: Importer, op: str, x: Operand, y: Operand) -> Operand:
    return join(b, op, x, y, dtype="bool")


def choose(b: Importer, condition: Operand, yes: Operand, no: Operand) -> Operand:
    return join(b, "where", condition, yes, no, dtype=b.dtype(yes))


@handles("Sign")
def sign(b: Importer, call: Call) -> Operand:
    x, zero = call[0], b.number(0, b.dtype(call[0]))
    above, below = (b.cast(compared(b, op, x, zero), b.dtype(x)) for op in ("greater", "less"))
    return join(b, "sub", above, below)


@handles("Tan")
def tan(b: Importer, call: Call) -> Operand:
    return join(b, "div", join(b, "sin", call[0]), join(b, "cos", call[0]))


@handles("Sinh", "Cosh")
def hyperbolic(b: Importer, call: Call) -> Operand:
    up, down = join(b, "exp", call[0]), join(b, "exp", join(b, "neg", call[0]))
    return join(b, "mul", join(b, "sub" if call.op == "Sinh" else "add", up, down), b.number(0.5))


@handles("Asinh", "Acosh", "Atanh")
def inverse_hyperbolic(b: Importer, call: Call) -> Operand:
    """asinh goes by |x|, so that large negative numbers do not cancel."""
    x, one = call[0], b.number(1.0)
    if call.op == "Atanh":
        ratio = join(b, "div", join(b, "add", x, one), join(b, "sub", one, x))
        return join(b, "mul", join(b, "log", ratio), b.number(0.5))
    size = join(b, "abs", x) if call.op == "Asinh" else x
    root = join(b, "sqrt", join(b, "add" if call.op == "Asinh" else "sub", join(b, "mul", x, x), one))
    out = join(b, "log", join(b, "add", size, root))
    if call.op == "Acosh":
        return out
    return choose(b, compared(b, "less", x, b.number(0.0)), join(b, "neg", out), out)


@handles("ThresholdedRelu")
def thresholded_relu(b: Importer, call: Call) -> Operand:
    above = compared(b, "greater", call[0], b.number(call.get("alpha", 1.0)))
    return choose(b, above, call[0], b.number(0.0))


@handles("Shrink")
def shrink(b: Importer, call: Call) -> Operand:
    x, limit, bias = call[0], call.get("lambd", 0.5), b.number(call.get("bias", 0.0))
    above = choose(b, compared(b, "greater", x, b.number(limit)), join(b, "sub", x, bias), b.number(0.0))
    return choose(b, compared(b, "less", x, b.number(-limit)), join(b, "add", x, bias), above)


@handles("Mod")
def mod(b: Importer, call: Call) -> Operand:
    """The sign of the divisor (integers), or of the dividend (`fmod`)."""
    x, y = call[0], call[1]
    if b.dtype(x) != "float32":
        if call.get("fmod", 0):
            quotient = join(b, "div", x, y)
            return join(b, "sub", x, join(b, "mul", quotient, y))
        rest = join(b, "sub", x, join(b, "mul", join(b, "div", x, y), y))
        zero = b.number(0, b.dtype(x))
        opposite = compared(b, "less", join(b, "mul", rest, y), zero)
        return choose(b, opposite, join(b, "add", rest, y), rest)
    if not call.get("fmod", 0):
        raise call.unsupported("floats and without fmod")
    quotient = join(b, "div", x, y)
    whole = join(b, "floor", join(b, "abs", quotient))
    signed = choose(b, compared(b, "less", quotient, b.number(0.0)), join(b, "neg", whole), whole)
    return join(b, "sub", x, join(b, "mul", signed, y))


# Reductions.


@handles("ReduceLogSum", "ReduceLogSumExp")
def reduce_log(b: Importer, call: Call) -> Operand:
    x, keep, axes = call[0], bool(call.get("keepdims", 1)), given_axes(b, call)
    if not axes:
        if call.get("noop_with_empty_axes", 0):
            return x if call.op == "ReduceLogSumExp" else join(b, "log", x)
        axes = list(range(b.rank(x)))
    if call.op == "ReduceLogSum":
        return join(b, "log", reduce(b, "reduce_sum", x, axes, keep))
    peak = reduce(b, "reduce_max", x, axes)
    total = reduce(b, "reduce_sum", join(b, "exp", join(b, "sub", x, peak)), axes)
    out = join(b, "add", join(b, "log", total), peak)
    if keep:
        return out
    chosen = axes_in(b.rank(x), axes)
    return b.reshape(out, [item for axis, item in enumerate(b.shape(x)) if axis not in chosen])


@handles("ArgMax", "ArgMin")
def arg_max(b: Importer, call: Call) -> Operand:
    x, keep = b.cast(call[0], "float32"), call.get("keepdims", 1)
    axis = axis_of(b, x, call.get("axis", 0))
    if call.op == "ArgMin":
        x = join(b, "neg", x)
    shape = [Size(1) if place == axis else item for place, item in enumerate(b.shape(x)) if keep or place != axis]
    options = {"axis": axis, "keepdims": int(keep), "last": int(call.get("select_last_index", 0))}
    return b.emit("argmax", [x], "int64", shape, **options)


@handles("Hardmax")
def hardmax(b: Importer, call: Call) -> Operand:
    axis = axis_of(b, call[0], call.get("axis", -1 if call.version >= 13 else 1))
    x = call[0] if call.version >= 13 else b.flat(call[0], axis)
    shape = b.shape(x)
    best = b.emit("argmax", [x], "int64", (*shape[:axis], Size(1), *shape[axis + 1 :]), axis=axis, keepdims=1)
    places = b.reshape(positions(b, shape[axis]), [shape[axis], *[Size(1)] * (len(shape) - axis - 1)])
    return b.reshape(b.cast(compared(b, "equal", best, places), b.dtype(x)), b.shape(call[0]))


@handles("OneHot")
def one_hot(b: Importer, call: Call) -> Operand:
    depth = b.numbers(call[1])
    if depth is None:
        raise call.unsupported("a depth that depends on inputs")
    count, indices = int(depth.reshape(-1)[0]), b.cast(call[0], "int64")
    rank = b.rank(indices) + 1
    axis = call.get("axis", -1) % rank
    negative = compared(b, "less", indices, b.number(0, "int64"))
    indices = choose(b, negative, join(b, "add", indices, b.number(count, "int64")), indices)
    shape = b.shape(indices)
    indices = b.reshape(indices, (*shape[:axis], Size(1), *shape[axis:]))
    places = Known(np.arange(b.limited(count)).reshape(-1, *[1] * (rank - axis - 1)))
    off, on = (b.reshape(gather(b, call[2], Known(np.array([at])), 0), []) for at in (0, 1))
    return choose(b, compared(b, "equal", indices, places), on, off)


@handles("EyeLike")
def eye_like(b: Importer, call: Call) -> Operand:
    rows, columns = b.shape(call[0])
    dtype = dtype_name(call.get("dtype"), "the result") if "dtype" in call.attributes else b.dtype(call[0])
    left = join(b, "add", positions(b, rows), b.number(call.get("k", 0), "int64"))
    equal = compared(b, "equal", b.reshape(left, (rows, Size(1))), positions(b, columns))
    return b.cast(equal, dtype)


# Norms over channels: axis 1.


def along_channels(b: Importer, x: Operand, row: Operand) -> Operand:
    """A value for each channel, shaped to meet x."""
    return b.reshape(row, [b.shape(row)[0], *[Size(1)] * (b.rank(x) - 2)])


@handles("InstanceNormalization")
def instance_normalization(b: Importer, call: Call) -> Operand:
    x = layer_norm(b, call[0], None, None, call.get("epsilon", 1e-5), axis=2)
    return join(b, "add", join(b, "mul", x, along_channels(b, x, call[1])), along_channels(b, x, call[2]))


@handles("GroupNormalization")
def group_normalization(b: Importer, call: Call) -> Operand:
    """Before opset 21 scale and shift belong to groups."""
    shape, groups = b.shape(call[0]), call.get("num_groups")
    x = b.reshape(call[0], (shape[0], Size(groups), shape[1] // groups, *shape[2:]))
    x = layer_norm(b, x, None, None, call.get("epsilon", 1e-5), axis=2)
    if call.version < 21:
        rows = [b.reshape(row, [Size(groups), *[Size(1)] * (b.rank(x) - 2)]) for row in call.inputs[1:]]
        return b.reshape(join(b, "add", join(b, "mul", x, rows[0]), rows[1]), shape)
    x = b.reshape(x, shape)
    return join(b, "add", join(b, "mul", x, along_channels(b, x, call[1])), along_channels(b, x, call[2]))


@handles("MeanVarianceNormalization")
def mean_variance_normalization(b: Importer, call: Call) -> Operand:
    axes = call.get("axes", [0, 2, 3])
    centred = join(b, "sub", call[0], reduce(b, "reduce_mean", call[0], axes))
    deviation = join(b, "sqrt", reduce(b, "reduce_mean", join(b, "mul", centred, centred), axes))
    return join(b, "div", centred, join(b, "add", deviation, b.number(1e-9)))


@handles("LRN")
def local_response_normalization(b: Importer, call: Call) -> Operand:
    """The sum over neighbouring channels is a mean of a window of one line, times its size."""
    x, size = call[0], call.get("size")
    alpha, beta, bias = (call.get(name, value) for name, value in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    batch, channels, *spatial = b.shape(x)
    square = b.reshape(join(b, "mul", x, x), (batch, channels, Size(1), product(spatial)))
    pads = [(size - 1) // 2, 0, size // 2, 0]
    options = {"kernel": [size, 1], "stride": [1, 1], "dilation": [1, 1], "pads": pads, "counted": pads}
    mean = b.emit("pool2d", [square], "float32", b.shape(square), mode="mean", **options)
    total = join(b, "add", join(b, "mul", b.reshape(mean, b.shape(x)), b.number(alpha)), b.number(bias))
    return join(b, "div", x, join(b, "pow", total, b.number(beta)))


# Quantization: integers of 8 and 16 bits are kept in int32.

LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def row_of_axis(b: Importer, call: Call, value: Operand) -> Operand:
    """A scale or zero point for each element along `axis`."""
    if b.rank(value) != 1:
        return value
    axis = axis_of(b, call[0], call.get("axis", 1))
    return b.reshape(value, [b.shape(value)[0], *[Size(1)] * (b.rank(call[0]) - axis - 1)])


@handles("DequantizeLinear")
def dequantize(b: Importer, call: Call) -> Operand:
    if call.get("block_size", 0):
        raise call.unsupported("blocks")
    x = b.cast(call[0], "float32")
    if call[2] is not None:
        x = join(b, "sub", x, b.cast(row_of_axis(b, call, call[2]), "float32"))
    return join(b, "mul", x, row_of_axis(b, call, call[1]))


@handles("QuantizeLinear")
def quantize(b: Importer, call: Call) -> Operand:
    """A zero point that is a constant tells the range of the result; without one it is that of uint8."""
    kind = "uint8" if call[2] is None else str(call[2].array.dtype) if b.numbers(call[2]) is not None else ""
    if call.get("block_size", 0) or kind not in LIMITS:
        raise call.unsupported("blocks, or a zero point that is no constant of 8 or 16 bits")
    low, high = LIMITS[kind]
    x = join(b, "round", join(b, "div", b.cast(call[0], "float32"), row_of_axis(b, call, call[1])))
    if call[2] is not None:
        x = join(b, "add", x, b.cast(row_of_axis(b, call, call[2]), "float32"))
    return b.cast(join(b, "clip", x, min=float(low), max=float(high)), "int32")


@handles("DynamicQuantizeLinear")
def dynamic_quantize(b: Importer, call: Call) -> list[Operand]:
    x, zero, axes = call[0], b.number(0.0), list(range(b.rank(call[0])))
    low = join(b, "minimum", reduce(b, "reduce_min", x, axes, keep=False), zero)
    high = join(b, "maximum", reduce(b, "reduce_max", x, axes, keep=False), zero)
    scale = join(b, "div", join(b, "sub", high, low), b.number(255.0))
    point = join(b, "clip", join(b, "round", join(b, "neg", join(b, "div", low, scale))), min=0.0, max=255.0)
    y = join(b, "add", join(b, "round", join(b, "div", x, scale)), point)
    return [b.cast(join(b, "clip", y, min=0.0, max=255.0), "int32"), scale, b.cast(point, "int32")]


# Scattering at places that are known: a lookup in the old elements and the new ones, one after the other.


def scattered(b: Importer, call: Call, places: np.ndarray, old_rows: int, width: Size) -> Operand:
    """Rows of the data, those at `places` replaced by the updates, of `width` elements each."""
    if call.get("reduction", "none") != "none":
        raise call.unsupported(f"reduction {call.get('reduction')!r}")
    new_rows, shape = places.size, b.shape(call[0])
    index = np.arange(b.limited(old_rows))
    index[places.reshape(-1)] = old_rows + np.arange(new_rows)  # of several updates of a place the last one counts
    rows = [b.reshape(call[0], (Size(old_rows), width)), b.reshape(call[2], (Size(new_rows), width))]
    joined = b.emit("concat", rows, b.dtype(call[0]), (Size(old_rows + new_rows), width), axis=0)
    return b.reshape(gather(b, joined, Known(index), 0), shape)


@handles("ScatterND")
def scatter_nd(b: Importer, call: Call) -> Operand:
    indices, shape = b.numbers(call[1]), [item.constant for item in b.shape(call[0])]
    if indices is None or None in shape[: indices.shape[-1]]:
        raise call.unsupported("places that depend on inputs, or dynamic dimensions")
    lead = shape[: indices.shape[-1]]
    wrapped = [
        np.where(part < 0, part + size, part) for part, size in zip(np.moveaxis(indices, -1, 0), lead, strict=True)
    ]
    places = np.ravel_multi_index(tuple(wrapped), tuple(lead))
    return scattered(b, call, places, math.prod(lead), product(b.shape(call[0])[len(lead) :]))


@handles("ScatterElements")
def scatter_elements(b: Importer, call: Call) -> Operand:
    indices = b.numbers(call[1])
    if indices is None:
        raise call.unsupported("places that depend on inputs")
    places, count = element_places(b, call, indices)
    return scattered(b, call, places, count, Size(1))
