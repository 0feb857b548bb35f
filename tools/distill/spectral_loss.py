"""What the vocoder's output is compared by."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from . import mel

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))  # (window, hop) in samples
FLOOR = 1e-5  # of the squared magnitude of a 1,024-sample window
MAX_DELAY = 96  # half samples
EDGE_FRAMES = 4  # frames at both ends of a training segment whose context is cut off


@cache
def _window(samples: int) -> Tensor:
    return torch.hann_window(samples, periodic=True)


def log_magnitude(audio: Tensor, window: int, hop: int) -> Tensor:
    """Natural logarithm of the magnitudes `[B, T, window / 2 + 1]` of `audio` `[B, N]`."""
    bins = torch.stft(audio, window, hop, window, _window(window), center=False, return_complex=True)
    power = bins.real.square() + bins.imag.square()
    return 0.5 * torch.log(power + FLOOR * window / 1024).transpose(1, 2)


def resolution_loss(output: Tensor, target: Tensor, limit_hz: Tensor) -> Tensor:
    """Mean absolute difference of log-magnitudes over several resolutions, plus that of louder bins weighted by
    loudness. `limit_hz` `[B]`: above it a recording holds nothing and is not compared."""
    total = output.new_zeros(())
    for window, hop in RESOLUTIONS:
        ours, theirs = log_magnitude(output, window, hop), log_magnitude(target, window, hop)
        hz = torch.linspace(0.0, mel.RATE_HZ / 2, ours.shape[2])
        mask = (hz[None, :] <= limit_hz[:, None]).float()[:, None]
        share = mask.expand_as(ours).mean()
        total = total + ((ours - theirs).abs() * mask).mean() / share
        a, b = ours.exp() * mask, theirs.exp() * mask
        total = total + (a - b).norm() / b.norm().clamp(min=1e-3)
    return total / len(RESOLUTIONS)


def best_delay(voiced: Tensor, target: Tensor) -> Tensor:
    """Rotation `[B, T, 513]` that shifts each frame of `voiced` by up to 48 samples to where it fits `target` best.

    Pulses of a recording and of an integrated F0 differ by a fraction of a period that nobody hears; without the shift
    the upper harmonics, whose phase it moves most, would look like noise.
    """
    with torch.no_grad():
        size = 2 * mel.FFT_SAMPLES
        correlation = torch.fft.irfft(target * voiced.conj(), size)
        near = torch.cat([correlation[..., -MAX_DELAY:], correlation[..., : MAX_DELAY + 1]], dim=-1)
        delay = (near.argmax(dim=-1) - MAX_DELAY).float()
        angle = delay[..., None] * (-2.0 * torch.pi / size) * torch.arange(mel.BINS)
        return torch.polar(torch.ones_like(angle), angle)


def coherent_loss(voiced: Tensor, target: Tensor, limit_hz: Tensor) -> Tensor:
    """Squared error of the voiced part `[B, T, 513]` (complex), relative to the target's local level.

    Its optimum is the part of the recording that the pulses explain; the noise fills the rest.
    """
    power = target.real.square() + target.imag.square()
    level = functional.avg_pool1d(power, 9, stride=1, padding=4, count_include_pad=False)
    level = level + 0.01 * power.mean(dim=2, keepdim=True) + 10.0 * FLOOR
    error = target - voiced * best_delay(voiced, target / level.sqrt())
    hz = torch.linspace(0.0, mel.RATE_HZ / 2, mel.BINS)
    mask = (hz[None, :] <= limit_hz[:, None]).float()[:, None]
    return ((error.real.square() + error.imag.square()) / level * mask).mean() / mask.mean()


def mel_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of log-mels, from spectra `[B, T, 513]` (complex)."""

    def log_mel(bins: Tensor) -> Tensor:
        return mel.magnitude_to_log_mel(torch.sqrt(bins.real.square() + bins.imag.square() + 1e-9))

    return (log_mel(output) - log_mel(target)).abs().mean()
