"""Speakers whom nobody recorded, made of mels alone: formants and pitch moved apart, bands louder or softer.

Voices that play at another speed (shifted.py) differ along one line from those that were recorded. Here the envelope
of a mel and its fine structure, which holds the harmonics, are stretched each by a factor of its own, and a smooth
curve is added, as other throats and microphones would; what GE2E makes of that, likeness.py tells.

    python -m distill.warped --work WORK

writes, for a few warps of each recording that prepare.py packed, how they change its vector: WORK/prepared/warped.npz.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import likeness, mel, shifted, voice_space
from .mel import MELS
from .voice_space import TEACHER, VoiceSpace

BAND_MELS = float(mel.hz_to_mel(mel.HIGH_HZ)) / (MELS + 1)  # from a band to the next
VARIANTS = 4  # of each recording
LARGEST = 0.24  # logarithm of a factor, of formants as of pitch
CURVES, CURVE_SIZE = 6, 0.2  # cosines over the bands, and their standard deviation: 0.35 of a band's logarithm in all
ENVELOPE_BANDS = 2.5  # standard deviation of the smoothing that parts envelope and harmonics
HEARD_FRAMES = 560  # of a recording, 6.5 s: more moves its vector little
WINDOW, STEP = 160, 120  # frames that the teacher hears at once
USUAL_LOG_F0 = 5.15  # of a voice's mean where it is not known
LOWEST_LOG_F0, HIGHEST_LOG_F0 = 4.45, 5.85  # 86 and 347 Hz: of a voice's mean


@cache
def places() -> tuple[np.ndarray, np.ndarray]:
    """Hz of the bands' centres `[80]`, and the smoothing `[80, 80]` that leaves the envelope, for mels times it."""
    bands = np.arange(MELS)
    smooth = np.exp(-0.5 * ((bands[:, None] - bands) / ENVELOPE_BANDS) ** 2)
    return mel.mel_to_hz((bands + 1) * BAND_MELS), (smooth / smooth.sum(0)).astype(np.float32)


def stretched(factor: float) -> np.ndarray:
    """`[80, 80]`: a mel times it has at frequency f what was at f / factor."""
    hz, _ = places()
    at = np.clip(mel.hz_to_mel(hz / factor) / BAND_MELS - 1, 0, MELS - 1.001)
    low = at.astype(int)
    matrix = np.zeros((MELS, MELS), np.float32)
    matrix[low, np.arange(MELS)] = 1 - (at - low)
    matrix[low + 1, np.arange(MELS)] += at - low
    return matrix


@dataclass(frozen=True)
class Warp:
    """Logarithms of the factors of formants and of pitch; `curve` `[6]`, of cosines over the bands."""

    formants: float
    pitch: float
    curve: np.ndarray

    def __call__(self, log_mel: np.ndarray) -> np.ndarray:
        """Log-mel `[T, 80]` -> the same of the voice that is made, float32."""
        _, smooth = places()
        fine = np.eye(MELS, dtype=np.float32) - smooth
        matrix = smooth @ stretched(np.exp(self.formants)) + fine @ stretched(np.exp(self.pitch))
        bands = (np.arange(MELS) + 0.5) / MELS
        curve = np.cos(np.pi * np.outer(np.arange(1, CURVES + 1), bands)).T @ self.curve
        return np.maximum(
            np.asarray(log_mel, np.float32) @ matrix + curve.astype(np.float32), np.float32(np.log(mel.FLOOR))
        )

    def bands(self, held: int) -> int:
        """How many bands are known of a recording that holds `held`."""
        held_hz = mel.mel_to_hz((held + 1) * BAND_MELS)
        return shifted.bands_below(float(held_hz) * np.exp(min(0.0, self.formants, self.pitch)))


def draw(random: np.random.Generator, log_f0: float) -> Warp:
    """A warp of a voice whose log-F0 is `log_f0` on average: what results can be anybody's pitch."""
    low, high = max(-LARGEST, LOWEST_LOG_F0 - log_f0), min(LARGEST, HIGHEST_LOG_F0 - log_f0)
    pitch = float(random.uniform(min(low, 0.0), max(high, 0.0)))
    # Who speaks higher has a shorter throat, mostly.
    formants = float(np.clip(0.4 * pitch + random.uniform(-0.15, 0.15), -LARGEST, LARGEST))
    return Warp(formants, pitch, random.normal(0, CURVE_SIZE, CURVES) / np.sqrt(np.arange(1, CURVES + 1)))


