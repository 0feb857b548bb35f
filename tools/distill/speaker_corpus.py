"""Reads what speaker_data.py wrote, and draws training crops from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import speakers
from .disturbances import NOISES
from .mel import HOP_SAMPLES, MELS, RATE_HZ
from .speaker_data import Item

FRAMES_PER_WINDOW_STEP = speakers.STEP_FRAMES * speakers.HOP_SAMPLES / speakers.RATE_HZ * RATE_HZ / HOP_SAMPLES
SPOKEN = 0.4  # share of speech below which a window of the teacher's says little about the voice
SPEECH = 0.5  # probability
EDGE_FRAMES = 20  # by how much a teacher's window may stick out of a crop


@dataclass
class Recording:
    """`clean`, `room` float16 `[T, 80]`, `speech` `[T]`, the teacher's `windows` `[W, 256]` and which of them count."""

    clean: np.ndarray
    room: np.ndarray
    speech: np.ndarray
    windows: np.ndarray
    counts: np.ndarray
    voice: int
    item: Item

    @property
    def speaker(self) -> str:
        """Who it is at the speed of the recording."""
        return self.item.voice.partition("*")[0]

    def embedding(self, begin: int, end: int) -> np.ndarray:
        """The teacher's mean `[256]` over the windows that lie within frames `begin .. end`, or the nearest one's."""
        starts = np.arange(len(self.windows)) * FRAMES_PER_WINDOW_STEP
        ends = starts + 2 * FRAMES_PER_WINDOW_STEP
        inside = (starts >= begin - EDGE_FRAMES) & (ends <= end + EDGE_FRAMES) & self.counts
        if not inside.any():
            inside = np.zeros(len(starts), bool)
            inside[np.argmin(np.abs(starts + ends - begin - end))] = True
        return self.windows[inside].astype(np.float32).mean(0)


class Corpus:
    """All recordings. Raises OSError where distill.speaker_data has not run."""

    def __init__(self, work: Path):
        folder = Path(work) / "speaker"
        items = [Item(**row) for row in json.loads((folder / "index.json").read_text(encoding="utf-8"))]
        frames, windows = sum(i.frames for i in items), sum(i.windows for i in items)
        with np.load(Path(work) / "prepared/voices.npz") as file:
            self.mean, self.axes = file["mean"], file["axes"]
        clean, room = (np.memmap(folder / f"{n}.f16", np.float16, "r", shape=(frames, MELS)) for n in ("clean", "room"))
        speech = np.fromfile(folder / "speech.f16", np.float16)
        heard = np.fromfile(folder / "windows.f16", np.float16).reshape(windows, speakers.EMBEDDING)
        self.noises = np.load(folder / "noise.npy")  # [kinds, pieces, T, 80]
        self.voices = sorted({item.voice for item in items if item.training})
        numbers = {name: i for i, name in enumerate(self.voices)}
        self.recordings: list[Recording] = []
        frame = window = 0
        for item in items:
            span, some = slice(frame, frame + item.frames), slice(window, window + item.windows)
            spoken = np.convolve(speech[span] > SPEECH, np.full(138, 1 / 138), "full")[137:]
            at = (np.arange(item.windows) * FRAMES_PER_WINDOW_STEP).astype(int)
            counts = spoken[np.minimum(at, len(spoken) - 1)] > SPOKEN
            voice = numbers.get(item.voice, -1)
            self.recordings.append(Recording(clean[span], room[span], speech[span], heard[some], counts, voice, item))
            frame, window = span.stop, some.stop
        self.training = [r for r in self.recordings if r.item.training and r.counts.any()]
        self.held_out = [r for r in self.recordings if not r.item.training and r.counts.any()]

    def vectors(self, embeddings: np.ndarray) -> np.ndarray:
        """The teacher's means `[..., 256]` -> speaker vectors `[..., 192]`."""
        unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
        return speakers.project(unit, self.mean, self.axes)

    def whole(self, r: Recording) -> np.ndarray:
        return r.embedding(0, r.item.frames)

    def prototypes(self) -> np.ndarray:
        """The vector of each voice `[V, 192]`: of the mean over its recordings."""
        sums = np.zeros((len(self.voices), speakers.EMBEDDING), np.float32)
        for r in self.training:
            whole = self.whole(r)
            sums[r.voice] += whole / np.linalg.norm(whole)
        return self.vectors(sums + 1e-9)


@dataclass
class Crops:
    """B crops of the same length: log-mels `[B, T, 80]`, probability of speech `[B, T]`, and whose they are."""

    log_mel: Tensor
    speech: Tensor
    recordings: list[Recording]
    begins: list[int]


class CropSampler:
    """Half of the crops by voices, half by hours; a share of them in a room."""

    def __init__(self, corpus: Corpus, random: np.random.Generator, in_room: float = 0.5):
        self.corpus, self.random, self.in_room = corpus, random, in_room
        lengths = np.array([r.item.frames for r in corpus.training], np.float64)
        self.by_length = np.cumsum(lengths) / lengths.sum()
        self.by_voice: list[list[int]] = [[] for _ in corpus.voices]
        for i, r in enumerate(corpus.training):
            self.by_voice[r.voice].append(i)
        self.by_voice = [group for group in self.by_voice if group]

    def recording(self) -> Recording:
        if self.random.random() < 0.5:
            group = self.by_voice[self.random.integers(len(self.by_voice))]
            return self.corpus.training[group[self.random.integers(len(group))]]
        return self.corpus.training[int(np.searchsorted(self.by_length, self.random.random()))]

    def crops(self, count: int, frames: int, least_speech: float = 0.4) -> Crops:
        """Crops of `frames` frames, in which there is speech for `least_speech` of the time if ten trials find any."""
        chosen, begins, mels, speech = [], [], [], []
        while len(chosen) < count:
            r = self.recording()
            if r.item.frames < frames:
                continue
            for _ in range(10):
                begin = int(self.random.integers(0, r.item.frames - frames + 1))
                said = r.speech[begin : begin + frames].astype(np.float32)
                if (said > SPEECH).mean() >= least_speech:
                    break
            source = r.room if self.random.random() < self.in_room else r.clean
            mels.append(source[begin : begin + frames].astype(np.float32))
            speech.append(said)
            chosen.append(r)
            begins.append(begin)
        return Crops(torch.from_numpy(np.stack(mels)), torch.from_numpy(np.stack(speech)), chosen, begins)

    def noise(self, count: int, frames: int, kinds: tuple[str, ...] = NOISES) -> Tensor:
        """Log-mels `[B, frames, 80]` of noise; short pieces are repeated."""
        numbers = [NOISES.index(kind) for kind in kinds]
        found = []
        for _ in range(count):
            piece = self.corpus.noises[numbers[self.random.integers(len(numbers))]]
            piece = piece[self.random.integers(len(piece))]
            at = (int(self.random.integers(len(piece))) + np.arange(frames)) % len(piece)
            found.append(piece[at].astype(np.float32))
        return torch.from_numpy(np.stack(found))
