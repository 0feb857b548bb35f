"""Handlers of ONNX operators on shapes: views, joins, sizes, creation, and control that is decided while importing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .onnx_fold import MAX_ELEMENTS
from .onnx_index import cut
from .onnx_load import array_of, dtype_name
from .onnx_ops import axes_in, axis_of, given_axes, join, reduce
from .onnx_sizes import Size, broadcast, product, settle, sizes_array
from .onnx_walk import Call, Importer, Known, Operand, handles


@handles("Identity")
def identity(b: Importer, call: Call) -> Operand:
    return call[0]


@handles("Dropout")
def dropout(b: Importer, call: Call) -> list[Operand]:
    training = call[2]
    if training is not None and (b.numbers(training) is None or training.array.any()):
        raise call.unsupported("training_mode")
    if call.outputs == 1:
        return [call[0]]
    kept = Known(np.ones([1] * b.rank(call[0]), bool))
    return [call[0], b.expand(kept, b.shape(call[0]))]


@handles("Cast", "CastLike")
def cast(b: Importer, call: Call) -> Operand:
    if call.op == "CastLike":
        return b.cast(call[0], b.dtype(call[1]))
    return b.cast(call[0], dtype_name(call.get("to"), "the result"))


@handles("Shape")
def shape(b: Importer, call: Call) -> Operand:
    sizes = sizes_array(list(b.shape(call[0]))).reshape(-1)
    return Known(settle(sizes[call.get("start", 0) : call.get("end")]))


@handles("Size")
def size_(b: Importer, call: Call) -> Operand:
    return Known(settle(sizes_array(product(b.shape(call[0])))))


@handles("Reshape")
def reshape(b: Importer, call: Call) -> Operand:
    old, wanted = b.shape(call[0]), b.dims(call[1], "a shape")
    if call.get("allowzero", 0) and any(item == 0 for item in wanted):
        raise call.unsupported("a size of 0")
    if not call.get("allowzero", 0):
        wanted = [old[axis] if item == 0 else item for axis, item in enumerate(wanted)]
    if (open_ := [axis for axis, item in enumerate(wanted) if item == -1]) and len(open_) == 1:
        known = product(item for item in wanted if item != -1)
        wanted[open_[0]] = Size(0) if known == 0 else product(old) // known
    counts = product(old).constant, product(wanted).constant
    if len(open_) > 1 or (None not in counts and counts[0] != counts[1]):
        raise ValueError(f"a tensor of shape {list(old)} does not reshape to {wanted}")
    return b.reshape(call[0], wanted)


@handles("Flatten")
def flatten(b: Importer, call: Call) -> Operand:
    old, axis = b.shape(call[0]), call.get("axis", 1)
    axis = axis + len(old) if axis < 0 else axis
    return b.reshape(call[0], (product(old[:axis]), product(old[axis:])))


@handles("Squeeze")
def squeeze(b: Importer, call: Call) -> Operand:
    old, axes = b.shape(call[0]), given_axes(b, call)
    if axes is None:
        if any(item.constant is None for item in old):
            raise call.unsupported(f"no axes, of a tensor of shape {list(old)}")
        axes = [axis for axis, item in enumerate(old) if item == 1]
    chosen = axes_in(len(old), axes)
    if any(old[axis] != 1 for axis in chosen):
        raise ValueError(f"axes {axes} of a tensor of shape {list(old)} are not all 1")
    return b.reshape(call[0], [item for axis, item in enumerate(old) if axis not in chosen])


@handles("Unsqueeze")
def unsqueeze(b: Importer, call: Call) -> Operand:
    axes, rest = given_axes(b, call) or [], list(b.shape(call[0]))
    for axis in sorted(axes_in(len(rest) + len(axes), axes)):
        rest.insert(axis, Size(1))
    return b.reshape(call[0], rest)


@handles("Transpose")
def transpose(b: Importer, call: Call) -> Operand:
    return b.transpose(call[0], call.get("perm", list(range(b.rank(call[0])))[::-1]))


@handles("Expand")
def expand(b: Importer, call: Call) -> Operand:
    return b.expand(call[0], broadcast(b.shape(call[0]), tuple(b.dims(call[1], "a shape"))))


@handles("ConstantOfShape")
def constant_of_shape(b: Importer, call: Call) -> Operand:
    dims, value = b.dims(call[0], "a shape"), call.get("value")
    number = np.zeros(1, np.float32) if value is None else array_of(value, None)
    return b.expand(Known(number.reshape([1] * len(dims))), dims)


@handles("Tile")
def tile(b: Importer, call: Call) -> Operand:
    """Along each axis: a new axis is broadcast, then joined with the old one."""
    x, repeats = call[0], b.dims(call[1], "repetitions")
    for axis, times in enumerate(repeats):
        if times != 1:
            old = b.shape(x)
            x = b.reshape(x, (*old[:axis], Size(1), *old[axis:]))
            x = b.expand(x, (*old[:axis], times, *old[axis:]))
            x = b.reshape(x, (*old[:axis], times * old[axis], *old[axis + 1 :]))
    return x


@handles("Concat")
def concat(b: Importer, call: Call) -> Operand:
    parts = [value for value in call.inputs if b.shape(value) != (0,)]
    axis = axis_of(b, parts[0], call.get("axis"))
    shapes = [b.shape(value) for value in parts]
    if len({len(item) for item in shapes}) > 1:
        raise ValueError(f"parts of shapes {[list(item) for item in shapes]} do not join")
    total = sum((item[axis] for item in shapes[1:]), shapes[0][axis])
    known = [
        next((item[at] for item in shapes if item[at].constant is not None), shapes[0][at])
        for at in range(len(shapes[0]))
    ]
    if len(parts) == 1:
        return parts[0]
    return b.emit("concat", parts, b.dtype(parts[0]), (*known[:axis], total, *known[axis + 1 :]), axis=axis)


# Positions, and what is made of them.


def positions(b: Importer, length: Size, dtype: str = "int64") -> Operand:
    """0, 1, .. length - 1."""
    if length.constant is not None and length.constant <= MAX_ELEMENTS:
        return Known(np.arange(length.constant, dtype=dtype))
    if length.dim is None:
        raise b.call.unsupported(f"a range of the length {length}")
    return b.cast(b.emit("iota", [], "int64", (length,), shape=[length.dim]), dtype)


@handles("Range")
def range_(b: Importer, call: Call) -> Operand:
    if not all(isinstance(value, Known) for value in call.inputs):
        raise call.unsupported("limits that depend on the contents of inputs")
    dtypes = {b.dtype(value) for value in call.inputs}
    start, limit, delta = (b.dims(value, "limits")[0] for value in call.inputs)
    if "float32" in dtypes or delta.constant is None or delta.constant == 0:
        raise call.unsupported(f"limits {start}, {limit} and step {delta}")
    step = delta.constant
    length = limit - start if step == 1 else -((start - limit) // step)
    dtype = "int32" if dtypes == {"int32"} else "int64"
    if step > 0 and limit.dim is not None and start.constant is not None and start.constant >= 0:
        return cut(b, positions(b, limit, dtype), 0, start, None, step)
    out = positions(b, length, dtype)
    if step != 1:
        out = join(b, "mul", out, b.number(step, dtype))
    return out if start == 0 else join(b, "add", out, b.cast(Known(settle(sizes_array(start))), dtype))


def order_mask(b: Importer, op: str, rows: Size, columns: Size, shift: int = 0) -> Operand:
    """bool [rows, columns]: `row + shift <op> column`."""
    left, right = positions(b, rows), positions(b, columns)
    if isinstance(left, Known):
        left = Known(left.array + shift)
    elif shift:
        left = join(b, "add", left, b.number(shift, "int64"))
    return join(b, op, b.reshape(left, (rows, Size(1))), right, dtype="bool")


@handles("Trilu")
def trilu(b: Importer, call: Call) -> Operand:
    x, shift = call[0], 0
    if call[1] is not None:
        if b.numbers(call[1]) is None:
            raise call.unsupported("a diagonal that depends on inputs")
        shift = int(call[1].array.reshape(()))
    op = "less_equal" if call.get("upper", 1) else "greater_equal"
    if b.rank(x) < 2:
        raise ValueError(f"an operand of {b.rank(x)} dimensions, expected a matrix or more of them")
    keep = order_mask(b, op, *b.shape(x)[-2:], shift)
    return join(b, "where", keep, x, b.number(0, b.dtype(x)), dtype=b.dtype(x))


@handles("CumSum")
def cumsum(b: Importer, call: Call) -> Operand:
    """A masked sum: quadratic in the length, and exact for integers up to 2^24. It is no product of matrices because
    that could be quantized."""
    if b.numbers(call[1]) is None:
        raise call.unsupported("an axis that depends on inputs")
    x, axis = call[0], axis_of(b, call[0], int(call[1].array.reshape(())))
    rest = [place for place in range(b.rank(x)) if place != axis]
    perm = [*rest, axis]
    moved = b.transpose(b.cast(x, "float32"), perm)
    old = b.shape(moved)
    op = {(0, 0): "greater_equal", (1, 0): "greater", (0, 1): "less_equal", (1, 1): "less"}
    chosen = op[bool(call.get("exclusive", 0)), bool(call.get("reverse", 0))]
    weights = b.cast(order_mask(b, chosen, old[-1], old[-1]), "float32")
    wide = join(b, "mul", b.reshape(moved, (*old[:-1], Size(1), old[-1])), weights)
    total = reduce(b, "reduce_sum", wide, [-1], keep=False)
    return b.cast(b.transpose(total, [perm.index(place) for place in range(len(perm))]), b.dtype(x))


@handles("If")
def if_(b: Importer, call: Call) -> list[Any]:
    """Where the condition is known, its branch is walked in place."""
    if b.numbers(call[0]) is None:
        raise call.unsupported("a condition that depends on inputs")
    branch = call.get("then_branch" if call[0].array.any() else "else_branch", onnx.GraphProto())
    for tensor in branch.initializer:
        b.env[tensor.name] = Known(array_of(tensor, b.folder), tensor.name)
    b.walk(branch.node, f" of a branch of {call.name!r}, {call.position}")
    b.call = call
    if missing := [item.name for item in branch.output if item.name not in b.env]:
        raise ValueError(f"nothing writes {missing[0]!r}, which the branch returns")
    return [b.env[item.name] for item in branch.output]
