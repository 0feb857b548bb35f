"""Reads what prepare.py packed, and cuts it into training batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import voice_space, warped
from .acoustic import PITCH_CENTRE, places
from .voice_space import TEACHER

UNIT_KEYS = ("units", "flags", "frames", "natural", "pitch", "voiced", "energy")
SMALLEST_FRAMES = 0.4  # stands for a pause of no frames, so that its logarithm is finite and rounds to 0
CONTEXT_UNITS = 10  # on both sides of a crop: seen by the encoder, not judged
LOWEST_LOG_F0 = 4.4  # 81 Hz: the tracker followed the hum of a room, not the speaker; his recordings are left out
# Of speaker vectors: the longest error, relative to the part of GE2E and to the part of the spectrum and F0.
TEACHER_NOISE, SPECTRUM_NOISE = 0.6, 0.1
WARPED = {"ljspeech": 0.2, "shifted": 0.0}  # share that speaks with a warped voice, 0.5 of the other corpora
EDGE_FRAMES = 6  # at a cut inside an utterance the decoder sees zeros beyond: these frames are not judged


@dataclass
class Utterance:
    """One recording. `mel` is float16 `[T, 80]`, the others `[U]`; durations sum to T."""

    mel: np.ndarray
    units: np.ndarray
    flags: np.ndarray
    frames: np.ndarray
    natural: np.ndarray  # frames that the duration predictor is to answer: others where a recording plays faster
    pitch: np.ndarray
    voiced: np.ndarray
    energy: np.ndarray
    log_f0: np.ndarray  # [T], 0 where a frame is unvoiced
    speaker: int
    vector: np.ndarray  # of this recording alone
    voice_pitch: float  # the speaker's mean, from PITCH_CENTRE; `pitch` is relative to it
    number: int  # among all
    info: dict

    def prosody(self) -> np.ndarray:
        """`[U, 3]`: what the decoder is given."""
        return np.stack([self.pitch + self.voice_pitch, self.voiced, self.energy], axis=-1).astype(np.float32)


class Prepared:
    """The packed corpora. Raises OSError where prepare.py has not run."""

    def __init__(self, work: Path):
        folder = Path(work) / "prepared"
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.speakers: list[dict] = index["speakers"]
        mel = np.load(folder / "mel.npy", mmap_mode="r")
        with np.load(folder / "units.npz") as file:
            columns = {key: file[key] for key in UNIT_KEYS}
        with np.load(folder / "frames.npz") as file:
            log_f0 = file["log_f0"]
        with np.load(folder / "voices.npz") as file:
            self.vectors, vectors = file["speaker"], file["utterance"]
            self.owner = file["owner"]
        self.space = voice_space.load(work)
        self.work = Path(work)
        self.utterances: list[Utterance] = []
        frame = unit = 0
        for i, info in enumerate(index["utterances"]):
            span = slice(unit, unit + info["units"])
            parts = {key: columns[key][span] for key in UNIT_KEYS}
            here = slice(frame, frame + info["frames"])
            pitch = self.speakers[info["speaker"]]["log_f0"] - PITCH_CENTRE
            self.utterances.append(
                Utterance(
                    mel[here],
                    **parts,
                    log_f0=log_f0[here],
                    speaker=info["speaker"],
                    vector=vectors[i],
                    voice_pitch=pitch,
                    number=i,
                    info=info,
                )
            )
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
    log_f0: Tensor  # [B, T], 0 where unvoiced or beyond the crop
    bands: Tensor  # [B, 80]: 0 where a band lies beyond what the recording holds
    speaker: Tensor  # [B, 192]
    voice_pitch: Tensor  # [B, 1]: mean of the speaker, from PITCH_CENTRE

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
        "log_frames": torch.from_numpy(np.log(np.maximum(u.natural[low:high], SMALLEST_FRAMES)).astype(np.float32)),
        "prosody": torch.from_numpy(u.prosody()[low:high]),
        "owner": owner + (a - low),
        "place": place,
        "frame_mask": torch.ones(len(owner), 1),
        "frame_judged": judged,
        "mel": torch.from_numpy(mel),
        "log_f0": torch.from_numpy(u.log_f0[starts[a] : starts[a] + len(owner)]),
    }


class Sampler:
    """Random crops: a corpus by its weight, then a recording by its length. `random` makes the order repeatable."""

    def __init__(self, data: Prepared, weights: dict[str, float], most_frames: int, random: np.random.Generator):
        self.data, self.most_frames, self.random = data, most_frames, random
        self.warps = warped.load(data.work, len(data.utterances))
        self.pools = [data.select(corpus, True) for corpus in weights]
        if empty := [corpus for corpus, pool in zip(weights, self.pools, strict=True) if not pool]:
            raise ValueError(f"no training recordings of {', '.join(empty)}; run prepare.py on the whole data")
        self.weights = np.array(list(weights.values())) / sum(weights.values())
        lengths = [np.array([u.info["frames"] for u in pool], np.float64) for pool in self.pools]
        self.chances = [length / length.sum() for length in lengths]

    def vector(self, u: Utterance, change: np.ndarray | None) -> np.ndarray:
        """The speaker's mean vector or, half of the time, one nearer to the recording's own; with errors as those of
        a voice that is made of a few seconds by a network. `change`: of its parts, by a warp."""
        share = self.random.uniform(0.3, 1.0) if self.random.random() < 0.5 else 0.0
        vector = self.data.vectors[u.speaker] * (1 - share) + u.vector * share
        if change is not None:
            vector = warped.changed(vector, change)
        for part, most in ((slice(0, TEACHER), TEACHER_NOISE), (slice(TEACHER, None), SPECTRUM_NOISE)):
            noise = self.random.standard_normal(len(vector[part]))
            length = np.linalg.norm(vector[part]) * self.random.uniform(0, most)
            vector[part] += noise * length / np.linalg.norm(noise)
        return voice_space.unit(vector)

    def item(self, u: Utterance) -> dict[str, Tensor]:
        """A crop with what is told of its speaker; some of them in a voice that nobody has."""
        found = cut(u, self.most_frames, self.random)
        held, pitch, change = u.info.get("bands", u.mel.shape[1]), u.voice_pitch, None
        if self.random.random() < WARPED.get(u.info["corpus"], 0.5):
            warp, change = self.warps(u.number, int(self.random.integers(warped.VARIANTS)))
            found["mel"] = torch.from_numpy(warp(found["mel"].numpy()))
            found["log_f0"] = torch.where(found["log_f0"] > 0, found["log_f0"] + warp.pitch, 0.0)
            found["prosody"][:, 0] += warp.pitch
            held, pitch = warp.bands(held), pitch + warp.pitch
        bands = torch.ones(u.mel.shape[1])
        bands[held:] = 0
        vector = torch.from_numpy(self.vector(u, change))
        return found | {"speaker": vector, "voice_pitch": torch.tensor([pitch]), "bands": bands}

    def batch(self, size: int) -> Batch:
        items = []
        for _ in range(size):
            pool = int(self.random.choice(len(self.pools), p=self.weights))
            u = self.pools[pool][int(self.random.choice(len(self.pools[pool]), p=self.chances[pool]))]
            items.append(self.item(u))
        columns = {key: [item[key] for item in items] for key in items[0]}
        pad = torch.nn.utils.rnn.pad_sequence
        stacked = {key: torch.stack(columns.pop(key)) for key in ("speaker", "voice_pitch", "bands")}
        return Batch(**{key: pad(column, batch_first=True) for key, column in columns.items()}, **stacked)
