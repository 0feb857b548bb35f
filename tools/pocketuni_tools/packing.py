"""Weights in the order and precision in which the kernels read them (docs/format.md, "Encodings").

Every `pack_*` returns the exact bytes of a tensor; every `quantize_*` returns integers and scales, so that rounding can
be replaced (error-compensated rounding produces the same integers-and-scales pair).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

PANEL = 16  # outputs per tile
GROUP = 32  # inputs per int4 scale
BLOCK_ELEMENTS = 1 << 16

ENCODINGS = {
    "f32": 0, "f16": 1, "i32": 2, "i64": 3, "bool": 4,
    "gemm_f32": 16, "gemm_f16": 17, "gemm_i8": 18, "gemm_i4": 19,
    "rows_i8": 32, "rows_i4": 33,
}  # fmt: skip
PLAIN = {"float32": "f32", "int32": "i32", "int64": "i64", "bool": "bool"}


@dataclass
class Packed:
    """A tensor as stored: encoding name, logical dims, bytes."""

    encoding: str
    dims: tuple[int, ...]
    data: bytes


def align64(data: bytes) -> bytes:
    return data + bytes(-len(data) % 64)


def pad(array: np.ndarray, axis: int, multiple: int, value: float = 0) -> np.ndarray:
    """Extends an axis to a multiple with a constant."""
    missing = -array.shape[axis] % multiple
    if not missing:
        return array
    widths = [(0, missing if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, widths, constant_values=value)


def pack_plain(array: np.ndarray, half: bool = False) -> Packed:
    if half:
        return Packed("f16", array.shape, array.astype("<f2").tobytes())
    encoding = PLAIN[str(array.dtype)]
    return Packed(encoding, array.shape, array.astype(array.dtype.newbyteorder("<")).tobytes())


def pack_gemm_float(w: np.ndarray, half: bool = False) -> Packed:
    """[N, K] float32 -> panels [N/16][K][16] of float32 or float16."""
    panels = pad(w, 0, PANEL).reshape(-1, PANEL, w.shape[1]).transpose(0, 2, 1)
    return Packed("gemm_f16" if half else "gemm_f32", w.shape, panels.astype("<f2" if half else "<f4").tobytes())


def by_blocks(function: Callable[[np.ndarray], Any], w: np.ndarray) -> list[Any]:
    """`function` on blocks of rows that stay in the cache."""
    rows = max(1, BLOCK_ELEMENTS // max(w.shape[1], 1))
    return [function(w[begin : begin + rows]) for begin in range(0, len(w), rows)] or [function(w)]


def quantize_int8(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, K] -> q int8 in -127..127 [N, K] and scale float32 [N], the clip of least squared error for each row."""
    scale = np.concatenate(by_blocks(int8_scales, w))
    return round_int8(w, scale), scale


def int8_scales(w: np.ndarray, clip_ratios: tuple[float, ...] = (1.0, 0.97, 0.94, 0.9)) -> np.ndarray:
    peak = np.abs(w).max(1) if w.shape[1] else np.zeros(len(w), np.float32)
    best_error = np.full(len(w), np.inf)
    best = np.zeros(len(w), np.float32)
    for ratio in clip_ratios:
        scale = (peak * ratio / 127).astype(np.float32)
        error = ((round_int8(w, scale) * scale[:, None] - w) ** 2).sum(1)
        better = error < best_error
        best[better], best_error[better] = scale[better], error[better]
    return best


def round_int8(w: np.ndarray, scale: np.ndarray) -> np.ndarray:
    safe = np.where(scale > 0, scale, 1)[:, None]
    return np.clip(np.rint(w / safe), -127, 127).astype(np.int8)


