"""Judges named voices of a finished model through the runtime: word errors, DNSMOS, likeness to the recorded speaker.

Likeness is the cosine of GE2E's part of speaker vectors, of what is said and of the voice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from . import judges, mel, speakers, split, voice_space
from .prepare import load


class VoiceJudge:
    """Collects figures of one system after the other; the judges are loaded once."""

    def __init__(self, data: Path, work: Path):
        self.opinion, self.recognizer = judges.Dnsmos(data), judges.Recognizer()
        self.teacher = speakers.SpeakerTeacher()
        self.space = voice_space.load(work)

    def likeness(self, audio: np.ndarray, vector: np.ndarray) -> float:
        """The cosine of the vectors' parts that are GE2E's."""
        teacher = self.space.axes[: voice_space.TEACHER]
        heard = teacher @ (self.teacher.embed(judges.to_judge_rate(audio)) - self.space.mean)
        wanted = vector[: voice_space.TEACHER]
        return float(heard @ wanted / np.linalg.norm(heard) / np.linalg.norm(wanted))

    def __call__(self, texts: list[str], say: Callable[[str], np.ndarray], vector: np.ndarray) -> dict[str, float]:
        """Means over `texts`; `say` gives audio at 22,050 Hz."""
        opinions, alike, wrong, total = [], [], 0, 0
        for text in texts:
            audio = say(text)
            errors, words = judges.word_errors(text, self.recognizer(audio))
            wrong, total = wrong + errors, total + words
            opinions.append(self.opinion(audio))
            alike.append(self.likeness(audio, vector))
        means = {name: float(np.mean([o[name] for o in opinions])) for name in judges.DNSMOS_FITS}
        return {"word_error": wrong / total, **means, "likeness": float(np.mean(alike))}


def held_out_texts(data: Path, count: int) -> list[str]:
    """The sentences of LJSpeech that nobody was trained on."""
    return [row["text"].replace('\\"', '"') for row in split.ljspeech_held_out(data / "speech")[:count]]


def voice_figures(model: Any, judge: VoiceJudge, texts: list[str], voice: str, out: Path | None) -> dict[str, float]:
    """Figures of a named voice; the first two sentences are written to the folder `out`."""
    if out:
        out.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(texts[:2], 1):
            soundfile.write(out / f"{voice}-{number}.wav", model.say(text, voice=voice).samples, mel.RATE_HZ)
    vector = np.frombuffer(model.blob(f"voice/{voice}"), "<f4")
    return judge(texts, lambda text: model.say(text, voice=voice).samples, vector)


def recording_figures(judge: VoiceJudge, data: Path, count: int, vector: np.ndarray) -> dict[str, float]:
    """The same figures of the recordings of the sentences."""
    rows = split.ljspeech_held_out(data / "speech")[:count]
    texts = held_out_texts(data, count)
    files = {text: data / "speech/ljspeech" / row["file"] for text, row in zip(texts, rows, strict=True)}
    return judge(texts, lambda text: load(files[text], mel.RATE_HZ), vector)
