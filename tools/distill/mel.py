"""Log-mel spectrogram of docs/voice.md in the convention of HiFi-GAN, so that its generator can teach the vocoder."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

RATE_HZ = 22050
FFT_SAMPLES = 1024
HOP_SAMPLES = 256
BINS = FFT_SAMPLES // 2 + 1
MELS = 80
LOW_HZ, HIGH_HZ = 0.0, 8000.0
PAD_SAMPLES = (FFT_SAMPLES - HOP_SAMPLES) // 2
FLOOR = 1e-5  # of the mel magnitude; ln(FLOOR) is about -11.5

# Slaney's scale: linear below 1 kHz (3 mel for 200 Hz), above it 27 mel for a factor of 6.4 (Auditory Toolbox, 1998).
LINEAR_HZ_PER_MEL = 200.0 / 3.0
BREAK_HZ = 1000.0
LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    hz = np.asarray(hz, np.float64)
    high = BREAK_HZ / LINEAR_HZ_PER_MEL + np.log(np.maximum(hz, BREAK_HZ) / BREAK_HZ) / LOG_STEP
    return np.where(hz < BREAK_HZ, hz / LINEAR_HZ_PER_MEL, high)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    mel = np.asarray(mel, np.float64)
    knee = BREAK_HZ / LINEAR_HZ_PER_MEL
    return np.where(mel < knee, mel * LINEAR_HZ_PER_MEL, BREAK_HZ * np.exp(LOG_STEP * np.maximum(mel - knee, 0.0)))


def edges_hz(bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Where triangles of even width on Slaney's scale begin, peak and end: `[bands + 2]`."""
    return mel_to_hz(np.linspace(hz_to_mel(low_hz), hz_to_mel(high_hz), bands + 2))


def filter_bank(
    rate_hz: int = RATE_HZ, fft: int = FFT_SAMPLES, bands: int = MELS, low_hz: float = LOW_HZ, high_hz: float = HIGH_HZ
) -> np.ndarray:
    """Triangles of equal area on Slaney's scale: float32 `[bands, fft / 2 + 1]`, to be applied to magnitudes."""
    bins_hz = np.linspace(0.0, rate_hz / 2, fft // 2 + 1)
    edges = edges_hz(bands, low_hz, high_hz)
    width = np.diff(edges)
    rising = (bins_hz[None] - edges[:-2, None]) / width[:-1, None]
    falling = (edges[2:, None] - bins_hz[None]) / width[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


@cache
def upper_hz() -> Tensor:
    """Where each band ends, `[80]`."""
    return torch.from_numpy(edges_hz(MELS, LOW_HZ, HIGH_HZ)[2:].astype(np.float32))


@cache
def window_and_bank(device: torch.device) -> tuple[Tensor, Tensor]:
    """Periodic Hann window `[1024]` and the transposed bank `[513, 80]`."""
    window = torch.hann_window(FFT_SAMPLES, periodic=True, device=device)
    return window, torch.from_numpy(filter_bank().T.copy()).to(device)


def spectrum(audio: Tensor) -> Tensor:
    """Complex spectrum `[B, T, 513]` of `audio` `[B, N]` with T = floor(N / 256); frame t covers 256 t - 384 .. + 640.

    Raises ValueError when the audio is too short to be reflected at its ends (385 samples).
    """
    if audio.dim() != 2 or audio.shape[1] <= PAD_SAMPLES:
        raise ValueError(
            f"audio: expected [batch, samples] with more than {PAD_SAMPLES} samples, got {tuple(audio.shape)}"
        )
    window, _ = window_and_bank(audio.device)
    padded = functional.pad(audio[:, None], (PAD_SAMPLES, PAD_SAMPLES), mode="reflect")[:, 0]
    return torch.stft(
        padded, FFT_SAMPLES, HOP_SAMPLES, FFT_SAMPLES, window, center=False, return_complex=True
    ).transpose(1, 2)


def magnitude_to_log_mel(magnitude: Tensor) -> Tensor:
    """Magnitudes `[..., 513]` -> natural logarithm of the mel bands `[..., 80]`."""
    _, bank = window_and_bank(magnitude.device)
    return torch.log(torch.clamp(magnitude @ bank, min=FLOOR))


def log_mel(audio: Tensor) -> Tensor:
    """Log-mel `[B, T, 80]` of `audio` `[B, N]` in [-1, 1] at 22,050 Hz; T = floor(N / 256). Differentiable."""
    bins = spectrum(audio)
    return magnitude_to_log_mel(torch.sqrt(bins.real.square() + bins.imag.square() + 1e-9))