@torch.no_grad()
def heard(hearing: likeness.Likeness, log_mels: Tensor) -> Tensor:
    """The teacher's vectors `[B, 256]` of mels `[B, T, 80]` of one length: the mean over windows, of unit length."""
    count = max(1, (log_mels.shape[1] - WINDOW) // STEP + 1)
    windows = [hearing.embed(log_mels[:, i * STEP : i * STEP + WINDOW]) for i in range(count)]
    return torch.nn.functional.normalize(torch.stack(windows).mean(0), dim=1)


def changes(
    hearing: likeness.Likeness, space: VoiceSpace, log_mel: np.ndarray, warps: list[Warp], log_f0: float
) -> np.ndarray:
    """By how much the parts of a recording's vector (`VoiceSpace.parts`) change with each warp, `[len(warps), 192]`."""
    versions = [np.asarray(log_mel, np.float32)] + [warp(log_mel) for warp in warps]
    vectors = heard(hearing, torch.from_numpy(np.stack([v[:HEARD_FRAMES] for v in versions]))).numpy()
    counts = voice_space.active(versions[0])
    f0 = [log_f0] + [log_f0 + warp.pitch for warp in warps]
    parts = [
        space.parts(vector, voice_space.spectrum_statistics(version, counts), hz, voice_space.USUAL_SPREAD)
        for vector, version, hz in zip(vectors, versions, f0, strict=True)
    ]
    return np.stack(parts[1:]) - parts[0]


def changed(vector: np.ndarray, change: np.ndarray) -> np.ndarray:
    """A recording's vector `[192]`, of any length, after a change of its parts; of unit length."""
    parts = vector * (voice_space.CONSTANT / vector[-1]) + change
    parts[:TEACHER] /= np.linalg.norm(parts[:TEACHER])
    return voice_space.unit(parts)


@dataclass
class Warps:
    """Warps of all recordings: `[N, VARIANTS, ...]`."""

    formants: np.ndarray
    pitch: np.ndarray
    curve: np.ndarray
    change: np.ndarray

    def __call__(self, recording: int, variant: int) -> tuple[Warp, np.ndarray]:
        at = recording, variant
        return Warp(float(self.formants[at]), float(self.pitch[at]), self.curve[at]), self.change[at].astype(np.float32)


def path_of(work: Path) -> Path:
    return Path(work) / "prepared/warped.npz"


def load(work: Path, recordings: int) -> Warps:
    """Raises OSError, saying what to run, where there are none or others than of these recordings."""
    path = path_of(work)
    if not path.exists():
        raise OSError(f"{path}: not there; run `python -m distill.warped --work {work}`")
    with np.load(path) as file:
        found = Warps(*(file[name] for name in Warps.__annotations__))
    if len(found.pitch) != recordings:
        raise OSError(f"{path}: of {len(found.pitch)} recordings, expected {recordings}; run distill.warped again")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    from tqdm import tqdm

    random = np.random.default_rng(options.seed)
    folder = options.work / "prepared"
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    mels, space = np.load(folder / "mel.npy", mmap_mode="r"), voice_space.load(options.work)
    hearing = likeness.Likeness(likeness.bands_of(options.work)).requires_grad_(False)
    rows, change, frame = [], [], 0
    for info in tqdm(index["utterances"], unit="recording"):
        log_f0 = index["speakers"][info["speaker"]]["log_f0"]
        warps = [draw(random, log_f0) for _ in range(VARIANTS)]
        change.append(changes(hearing, space, mels[frame : frame + info["frames"]], warps, log_f0))
        rows.append(warps)
        frame += info["frames"]
    np.savez(
        path_of(options.work),
        formants=np.array([[w.formants for w in row] for row in rows], np.float32),
        pitch=np.array([[w.pitch for w in row] for row in rows], np.float32),
        curve=np.array([[w.curve for w in row] for row in rows], np.float32),
        change=np.array(change, np.float16),
    )


if __name__ == "__main__":
    main()
