"""Recordings for the voices of Pocket TTS: another rate, and an end in a pause, as the models' prompts have it."""

from __future__ import annotations

import math

import numpy as np

PAUSE_SECONDS, FADE_SECONDS, FRAME_SECONDS = 0.08, 0.02, 0.02
FLOOR_DB = 35.0  # what is softer than the loudest frame by so much is silence
HALF_TAPS, KAISER_BETA = 10, 5.0  # of the filter, per sample of the lower rate


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """float32 `[n]` at another rate, through a windowed sinc in its phases; what lies beyond the ends counts as 0."""
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    if up == down:
        return np.asarray(samples, np.float32)
    widest = max(up, down)
    half = HALF_TAPS * widest
    offsets = np.arange(-half, half + 1)
    taps = np.sinc(offsets / widest) * np.kaiser(2 * half + 1, KAISER_BETA)
    taps *= up / taps.sum()
    count = -(-len(samples) * up // down)
    result = np.zeros(count, np.float64)
    reach = half // up + 1
    padded = np.pad(np.asarray(samples, np.float64), reach + 1)
    for phase in range(min(up, count)):
        places = np.arange(phase, count, up) * down  # on the fine grid
        shift = int(places[0] % up)  # the same for all of them
        lags = np.arange(-reach, reach + 1)  # of input samples around each place
        index = half + shift - lags * up
        inside = (index >= 0) & (index < len(taps))
        window = padded[(places // up)[:, None] + reach + 1 + lags[inside]]
        result[phase::up] = window @ taps[index[inside]]
    return result.astype(np.float32)


def end_in_pause(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Cuts trailing silence, fades what is left out, and appends a short pause: a prompt that ends within a word makes
    the model finish that word first, one that ends in a long silence makes it hesitate."""
    size = max(1, int(FRAME_SECONDS * rate_hz))
    frames = len(samples) // size
    if frames == 0:
        return samples
    power = np.square(samples[: frames * size].reshape(frames, size), dtype=np.float32).mean(axis=1)
    level = 20 * np.log10(np.sqrt(power) + 1e-12)
    end = (int(np.flatnonzero(level > level.max() - FLOOR_DB)[-1]) + 1) * size
    kept = np.array(samples[:end], np.float32)
    fade = min(int(FADE_SECONDS * rate_hz), end)
    kept[end - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.concatenate([kept, np.zeros(int(PAUSE_SECONDS * rate_hz), np.float32)])
