"""Judges the voices of a finished model through the runtime: word errors, DNSMOS, likeness to the recorded speaker.

    python -m distill.judge_voices voice.puni --work WORK [--voices linda james] [--count 35]

Likeness is the cosine of speaker vectors between what is said and the voice; `recording` shows it for the held-out
recordings of LJSpeech, of which the same sentences are said.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from . import judges, mel, speakers, split
from .prepare import load


class VoiceJudge:
    """Collects figures of one system after the other; the judges are loaded once."""

    def __init__(self, data: Path, work: Path):
        self.opinion, self.recognizer = judges.Dnsmos(data), judges.Recognizer()
        self.teacher = speakers.SpeakerTeacher()
        with np.load(work / "prepared/voices.npz") as file:
            self.mean, self.axes = file["mean"], file["axes"]

    def likeness(self, audio: np.ndarray, vector: np.ndarray) -> float:
        embedding = self.teacher.embed(judges.to_judge_rate(audio))
        return float(speakers.project(embedding, self.mean, self.axes) @ vector)

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


def main() -> None:
    import pocketuni

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .puni file that distill.export wrote")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--voices", nargs="+", help="default: all")
    parser.add_argument("--count", type=int, default=split.LJSPEECH_HELD_OUT)
    parser.add_argument("--recording", action="store_true", help="judge the recordings of the sentences as well")
    parser.add_argument("--out", type=Path, help="folder for the first two sentences of each voice")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, judge = pocketuni.Model(str(options.model)), VoiceJudge(options.data, options.work)
    rows = split.ljspeech_held_out(options.data / "speech")[: options.count]
    texts = [row["text"].replace('\\"', '"') for row in rows]

    def report(name: str, say: Callable[[str], np.ndarray], vector: np.ndarray) -> None:
        print(name, json.dumps({k: round(v, 3) for k, v in judge(texts, say, vector).items()}), flush=True)

    vectors = {name: np.frombuffer(model.blob(f"voice/{name}"), "<f4") for name in model.voices}
    if options.recording:
        files = {text: options.data / "speech/ljspeech" / row["file"] for text, row in zip(texts, rows, strict=True)}
        report("recording", lambda text: load(files[text], mel.RATE_HZ), next(iter(vectors.values())))
    for name in options.voices or model.voices:
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            for number, text in enumerate(texts[:2], 1):
                said = model.say(text, voice=name).samples
                soundfile.write(options.out / f"{name}-{number}.wav", said, mel.RATE_HZ)
        report(name, lambda text, name=name: model.say(text, voice=name).samples, vectors[name])


if __name__ == "__main__":
    main()
