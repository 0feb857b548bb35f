"""Integer tensors whose elements are known though their sizes are not: positions along dimensions.

Exporters spell broadcasts as lookups by such tensors (`mask[arange(b)[:, None], arange(t)[None, :]]`), which are views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .onnx_sizes import Size, product, size

if TYPE_CHECKING:
    from .onnx_walk import Importer


@dataclass(frozen=True)
class Grid:
    """An element at (i, j, ..) is start + i steps[0] + j steps[1] + .. ; axes of size 1 have step 0."""

    shape: tuple[Size, ...]
    start: Size
    steps: tuple[Size, ...]

    def moved(self, shape: Sequence[Size]) -> Grid | None:
        """The same elements where axes of size 1 come or go."""
        if [item for item in shape if item != 1] != [item for item in self.shape if item != 1]:
            return None
        steps = iter([step for step, item in zip(self.steps, self.shape, strict=True) if item != 1])
        return Grid(tuple(shape), self.start, tuple(Size(0) if item == 1 else next(steps) for item in shape))

    def widened(self, shape: Sequence[Size]) -> Grid:
        missing = (Size(0),) * (len(shape) - len(self.shape))
        return Grid(tuple(shape), self.start, missing + self.steps)

    def never_below(self, number: int) -> bool:
        low = self.start.constant
        rises = all(coefficient > 0 for step in self.steps for coefficient in step.terms.values())
        return low is not None and low >= number and rises


def grid_of_array(array: np.ndarray) -> Grid | None:
    if array.dtype.kind not in "iu" or not array.size:
        return None
    start, expected, steps = int(array.reshape(-1)[0]), np.zeros((), np.int64), []
    for axis, length in enumerate(array.shape):
        step = int(np.take(array, 1, axis).reshape(-1)[0]) - start if length > 1 else 0
        steps.append(Size(step))
        expected = np.add.outer(expected, np.arange(length) * step)
    if not np.array_equal(expected + start, array):
        return None
    return Grid(tuple(map(Size, array.shape)), Size(start), tuple(steps))


def single(value: Any) -> Size | None:
    """The one number, or size, that an operand known while importing holds."""
    array = getattr(value, "array", None)
    if array is None or array.size != 1 or array.dtype.kind not in "iuO":
        return None
    return size(array.reshape(-1)[0] if array.dtype == object else int(array.reshape(-1)[0]))


def follow(b: Importer, op: str, inputs: Sequence[Any], shape: Sequence[Size]) -> Grid | None:
    """The grid that a node writes, or None."""
    if op == "iota":
        return Grid(tuple(shape), Size(0), (Size(0) if shape[0] == 1 else Size(1),))
    grids = [b.grid(value) for value in inputs]
    if op in ("reshape", "squeeze", "unsqueeze"):
        return grids[0] and grids[0].moved(shape)
    if op == "expand":
        return grids[0] and grids[0].widened(shape)
    if op == "cast":
        return grids[0]
    if op == "mul":
        for grid, factor in ((grids[0], single(inputs[1])), (grids[1], single(inputs[0]))):
            if grid is not None and factor is not None:
                scaled = Grid(grid.shape, grid.start * factor, tuple(step * factor for step in grid.steps))
                return scaled.widened(shape)
    if op in ("add", "sub") and None not in grids:
        left, right = (grid.widened(shape) for grid in grids)
        sign = 1 if op == "add" else -1
        steps = tuple(x + y * sign for x, y in zip(left.steps, right.steps, strict=True))
        return Grid(tuple(shape), left.start + right.start * sign, steps)
    return None


def strides(shape: Sequence[Size]) -> list[Size]:
    return [product(shape[axis + 1 :]) for axis in range(len(shape))]


def axes_in_order(shape: Sequence[Size], grids: Sequence[Grid]) -> list[int] | None:
    """For each axis of a tensor, which axis of the index runs along all of it; grids[a] indexes axis a. None unless the
    lookup takes every element in its place."""
    axes = []
    for length, grid in zip(shape, grids, strict=True):
        moving = [axis for axis, step in enumerate(grid.steps) if step != 0]
        if length == 1 and not moving and grid.start == 0:
            axes.append(-1)
            continue
        if len(moving) != 1 or grid.start != 0 or grid.steps[moving[0]] != 1 or grid.shape[moving[0]] != length:
            return None
        axes.append(moving[0])
    used = [axis for axis in axes if axis >= 0]
    return axes if len(set(used)) == len(used) else None


def split_flat(shape: Sequence[Size], grid: Grid) -> list[Grid] | None:
    """An index into a flattened tensor as one index for each of its axes."""
    parts, taken = [], set()
    for length, stride in zip(shape, strides(shape), strict=True):
        match = [
            axis
            for axis, (step, extent) in enumerate(zip(grid.steps, grid.shape, strict=True))
            if step == stride and extent == length and axis not in taken and length != 1
        ]
        taken.update(match[:1])
        steps = tuple(Size(int(axis in match[:1])) for axis in range(len(grid.steps)))
        parts.append(Grid(grid.shape, Size(0), steps))
    rest = any(step != 0 for axis, step in enumerate(grid.steps) if axis not in taken)
    return None if rest or grid.start != 0 else parts


def look_up(b: Importer, x: Any, grids: Sequence[Grid], index_shape: Sequence[Size]) -> Any:
    """x[grids] as a view, or None where it is no view. The grids index the leading axes of x."""
    shape, count = b.shape(x), len(grids)
    axes = axes_in_order(shape[:count], grids)
    if axes is None:
        return None
    rest = list(range(count, len(shape)))
    order = sorted((axis for axis in range(count) if axes[axis] >= 0), key=lambda axis: axes[axis])
    ones = [axis for axis in range(count) if axes[axis] < 0]
    x = b.transpose(x, [*ones, *order, *rest])
    laid = [item if place in axes else Size(1) for place, item in enumerate(index_shape)]
    x = b.reshape(x, (*laid, *shape[count:]))
    return b.expand(x, (*index_shape, *shape[count:]))
