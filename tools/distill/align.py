"""Forced alignment of words and phones by pocketsphinx's acoustic model (16 kHz, 100 frames a second)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .units import strip_stress

RATE_HZ = 16000
FRAME_S = 0.01
# A frame of pocketsphinx is a window of 25.6 ms that starts every 10 ms; the boundary between two lies between centres.
CENTRE_S = 0.0128 - FRAME_S / 2


@dataclass
class Segment:
    """A phone with stress (or None for silence), its word's position (-1 for silence), and its bounds in seconds."""

    phone: str | None
    word: int
    start_s: float
    end_s: float
    score: float


class Aligner:
    """Aligns with a dictionary of its own, so that the pronunciation that was spoken is chosen among all variants."""

    def __init__(self, pronunciations: Mapping[str, Iterable[tuple[str, ...]]]):
        from pocketsphinx import Decoder

        self.variants = {word: list(found) for word, found in pronunciations.items()}
        lines = [
            f"{word}{f'({i + 1})' if i else ''} {' '.join(map(strip_stress, phones))}"
            for word, found in self.variants.items()
            for i, phones in enumerate(found)
        ]
        handle, path = tempfile.mkstemp(suffix=".dict")
        try:
            with os.fdopen(handle, "w") as file:
                file.write("\n".join(lines) + "\n")
            self.decoder = Decoder(
                dict=path, lm=None, loglevel="FATAL", bestpath=False, beam=1e-60, wbeam=1e-50, pbeam=1e-60
            )
        finally:
            Path(path).unlink()

    def __call__(self, audio: np.ndarray, words: list[str]) -> list[Segment]:
        """Segments that cover `audio` (float, [-1, 1], 16 kHz). Raises RuntimeError when no path fits the words."""
        samples = (np.clip(audio, -1, 1) * 32767).astype(np.int16).tobytes()
        self.decoder.set_align_text(" ".join(words))
        self.decode(samples)
        self.decoder.set_alignment()
        self.decode(samples)
        segments, position = [], 0
        for word in self.decoder.get_alignment():
            name, _, variant = word.name.partition("(")
            spoken = name in self.variants and position < len(words) and name == words[position]
            stressed = self.variants[name][int(variant[:-1]) - 1 if variant else 0] if spoken else (None,)
            for phone, aligned in zip(stressed, word, strict=True):
                if phone and strip_stress(phone) != aligned.name:
                    raise RuntimeError(f"word {name!r}: aligned {aligned.name}, expected {phone}")
                start = aligned.start * FRAME_S + CENTRE_S
                end = start + aligned.duration * FRAME_S
                score = aligned.score / max(aligned.duration, 1)
                segments.append(Segment(phone, position if spoken else -1, start, end, score))
            position += spoken
        if position != len(words):
            raise RuntimeError(f"aligned {position} of {len(words)} words")
        return segments

    def decode(self, samples: bytes) -> None:
        self.decoder.start_utt()
        self.decoder.process_raw(samples, full_utt=True)
        self.decoder.end_utt()