def pack_gemm_int8(q: np.ndarray, scale: np.ndarray) -> Packed:
    """q int8 [N, K], scale [N] -> scales by panel, then biased bytes [N/16][K/4][16][4]."""
    biased = pad(pad((q.astype(np.int16) + 128).astype(np.uint8), 1, 4, 128), 0, PANEL, 128)
    tiles = biased.reshape(-1, PANEL, biased.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    return Packed("gemm_i8", q.shape, pad(scale.astype("<f4"), 0, PANEL).tobytes() + tiles.tobytes())


def int4_scales(w: np.ndarray, steps: int = 12, weight: np.ndarray | None = None) -> np.ndarray:
    """Scales [N, K/32] (rounded to float16, as float32) of least weighted squared error; w [N, K], K a multiple of 32.
    `weight` [K] tells how much each input matters (its mean square on calibration data)."""
    groups = w.reshape(len(w), -1, GROUP).astype(np.float32)
    cost = np.ones(groups.shape[1:], np.float32) if weight is None else weight.reshape(groups.shape[1:])
    peak = np.abs(groups).max(2)
    best_error = np.full(peak.shape, np.inf, np.float32)
    best = np.zeros(peak.shape, np.float32)
    for sign in (1, -1):  # the range -8..7 is lopsided: the larger side may be either
        for divisor in np.linspace(6.0, 8.5, steps):
            scale = (sign * peak / divisor).astype(np.float16).astype(np.float32)
            safe = np.where(scale != 0, scale, 1)[..., None]
            q = np.clip(np.rint(groups / safe), -8, 7)
            error = ((q * scale[..., None] - groups) ** 2 * cost).sum(2)
            better = error < best_error
            best[better], best_error[better] = scale[better], error[better]
    return best


def round_int4(w: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """[N, K] and scales [N, K/32] -> int8 in -8..7 by plain rounding."""
    groups = w.reshape(len(w), -1, GROUP)
    safe = np.where(scale != 0, scale, 1)[..., None]
    return np.clip(np.rint(groups / safe), -8, 7).astype(np.int8).reshape(w.shape)


def quantize_int4(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, K] -> q int8 in -8..7 [N, K'] and scale float32 [N, K'/32], K' = K rounded up to 32; plain rounding."""
    w = pad(w.astype(np.float32), 1, GROUP)
    scale = np.concatenate(by_blocks(int4_scales, w))
    return round_int4(w, scale), scale


def pack_gemm_int4(q: np.ndarray, scale: np.ndarray, dims: tuple[int, int]) -> Packed:
    """q in -8..7 [N, K'], scale [N, K'/32], logical dims (N, K) -> float16 scales, then nibbles by panel and group."""
    nibbles = pad((q.astype(np.int16) + 8).astype(np.uint8), 0, PANEL, 8)
    scales = pad(scale, 0, PANEL).reshape(-1, PANEL, scale.shape[1]).transpose(0, 2, 1)
    # [P][lane][G][half][v][j] -> halves combined -> [P][G][v][lane][j]
    split = nibbles.reshape(-1, PANEL, q.shape[1] // GROUP, 2, 4, 4)
    joined = split[:, :, :, 0] | (split[:, :, :, 1] << 4)
    return Packed("gemm_i4", dims, align64(scales.astype("<f2").tobytes()) + joined.transpose(0, 2, 3, 1, 4).tobytes())


def pack_rows_int8(w: np.ndarray) -> Packed:
    """Embedding table [R, D] with one scale per row."""
    q, scale = quantize_int8(w)
    return Packed("rows_i8", w.shape, align64(scale.astype("<f4").tobytes()) + q.tobytes())


def pack_rows_int4(w: np.ndarray) -> Packed:
    """Embedding table [R, D], D a multiple of 32, in groups of 18 bytes."""
    if w.shape[1] % GROUP:
        raise ValueError(f"int4 tables need a width that is a multiple of {GROUP}, not {w.shape[1]}; use int8")
    q, scale = quantize_int4(w)
    groups = (q.astype(np.int16) + 8).astype(np.uint8).reshape(len(w), -1, 2, 16)
    nibbles = groups[:, :, 0] | (groups[:, :, 1] << 4)
    halves = scale.astype("<f2")[..., None].view(np.uint8)
    return Packed("rows_i4", w.shape, np.concatenate([halves, nibbles], axis=2).tobytes())


def unpack(packed: Packed) -> np.ndarray:
    """The values that the kernels see, as float32 (or the integer type), in the logical shape."""
    data, dims = packed.data, packed.dims
    plain = {"f32": "<f4", "f16": "<f2", "i32": "<i4", "i64": "<i8", "bool": "?"}
    if packed.encoding in plain:
        array = np.frombuffer(data, plain[packed.encoding]).reshape(dims)
        return array.astype(np.float32) if packed.encoding == "f16" else array.copy()
    rows, cols = dims
    panels = -(-rows // PANEL)
    if packed.encoding in ("gemm_f32", "gemm_f16"):
        tiles = np.frombuffer(data, "<f4" if packed.encoding == "gemm_f32" else "<f2").reshape(panels, cols, PANEL)
        return tiles.transpose(0, 2, 1).reshape(-1, cols)[:rows].astype(np.float32)
    if packed.encoding == "gemm_i8":
        scale = np.frombuffer(data, "<f4", panels * PANEL)
        tiles = np.frombuffer(data, np.uint8, offset=panels * 64).reshape(panels, -1, PANEL, 4)
        q = tiles.transpose(0, 2, 1, 3).reshape(panels * PANEL, -1).astype(np.float32) - 128
        return (q * scale[:, None])[:rows, :cols]
    if packed.encoding == "gemm_i4":
        groups = -(-cols // GROUP)
        scale = np.frombuffer(data, "<f2", panels * groups * PANEL).reshape(panels, groups, PANEL)
        offset = -(-panels * groups * PANEL * 2 // 64) * 64
        tiles = np.frombuffer(data, np.uint8, offset=offset).reshape(panels, groups, 4, PANEL, 4)
        both = np.stack([tiles & 15, tiles >> 4], axis=2)  # [P][G][half][v][lane][j]
        q = both.transpose(0, 4, 1, 2, 3, 5).reshape(panels, PANEL, groups, GROUP).astype(np.float32) - 8
        w = q * scale.transpose(0, 2, 1).astype(np.float32)[..., None]
        return w.reshape(panels * PANEL, -1)[:rows, :cols]
    if packed.encoding == "rows_i8":
        scale = np.frombuffer(data, "<f4", rows)
        q = np.frombuffer(data, np.int8, offset=-(-rows * 4 // 64) * 64).reshape(dims)
        return q * scale[:, None]
    if packed.encoding == "rows_i4":
        blocks = np.frombuffer(data, np.uint8).reshape(rows, cols // GROUP, 18)
        scale = blocks[..., :2].copy().view("<f2").astype(np.float32)
        q = np.concatenate([blocks[..., 2:] & 15, blocks[..., 2:] >> 4], axis=2).astype(np.float32) - 8
        return (q * scale).reshape(dims)
    raise ValueError(f"unknown encoding {packed.encoding!r}")
