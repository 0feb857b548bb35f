"""The handler of Resize and Upsample. Axis by axis, an element of the result is a weighted sum of elements of the
source; which ones, and how much of each, is computed here for every mode and every convention on coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .onnx_index import gather
from .onnx_ops import axes_in, join
from .onnx_shapes import positions
from .onnx_sizes import Size
from .onnx_walk import Call, Importer, Known, Operand, handles

# Coordinates that lie alike around every element of the source, where all are enlarged by a whole number.
PERIODIC = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric")


@dataclass
class Rule:
    """The attributes of a Resize."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude: bool
    antialias: bool


@handles("Resize", "Upsample")
def resize(b: Importer, call: Call) -> Operand:
    x, rank = call[0], b.rank(call[0])
    rule = Rule(
        call.get("mode", "nearest"),
        call.get("coordinate_transformation_mode", "half_pixel" if call.op == "Resize" else "asymmetric"),
        call.get("nearest_mode", "round_prefer_floor" if call.op == "Resize" else "floor"),
        call.get("cubic_coeff_a", -0.75),
        bool(call.get("exclude_outside", 0)),
        bool(call.get("antialias", 0)),
    )
    axes = axes_in(rank, call.get("axes", list(range(rank))))
    sizes, scales = wanted(b, call, axes)
    roi = b.numbers(call[1]) if call.op == "Resize" and rule.coordinates == "tf_crop_and_resize" else None
    if rule.coordinates == "tf_crop_and_resize" and roi is None:
        raise call.unsupported("a region that depends on inputs")
    outside = call.get("extrapolation_value", 0.0)
    for place, (axis, size, scale) in enumerate(zip(axes, sizes, scales, strict=True)):
        old = b.shape(x)[axis].constant
        if old is None and scale == 1:
            continue
        if old is None:
            x = repeated(b, call, x, axis, rule, scale)
            continue
        region = None if roi is None else (float(roi[place]), float(roi[place + len(axes)]))
        if size == old and scale == 1 and region in (None, (0.0, 1.0)):
            continue
        if rule.antialias:
            b.limited(math.ceil(4 / min(scale, 1.0)) * max(1, size))
        indices, weights, beyond = table(rule, b.limited(old), b.limited(size), scale, region)
        x = sample(b, x, axis, indices, np.where(beyond[:, None], 0, weights), rule)
        if beyond.any() and outside:
            frame = np.where(beyond, outside, 0).astype(np.float32).reshape(-1, *[1] * (rank - axis - 1))
            x = join(b, "add", x, Known(frame))
    return x


def wanted(b: Importer, call: Call, axes: list[int]) -> tuple[list[int], list[float]]:
    """Sizes (0 along dynamic dimensions) and scales along the axes."""
    scales = b.numbers(call[1 if call.op == "Upsample" else 2])
    given = b.numbers(call[3]) if call.op == "Resize" else None
    old = [b.shape(call[0])[axis].constant for axis in axes]
    if given is not None and given.size:
        if None in old:
            raise call.unsupported("sizes along a dynamic dimension: give scales")
        ratios = [float(new) / size for new, size in zip(given.tolist(), old, strict=True)]
        policy = call.get("keep_aspect_ratio_policy", "stretch")
        if policy == "stretch":
            return [int(item) for item in given], ratios
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        return [math.floor(size * ratio + 0.5) for size in old], [ratio] * len(old)
    if scales is None or not scales.size:
        raise call.unsupported("sizes that depend on inputs")
    factors = [float(item) for item in scales.reshape(-1)]
    return [0 if size is None else math.floor(size * scale) for size, scale in zip(old, factors, strict=True)], factors


def repeated(b: Importer, call: Call, x: Operand, axis: int, rule: Rule, scale: float) -> Operand:
    """Along a dynamic dimension, by a whole number: element i gives so many elements, each a sum of those around i with
    weights that are the same for every i; what lies outside counts as the element at that end."""
    times = int(scale)
    if scale != times or scale < 1 or rule.coordinates not in PERIODIC or rule.exclude:
        raise call.unsupported(f"mode {rule.mode!r}, {rule.coordinates!r}, scale {scale} along a dynamic dimension")
    if b.dtype(x) != "float32" and rule.mode != "nearest":
        raise call.unsupported("integers")
    middle = 8  # any element that is far from both ends
    indices, weights, _ = table(rule, 2 * middle, b.limited(2 * middle * times), scale, None)
    indices, weights = (array[middle * times :][:times] for array in (indices - middle, weights))
    length, result = b.shape(x)[axis], None
    for offset, weight in zip(indices.T, weights.T, strict=True):  # of the elements that come from one, [times] each
        if not weight.any():
            continue
        part: Operand = gather(b, x, neighbours(b, length, offset), axis)
        if (weight != 1).any():
            row = b.expand(Known(weight.astype(np.float32)[None]), (length, Size(times)))
            frame = (length * Size(times), *[Size(1)] * (b.rank(x) - axis - 1))
            part = join(b, "mul", part, b.reshape(row, frame))
        result = part if result is None else join(b, "add", result, part)
    return x if result is None else result


