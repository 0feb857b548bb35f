"""Handlers of ONNX operators that pick parts of tensors: slices, splits, lookups."""

from __future__ import annotations

import math

import numpy as np

from .onnx_grid import Grid, grid_of_array, look_up, split_flat
from .onnx_ops import axis_of
from .onnx_sizes import OPAQUE, Size, product
from .onnx_walk import Call, Importer, Known, Operand, handles

TO_END = 1 << 62


def cut(b: Importer, x: Operand, axis: int, start: Size, end: Size | None, step: int = 1) -> Operand:
    """x[start:end:step] along an axis; without an end, to the end. Bounds are not negative."""
    old = b.shape(x)
    size, stop = old[axis], end
    if size.constant is not None:
        if start.constant is not None:
            start = Size(min(start.constant, size.constant))
        if stop is None or (stop.constant is not None and stop.constant > size.constant):
            stop = size
    whole = stop is None or stop == size
    if start == 0 and step == 1 and whole:
        return x
    if start.dim is None or (not whole and stop.dim is None):
        raise b.call.unsupported(f"the bounds {start} and {stop}")
    length = slice_length(size, start, size if whole else stop, step)
    return b.emit("slice", [x], b.dtype(x), (*old[:axis], length, *old[axis + 1 :]), axes=[axis], starts=[start.dim],
                  ends=[TO_END if whole else stop.dim], steps=[step])  # fmt: skip


