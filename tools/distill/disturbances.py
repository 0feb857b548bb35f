"""What microphones and rooms do to speech: rooms and clipping on samples, all the rest on log-mels, as training goes.

Noise is added to log-mels as powers are, so that the same recording is never heard twice in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import lfilter, oaconvolve
from torch import Tensor

from .mel import FLOOR, HIGH_HZ, LOW_HZ, MELS, RATE_HZ, hz_to_mel, mel_to_hz

DB = np.log(10.0) / 20.0  # natural logarithm of a magnitude, for each decibel
NOISES = ("white", "pink", "brown", "band", "hum", "clicks", "babble", "music")
SILENT = float(np.log(FLOOR))
CENTRES_HZ = mel_to_hz(np.linspace(hz_to_mel(LOW_HZ), hz_to_mel(HIGH_HZ), MELS + 2))[1:-1]
NOISE_RMS = 0.05
SCALES = ((0, 4, 7, 12), (0, 3, 7, 10), (0, 2, 4, 7, 9), (0, 5, 7, 12))  # semitones


# -- on samples


def room_response(random: np.random.Generator) -> np.ndarray:
    """Impulse response of a made-up room: direct sound, early reflections, noise that decays within 0.12 .. 0.8 s."""
    decay_s = random.uniform(0.12, 0.8)
    count = int(min(decay_s, 0.5) * RATE_HZ)
    time_s = np.arange(count) / RATE_HZ
    late = random.normal(size=count) * np.exp(-6.9 * time_s / decay_s) * (time_s > 0.004)
    late = lfilter([1.0], [1.0, -random.uniform(0.0, 0.7)], late)  # walls swallow more of the highs
    for _ in range(random.integers(4, 13)):
        at = random.uniform(0.0008, 0.03)
        late[int(at * RATE_HZ)] += random.choice([-1.0, 1.0]) * np.exp(-at / 0.02) * np.abs(late).max()
    direct_db = random.uniform(-3.0, 14.0)  # above the reflections
    late *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(late**2))
    late[0] = 1.0
    return late


def in_room(audio: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The recording in a room, and one time in five clipped, at the level of the original."""
    heard = oaconvolve(audio, room_response(random))[: len(audio)]
    heard *= np.sqrt(np.mean(audio**2) + 1e-12) / np.sqrt(np.mean(heard**2) + 1e-12)
    if random.random() < 0.2:
        limit = np.abs(heard).max() * random.uniform(0.25, 0.8)
        heard = np.clip(heard, -limit, limit)
    return heard.astype(np.float32)


def coloured(count: int, slope: float, random: np.random.Generator) -> np.ndarray:
    """Noise whose magnitude falls as frequency to the power of `-slope`."""
    bins = np.fft.rfft(random.normal(size=count))
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    return np.fft.irfft(bins * np.maximum(hz, 30.0) ** -slope, count)


def hum(count: int, random: np.random.Generator) -> np.ndarray:
    """Mains or a fan: a low tone with harmonics, and some noise."""
    tone = random.choice([50.0, 60.0, random.uniform(70.0, 240.0)])
    time_s = np.arange(count) / RATE_HZ
    parts = [random.uniform(0.2, 1) / k * np.sin(2 * np.pi * k * tone * time_s + k) for k in range(1, 20)]
    return np.sum(parts, axis=0) + 20 * coloured(count, 1.0, random)


def clicks(count: int, random: np.random.Generator) -> np.ndarray:
    """Keys, taps and crackling: short decaying bursts at random times, over faint noise."""
    audio = 0.01 * random.normal(size=count)
    for at in random.integers(0, count, int(count / RATE_HZ * random.uniform(2, 9))):
        size = min(int(random.uniform(0.002, 0.06) * RATE_HZ), count - at)
        burst = random.normal(size=size) * np.exp(-np.arange(size) / (size / 4 + 1))
        audio[at : at + size] += random.uniform(0.3, 1.0) * lfilter([1], [1, -random.uniform(-0.5, 0.9)], burst)
    return audio