def neighbours(b: Importer, length: Size, offsets: np.ndarray) -> Operand:
    """For each i below `length`, i + each of the offsets, cut to what lies below it: [length * offsets]."""
    at = positions(b, length)
    moved: Operand = b.reshape(at, (length, Size(1)))
    moved = join(b, "add", moved, Known(offsets.astype(np.int64)[None]))
    if offsets.min() < 0:
        moved = join(b, "maximum", moved, b.number(0, "int64"))
    if offsets.max() > 0:
        last = b.emit("argmax", [b.cast(at, "float32")], "int64", (Size(1),), axis=0, keepdims=1)
        moved = join(b, "minimum", moved, last)
    return b.reshape(moved, (length * Size(len(offsets)),))


def source_places(rule: Rule, old: int, new: int, scale: float, region: tuple[float, float] | None) -> np.ndarray:
    """Where in the source each element of the result lies."""
    at, length = np.arange(new, dtype=np.float64), scale * old
    if rule.coordinates == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if rule.coordinates == "half_pixel_symmetric":
        return old / 2 * (1 - new / length) + (at + 0.5) / scale - 0.5
    if rule.coordinates == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if length > 1 else np.zeros(new)
    if rule.coordinates == "asymmetric":
        return at / scale
    if rule.coordinates == "align_corners":
        return at * (old - 1) / (length - 1) if length != 1 else np.zeros(new)
    if rule.coordinates == "tf_crop_and_resize" and region is not None:
        start, end = region
        if new > 1:
            return start * (old - 1) + at * (end - start) * (old - 1) / (new - 1)
        return np.full(new, 0.5 * (start + end) * (old - 1))
    raise ValueError(f"coordinate_transformation_mode {rule.coordinates!r} is not known")


ROUNDINGS = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def table(
    rule: Rule, old: int, new: int, scale: float, region: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """indices [new, taps], weights [new, taps], and which elements lie outside of the source."""
    places = source_places(rule, old, new, scale, region)
    beyond = np.zeros(new, bool)
    if rule.coordinates == "tf_crop_and_resize":
        beyond = (places < 0) | (places > old - 1)
    if rule.mode == "nearest":
        if rule.nearest not in ROUNDINGS:
            raise ValueError(f"nearest_mode {rule.nearest!r} is not known")
        rounded = ROUNDINGS[rule.nearest](places)
        return np.clip(rounded, 0, old - 1).astype(np.int64)[:, None], np.ones((new, 1)), beyond
    if rule.mode not in ("linear", "cubic"):
        raise ValueError(f"mode {rule.mode!r} is not known")
    reach = 1 if rule.mode == "linear" else 2
    width = min(scale, 1.0) if rule.antialias else 1.0
    half = math.ceil(reach / width)
    taps = np.arange(-half + 1, half + 1)
    base = np.floor(places)
    indices = base[:, None] + taps
    distance = np.abs(indices - places[:, None]) * width
    weights = linear_weight(distance) if rule.mode == "linear" else cubic_weight(distance, rule.cubic)
    inside = (indices >= 0) & (indices < old)
    if rule.exclude or rule.antialias:
        weights = np.where(inside, weights, 0) if rule.exclude else weights
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, old - 1).astype(np.int64), weights, beyond


def linear_weight(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - distance)


def cubic_weight(distance: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def sample(b: Importer, x: Operand, axis: int, indices: np.ndarray, weights: np.ndarray, rule: Rule) -> Operand:
    if rule.mode == "nearest" and (weights == 1).all():
        return gather(b, x, Known(indices[:, 0]), axis)
    if b.dtype(x) != "float32":
        raise b.call.unsupported("integers")
    shape = b.shape(x)
    used = (weights != 0).any(axis=0)
    used[0] |= not used.any()
    rows = [Known(indices[:, used].astype(np.int32)), Known(weights[:, used].astype(np.float32))]
    result = (*shape[:axis], Size(len(indices)), *shape[axis + 1 :])
    return b.emit("resample", [x, *rows], "float32", result, axis=axis)
