"""Handlers of PyTorch operators on shapes: views, slices, joins, indexing, creation.

The shape of each result comes from export itself (`Importer.shape`), so the many spellings of a view need no parsing.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from .ir import Shape
from .torch_walk import Dim, Importer, dtype_name, handles

TO_END = 1 << 62
Node = torch.fx.Node
Args = SimpleNamespace


def axis_of(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


@handles("alias", "clone", "contiguous", "detach", "dropout", "feature_dropout", "alpha_dropout", "positive")
@handles("lift_fresh_copy", "lift_fresh", "_to_copy", "to", "type_as")
def identity(b: Importer, node: Node, a: Args) -> Any:
    """Copies vanish; a change of dtype becomes a cast. Dropout does nothing outside of training."""
    x = a.self if hasattr(a, "self") else a.input
    if getattr(a, "train", False):
        raise b.unsupported("train=True")
    value = b.get(x)
    return value if isinstance(value, torch.Tensor) else b.cast(value, b.dtype(node))


@handles("view", "_unsafe_view", "reshape", "flatten", "unflatten", "view_copy", "squeeze", "view_as", "reshape_as")
def view(b: Importer, node: Node, a: Args) -> str:
    shape = b.shape(node)
    sizes = getattr(a, "size", None) or getattr(a, "shape", None)
    if None in shape and isinstance(sizes, (list, tuple)) and len(sizes) == len(shape):
        # What the call itself says is plainer than an expression: of two batches that are one, say.
        told = [b.dim(size) for size in sizes]
        shape = tuple(size if size not in (None, -1) else given for size, given in zip(told, shape, strict=True))
    return b.reshape(b.operand(a.self), shape)


@handles("unsqueeze")
def unsqueeze(b: Importer, node: Node, a: Args) -> str:
    shape = b.shape(node)
    if shape.count(None) > 1:
        return b.like("unsqueeze", [b.operand(a.self)], node, axes=[axis_of(a.dim, len(shape))])
    return b.reshape(b.operand(a.self), shape)


@handles("transpose", "swapaxes", "swapdims", "t", "numpy_T", "mT", "permute", "movedim")
def transpose(b: Importer, node: Node, a: Args) -> str:
    x = b.operand(a.self)
    rank = len(b.graph.shape_of(x))
    perm = list(range(rank))
    if hasattr(a, "dims"):
        perm = [axis_of(axis, rank) for axis in a.dims]
    elif hasattr(a, "source"):
        raise b.unsupported()
    else:
        last = hasattr(a, "dim0") or hasattr(a, "axis0")
        first = getattr(a, "dim0", getattr(a, "axis0", -2 if rank > 1 else -1)) if last else -2
        second = getattr(a, "dim1", getattr(a, "axis1", -1))
        if rank < 2:
            return x
        first, second = axis_of(first, rank), axis_of(second, rank)
        perm[first], perm[second] = second, first
    return b.transpose(x, perm)


@handles("expand", "broadcast_to", "expand_as")
def expand(b: Importer, node: Node, a: Args) -> str:
    return b.expand(b.operand(a.self), b.shape(node))


@handles("repeat")
def repeat(b: Importer, node: Node, a: Args) -> str:
    x = b.operand(a.self)
    source = (1,) * (len(a.repeats) - len(b.graph.shape_of(x))) + tuple(b.graph.shape_of(x))
    x, result = b.reshape(x, source), b.shape(node)
    wide = [new if old == 1 else old for old, new in zip(source, result, strict=True)]
    x = b.expand(x, wide)
    for axis, times in enumerate(a.repeats):
        if source[axis] != 1 and times != 1:
            if not isinstance(times, int):
                raise b.unsupported("a dynamic number of repetitions")
            wide[axis] = result[axis]
            x = b.emit("concat", [x] * times, b.dtype(node), tuple(wide), axis=axis)
    return x


@handles("cat", "concat", "concatenate")
def concat(b: Importer, node: Node, a: Args) -> str:
    dtype, axis = b.dtype(node), axis_of(a.dim, len(b.shape(node)))
    parts = [b.operand(item, dtype) for item in a.tensors if tuple(item.meta["val"].shape) != (0,)]
    return b.like("concat", parts, node, axis=axis)


@handles("stack")
def stack(b: Importer, node: Node, a: Args) -> str:
    shape = b.shape(node)
    axis = axis_of(a.dim, len(shape))
    one = shape[:axis] + (1,) + shape[axis + 1 :]
    parts = [b.reshape(b.operand(item, b.dtype(node)), one) for item in a.tensors]
    return b.like("concat", parts, node, axis=axis)


# Slices.


def bound(b: Importer, index: Any, size: Dim, default: int) -> Dim:
    """A start or an end of a slice: not negative, or a named dimension."""
    if index is None:
        return default
    dim = b.dim(index)
    if dim is None:
        raise b.unsupported("a computed bound")
    if isinstance(dim, int) and dim < 0:
        if not isinstance(size, int):
            raise b.unsupported("a negative index along a dynamic dimension")
        dim = max(0, dim + size)
    return TO_END if isinstance(dim, int) and dim >= 2**62 else dim


def cut(b: Importer, x: str, axis: int, start: Dim, end: Dim, step: int, shape: Shape) -> str:
    size = b.graph.shape_of(x)[axis]
    whole = end == TO_END or end == size or (isinstance(size, int) and isinstance(end, int) and end >= size)
    if start == 0 and step == 1 and whole:
        return x
    ranges = {"axes": [axis], "starts": [start], "ends": [end], "steps": [step]}
    return b.emit("slice", [x], b.graph.dtype_of(x), shape, **ranges)


@handles("slice", "narrow")
def slice_(b: Importer, node: Node, a: Args) -> str:
    x = b.operand(a.self)
    axis = axis_of(a.dim, len(b.shape(node)))
    size = b.graph.shape_of(x)[axis]
    start = bound(b, a.start, size, 0)
    if hasattr(a, "length"):
        length = b.dim(a.length)
        whole = start == 0 or (isinstance(start, int) and isinstance(length, int))
        if not whole or length is None:
            raise b.unsupported("a computed end")
        end = start + length if start else length
    else:
        end = bound(b, a.end, size, TO_END)
    return cut(b, x, axis, start, end, getattr(a, "step", 1), b.shape(node))


@handles("select")
def select(b: Importer, node: Node, a: Args) -> str:
    x = b.operand(a.self)
    source = b.graph.shape_of(x)
    axis = axis_of(a.dim, len(source))
    index = bound(b, a.index, source[axis], 0)
    if not isinstance(index, int):
        raise b.unsupported("a dynamic index")
    part = cut(b, x, axis, index, index + 1, 1, source[:axis] + (1,) + source[axis + 1 :])
    if b.shape(node).count(None) > 1:
        return b.like("squeeze", [part], node, axes=[axis])
    return b.reshape(part, b.shape(node))


@handles("split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split", "tensor_split", "unbind")
def split(b: Importer, node: Node, a: Args) -> list[str]:
    """All of these cut along one axis; the sizes are those that export gives for the results."""
    x = b.operand(a.self)
    source = b.graph.shape_of(x)
    axis, start, parts = axis_of(a.dim, len(source)), 0, []
    for value in node.meta["val"]:
        shape = tuple(b.dim(size) for size in value.shape)
        unbinds = len(shape) < len(source)
        length = 1 if unbinds else shape[axis]
        if not isinstance(length, int):
            raise b.unsupported("parts of dynamic size")
        part = cut(b, x, axis, start, start + length, 1, source[:axis] + (length,) + source[axis + 1 :])
        parts.append(b.reshape(part, shape) if unbinds else part)
        start += length
    return parts


# Indexing.


def iota_axis(b: Importer, index: Any) -> tuple[int, Dim] | None:
    """(axis, length) where an index is `arange(length)` laid along one axis of its shape, else None. Both masks of
    Hugging Face and advanced indexing in general spell a broadcast in this way."""
    operand = b.get(index)
    if isinstance(operand, torch.Tensor):
        axes = [axis for axis, size in enumerate(operand.shape) if size != 1]
        if len(axes) > 1 or not torch.equal(operand.flatten(), torch.arange(operand.numel())):
            return None
        return (axes[0] if axes else 0), operand.numel()
    shape, source = b.graph.shape_of(operand), b.producer(operand)
    while source is not None and source.op in ("reshape", "unsqueeze"):
        source = b.producer(source.inputs[0])
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    if source is None or source.op != "iota" or len(axes) != 1:
        return None
    return axes[0], shape[axes[0]]


@handles("index")
def index_(b: Importer, node: Node, a: Args) -> str:
    """Indexing by tensors: a broadcast written with aranges becomes a view, one index alone becomes a gather."""
    x = b.operand(a.self)
    source, shape = b.graph.shape_of(x), b.shape(node)
    given = [(axis, item) for axis, item in enumerate(a.indices) if item is not None]
    if any(b.graph.dtype_of(b.operand(item)) == "bool" for _, item in given):
        raise b.unsupported("a mask as the index")
    if len(given) == 1:
        axis, item = given[0]
        return b.like("gather", [x, b.operand(item)], node, axis=axis)
    places = [iota_axis(b, item) for _, item in given]
    ranks = {len(item.meta["val"].shape) for _, item in given}
    if len(given) == len(source) and None not in places and len(ranks) == 1:
        targets = [axis for axis, _ in places]
        if len(set(targets)) == len(targets) and tuple(size for _, size in places) == tuple(source):
            x = b.transpose(x, sorted(range(len(source)), key=lambda axis: targets[axis]))
            return b.reshape(x, shape)
    raise b.unsupported("several indices")


@handles("index_select")
def index_select(b: Importer, node: Node, a: Args) -> str:
    return b.like("gather", [b.operand(a.self), b.operand(a.index)], node, axis=axis_of(a.dim, len(b.shape(node))))


@handles("gather")
def gather(b: Importer, node: Node, a: Args) -> Any:
    """Element-wise gather, where it is one lookup: all rows are the same one, or all elements are equal."""
    shape = b.shape(node)
    axis, x, index = axis_of(a.dim, len(shape)), b.operand(a.self), b.operand(a.index)
    if (maker := b.producer(x)) is not None and maker.op == "expand":
        narrow = b.graph.shape_of(maker.inputs[0])
        if len(narrow) == len(shape) and narrow[axis] == b.graph.shape_of(x)[axis]:
            x = maker.inputs[0]
    table = b.graph.constants.get(x)
    if table is not None and table.size > 0 and (table == table.flat[0]).all():
        return fill(b, node, table.flat[0].item())
    if any(size != 1 for at, size in enumerate(b.graph.shape_of(x)) if at != axis):
        raise b.unsupported("more than one row")
    flat = b.reshape(x, [b.graph.shape_of(x)[axis]])
    return b.like("gather", [flat, index], node, axis=0)


@handles("embedding")
def embedding(b: Importer, node: Node, a: Args) -> str:
    if b.constant(a.weight) is not None:
        return b.like("embedding", [b.operand(a.indices), b.operand(a.weight, role="rows")], node)
    return b.like("gather", [b.operand(a.weight), b.operand(a.indices)], node, axis=0)


# Creation.


def fill(b: Importer, node: Node, value: bool | int | float) -> Any:
    """A tensor of one value: a constant where the shape is known, else a scalar that is broadcast."""
    shape, dtype = b.shape(node), b.dtype(node)
    tensor = torch.full([1] * len(shape), value, dtype=getattr(torch, dtype))
    if all(isinstance(size, int) for size in shape):
        return tensor.expand(shape)
    return b.expand(b.operand(tensor, name=node.name), shape)


@handles("full", "full_like", "new_full", "fill")
def full(b: Importer, node: Node, a: Args) -> Any:
    value = b.get(a.fill_value if hasattr(a, "fill_value") else a.value)
    if isinstance(value, str):
        raise b.unsupported("a computed value")
    return fill(b, node, value.item() if isinstance(value, torch.Tensor) else value)


@handles("zeros", "zeros_like", "new_zeros", "zero")
def zeros(b: Importer, node: Node, a: Args) -> Any:
    return fill(b, node, 0)


@handles("ones", "ones_like", "new_ones")
def ones(b: Importer, node: Node, a: Args) -> Any:
    return fill(b, node, 1)


@handles("arange", "prims::iota")
def arange(b: Importer, node: Node, a: Args) -> str:
    (length,) = b.shape(node)
    start, step = (b.get(getattr(a, key, default)) for key, default in (("start", 0), ("step", 1)))
    if length is None:
        raise b.unsupported("a computed length")
    out = b.emit("iota", [], "int64", (length,), shape=[length])
    for op, number, neutral in (("mul", step, 1), ("add", start, 0)):
        if number != neutral:
            if number != int(number):
                raise b.unsupported("a step or a start that is not an integer")
            out = b.emit(op, [out, b.operand(int(number), "int64")], "int64", (length,))
    return b.cast(out, dtype_name(node.meta["val"].dtype))
