"""How alike two mels sound to the speaker teacher, differentiably: the teacher hears 80-band mels through a fixed map.

GE2E wants 40 bands of power at 16 kHz, 100 frames a second. A mel of docs/voice.md tells nearly as much: its squares,
interpolated in time, times a matrix that is fitted to recordings once (`python -m distill.likeness --work WORK`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import mel, speakers
from .packed import default_data

TEACHER_FRAMES_S = speakers.RATE_HZ / speakers.HOP_SAMPLES
SHORTEST_FRAMES = 96  # about a second: below, the teacher hears hardly more than the words
LEVEL = 0.5  # recordings are prepared about twice as loud as the teacher has learned them
FITTED_ON = 120  # recordings


def resampled(power: Tensor) -> Tensor:
    """Frames `[B, T, C]` of a mel, linearly interpolated at the teacher's times -> `[B, T', C]`."""
    hop_s = mel.HOP_SAMPLES / mel.RATE_HZ
    count = int(power.shape[1] * hop_s * TEACHER_FRAMES_S)
    at = (torch.arange(count, dtype=torch.float32) + 0.5) / (TEACHER_FRAMES_S * hop_s) - 0.5
    at = at.clamp(0, power.shape[1] - 1.001)
    low = at.long()
    return torch.lerp(power[:, low], power[:, low + 1], (at - low)[:, None])


class Likeness(nn.Module):
    """The speaker teacher on log-mels. Its weights and the map `bands` `[40, 80]` do not train."""

    def __init__(self, bands: np.ndarray):
        super().__init__()
        self.teacher = speakers.SpeakerTeacher()
        self.register_buffer("bands", torch.from_numpy(bands.astype(np.float32)))

    def embed(self, log_mel: Tensor) -> Tensor:
        """Log-mels `[B, T, 80]` of one length, at least `SHORTEST_FRAMES` -> unit vectors `[B, 256]`."""
        return self.teacher(resampled(torch.exp(2 * log_mel) * LEVEL**2) @ self.bands.T)

    def distance(self, made: Tensor, recorded: Tensor) -> Tensor:
        """1 - cosine for each pair `[B]`. Only `made` has a gradient."""
        with torch.no_grad():
            wanted = self.embed(recorded)
        return 1 - functional.cosine_similarity(self.embed(made), wanted, dim=1)


def teacher_mel(audio: np.ndarray) -> np.ndarray:
    """What the teacher hears of audio at 16 kHz, frame by frame as `resampled` gives it: `[T', 40]`."""
    import librosa

    centred = np.pad(audio, (speakers.HOP_SAMPLES // 2, 0))[speakers.HOP_SAMPLES :]
    frames = librosa.feature.melspectrogram(
        y=centred,
        sr=speakers.RATE_HZ,
        n_fft=speakers.WINDOW_SAMPLES,
        hop_length=speakers.HOP_SAMPLES,
        n_mels=speakers.MELS,
    )
    return frames.T.astype(np.float32)


def pairs(data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(squared mel, the teacher's mel) of recordings of many speakers, frame by frame."""
    from .prepare import load

    found = []
    for path in sorted((data / "speech/librispeech-voices").glob("*.opus"))[:FITTED_ON]:
        wide = torch.from_numpy(load(path, mel.RATE_HZ)[: 6 * mel.RATE_HZ])
        ours = resampled(torch.exp(2 * mel.log_mel(wide[None])))[0].numpy()
        theirs = teacher_mel(load(path, speakers.RATE_HZ)[: 6 * speakers.RATE_HZ])
        count = min(len(ours), len(theirs))
        found.append((ours[:count], theirs[:count]))
    return found


def fit(found: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Non-negative `[40, 80]` with the least squared error, each recording and band counted by its own level."""
    from scipy.optimize import nnls

    rows = []
    for band in range(speakers.MELS):
        scales = [theirs[:, band].mean() + 1e-12 for _, theirs in found]
        left = np.concatenate([ours / scale for (ours, _), scale in zip(found, scales, strict=True)])
        right = np.concatenate([theirs[:, band] / scale for (_, theirs), scale in zip(found, scales, strict=True)])
        size = left.mean(0) + 1e-12
        scaled = (left / size).astype(np.float64)
        # The same problem with 80 rows: the triangle of the normal equations.
        triangle = np.linalg.cholesky(scaled.T @ scaled + 1e-6 * np.eye(mel.MELS)).T
        solution, _ = nnls(triangle, np.linalg.solve(triangle.T, scaled.T @ right))
        rows.append(solution / size)
    return np.stack(rows)


def bands_of(work: Path) -> np.ndarray:
    """The map that was fitted. Raises OSError, saying how to fit it."""
    path = Path(work) / "prepared/ge2e_bands.npy"
    if not path.exists():
        raise OSError(f"{path}: not there; fit it with `python -m distill.likeness --work {work}`")
    return np.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=default_data())
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = pairs(options.data)
    bands = fit(found[::2])
    np.save(options.work / "prepared/ge2e_bands.npy", bands)
    hearing = Likeness(bands)
    with torch.no_grad():
        by_map = torch.cat([hearing.teacher(torch.from_numpy(ours)[None] @ hearing.bands.T) for ours, _ in found[1::2]])
        by_itself = torch.cat([hearing.teacher(torch.from_numpy(theirs)[None]) for _, theirs in found[1::2]])
    centre = by_itself.mean(0)
    cosine = functional.cosine_similarity(by_map - centre, by_itself - centre)
    print(f"{len(cosine)} other recordings: centred cosine to what the teacher itself hears {cosine.mean():.3f}")


if __name__ == "__main__":
    main()
