"""Speakers whom nobody recorded: recordings played faster or slower, so that voices rise or fall with their formants.

A voice made of a few seconds lies between and beyond the few dozen of the training data; these widen the space.
speaker_data.py has played them and asked GE2E about them; what else is known of a recording (its units, F0, where
silences were cut) is carried over. Durations are what is heard, but their targets stay those of the recording: higher
voices do not talk faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import packed
from .mel import HIGH_HZ, MELS, hz_to_mel, log_mel
from .speaker_corpus import Corpus, Recording

CORPUS = "shifted"
LEAST = 0.88  # of F0 and formants; slower ones lose too much of what LibriSpeech has below 8 kHz
HELD_HZ = {"librispeech": 7900.0, "librispeech-voices": 7900.0}  # others hold all that a mel shows


def bands_below(hz: float) -> int:
    """How many of the mel's bands end at or below `hz`."""

    ends = (np.arange(MELS) + 2) / (MELS + 1) * hz_to_mel(HIGH_HZ)
    return int(np.sum(ends <= hz_to_mel(hz) + 1e-9))


def moved(at: np.ndarray, frames: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Where a recording's kept frames and units lie once it is `ratio` times as fast.

    at: the kept frames' indices in the whole recording, ascending; frames: of each unit, summing to their number.
    Returns the indices to keep in the faster one, and the units' new frames. Stretches stay whole.
    """
    owner = np.repeat(np.arange(len(frames)), frames)
    breaks = np.flatnonzero((np.diff(at) != 1) | (np.diff(owner) != 0)) + 1
    kept, durations = [], np.zeros(len(frames), np.int32)
    for part in np.split(np.arange(len(at)), breaks):
        first, last = (round(x / ratio) for x in (at[part[0]], at[part[-1]] + 1))
        kept.append(np.arange(first, last))
        durations[owner[part[0]]] += last - first
    return np.concatenate(kept), durations


def find_frames(kept: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Which frames of `whole` `[T, 80]` the shortened mel `kept` `[T', 80]` consists of: indices `[T']`, ascending.

    Raises IndexError where it does not.
    """
    found, at = [], 0
    for frame in kept:
        while np.abs(whole[at] - frame).max() > 0.02:
            at += 1
        found.append(at)
        at += 1
    return np.array(found)


def shift(item: dict[str, Any], at: np.ndarray, played: Recording, gain: float) -> dict[str, Any]:
    """Features of a recording at another speed.

    item: its features as prepare.py has them; at: its kept frames; played: as speaker_data.py played it. Raises
    ValueError for one that is too short or too long for that.
    """
    r, ratio = item["recording"], played.item.shift
    kept, durations = moved(at, item["frames"], ratio)
    if kept[-1] >= len(played.clean) or (durations[item["units"] >= 6] < 1).any():
        raise ValueError(f"{r.file}: no frames left at a speed of {ratio}")
    nearest = np.clip(np.searchsorted(at, (kept + 0.5) * ratio - 0.5), 0, len(at) - 1)
    log_f0 = item["log_f0"][nearest]
    return item | {
        "recording": replace(r, corpus=CORPUS, speaker=f"{r.speaker}x{ratio}"),
        "mel": (played.clean[kept].astype(np.float32) + np.log(gain)).astype(np.float16),
        "log_f0": np.where(log_f0 > 0, log_f0 + np.log(ratio), 0).astype(np.float32),
        "frames": durations,
        "natural": item["frames"],
        "bands": bands_below(HELD_HZ.get(r.corpus, np.inf) * ratio),
        "embedding": normalized(played.embedding(0, played.item.frames)),
    }


def normalized(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def collect(items: list[dict], work: Path, audio_of: Any, gains: dict[str, float]) -> Iterator[dict]:
    """Whatever speaker_data.py has played at another speed and is among `items`.

    audio_of: from a recording to its audio at 22,050 Hz. Adds the new speakers to `gains`.
    """
    entries = packed.Pack(work).entries
    known = {(x["recording"].corpus, x["recording"].file): x for x in items}
    last, at = -1, np.zeros(0, np.int64)
    for played in sorted(Corpus(work).training, key=lambda r: r.item.pack):
        entry, ratio = entries[played.item.pack], played.item.shift
        item = known.get((entry.corpus, entry.file))
        if item is None or ratio == 1.0 or ratio < LEAST:
            continue
        gain = gains[item["recording"].speaker]
        try:
            if played.item.pack != last:
                whole = log_mel(torch.from_numpy(audio_of(item["recording"]) * gain)[None])[0].numpy()
                last, at = played.item.pack, find_frames(np.asarray(item["mel"], np.float32), whole)
            found = shift(item, at, played, gain)
        except (IndexError, ValueError):
            continue
        gains[found["recording"].speaker] = gain
        yield found
