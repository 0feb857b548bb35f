"""Fundamental frequency (WORLD's tracker) and energy of each mel frame, and their averages over units."""

from __future__ import annotations

import warnings

import numpy as np

from .mel import HOP_SAMPLES, RATE_HZ

FLOOR_HZ, CEILING_HZ = 60.0, 420.0


def log_f0(audio: np.ndarray, frames: int) -> np.ndarray:
    """Natural logarithm of F0 in Hz, float32 `[frames]`, 0 where a frame is unvoiced. `audio`: 22,050 Hz, [-1, 1].

    Frame t is judged at its middle, sample 256 t + 128. DIO refined by StoneMask (Morise et al. 2009): harvest is
    steadier but ten times as slow.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        import pyworld

    shifted = np.concatenate([audio[HOP_SAMPLES // 2 :], np.zeros(HOP_SAMPLES // 2)]).astype(np.float64)
    period_ms = 1000.0 * HOP_SAMPLES / RATE_HZ
    rough, times = pyworld.dio(shifted, RATE_HZ, FLOOR_HZ, CEILING_HZ, frame_period=period_ms)
    hz = pyworld.stonemask(shifted, rough, times, RATE_HZ)
    hz = np.pad(hz, (0, max(0, frames - len(hz))))[:frames]
    hz = np.where((hz >= FLOOR_HZ) & (hz <= CEILING_HZ * 1.1), hz, 0.0)
    return np.where(hz > 0, np.log(np.maximum(hz, 1.0)), 0.0).astype(np.float32)


def log_energy(mel: np.ndarray) -> np.ndarray:
    """Logarithm of a frame's summed mel magnitudes, float32 `[T]`, from log-mel `[T, 80]`."""
    top = mel.max(axis=1, keepdims=True)
    return (top[:, 0] + np.log(np.exp(mel - top).sum(axis=1))).astype(np.float32)


def fill_gaps(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Linear interpolation through the `known` ones, constant beyond them; zeros when nothing is known."""
    if not known.any():
        return np.zeros_like(values)
    at = np.arange(len(values))
    return np.interp(at, at[known], values[known]).astype(np.float32)


def unit_means(frame_values: np.ndarray, durations: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean over each unit's frames, and the summed weights: float32 `[U]` each. `durations` sum to T."""
    ends = np.cumsum(durations)
    sums = np.concatenate([[0.0], np.cumsum(frame_values * weights)])
    masses = np.concatenate([[0.0], np.cumsum(weights)])
    starts = ends - durations
    mass = masses[ends] - masses[starts]
    mean = (sums[ends] - sums[starts]) / np.maximum(mass, 1e-9)
    return np.where(mass > 0, mean, 0.0).astype(np.float32), mass.astype(np.float32)
