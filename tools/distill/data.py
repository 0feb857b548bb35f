"""Reads what prepare.py packed, and cuts it into training batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .acoustic import places

UNIT_KEYS = ("units", "flags", "frames", "pitch", "voiced", "energy")
SMALLEST_FRAMES = 0.4  # stands for a pause of no frames, so that its logarithm is finite and rounds to 0
CONTEXT_UNITS = 10  # on both sides of a crop: seen by the encoder, not judged
LOWEST_LOG_F0 = 4.4  # 81 Hz: the tracker followed the hum of a room, not the speaker; his recordings are left out
EDGE_FRAMES = 6  # at a cut inside an utterance the decoder sees zeros beyond: these frames are not judged


@dataclass
class Utterance:
    """One recording. `mel` is float16 `[T, 80]`, the others `[U]`; durations sum to T."""

    mel: np.ndarray
    units: np.ndarray
    flags: np.ndarray
    frames: np.ndarray
    pitch: np.ndarray
    voiced: np.ndarray
    energy: np.ndarray
    speaker: int
    vector: np.ndarray  # of this recording alone
    info: dict

    def prosody(self) -> np.ndarray:
        return np.stack([self.pitch, self.voiced, self.energy], axis=-1).astype(np.float32)


class Prepared:
    """The packed corpora. Raises OSError where prepare.py has not run."""

    def __init__(self, work: Path):
        folder = Path(work) / "prepared"
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.speakers: list[dict] = index["speakers"]
        mel = np.load(folder / "mel.npy", mmap_mode="r")
        with np.load(folder / "units.npz") as file:
            columns = {key: file[key] for key in UNIT_KEYS}
        with np.load(folder / "voices.npz") as file:
            self.vectors, vectors = file["speaker"], file["utterance"]
            self.ge2e_mean, self.ge2e_axes = file["mean"], file["axes"]
        self.utterances: list[Utterance] = []
        frame = unit = 0
        for i, info in enumerate(index["utterances"]):
            span = slice(unit, unit + info["units"])
            parts = {key: columns[key][span] for key in UNIT_KEYS}
            whole = mel[frame : frame + info["frames"]]
            self.utterances.append(Utterance(whole, **parts, speaker=info["speaker"], vector=vectors[i], info=info))
            frame, unit = frame + info["frames"], unit + info["units"]

    def select(self, corpus: str, train: bool) -> list[Utterance]:
        usable = [s["log_f0"] > LOWEST_LOG_F0 for s in self.speakers]
        chosen = [u for u in self.utterances if u.info["corpus"] == corpus and u.info["train"] == train]
        return [u for u in chosen if usable[u.speaker]]

    def band_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each mel band `[80]` over a sample of the training recordings."""
        sample = [np.asarray(u.mel, np.float32) for u in self.utterances[::7] if u.info["train"]]
        frames = np.concatenate(sample)
        return frames.mean(0), frames.std(0)


@dataclass
class Batch:
    """B crops, padded to the longest. Masks are 1 where there is data; `judged` masks where losses count."""

    ids: Tensor  # [B, U]
    flags: Tensor
    unit_mask: Tensor  # [B, U, 1]
    unit_judged: Tensor  # [B, U]
    log_frames: Tensor
    prosody: Tensor  # [B, U, 3]
    owner: Tensor  # [B, T]: unit of each frame
    place: Tensor  # [B, T, 3]
    frame_mask: Tensor  # [B, T, 1]
    frame_judged: Tensor
    mel: Tensor  # [B, T, 80]
    speaker: Tensor  # [B, 192]

    def prosody_frames(self) -> Tensor:
        """`[B, T, 3]`: each frame's unit's."""
        return torch.gather(self.prosody, 1, self.owner[..., None].expand(-1, -1, self.prosody.shape[2]))


def cut(u: Utterance, most_frames: int, random: np.random.Generator) -> dict[str, Tensor]:
    """A crop of whole units with at most `most_frames` frames, and context units around it for the encoder."""
    ends = np.cumsum(u.frames)
    starts = ends - u.frames
    total, count = int(ends[-1]), len(ends)
    begin = int(random.integers(0, max(1, total - most_frames + 1)))
    a = int(np.searchsorted(ends, begin, side="right"))
    b = max(a + 1, int(np.searchsorted(ends, starts[a] + most_frames, side="right")))
    low, high = max(0, a - CONTEXT_UNITS), min(count, b + CONTEXT_UNITS)
    owner, place = places(torch.from_numpy(u.frames[a:b].astype(np.int64)))
    owner, place = owner[:most_frames], place[:most_frames]
    judged = torch.ones(len(owner), 1)
    if a > 0:
        judged[:EDGE_FRAMES] = 0
    if b < count:
        judged[-EDGE_FRAMES:] = 0
    within = torch.zeros(high - low)
    within[a - low : b - low] = 1
    mel = u.mel[starts[a] : starts[a] + len(owner)].astype(np.float32)
    return {
        "ids": torch.from_numpy(u.units[low:high].astype(np.int64)),
        "flags": torch.from_numpy(u.flags[low:high].astype(np.int64)),
        "unit_mask": torch.ones(high - low, 1),
        "unit_judged": within,
        "log_frames": torch.from_numpy(np.log(np.maximum(u.frames[low:high], SMALLEST_FRAMES)).astype(np.float32)),
        "prosody": torch.from_numpy(u.prosody()[low:high]),
        "owner": owner + (a - low),
        "place": place,
        "frame_mask": torch.ones(len(owner), 1),
        "frame_judged": judged,
        "mel": torch.from_numpy(mel),
    }


class Sampler:
    """Random crops: a corpus by its weight, then a recording by its length. `random` makes the order repeatable."""

    def __init__(self, data: Prepared, weights: dict[str, float], most_frames: int, random: np.random.Generator):
        self.data, self.most_frames, self.random = data, most_frames, random
        self.pools = [data.select(corpus, True) for corpus in weights]
        if empty := [corpus for corpus, pool in zip(weights, self.pools, strict=True) if not pool]:
            raise ValueError(f"no training recordings of {', '.join(empty)}; run prepare.py on the whole data")
        self.weights = np.array(list(weights.values())) / sum(weights.values())
        lengths = [np.array([u.info["frames"] for u in pool], np.float64) for pool in self.pools]
        self.chances = [length / length.sum() for length in lengths]

    def vector(self, u: Utterance) -> np.ndarray:
        """The speaker's mean vector or, half of the time, the recording's own: clones come from few seconds."""
        return self.data.vectors[u.speaker] if self.random.random() < 0.5 else u.vector

    def batch(self, size: int) -> Batch:
        items = []
        for _ in range(size):
            pool = int(self.random.choice(len(self.pools), p=self.weights))
            u = self.pools[pool][int(self.random.choice(len(self.pools[pool]), p=self.chances[pool]))]
            items.append(cut(u, self.most_frames, self.random) | {"speaker": torch.from_numpy(self.vector(u))})
        pad = torch.nn.utils.rnn.pad_sequence
        keys = items[0].keys() - {"speaker"}
        columns = {key: pad([item[key] for item in items], batch_first=True) for key in keys}
        return Batch(**columns, speaker=torch.stack([item["speaker"] for item in items]))
