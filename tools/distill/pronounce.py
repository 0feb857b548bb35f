"""Pronunciations: CMU's dictionary, and for other words the letter-to-sound teacher g2p_en (a GRU that spells out)."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

import numpy as np

from .units import PHONES

GRAPHEMES = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
# The teacher's own order: alphabetical, with one "UW" without stress that its training data held by mistake.
SPECIALS = ["<pad>", "<unk>", "<s>", "</s>"]
START, END = 2, 3
LONGEST = 20


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


class SpellingTeacher:
    """The GRU encoder-decoder of Kyubyong/g2p (Apache-2.0), read from its `checkpoint20.npz`."""

    def __init__(self, path: Path):
        with np.load(path) as file:
            self.weights = {name: file[name] for name in file.files}
        self.phones = SPECIALS + sorted([*PHONES, "UW"])
        if len(self.phones) != len(self.weights["fc_b"]):
            raise ValueError(
                f"{path}: {len(self.weights['fc_b'])} phones, expected {len(self.phones)}; wrong checkpoint"
            )

    def step(self, side: str, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        """One step of a GRU; gates stand as reset, update, candidate."""
        w = self.weights
        a = w[f"{side}_w_ih"] @ x + w[f"{side}_b_ih"]
        b = w[f"{side}_w_hh"] @ h + w[f"{side}_b_hh"]
        n = len(h)
        reset, update = sigmoid(a[:n] + b[:n]), sigmoid(a[n : 2 * n] + b[n : 2 * n])
        return (1.0 - update) * np.tanh(a[2 * n :] + reset * b[2 * n :]) + update * h

    def __call__(self, word: str) -> list[str]:
        """Greedy pronunciation of a word in lower case."""
        letters = [GRAPHEMES.index(c) if c in GRAPHEMES else 1 for c in word] + [2]
        h = np.zeros(self.weights["enc_w_hh"].shape[1], np.float32)
        for letter in letters:
            h = self.step("enc", self.weights["enc_emb"][letter], h)
        phones: list[str] = []
        last = START
        while len(phones) < LONGEST:
            h = self.step("dec", self.weights["dec_emb"][last], h)
            last = int(np.argmax(self.weights["fc_w"] @ h + self.weights["fc_b"]))
            if last == END:
                break
            phones.append(self.phones[last])
        return [phone if phone in PHONES else f"{phone}0" for phone in phones if phone not in SPECIALS]


class Lexicon:
    """Word in lower case -> its pronunciations, tuples of phones with stress, the dictionary's first one first."""

    def __init__(self, dictionary: Path, teacher: Path):
        self.teacher_path = teacher
        self.words: dict[str, list[tuple[str, ...]]] = {}
        for line in dictionary.read_text(encoding="utf-8").splitlines():
            word, _, phones = line.partition("#")[0].strip().partition(" ")
            if phones:
                found = self.words.setdefault(re.sub(r"\(\d+\)$", "", word), [])
                found.append(tuple(phones.split()))

    @cached_property
    def teacher(self) -> SpellingTeacher:
        return SpellingTeacher(self.teacher_path)

    def __call__(self, word: str) -> list[tuple[str, ...]]:
        """All pronunciations. Raises ValueError for a word that has none (no letters)."""
        if found := self.words.get(word) or self.words.get(word.rstrip("'")):
            return found
        if word.endswith("'s") and (stem := self.words.get(word[:-2])):
            return [phones + self.genitive(phones[-1]) for phones in stem]
        phones = self.teacher(re.sub("[^a-z]", "", word))
        if not phones:
            raise ValueError(f"word {word!r}: expected letters a-z, got none that can be spoken")
        self.words[word] = [tuple(phones)]
        return self.words[word]

    @staticmethod
    def genitive(last: str) -> tuple[str, ...]:
        if last in {"S", "Z", "SH", "ZH", "CH", "JH"}:
            return ("IH0", "Z")
        return ("S",) if last in {"P", "T", "K", "F", "TH"} else ("Z",)