def slice_length(size: Size, start: Size, stop: Size, step: int) -> Size:
    """A dimension that is named may be shorter than a constant bound: only its first element is taken for granted."""
    if size.constant is None and stop.constant is not None and stop != size and stop != 1:
        return Size(f"{OPAQUE}{start}:{stop}:{step} of {size}")
    span = stop - start
    if span.constant is not None:
        return Size(max(0, -(-span.constant // step)))
    return span if step == 1 else (span + (step - 1)) // step


def bound(item: Size, size: Size, fallback: Size | None) -> Size | None:
    """A start or an end counted from the front. Values beyond any tensor are those of open slices."""
    if item.constant is not None and not -(1 << 31) < item.constant < (1 << 31) - 1:
        return fallback if item.constant > 0 else Size(0)
    if item.constant is None or item.constant >= 0:
        return item
    moved = size + item
    return Size(max(0, moved.constant)) if moved.constant is not None else moved


def slice_axis(b: Importer, x: Operand, axis: int, first: Size, last: Size, step: int) -> Operand:
    size = b.shape(x)[axis]
    if step < 0:
        if None in (size.constant, first.constant, last.constant):
            raise b.call.unsupported("a negative step along a dynamic dimension")
        indices = np.arange(b.limited(size.constant))[
            first.constant : last.constant if last.constant > -(1 << 31) else None : step
        ]
        return gather(b, x, Known(indices), axis)
    if size.constant is None and first == -1 and bound(last, size, None) is None and step == 1:
        return gather(b, x, Known(np.array([-1])), axis)
    start, end = bound(first, size, size), bound(last, size, None)
    return cut(b, x, axis, start, end, step)


@handles("Slice")
def slice_(b: Importer, call: Call) -> Operand:
    x, starts, ends = call[0], b.dims(call[1], "bounds"), b.dims(call[2], "bounds")
    axes, steps = (b.numbers(call[place]) for place in (3, 4))
    if (axes is None and call[3] is not None) or (steps is None and call[4] is not None):
        raise call.unsupported("axes or steps that depend on inputs")
    axes = range(len(starts)) if axes is None else axes.reshape(-1).tolist()
    steps = [1] * len(starts) if steps is None else steps.reshape(-1).tolist()
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        x = slice_axis(b, x, axis_of(b, x, axis), start, end, step)
    return x


@handles("Split")
def split(b: Importer, call: Call) -> list[Operand]:
    x = call[0]
    axis, sizes = axis_of(b, x, call.get("axis", 0)), call.get("split")
    if call[1] is not None:
        sizes = [item.constant for item in b.dims(call[1], "sizes")]
    if sizes is None:
        size, count = b.shape(x)[axis].constant, call.get("num_outputs", len(call.node.output))
        if count != len(call.node.output):
            raise ValueError(f"{len(call.node.output)} results of {count} parts")
        if size is None:
            raise call.unsupported("equal parts of a dynamic dimension")
        part = -(-size // count)
        sizes = [max(0, min(part, size - part * place)) for place in range(count)]
    if None in sizes:
        raise call.unsupported("parts of dynamic size")
    ends = np.cumsum(sizes).tolist()
    return [cut(b, x, axis, Size(end - size), Size(end)) for size, end in zip(sizes, ends, strict=True)]


def gather(b: Importer, x: Operand, indices: Operand, axis: int) -> str:
    shape = b.shape(x)
    return b.emit("gather", [x, indices], b.dtype(x), (*shape[:axis], *b.shape(indices), *shape[axis + 1 :]), axis=axis)


@handles("Gather")
def gather_(b: Importer, call: Call) -> Operand:
    x, indices = call[0], call[1]
    axis, table = axis_of(b, x, call.get("axis", 0)), b.numbers(x)
    if table is not None and table.ndim == 2 and axis == 0 and b.dtype(x) == "float32":
        shape = (*b.shape(indices), Size(table.shape[1]))
        return b.emit("embedding", [indices, b.operand(x, "rows")], "float32", shape)
    if (view := flat_lookup(b, x, indices, axis)) is not None:
        return view
    old, number = b.shape(x), b.numbers(indices)
    size = old[axis].constant
    # The first element of a dynamic dimension is taken for granted; any other is looked up, and checked, at run time.
    if number is None or number.ndim or (size is None and number != 0):
        return gather(b, x, indices, axis)
    index = int(number) + (size if number < 0 else 0)
    if size is not None and not 0 <= index < size:
        raise ValueError(f"index {int(number)} is outside of a dimension of {size}")
    return b.reshape(cut(b, x, axis, Size(index), Size(index + 1)), (*old[:axis], *old[axis + 1 :]))


def flat_lookup(b: Importer, x: Operand, indices: Operand, axis: int) -> Operand | None:
    """A lookup in a flattened tensor that takes every element in its place: a view of the tensor."""
    grid, maker = b.grid(indices), b.producer(x)
    if grid is None or axis or maker is None or maker.op != "reshape" or maker.inputs[0] in b.graph.constants:
        return None
    source = maker.inputs[0]
    shape, rest = b.shape(source), b.shape(x)[1:]
    lead = next((shape[:n] for n in range(len(shape), 0, -1) if product(shape[:n]) == b.shape(x)[0]), None)
    parts = None if lead is None else split_flat(lead, grid)
    view = None if parts is None else look_up(b, source, parts, b.shape(indices))
    return None if view is None else b.reshape(view, (*b.shape(indices), *rest))


@handles("GatherElements")
def gather_elements(b: Importer, call: Call) -> Operand:
    """Where it is one lookup: all other axes have size 1, or all elements are equal."""
    x, indices = call[0], call[1]
    axis, table = axis_of(b, x, call.get("axis", 0)), b.numbers(x)
    if table is not None and table.size and (table == table.reshape(-1)[0]).all():
        return b.expand(Known(table.reshape(-1)[:1].reshape([1] * b.rank(indices))), b.shape(indices))
    known = b.numbers(indices)
    if known is not None and all(item.constant is not None for item in b.shape(x)):
        places, count = element_places(b, call, known)
        return gather(b, b.reshape(x, [Size(count)]), Known(places), 0)
    others = [item for value in (x, indices) for at, item in enumerate(b.shape(value)) if at != axis]
    if any(item != 1 for item in others):
        raise call.unsupported("more than one row")
    return gather(b, b.reshape(x, [b.shape(x)[axis]]), indices, 0)


def element_places(b: Importer, call: Call, indices: np.ndarray) -> tuple[np.ndarray, int]:
    """Which elements of the flattened data an index along an axis names, and how many there are."""
    shape = [item.constant for item in b.shape(call[0])]
    if None in shape:
        raise call.unsupported("dynamic dimensions")
    axis = axis_of(b, call[0], call.get("axis", 0))
    grid = list(np.indices(indices.shape))
    grid[axis] = np.where(indices < 0, indices + shape[axis], indices)
    return np.ravel_multi_index(tuple(grid), tuple(shape)), math.prod(shape)


@handles("GatherND")
def gather_nd(b: Importer, call: Call) -> Operand:
    """Where one index is looked up along the first axis, or where positions take every element in its place."""
    x, shape = call[0], b.shape(call[1])
    if (known := gather_rows(b, call)) is not None:
        return known
    if call.get("batch_dims", 0):
        raise call.unsupported("batch_dims")
    grids = index_parts(b, call[1])
    if None not in grids and (view := look_up(b, x, grids, shape[:-1])) is not None:
        return view
    if shape[-1] != 1:
        raise call.unsupported("several indices")
    return gather(b, x, b.reshape(call[1], shape[:-1]), 0)


def gather_rows(b: Importer, call: Call) -> Operand | None:
    """Places that are known, of a tensor whose leading dimensions are: a lookup in its rows."""
    indices, shape, batch = b.numbers(call[1]), b.shape(call[0]), call.get("batch_dims", 0)
    if indices is None:
        return None
    count = batch + indices.shape[-1]
    lead = [item.constant for item in shape[:count]]
    if None in lead:
        return None
    given = [np.where(part < 0, part + size, part)
             for part, size in zip(np.moveaxis(indices, -1, 0), lead[batch:], strict=True)]  # fmt: skip
    grid = [*np.indices(indices.shape[:-1])[:batch], *given]
    rows = b.reshape(call[0], (Size(math.prod(lead)), *shape[count:]))
    places = np.ravel_multi_index(tuple(grid), tuple(lead)) if grid else np.zeros(indices.shape[:-1], np.int64)
    return gather(b, rows, Known(places), 0)


def index_parts(b: Importer, indices: Operand) -> list[Grid | None]:
    """The last axis of an index, taken apart."""
    lead, array = b.shape(indices)[:-1], b.numbers(indices)
    if array is not None:
        return [grid_of_array(array[..., place]) for place in range(array.shape[-1])]
    maker = b.producer(indices)
    if maker is None or maker.op != "concat" or maker.attributes["axis"] != len(lead):
        return [None]
    grids = [b.grid(Known(b.graph.constants[name]) if name in b.graph.constants else name) for name in maker.inputs]
    return [grid and grid.moved(lead) for grid in grids]
