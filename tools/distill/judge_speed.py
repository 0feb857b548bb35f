"""How fast a finished model speaks on this machine (judge.py)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from . import mel

ROUNDS = 5
LENGTHS = (20, 100, 500, 2000)  # characters of the texts whose first audio is awaited


def long_text(data: Path) -> str:
    return (data / "text/harvard_first360.txt").read_text(encoding="utf-8").replace("\n", " ")


def real_time_factor(model: Any, text: str) -> float:
    """Seconds of speech for each second of work, the best of some rounds."""
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        samples = len(model.say(text).samples)
        found.append(samples / mel.RATE_HZ / (time.perf_counter() - begin))
    return max(found)


def first_audio_ms(model: Any, text: str) -> float:
    """Until the first chunk of a stream, the median of some rounds."""
    found = []
    for _ in range(3 * ROUNDS):
        begin = time.perf_counter()
        stream = iter(model.stream(text))
        next(stream)
        found.append(1e3 * (time.perf_counter() - begin))
        stream.close() if hasattr(stream, "close") else None
    return float(np.median(found))


def speed_figures(path: Path, data: Path) -> dict[str, float]:
    import pocketuni

    text, figures = long_text(data), {}
    for threads in (1, 2):
        model = pocketuni.Model(str(path), threads=threads)
        figures[f"times real time, {threads} threads"] = real_time_factor(model, text[:600])
        for length in LENGTHS:
            figures[f"first audio of {length} characters, {threads} threads, ms"] = first_audio_ms(model, text[:length])
    return figures
