"""Excitation of the vocoder: pulses that follow F0, and noise.

A mel spectrogram says next to nothing about phase, so a network that must invent it needs a long adversarial training.
Here the phase of a voice comes from integrating F0, as in source-filter synthesis, and the network is left with what a
mel does determine: how loud pulses and noise are in each bin, and the phase response of the vocal tract. The pulse
train is band-limited (all harmonics below half the rate, equal amplitude); csrc/speech has the same in C++.

`python -m distill.source` tracks F0 of the packed recordings and writes the phase of their fundamental, so that
training can put its pulses where the recording has them. Run again with `--reader`, once distill.train_pitch has made
one, it takes F0 as the reader sees it, which is what the vocoder will get: pulses as steady as those.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from . import mel, packed, pitch

CENTRE_SAMPLES = mel.HOP_SAMPLES // 2  # frame t is judged at sample 256 t + 128
STEADY_FRAMES = 15
MIN_STEP = 2.0 * np.pi * 50.0 / mel.RATE_HZ  # radians per sample; bounds the number of harmonics
MAX_STEP = 2.0 * np.pi * 500.0 / mel.RATE_HZ


def integrate(f0_hz: Tensor) -> Tensor:
    """Phase in radians, float64 `[B, T]`, at the middle of each frame, from F0 `[B, T]` in Hz; starts at 0."""
    step = f0_hz.double() * (2.0 * np.pi * mel.HOP_SAMPLES / mel.RATE_HZ)
    return functional.pad((step[:, 1:] + step[:, :-1]).cumsum(dim=1) / 2.0, (1, 0))


def pulses(phase: Tensor) -> Tensor:
    """Band-limited pulse train of unit power, float32 `[B, 256 T]`, from the frames' phase, float64 `[B, T]`, T >= 2.

    Between the middles of two frames the phase is linear; beyond the first and the last it goes on as it did. With K
    harmonics below half the rate: sum over k of cos(k p) = (sin((K + 1/2) p) / sin(p / 2) - 1) / 2.
    """
    hop = mel.HOP_SAMPLES
    step = phase.diff(dim=1) / hop
    step = torch.cat([step[:, :1], step, step[:, -1:]], dim=1)  # `[B, T + 1]`, one for each gap
    start = torch.cat([phase[:, :1] - hop * step[:, :1], phase], dim=1)
    ramp = torch.arange(hop, dtype=torch.float64, device=phase.device)
    samples = (start[:, :, None] + step[:, :, None] * ramp).flatten(1)[:, CENTRE_SAMPLES:-CENTRE_SAMPLES]
    harmonics = torch.floor(np.pi / step.clamp(MIN_STEP, MAX_STEP))
    count = harmonics[:, :, None].expand(-1, -1, hop).flatten(1)[:, CENTRE_SAMPLES:-CENTRE_SAMPLES]
    half = torch.remainder(samples, 2.0 * np.pi) / 2.0  # within [0, pi): the sine below is zero at 0 only
    low = torch.sin(half)
    whole = torch.where(low < 1e-6, count, (torch.sin((2.0 * count + 1.0) * half) / low.clamp(min=1e-6) - 1.0) / 2.0)
    return (whole * torch.sqrt(2.0 / count)).float()


def hashed_noise(first: int, samples: int) -> Tensor:
    """Uniform noise of unit power, float32 `[samples]`: a hash of the sample's index, so chunks agree."""
    x = np.arange(first, first + samples, dtype=np.uint32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x ^= x >> np.uint32(16)
    return torch.from_numpy((x.astype(np.float64) * (np.sqrt(12.0) / 2**32) - np.sqrt(3.0)).astype(np.float32))


def frames_of(audio: Tensor) -> Tensor:
    """Spectrum of an excitation `[B, 256 T]` with zeros around it, float32 `[B, T, 1026]`: real, then imaginary."""
    padded = functional.pad(audio, (mel.PAD_SAMPLES, mel.PAD_SAMPLES))
    window, _ = mel.window_and_bank(audio.device)
    bins = torch.stft(
        padded, mel.FFT_SAMPLES, mel.HOP_SAMPLES, mel.FFT_SAMPLES, window, center=False, return_complex=True
    )
    return torch.cat([bins.real, bins.imag], dim=1).transpose(1, 2)


def excitation(phase: Tensor, noise: Tensor) -> Tensor:
    """The vocoder's `source` input `[B, T, 2052]`: spectra of the pulses, then of the noise `[B, 256 T]`."""
    return torch.cat([frames_of(pulses(phase)), frames_of(noise)], dim=2)


def fundamental_phase(audio: np.ndarray, f0_hz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Phase of a recording's fundamental at the middle of each frame, float64 `[T]`, unwrapped.

    F0 `[T]` is integrated, and what is left is read off the `voiced` frames of the recording: the fundamental, shifted
    to 0 Hz by the integrated phase, under a Hann window of 1,024 samples. That is smoothed over `STEADY_FRAMES`, since
    it is to cancel the drift of the integral, not to shake the pulses.
    """
    coarse = integrate(torch.from_numpy(np.asarray(f0_hz, np.float32))[None])[0].numpy()
    at = np.flatnonzero(voiced)
    if not len(at):
        return coarse
    frame = np.arange(len(coarse))
    fine = np.interp(np.arange(len(audio)), frame * mel.HOP_SAMPLES + CENTRE_SAMPLES, coarse)
    shifted = np.pad((audio * np.exp(-1j * fine)).astype(np.complex64), mel.PAD_SAMPLES)
    windows = np.lib.stride_tricks.sliding_window_view(shifted, mel.FFT_SAMPLES)[:: mel.HOP_SAMPLES]
    residue = np.angle(windows[: len(coarse)] @ np.hanning(mel.FFT_SAMPLES + 1)[:-1].astype(np.float32))
    residue = np.interp(frame, at, np.unwrap(residue[at]))
    weights = np.hanning(STEADY_FRAMES + 2)[1:-1]
    padded = np.pad(residue, STEADY_FRAMES // 2, mode="edge")
    return coarse + np.convolve(padded, weights / weights.sum(), "valid")


class Frames:
    """Per-frame features of the packed recordings: `log_f0` (0 = unvoiced) and `phase`, from first to last frame."""

    def __init__(self, work: Path, frames: int, mode: str = "r"):
        self.log_f0 = self._open(packed.folder(work) / "log_f0.f32", np.float32, frames, mode)
        self.phase = self._open(packed.folder(work) / "phase.f64", np.float64, frames, mode)

    @staticmethod
    def _open(path: Path, dtype: type, frames: int, mode: str) -> np.memmap:
        if mode != "r" and not path.exists():
            with path.open("wb") as stream:
                stream.truncate(frames * np.dtype(dtype).itemsize)
        return np.memmap(path, dtype, mode, shape=(frames,))


def ready(work: Path, entries: int) -> np.ndarray:
    """Which recordings have features: bool, one for each entry of the pack."""
    path = packed.folder(work) / "frames_done.npy"
    return np.load(path) if path.exists() else np.zeros(entries, bool)


def filled(log_f0: np.ndarray) -> np.ndarray:
    """F0 in Hz `[T]` from a tracker's logarithms (0 = unvoiced), interpolated; 150 Hz where nothing is voiced."""
    voiced = log_f0 > 0
    return np.exp(pitch.fill_gaps(log_f0, voiced)) if voiced.any() else np.full(len(log_f0), 150.0, np.float32)


def track(work: Path, corpora: list[str], read: Callable[[np.ndarray], np.ndarray] | None) -> None:
    """Computes the features, corpus by corpus; a later run goes on where this one stopped.

    read: F0 in Hz from a log-mel; then only the phase is computed, for all recordings that have been tracked.
    """
    pack = packed.Pack(work)
    frames = Frames(work, pack.samples // mel.HOP_SAMPLES, "r+")
    done = ready(work, len(pack.entries))
    wanted = done if read else ~done
    todo = [i for corpus in corpora for i, e in enumerate(pack.entries) if e.corpus == corpus and wanted[i]]
    path = packed.folder(work) / "frames_done.npy"
    for count, index in enumerate(tqdm(todo, mininterval=10, desc="pitch")):
        audio, entry = pack.audio(index), pack.entries[index]
        first, length = entry.start // mel.HOP_SAMPLES, entry.samples // mel.HOP_SAMPLES
        here = slice(first, first + length)
        if read:
            f0_hz = read(mel.log_mel(torch.from_numpy(audio)[None])[0].numpy())
        else:
            frames.log_f0[here] = pitch.log_f0(audio, length)
            f0_hz = filled(frames.log_f0[here])
        frames.phase[here] = fundamental_phase(audio, f0_hz, frames.log_f0[here] > 0)
        done[index] = True
        if count % 50 == 49 or index == todo[-1]:
            np.save(path.with_suffix(".tmp.npy"), done)
            os.replace(path.with_suffix(".tmp.npy"), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=packed.default_work(), help="folder for features and checkpoints")
    parser.add_argument("--corpora", nargs="+", default=list(packed.CORPORA), choices=packed.CORPORA)
    parser.add_argument("--reader", type=Path, help="pitch.pt: compute the phases again, with F0 as it reads it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    read = None
    if arguments.reader:
        from . import train_pitch  # it imports this module

        read = train_pitch.load(arguments.reader).read
    track(arguments.work, arguments.corpora, read)


if __name__ == "__main__":
    main()
