"""A second measure of likeness, of which no network was a teacher: discriminant analysis of cepstral statistics.

Means and deviations of cepstra and of their slopes over a stretch of speech, whitened by how they vary within one
speaker and projected on how they vary between 279 of them (LibriSpeech; `python -m distill.timbre --work WORK` fits
it). Two stretches are compared by cosine. Coarser than a trained network, but it knows nothing of GE2E.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh

from . import split
from .packed import default_data
from .prepare import load

RATE_HZ = 16000
CEPSTRA = 20  # of 40 bands, 0 to 7 kHz; the zeroth, loudness, is left out
STRETCH_S = 4.5
DIMENSIONS = 60
SHRINKAGE = 0.1  # of the covariance within speakers, towards its diagonal
RECORDINGS_EACH = 12  # of LibriSpeech's 28 speakers


def statistics(audio: np.ndarray) -> np.ndarray:
    """`[4 (CEPSTRA - 1)]` of speech at 16 kHz: frames within 30 dB of the loud ones count."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=np.asarray(audio, np.float32), sr=RATE_HZ, n_fft=512, hop_length=160, n_mels=40, fmax=7000
    )
    level = 10 * np.log10(power.sum(0) + 1e-10)
    loud = level > np.percentile(level, 95) - 30
    logs = librosa.power_to_db(power, ref=1.0, amin=1e-8, top_db=50)
    cepstra = librosa.feature.mfcc(S=logs, n_mfcc=CEPSTRA)[1:]
    slopes = librosa.feature.delta(cepstra, width=5, mode="nearest")
    parts = (f(x[:, loud], axis=1) for x in (cepstra, slopes) for f in (np.mean, np.std))
    return np.concatenate(list(parts)).astype(np.float64)


@dataclass
class Timbre:
    """`centre` `[F]` and `projection` `[F, DIMENSIONS]` of `statistics`."""

    centre: np.ndarray
    projection: np.ndarray

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Unit vector `[DIMENSIONS]` of speech at 16 kHz, from 2 s on."""
        vector = (statistics(audio) - self.centre) @ self.projection
        return vector / np.linalg.norm(vector)


def fit(features: np.ndarray, owners: np.ndarray) -> Timbre:
    """From stretches `[N, F]` of speakers `[N]`, two or more of each."""
    centre = features.mean(0)
    groups = [features[owners == owner] for owner in np.unique(owners)]
    within = sum((g - g.mean(0)).T @ (g - g.mean(0)) for g in groups) / (len(features) - len(groups))
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.diag(np.diag(within))
    means = np.stack([g.mean(0) for g in groups]) - centre
    _, vectors = eigh(means.T @ means / len(groups), within)
    return Timbre(centre, vectors[:, ::-1][:, :DIMENSIONS])


def stretches(speech: Path) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of stretches of all training speakers, and whose they are."""
    rows = [
        row for row in split.transcripts(speech, "librispeech") if split.is_training("librispeech", row["file"], set())
    ]
    count: dict[str, int] = {}
    chosen = []
    for row in rows[:: max(1, len(rows) // (2 * RECORDINGS_EACH * 28))]:
        count[row["speaker"]] = count.get(row["speaker"], 0) + 1
        if count[row["speaker"]] <= RECORDINGS_EACH:
            chosen.append((speech / "librispeech" / row["file"], row["speaker"]))
    chosen += [(path, path.name.split("-")[0]) for path in sorted((speech / split.UNTRANSCRIBED).glob("*.opus"))]
    features, owners = [], []
    size = int(STRETCH_S * RATE_HZ)
    for path, owner in chosen:
        audio = load(path, RATE_HZ)
        for start in range(0, len(audio) - size + 1, size):
            features.append(statistics(audio[start : start + size]))
            owners.append(owner)
    kept = np.array([owners.count(owner) > 1 for owner in owners])
    return np.stack(features)[kept], np.array(owners)[kept]


def fitted(work: Path, data: Path) -> Timbre:
    """The measure from WORK/prepared/timbre.npz, made there where it is not."""
    path = Path(work) / "prepared/timbre.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = fit(*stretches(Path(data) / "speech"))
        np.savez(path, centre=made.centre, projection=made.projection)
    with np.load(path) as file:
        return Timbre(file["centre"], file["projection"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=default_data())
    options = parser.parse_args()
    measure = fitted(options.work, options.data)
    paths = sorted((options.data / "speech/librispeech-unseen").glob("*.opus"))
    owners = np.array([path.name.split("-")[0] for path in paths])
    vectors = np.stack([measure.embed(load(path, RATE_HZ)) for path in paths])
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, np.nan)
    same = owners[:, None] == owners
    print(f"unseen speakers: same {np.nanmean(cosines[same]):.3f}, different {np.nanmean(cosines[~same]):.3f}")
    print(f"nearest recording is the speaker's own: {np.mean(owners[np.nanargmax(cosines, 1)] == owners):.2f}")


if __name__ == "__main__":
    main()
