"""Features of sound that a tower reads instead of samples, as META's `audio.features` describes them (docs/format.md).

NumPy alone, without anything of this package: the tools compute calibration inputs with the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

HALF_TAPS, KAISER_BETA = 10, 5.0  # of the resampling filter, per sample of the lower rate
MEL_BREAK_HZ = 1000.0  # of Slaney's scale: 200 / 3 Hz a mel below, 27 mels for each factor of 6.4 above


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """float32 [n] at another rate, through a windowed sinc; what lies beyond the ends counts as 0."""
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    if up == down:
        return np.asarray(samples, np.float32)
    count = -(-len(samples) * up // down)
    places = np.arange(count) * (down / up)  # of the result, in samples of the source
    cutoff = min(1.0, up / down)
    reach = math.ceil(HALF_TAPS / cutoff)
    base = np.floor(places).astype(np.int64)
    padded = np.pad(np.asarray(samples, np.float64), reach + 1)
    result = np.zeros(count)
    for lag in range(-reach, reach + 1):
        distance = (base + lag - places) * cutoff
        inside = np.clip(1 - (distance / HALF_TAPS) ** 2, 0, None)
        window = np.i0(KAISER_BETA * np.sqrt(inside)) / np.i0(KAISER_BETA)
        result += padded[base + lag + reach + 1] * np.sinc(distance) * window * cutoff
    return result.astype(np.float32)


def mono(samples: Any, rate_hz: float, to_hz: int) -> np.ndarray:
    """float32 [n] at another rate, of [n] or [n, channels] (averaged): floats with full scale 1, or integers with that
    of their type. Raises ValueError for what is no recording."""
    array = np.asarray(samples)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"the recording is {array.dtype} {list(array.shape)}, expected [samples] or [samples, channels]"
        )
    if not 1000 <= rate_hz <= 192000:
        raise ValueError(f"rate_hz is {rate_hz}, expected 1000 to 192000")
    scale = 1.0 if array.dtype.kind == "f" else 1 / (np.iinfo(array.dtype).max + 1)
    wide = array.astype(np.float64) * scale
    if array.dtype.kind == "u":
        wide = 2 * wide - 1
    wide = wide if wide.ndim == 1 else wide.mean(axis=1)
    if not np.isfinite(wide).all():
        raise ValueError("the recording holds numbers that are not finite")
    return resample(wide.astype(np.float32), int(rate_hz), to_hz)


# Frames.


def taper(features: Mapping[str, Any]) -> np.ndarray:
    """[window]: a periodic Hann window, its root, a Hamming window, or ones."""
    size, name = features["window"], features["taper"]
    cosine = np.cos(2 * np.pi * np.arange(size) / size)
    if name == "hamming":
        return 0.54 - 0.46 * cosine
    hann = 0.5 - 0.5 * cosine
    return {"hann": hann, "sqrt-hann": np.sqrt(hann), "none": np.ones(size)}[name]


def reach(features: Mapping[str, Any]) -> int:
    """Samples that are mirrored at both ends of a recording, so that frames are centred on it; 0 for no such thing."""
    return features["window"] // 2 if features.get("pad") == "reflect" else 0


def frames_of(samples: np.ndarray, features: Mapping[str, Any]) -> np.ndarray:
    """[n] -> [frames, window], tapered. Only whole frames; none where the samples are too few."""
    window, hop = features["window"], features["hop"]
    if len(samples) < window:
        return np.zeros((0, window))
    rows = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    return rows * taper(features)


def spectrum_of(frames: np.ndarray, features: Mapping[str, Any]) -> np.ndarray:
    """[frames, window] -> complex [frames, fft / 2 + 1]."""
    return np.fft.rfft(frames, features["fft"])


# Mel bands.


def hertz_to_mel(hertz: Any, scale: str) -> np.ndarray:
    hertz = np.asarray(hertz, np.float64)
    if scale == "htk":
        return 1127.0 * np.log1p(hertz / 700.0)
    above = np.log(np.maximum(hertz, MEL_BREAK_HZ) / MEL_BREAK_HZ) * 27 / math.log(6.4)
    return np.where(hertz < MEL_BREAK_HZ, hertz * 3 / 200, 15 + above)


def mel_to_hertz(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700.0 * np.expm1(mel / 1127.0)
    return np.where(mel < 15, mel * 200 / 3, MEL_BREAK_HZ * np.exp((np.maximum(mel, 15) - 15) * math.log(6.4) / 27))


def mel_bands(features: Mapping[str, Any], rate_hz: int) -> np.ndarray:
    """[fft / 2 + 1, mels]. `htk`: triangles of height 1 that are straight over mels, without the constant part;
    `slaney`: triangles of area 1 that are straight over hertz."""
    scale, mels = features["scale"], features["mels"]
    bins = np.arange(features["fft"] // 2 + 1) * (rate_hz / features["fft"])
    low_end, high_end = (float(hertz_to_mel(features[key], scale)) for key in ("low", "high"))
    edges = np.linspace(low_end, high_end, mels + 2)
    places = hertz_to_mel(bins, scale)
    if scale == "slaney":
        edges, places = mel_to_hertz(edges, scale), bins
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (places[:, None] - low) / (middle - low)
    falling = (high - places[:, None]) / (high - middle)
    bands = np.clip(np.minimum(rising, falling), 0, None)
    if scale == "slaney":
        return bands * (2 / (high - low))
    bands[0] = 0
    return bands


def cosines(mels: int, count: int) -> np.ndarray:
    """[mels, count]: the cosine transform of kind 2, scaled by sqrt(2 / mels)."""
    angles = np.pi / mels * (np.arange(mels)[:, None] + 0.5) * np.arange(count)
    return np.cos(angles) * math.sqrt(2 / mels)


def features_of(samples: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """float32 [n] at the tower's rate -> [frames, bins, 2] of a spectrum (real, then imaginary parts), [frames, mels]
    of log mel bands, [frames, coefficients] of a cepstrum."""
    features = settings["features"]
    if features.get("peak"):  # the recording's largest sample becomes 1
        samples = samples / max(float(np.abs(samples).max(initial=0)), 1e-9)
    wide, edge = np.asarray(samples, np.float64), reach(features)
    if edge:
        wide = np.pad(wide, edge, "reflect" if len(wide) > edge else "constant")
    spectrum = spectrum_of(frames_of(wide, features), features)
    if features["kind"] == "spectrum":
        return np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)
    strength = np.abs(spectrum) ** features["power"]
    result = np.log(strength @ mel_bands(features, settings["rate_hz"]) + features["floor"])
    if features["kind"] == "mfcc":
        result = result @ cosines(features["mels"], features["coefficients"])
    return result.astype(np.float32)


def arranged(values: np.ndarray, shape: tuple[Any, ...], axes: list[int]) -> np.ndarray:
    """Features in the shape of a tower's input: axis i of `values` becomes axis `axes[i]`, others have one element."""
    order = sorted(range(values.ndim), key=axes.__getitem__)
    target = [1] * len(shape)
    for axis, size in zip(axes, values.shape, strict=True):
        target[axis] = size
    return np.ascontiguousarray(values.transpose(order).reshape(target))


