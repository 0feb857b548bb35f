"""What the vocoder's output is compared by."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from . import mel

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))  # (window, hop) in samples
FLOOR = 1e-5  # of the squared magnitude of a 1,024-sample window
MAX_DELAY = 24  # half samples
DELAY_BINS = 186
SMOOTH_FRAMES = 5
BANDS, BAND_BINS = 20, 24
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


def smooth(x: Tensor) -> Tensor:
    """Sums `[B, T, N]` (real) over five frames: `[B, T - 4, N]`."""
    return functional.avg_pool1d(x.transpose(1, 2), SMOOTH_FRAMES, stride=1).transpose(1, 2) * SMOOTH_FRAMES


def best_delay(cross: Tensor) -> Tensor:
    """Half samples `[B, T - 4]`, up to 24, by which the voiced part comes too early, from whitened cross-spectra
    `[B, T, 513]`; what is below 4 kHz decides."""
    cross = torch.cat([cross[:, :, :DELAY_BINS], torch.zeros_like(cross[:, :, DELAY_BINS:])], dim=2)
    total = torch.complex(smooth(cross.real), smooth(cross.imag))
    correlation = torch.fft.irfft(total, 2 * mel.FFT_SAMPLES)
    near = torch.cat([correlation[..., -MAX_DELAY:], correlation[..., : MAX_DELAY + 1]], dim=-1)
    return (near.argmax(dim=-1) - MAX_DELAY).float()


def coherent_loss(voiced: Tensor, target: Tensor, is_voiced: Tensor, limit_hz: Tensor) -> Tensor:
    """How much of the target `[B, T, 513]` the pulses' part `[B, T, 513]` (both complex) explains.

    Relative squared error in bands of 520 Hz, after the shift in time (for five frames together) and the rotations in
    phase (for each band) that fit best: they differ from voice to voice and with the slightest error of F0, and nobody
    hears them, but without them the upper harmonics would pass for noise. The optimum is a least-squares share; noise
    fills the rest. Where `is_voiced` `[B, T]` is false, the part's own power is the loss.
    """
    power = target.real.square() + target.imag.square()
    cross = target * voiced.conj()
    with torch.no_grad():
        level = functional.avg_pool1d(power, 9, stride=1, padding=4, count_include_pad=False) + FLOOR
        delay = functional.pad(best_delay(cross / level), (2, 2), mode="replicate")
        angle = delay[..., None] * (torch.pi / mel.FFT_SAMPLES) * torch.arange(mel.BINS)
        turn = torch.polar(torch.ones_like(angle), angle)

    def bands(x: Tensor) -> Tensor:
        return smooth(x[:, :, 1 : 1 + BANDS * BAND_BINS].unflatten(2, (BANDS, BAND_BINS)).sum(dim=3))

    cross = cross * turn
    ours, theirs = bands(voiced.real.square() + voiced.imag.square()), bands(power) + FLOOR * BAND_BINS
    shared = torch.sqrt(bands(cross.real).square() + bands(cross.imag).square() + 1e-12)
    middle = is_voiced[:, SMOOTH_FRAMES // 2 : -(SMOOTH_FRAMES // 2), None]
    error = (ours + torch.where(middle, theirs - 2.0 * shared, 0.0)) / theirs
    upper_hz = (torch.arange(1, BANDS + 1) * BAND_BINS + 1) * (mel.RATE_HZ / mel.FFT_SAMPLES)
    mask = (upper_hz[None, :] <= limit_hz[:, None]).float()[:, None]
    return (error.clamp(max=4.0) * mask).mean() / mask.mean()


def mel_loss(output: Tensor, target: Tensor, limit_hz: Tensor) -> Tensor:
    """Mean absolute difference of log-mels, from spectra `[B, T, 513]` (complex), of bands up to `limit_hz` `[B]`."""

    def log_mel(bins: Tensor) -> Tensor:
        return mel.magnitude_to_log_mel(torch.sqrt(bins.real.square() + bins.imag.square() + 1e-9))

    mask = (mel.upper_hz() <= limit_hz[:, None]).float()[:, None]
    return ((log_mel(output) - log_mel(target)).abs() * mask).mean() / mask.mean()