def music(count: int, random: np.random.Generator) -> np.ndarray:
    """Chords and arpeggios of decaying or swelling harmonic tones, with a beat half of the time."""
    audio = np.zeros(count)
    beat = int(random.uniform(0.12, 0.6) * RATE_HZ)
    root = random.uniform(80.0, 320.0)
    scale = SCALES[random.integers(len(SCALES))]
    arpeggio, swell, harmonics = random.random() < 0.5, random.random() < 0.4, int(random.integers(2, 12))
    for number, start in enumerate(range(0, count - 64, beat)):
        size = min(int(beat * random.uniform(0.8, 3.0)), count - start)
        time_s = np.arange(size) / RATE_HZ
        shape = np.minimum(time_s / (0.15 if swell else 0.008), 1) * np.exp(-time_s * (0.7 if swell else 3.5))
        step = 5 * (number // 8 % 3)
        for note in [random.choice(scale)] if arpeggio else random.choice(scale, 3, replace=False):
            hz = root * 2 ** ((note + step) / 12)
            vibrato = 0.3 * np.sin(2 * np.pi * 5.5 * time_s) if swell else 0.0
            tones = [np.sin(k * (2 * np.pi * hz * time_s + vibrato)) / k**1.3 for k in range(1, harmonics + 1)]
            audio[start : start + size] += shape * np.sum(tones, axis=0)
    return audio + (0.3 * clicks(count, random) if random.random() < 0.5 else 0.0)


def noise(kind: str, count: int, random: np.random.Generator, speech: list[np.ndarray]) -> np.ndarray:
    """`count` samples of one of `NOISES` at `NOISE_RMS`. `speech`: recordings that make up babble."""
    if kind == "babble":
        pieces = [np.resize(piece, count) for piece in speech]
        audio = np.sum([piece / (np.std(piece) + 1e-6) for piece in pieces], axis=0)
    elif kind == "band":
        pole, angle = random.uniform(0.7, 0.99), random.uniform(0.05, 2.0)
        audio = lfilter([1.0], [1.0, -2 * pole * np.cos(angle), pole**2], coloured(count, 0.5, random))
    elif kind in ("hum", "clicks", "music"):
        audio = {"hum": hum, "clicks": clicks, "music": music}[kind](count, random)
    else:
        audio = coloured(count, {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind], random)
    return (audio * (NOISE_RMS / (np.std(audio) + 1e-9))).astype(np.float32)


# -- on log-mels


@dataclass(frozen=True)
class Severity:
    """How often and how badly. Decibels are ranges."""

    noisy: float = 0.7
    snr_db: tuple[float, float] = (0.0, 35.0)
    coloured: float = 0.8
    narrow: float = 0.35
    gain_db: tuple[float, float] = (-22.0, 14.0)


def add_power(a: Tensor, b: Tensor) -> Tensor:
    """Log-mel of the sum of two sounds whose phases have nothing to do with each other."""
    return 0.5 * torch.logaddexp(2 * a, 2 * b)


def level(log_mel: Tensor, mask: Tensor) -> Tensor:
    """Natural logarithm of the mean magnitude `[B]` of `[B, T, 80]` over the frames of `mask` `[B, T]`."""
    power = log_mel.clamp(max=8.0).mul(2).exp().mean(2)
    return 0.5 * torch.log((power * mask).sum(1) / mask.sum(1).clamp(min=1.0) + 1e-12)


def microphone(random: np.random.Generator, severity: Severity) -> np.ndarray:
    """Response `[80]` of a microphone and its band limit, as natural logarithms of factors."""
    octaves = np.log2(CENTRES_HZ / 1000.0)
    curve = np.zeros(MELS)
    if random.random() < severity.coloured:
        curve += random.uniform(-2.5, 2.5) * octaves
        for _ in range(random.integers(0, 4)):
            middle, width = random.uniform(-3.0, 3.0), random.uniform(0.15, 1.2)
            curve += random.uniform(-9.0, 7.0) * np.exp(-0.5 * ((octaves - middle) / width) ** 2)
        corner = np.log2(random.uniform(40.0, 350.0) / 1000.0)
        curve -= random.uniform(6.0, 18.0) * np.maximum(corner - octaves, 0.0)
    if random.random() < severity.narrow:
        corner_hz = random.uniform(3300.0, 4000.0) if random.random() < 0.6 else random.uniform(4000.0, 7500.0)
        slope = random.uniform(60.0, 600.0)  # dB an octave
        curve -= np.minimum(slope * np.maximum(np.log2(CENTRES_HZ / corner_hz), 0.0), 120.0)
        if corner_hz < 4000.0 and random.random() < 0.5:
            curve -= random.uniform(12.0, 40.0) * np.maximum(np.log2(300.0 / CENTRES_HZ), 0.0)
    return curve * DB


def disturb(
    log_mel: Tensor, mask: Tensor, noises: Tensor, random: np.random.Generator, severity: Severity | None = None
) -> Tensor:
    """Log-mels `[B, T, 80]` as some microphone hears them.

    mask `[B, T]`: 1 where there is speech, from which the level is taken; noises `[B, T, 80]`: log-mels, one a crop.
    """
    severity = severity or Severity()
    count = len(log_mel)
    snr_db = np.where(random.random(count) < severity.noisy, random.uniform(*severity.snr_db, count), 90.0)
    wanted = level(log_mel, mask) - torch.from_numpy(snr_db * DB)
    ones = torch.ones(log_mel.shape[:2])
    heard = add_power(log_mel, noises + (wanted - level(noises, ones)).float()[:, None, None])
    curves = np.stack([microphone(random, severity) for _ in range(count)])
    gains = random.uniform(*severity.gain_db, count) * DB
    heard = heard + torch.from_numpy(curves + gains[:, None]).float()[:, None]
    # The converter's own noise, flat in frequency: magnitudes of a band grow with nothing but its width, which the
    # equal areas of the bands take out.
    floor = torch.from_numpy(random.uniform(-75.0, 0.0, count) * DB).float() + SILENT + 75.0 * DB * 0.4
    return add_power(heard, floor[:, None, None].expand_as(heard)).clamp(min=SILENT)
