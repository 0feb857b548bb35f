"""Which words a finished model leaves out, puts in or garbles, and how well it knows when it says each.

    python -m distill.judge_words voice.puni [--data ../shared/data] [--voice linda] [--count 360]

Harvard sentences and short inputs are said by the runtime and heard by pocketsphinx's recognizer; times of words are
compared with forced alignment of the same audio.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

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


def main() -> None:
    import pocketuni

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .puni file that distill.export wrote")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--voice", help="default: the model's own")
    parser.add_argument("--count", type=int, default=360, help="sentences")
    options = parser.parse_args()
    model, recognizer = pocketuni.Model(str(options.model)), judges.Recognizer()
    sentences = (options.data / "text/harvard_first360.txt").read_text().splitlines()[: options.count]
    lexicon = Lexicon(options.data / "text/cmudict.dict", options.data / "models/g2p_en")
    vocabulary = {word for sentence in sentences for word in judges.words_of(sentence)}
    aligner = align.Aligner({word: lexicon(word) for word in vocabulary})

    found: Counter[str] = Counter()
    times: list[float] = []
    unaligned = 0
    for sentence in sentences:
        audio, words = model.say(sentence, voice=options.voice), judges.words_of(sentence)
        found += differences(words, recognizer(audio.samples).split())
        try:
            times += time_errors(audio, words, aligner) if len(audio.words) == len(words) else []
        except RuntimeError:
            unaligned += 1
    total = sum(found[name] for name in ("kept", "substituted", "left out"))
    print(
        f"{len(sentences)} sentences, {total} words: " + ", ".join(f"{count} {name}" for name, count in found.items())
    )
    print(f"alignment finds no path in {unaligned} sentences")
    print(f"word times: mean absolute error {1e3 * np.mean(times):.1f} ms over {len(times) // 2} words")
    for text in SHORT:
        print(f"{text!r} is heard as {recognizer(model.say(text, voice=options.voice).samples)!r}")


if __name__ == "__main__":
    main()
