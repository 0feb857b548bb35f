"""The inverse of the vocoder's frames, as docs/voice.md states it and csrc/speech computes it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from . import mel

OVERLAP = mel.FFT_SAMPLES // mel.HOP_SAMPLES


def overlap_add(frames: Tensor) -> Tensor:
    """`[B, T, 1024]` frames, one every 256 samples -> `[B, 256 T]`, 384 samples cut at both ends."""
    batch, count, _ = frames.shape
    pieces = frames.reshape(batch, count, OVERLAP, mel.HOP_SAMPLES)
    total = sum(functional.pad(pieces[:, :, i], (0, 0, i, OVERLAP - 1 - i)) for i in range(OVERLAP))
    return total.reshape(batch, -1)[:, mel.PAD_SAMPLES : mel.PAD_SAMPLES + mel.HOP_SAMPLES * count]


def inverse(spectrum: Tensor) -> Tensor:
    """Audio `[B, 256 T]` of `spectrum` `[B, T, 1026]`: 513 real parts, then 513 imaginary parts. Differentiable."""
    real, imaginary = spectrum.float().split(mel.BINS, dim=2)
    window, _ = mel.window_and_bank(spectrum.device)
    frames = torch.fft.irfft(torch.complex(real, imaginary), mel.FFT_SAMPLES) * window
    weight = overlap_add(window.square().expand(1, frames.shape[1], -1))
    return overlap_add(frames) / weight
