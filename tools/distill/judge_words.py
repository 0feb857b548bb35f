"""Which words a finished model leaves out, puts in or garbles, and how well it knows when it says each (judge.py).

Harvard sentences and short inputs are said by the runtime and heard by pocketsphinx's recognizer; times of words are
compared with forced alignment of the same audio.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from . import align, judges
from .pronounce import Lexicon

SHORT = ("Yes.", "No!", "OK", "Hello.", "Stop.", "Thank you.", "Why?", "Seven.", "Go on.", "Good morning.")


def differences(said: list[str], heard: list[str]) -> Counter[str]:
    """Words of the cheapest edit from `said` to `heard`: kept, substituted, left out, put in."""
    cost = np.zeros((len(said) + 1, len(heard) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(said) + 1), np.arange(len(heard) + 1)
    for i, word in enumerate(said, 1):
        for j, other in enumerate(heard, 1):
            cost[i, j] = min(cost[i - 1, j - 1] + (word != other), cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    found: Counter[str] = Counter()
    i, j = len(said), len(heard)
    while i or j:
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (said[i - 1] != heard[j - 1]):
            i, j = i - 1, j - 1
            found["kept" if said[i] == heard[j] else "substituted"] += 1
        elif i and cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
            found["left out"] += 1
        else:
            j -= 1
            found["put in"] += 1
    return found


def time_errors(audio, words: list[str], aligner: align.Aligner) -> list[float]:
    """Seconds between where the model says that words start and end and where alignment finds them."""
    segments = aligner(judges.to_judge_rate(audio.samples), words)
    errors = []
    for position, word in enumerate(audio.words):
        own = [segment for segment in segments if segment.word == position]
        errors += [abs(word.start - own[0].start_s), abs(word.end - own[-1].end_s)]
    return errors


def word_figures(model: Any, data: Path, count: int, voice: str | None = None) -> dict[str, Any]:
    """Over `count` Harvard sentences: rates of words that are substituted, left out and put in, and errors of times."""
    recognizer = judges.Recognizer()
    sentences = (data / "text/harvard_first360.txt").read_text(encoding="utf-8").splitlines()[:count]
    lexicon = Lexicon(data / "text/cmudict.dict", data / "models/g2p_en/checkpoint20.npz")
    vocabulary = {word for sentence in sentences for word in judges.words_of(sentence)}
    aligner = align.Aligner({word: lexicon(word) for word in vocabulary})
    found: Counter[str] = Counter()
    times: list[float] = []
    unaligned = 0
    for sentence in sentences:
        audio, words = model.say(sentence, voice=voice), judges.words_of(sentence)
        found += differences(words, recognizer(audio.samples).split())
        try:
            times += time_errors(audio, words, aligner) if len(audio.words) == len(words) else []
        except RuntimeError:
            unaligned += 1
    total = sum(found[name] for name in ("kept", "substituted", "left out"))
    rates = {name: found[name] / total for name in ("substituted", "left out", "put in")}
    return {"words": total, **rates, "without a path": unaligned, "time_error_ms": 1e3 * float(np.mean(times))}


def short_inputs(model: Any, voice: str | None = None) -> dict[str, str]:
    """What is heard of inputs of one or two words."""
    recognizer = judges.Recognizer()
    return {text: recognizer(model.say(text, voice=voice).samples) for text in SHORT}
