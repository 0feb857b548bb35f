"""Which words of a few are said, and when: python examples/keyword_spotting.py MODEL.puni RECORDING

MODEL: MLPerf Tiny's keyword model, converted with its labels (down go left no off on right stop up yes silence unknown,
one a line) and its features:
--preprocess audio:rate=16000,window=480,hop=320,mel=40,mfcc=10,low=20,high=4000,power=1,normalize=peak
Needs soundfile for other files than .wav."""

import sys
from collections.abc import Iterator
from itertools import groupby

import numpy as np

import pocketuni
from pocketuni.audio_input import FileSource

STEP_SECONDS, SURE, LEAST = 0.1, 0.8, 3  # a word is the same label for so many windows of a second in a row
OTHERS = ("silence", "unknown")


def words(model: pocketuni.Model, samples: np.ndarray, rate_hz: int) -> Iterator[tuple[float, pocketuni.Label]]:
    """(seconds at the middle of the word, label with the largest probability of its windows), in order."""
    padded, step = np.pad(samples, rate_hz // 2), round(STEP_SECONDS * rate_hz)
    starts = range(0, len(padded) - rate_hz + 1, step)
    heard = [(start / rate_hz, model.hear(padded[start : start + rate_hz], rate_hz)[0]) for start in starts]
    for name, group in groupby(heard, key=lambda item: item[1].name):
        run = list(group)
        best = max((label for _, label in run), key=lambda label: label.probability)
        if name not in OTHERS and best.probability > SURE and len(run) >= LEAST:
            yield run[len(run) // 2][0], best


def main(model: str, path: str) -> None:
    with FileSource(path) as source:
        samples = np.concatenate(list(source))
    with pocketuni.Model(model, threads=1) as opened:
        for seconds, label in words(opened, samples, source.rate_hz):
            print(f"{seconds:5.1f} s  {label.probability:6.1%}  {label.name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