def disarranged(values: np.ndarray, axes: list[int]) -> np.ndarray:
    """The inverse of `arranged`: all axes but `axes` have one element."""
    order = [*axes, *(axis for axis in range(values.ndim) if axis not in axes)]
    turned = values.transpose(order)
    return turned.reshape(turned.shape[: len(axes)])


def samples_needed(settings: Mapping[str, Any], shape: tuple[Any, ...]) -> int | None:
    """How many samples at its rate a tower without state reads at once; None where it takes any number."""
    features = settings.get("features")
    size = shape[-1] if features is None else shape[features["axes"][0]]
    if not isinstance(size, int):
        return None
    return size if features is None else max(1, (size - 1) * features["hop"] + features["window"] - 2 * reach(features))


def sound_input(samples: Any, rate_hz: float, settings: Mapping[str, Any], shape: tuple[Any, ...]) -> np.ndarray:
    """What a tower without state whose input is `shape` reads of a recording: samples or features, of the whole
    recording, or of as much of it as the tower takes. Too short a recording is repeated where samples are read, and
    followed by silence where features are."""
    sound, needed = mono(samples, rate_hz, settings["rate_hz"]), samples_needed(settings, shape)
    features = settings.get("features")
    if features is None:
        if needed is None:
            return sound[None]
        sound = np.tile(sound, -(-needed // len(sound)))[:needed]
        return sound.reshape([item if isinstance(item, int) else 1 for item in shape])
    if needed is None:
        first = max(1, features["window"] - 2 * reach(features))  # samples of a recording with one frame
        needed = max(0, len(sound) - first) // features["hop"] * features["hop"] + first
    sound = np.pad(sound[:needed], (0, max(0, needed - len(sound))))
    return arranged(features_of(sound, settings), shape, features["axes"])


def chunks(sound: np.ndarray, settings: Mapping[str, Any], shape: tuple[Any, ...], path: str) -> list[np.ndarray]:
    """A recording as a tower with state takes it, step by step; silence follows where it ends within a chunk."""
    features = settings.get("features")
    size = shape[-1] if features is None else shape[features["axes"][0]]
    if not isinstance(size, int):
        raise ValueError(f"{path}: the tower takes chunks of any size: use its stream()")
    if features is None:
        padded = np.pad(sound, (0, -len(sound) % size))
        target = [item if isinstance(item, int) else 1 for item in shape]
        return [part.reshape(target) for part in np.split(padded, len(padded) // size)]
    rows = features_of(np.pad(sound, (0, max(0, features["window"] - len(sound)))), settings)
    rows = np.pad(rows, [(0, -len(rows) % size), *[(0, 0)] * (rows.ndim - 1)])
    return [arranged(part, shape, features["axes"]) for part in np.split(rows, len(rows) // size)]
