"""Random training segments of the packed recordings, with the features the vocoder needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import mel, packed, source, taught

# How often a corpus is drawn; the reader of the default voice most.
SHARES = {"ljspeech": 0.45, "vctk-p239": 0.15, "librispeech": 0.3, "librispeech-voices": 0.1, taught.CORPUS: 1.0}
# LibriSpeech was recorded at 16 kHz: nothing is known above 8 kHz.
LIMIT_HZ = {"librispeech": 7600.0, "librispeech-voices": 7600.0}
GAIN_DB = (-6.0, 3.0)


@dataclass
class Batch:
    """`audio` `[B, 256 T]`, its `target` spectrum `[B, T, 513]` (complex), `log_mel` `[B, T, 80]` (half of them
    blurred), the pulses' `phase` `[B, T]` (float64), `log_f0` `[B, T]` (0 where unvoiced), `noise` `[B, 256 T]`, and
    `limit_hz` `[B]`, the frequency up to which the recording is valid."""

    audio: Tensor
    target: Tensor
    log_mel: Tensor
    phase: Tensor
    log_f0: Tensor
    noise: Tensor
    limit_hz: Tensor


def joined(batches: list[Batch]) -> Batch:
    """All rows of some batches."""
    rows = [vars(batch) for batch in batches]
    return Batch(**{name: torch.cat([row[name] for row in rows]) for name in rows[0]})


def spectrum_within(audio: Tensor) -> Tensor:
    """Complex spectrum `[B, T, 513]` of `audio` `[B, 256 T + 768]` that has its context at both ends."""
    window, _ = mel.window_and_bank(audio.device)
    bins = torch.stft(
        audio, mel.FFT_SAMPLES, mel.HOP_SAMPLES, mel.FFT_SAMPLES, window, center=False, return_complex=True
    )
    return bins.transpose(1, 2)


def blurred(log_mel: Tensor, random: np.random.Generator) -> Tensor:
    """`log_mel` `[B, T, 80]`, half of it smoothed by up to about 1.5 frames and bands and a little off.

    An acoustic model predicts averages, which lack the detail of a recording; networks that have seen only recordings
    take that for another kind of sound.
    """
    batch = log_mel.shape[0]
    on = random.random((batch, 1, 1)) < 0.5
    for axis in (1, 2):
        for _ in range(3):
            share = torch.from_numpy((on * random.uniform(0.0, 0.33, (batch, 1, 1))).astype(np.float32))
            first, last = log_mel.narrow(axis, 0, 1), log_mel.narrow(axis, log_mel.shape[axis] - 1, 1)
            sides = torch.cat([first, log_mel.narrow(axis, 0, log_mel.shape[axis] - 1)], dim=axis) + torch.cat(
                [log_mel.narrow(axis, 1, log_mel.shape[axis] - 1), last], dim=axis
            )
            log_mel = log_mel + share * (sides - 2.0 * log_mel)
    error = random.standard_normal((batch, 1, mel.MELS)) * random.uniform(0.0, 0.2, (batch, 1, 1)) * on
    return log_mel + torch.from_numpy(error.astype(np.float32))


class Sampler:
    """Draws batches from the recordings that have features. Its state is the generator's, for resumption."""

    def __init__(
        self,
        work: Path,
        frames: int,
        batch: int,
        seed: int,
        corpora: list[str],
        predicted: float = 0.0,
        limit_hz: float = mel.RATE_HZ / 2,
    ):
        """predicted: how often to take the mel from WORK/acoustic/predicted/CORPUS/FILE.npy, `[T, 80]`, where it is.
        limit_hz: of all batches, and less where a corpus was recorded with less."""
        self.predicted, self.limit_hz = predicted, limit_hz
        self.folder = Path(work) / "acoustic/predicted"
        self.pack = packed.Pack(work)
        self.features = source.Frames(work, self.pack.samples // mel.HOP_SAMPLES)
        self.frames, self.batch = frames, batch
        self.random = np.random.default_rng(seed)
        done = source.ready(work, len(self.pack.entries))
        long_enough = (frames + 5) * mel.HOP_SAMPLES
        self.pools: dict[str, np.ndarray] = {}
        for corpus in corpora:
            chosen = [
                i
                for i, e in enumerate(self.pack.entries)
                if e.corpus == corpus and e.training and done[i] and e.samples >= long_enough
            ]
            if chosen:
                self.pools[corpus] = np.array(chosen)
        if not self.pools:
            raise ValueError(f"{work}: no recordings with features; run distill.packed and distill.source first")
        lengths = np.array([e.samples for e in self.pack.entries], np.float64)
        self.weights = {corpus: lengths[pool] / lengths[pool].sum() for corpus, pool in self.pools.items()}
        shares = np.array([SHARES[corpus] for corpus in self.pools])
        self.shares = shares / shares.sum()

    def prediction(self, entry: packed.Entry, frame: int) -> np.ndarray | None:
        """What the acoustic model makes of a segment, `[T, 80]` at the recording's level, if it was asked."""
        path = self.folder / entry.corpus / f"{Path(entry.file).stem}.npy"
        if self.random.random() >= self.predicted or not path.exists():
            return None
        log_mel = np.load(path, mmap_mode="r")[frame : frame + self.frames]
        return log_mel if len(log_mel) == self.frames else None

    def next(self) -> Batch:
        margin = mel.PAD_SAMPLES
        audio = np.empty((self.batch, self.frames * mel.HOP_SAMPLES + 2 * margin), np.float32)
        phase = np.empty((self.batch, self.frames))
        log_f0 = np.empty((self.batch, self.frames), np.float32)
        limits = np.empty(self.batch, np.float32)
        predictions: dict[int, np.ndarray] = {}
        names = list(self.pools)
        for row in range(self.batch):
            corpus = names[self.random.choice(len(names), p=self.shares)]
            entry = self.pack.entries[self.random.choice(self.pools[corpus], p=self.weights[corpus])]
            frame = int(self.random.integers(2, entry.samples // mel.HOP_SAMPLES - self.frames - 2))
            first = entry.start + frame * mel.HOP_SAMPLES - margin
            gain = 10.0 ** (self.random.uniform(*GAIN_DB) / 20.0) / packed.PEAK
            audio[row] = self.pack.data[first : first + audio.shape[1]] * gain
            at = entry.start // mel.HOP_SAMPLES + frame
            phase[row] = self.features.phase[at : at + self.frames]
            log_f0[row] = self.features.log_f0[at : at + self.frames]
            if (guess := self.prediction(entry, frame)) is not None:
                predictions[row] = np.maximum(guess + np.log(gain * packed.PEAK), np.log(mel.FLOOR))
            limits[row] = min(self.limit_hz, LIMIT_HZ.get(corpus, self.limit_hz))
        noise_at = int(self.random.integers(0, 1 << 30))
        noise = source.hashed_noise(noise_at, self.batch * self.frames * mel.HOP_SAMPLES).reshape(self.batch, -1)
        whole = torch.from_numpy(audio)
        target = spectrum_within(whole)
        magnitude = torch.sqrt(target.real.square() + target.imag.square() + 1e-9)
        log_mel = blurred(mel.magnitude_to_log_mel(magnitude), self.random)
        for row, prediction in predictions.items():
            log_mel[row] = torch.from_numpy(prediction.astype(np.float32))
        return Batch(
            whole[:, margin:-margin],
            target,
            log_mel,
            torch.from_numpy(phase),
            torch.from_numpy(log_f0),
            noise,
            torch.from_numpy(limits),
        )
