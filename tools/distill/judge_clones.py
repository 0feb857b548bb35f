"""Judges how well a finished model clones speakers whom it has never heard (judge.py).

Five speakers of librispeech-unseen lend their voices, from one recording at a time, to sentences that nobody was
trained on. Likeness is judged against the speaker's *other* recordings, twice: by GE2E, which was a teacher, and by
cepstral statistics (timbre.py), which were not. `closed` is the way from different speakers (0) to recordings of one
speaker (1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import judges, mel, pitch, speakers, split, timbre, voice_space
from .prepare import load

REFERENCES = 2  # recordings of each speaker that a voice is made of, each by itself
REFERENCE_S = 10.0
UNSEEN = "librispeech-unseen"


@dataclass
class Measure:
    """A judge of likeness: `embed` gives unit vectors of speech at 16 kHz; `vectors` are those of the recordings."""

    name: str
    embed: Callable[[np.ndarray], np.ndarray]
    vectors: np.ndarray = field(default_factory=lambda: np.zeros(0))
    found: list[tuple[float, bool]] = field(default_factory=list)  # likeness of a clone, and whether it is identified

    def judge(self, audio: np.ndarray, owners: np.ndarray, reference: int) -> None:
        """Compares a clone of recording `reference` with all the other ones."""
        others = np.arange(len(owners)) != reference
        cosines = self.vectors[others] @ self.embed(audio)
        names = np.unique(owners)
        means = [cosines[owners[others] == name].mean() for name in names]
        own = int(np.flatnonzero(names == owners[reference])[0])
        self.found.append((float(means[own]), int(np.argmax(means)) == own))

    def figures(self, owners: np.ndarray) -> dict[str, float]:
        cosines = self.vectors @ self.vectors.T
        same = owners[:, None] == owners
        alike = cosines[same & ~np.eye(len(owners), dtype=bool)].mean()
        unlike = cosines[~same].mean()
        clone = np.mean([cosine for cosine, _ in self.found])
        return {
            "same speaker": float(alike),
            "different speakers": float(unlike),
            "clones": float(clone),
            "closed": float((clone - unlike) / (alike - unlike)),
            "identified": float(np.mean([right for _, right in self.found])),
        }


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] + b[0], a[1] + b[1]


def median_f0_hz(audio: np.ndarray) -> float:
    """Of the voiced frames of audio at 22,050 Hz."""
    log_f0 = pitch.log_f0(audio, len(audio) // mel.HOP_SAMPLES)
    return float(np.exp(np.median(log_f0[log_f0 > 0]))) if (log_f0 > 0).any() else float("nan")


class CloneJudge:
    """Recordings and measures, loaded once. `clone` makes what `say` takes as a voice, from audio at 16 kHz."""

    def __init__(self, data: Path, work: Path, clone: Callable[[np.ndarray], Any]):
        self.clone, self.recognizer, self.opinion = clone, judges.Recognizer(), judges.Dnsmos(data)
        self.paths = sorted((data / "speech" / UNSEEN).glob("*.opus"))
        self.owners = np.array([path.name.split("-")[0] for path in self.paths])
        teacher = speakers.SpeakerTeacher()
        self.measures = [Measure("GE2E", teacher.embed), Measure("cepstra", timbre.fitted(work, data).embed)]
        narrow = [load(path, speakers.RATE_HZ) for path in self.paths]
        for measure in self.measures:
            measure.vectors = np.stack([measure.embed(audio) for audio in narrow])
        rows = split.ljspeech_held_out(data / "speech")
        self.texts = [row["text"].replace('\\"', '"') for row in rows]

    def __call__(self, model: Any, sentences: int, words: bool = True) -> dict[str, Any]:
        """Figures over `sentences` for each of the speakers; without `words` of likeness and F0 alone."""
        texts = self.texts[:sentences]
        plain, heard, opinions, ratios = (0, 0), (0, 0), [], {}
        for measure in self.measures:
            measure.found.clear()
        for text in texts if words else ():
            plain = add(plain, judges.word_errors(text, self.recognizer(model.say(text).samples)))
        for name in np.unique(self.owners):
            references = np.flatnonzero(self.owners == name)[:REFERENCES]
            voices = [self.clone(self.reference(i, speakers.RATE_HZ)) for i in references]
            hz: list[list[float]] = [[] for _ in references]
            for number, text in enumerate(texts):
                which = number % len(references)
                audio = model.say(text, voice=voices[which]).samples
                hz[which].append(median_f0_hz(audio))
                for measure in self.measures:
                    measure.judge(judges.to_judge_rate(audio), self.owners, references[which])
                if words:
                    heard = add(heard, judges.word_errors(text, self.recognizer(audio)))
                    opinions.append(self.opinion(audio)["overall"])
            for reference, found in zip(references, hz, strict=True):
                if found:
                    wanted = median_f0_hz(self.reference(reference, mel.RATE_HZ))
                    ratios[self.paths[reference].stem] = (float(np.median(found)), wanted)
        figures = {
            "likeness": {measure.name: measure.figures(self.owners) for measure in self.measures},
            "f0_hz": ratios,
        }
        if words:
            figures |= {"word_error": heard[0] / heard[1], "word_error_default": plain[0] / plain[1]}
            figures |= {"dnsmos": float(np.mean(opinions))}
        return figures

    def reference(self, index: int, rate_hz: int) -> np.ndarray:
        return load(self.paths[index], rate_hz)[: int(REFERENCE_S * rate_hz)]


def exact_cloner(work: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Voices as training has them: what a speaker tower can reach at best."""
    import soxr

    teacher, space = speakers.SpeakerTeacher(), voice_space.load(work)

    def clone(audio: np.ndarray) -> np.ndarray:
        return space.of_audio(audio, soxr.resample(audio, speakers.RATE_HZ, mel.RATE_HZ), teacher)

    return clone


def table(figures: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The figures as rows for people."""
    rows = {f"clones, likeness by {name}": found for name, found in figures["likeness"].items()}
    off = {name: made / wanted - 1 for name, (made, wanted) in figures["f0_hz"].items()}
    rows["clones, median F0 off by"] = {"on average": float(np.mean(np.abs(list(off.values())))), **off}
    if "word_error" in figures:
        clones, plain = figures["word_error"], figures["word_error_default"]
        told = {"word_error": clones, "default voice": plain, "ratio": clones / plain, "DNSMOS": figures["dnsmos"]}
        rows["clones, intelligibility"] = told
    return rows
