"""What a speaker vector is: 128 numbers of GE2E's, 61 of the spectrum's statistics, two of F0 and a constant.

GE2E tells speakers apart but says indirectly what a decoder has to know: how loud each band is on average, how much it
moves, how high the voice lies. From some dozens of speakers a decoder learns that only for them; told so itself, it
does as it is told for anybody (docs/decisions.md). GE2E's part is its first axes (speakers.py), the spectrum's the
principal axes of 251 speakers' statistics. Vectors have unit length; the constant tells by how much they were divided,
for mixtures of voices as well, so that networks read the numbers as they were (`parts_of`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import pitch, speakers

TEACHER, SPECTRUM, PITCH = 128, 61, 2
BLOB = "voice_space"  # of a model file: the digest of its space
SIZE = TEACHER + SPECTRUM + PITCH + 1
PITCH_AT = TEACHER + SPECTRUM  # the mean of F0; behind it how much F0 moves, and the constant
CONSTANT, LEAST_CONSTANT = 0.3, 0.05  # before division, and at least after it: else any 192 floats might mean anything
ACTIVE = 3.0  # frames count whose energy is at most so far (natural logarithm) below the loudest twentieth's
CENTRE_LOG_F0, DEVIATION_LOG_F0 = 5.1, 0.28  # of speakers' means
USUAL_SPREAD = 0.2  # of F0 within a speaker
PITCH_SHARE, SPECTRUM_SHARE = 0.4, 1.0  # lengths of the parts, next to 1 of GE2E's


def active(mel: np.ndarray) -> np.ndarray:
    """Which frames of a log-mel `[T, 80]` hold speech, by their energy."""
    energy = pitch.log_energy(np.asarray(mel, np.float32))
    return energy > np.percentile(energy, 95) - ACTIVE


def spectrum_statistics(mel: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """`[160]`: mean of each band over active frames, without loudness, and its standard deviation."""
    mel = np.asarray(mel, np.float32)
    frames = mel[active(mel) if counts is None else counts]
    mean = frames.mean(0)
    return np.concatenate([mean - mean.mean(), frames.std(0)])


def pitch_statistics(log_f0: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of F0's logarithm `[T]` (0: unvoiced), errors by an octave left out."""
    voiced = log_f0[log_f0 > 0]
    if not len(voiced):
        return CENTRE_LOG_F0, USUAL_SPREAD
    voiced = voiced[np.abs(voiced - np.median(voiced)) < 0.5]
    return float(voiced.mean()), float(voiced.std())


@dataclass
class VoiceSpace:
    """The maps: of GE2E (`mean` `[256]`, `axes` `[192, 256]`), and of the spectrum's statistics."""

    mean: np.ndarray
    axes: np.ndarray
    spectrum_mean: np.ndarray  # [160]
    spectrum_axes: np.ndarray  # [61, 160]
    name: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))  # of a finished model's, else empty

    def parts(self, embedding: np.ndarray, statistics: np.ndarray, log_f0: float, spread: float) -> np.ndarray:
        """A vector before it is brought to unit length, `[192]`: those of one speaker are averaged so."""
        teacher = self.axes[:TEACHER] @ (embedding - self.mean)
        f0 = np.array([(log_f0 - CENTRE_LOG_F0) / DEVIATION_LOG_F0, (spread - USUAL_SPREAD) / USUAL_SPREAD])
        spectrum = self.spectrum_axes @ (statistics - self.spectrum_mean)
        teacher = teacher / np.linalg.norm(teacher)
        return np.concatenate([teacher, SPECTRUM_SHARE * spectrum, PITCH_SHARE * f0, [CONSTANT]])

    def of_audio(self, narrow: np.ndarray, wide: np.ndarray, teacher: speakers.SpeakerTeacher) -> np.ndarray:
        """The vector `[192]` of one recording, at 16 and at 22.05 kHz: what a speaker tower is to find."""
        import torch

        from .mel import log_mel

        mel = log_mel(torch.from_numpy(np.asarray(wide, np.float32))[None])[0].numpy()
        f0 = pitch_statistics(pitch.log_f0(wide, len(mel)))
        return unit(self.parts(teacher.embed(narrow), spectrum_statistics(mel), *f0))

    def digest(self) -> bytes:
        """16 bytes that tell this space from others: voices of one model fit another with the same (docs/voice.md)."""
        if len(self.name):
            return self.name.tobytes()
        content = b"".join(np.ascontiguousarray(values, "<f4").tobytes() for values in self.as_dict().values())
        return hashlib.blake2b(content, digest_size=16).digest()

    def as_dict(self) -> dict[str, np.ndarray]:
        return dict(vars(self))


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def parts_of(vectors: Any) -> Any:
    """The numbers before they were brought to unit length, of tensors `[..., 192]`."""
    return vectors * (CONSTANT / vectors[..., -1:].clamp(min=LEAST_CONSTANT))


def fit(embeddings: np.ndarray, statistics: np.ndarray) -> VoiceSpace:
    """From GE2E embeddings `[N, 256]` and `spectrum_statistics` `[N, 160]` of many speakers."""
    mean, axes = speakers.fit_projection(embeddings)
    spectrum_mean = statistics.mean(0)
    centred = statistics - spectrum_mean
    _, _, spectrum_axes = np.linalg.svd(centred, full_matrices=False)
    scale = np.sqrt(np.square(centred).sum(1).mean())
    return VoiceSpace(mean, axes, spectrum_mean, (spectrum_axes[:SPECTRUM] / scale).astype(np.float32))


def load(work: Path) -> VoiceSpace:
    """The space that prepare.py fitted. Raises OSError where it has not run."""
    with np.load(Path(work) / "prepared/voices.npz") as file:
        return VoiceSpace(*(file[name] for name in VoiceSpace.__annotations__))
