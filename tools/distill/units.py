"""The units of docs/voice.md: phones with stress, pauses, and the marks at which words start."""

from __future__ import annotations

import re
from dataclasses import dataclass

SILENCE = 0
PAUSES = {",": 1, ".": 2, "?": 3, "!": 4, "-": 5}
COMMA, STOP = PAUSES[","], PAUSES["."]
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
FIRST_PHONE = 6
PHONES = {name: FIRST_PHONE + i for i, name in enumerate(CONSONANTS)} | {
    f"{name}{stress}": FIRST_PHONE + len(CONSONANTS) + 3 * i + stress
    for i, name in enumerate(VOWELS)
    for stress in range(3)
}
COUNT = FIRST_PHONE + len(PHONES)
NAMES = ["_", *PAUSES, *PHONES]

# One character of text -> the pause it stands for. Quotation marks are no pause.
MARKS = {";": "-", ":": "-", "(": "-", ")": "-", "[": "-", "]": "-", "\u2014": "-", "\u2013": "-"} | {
    p: p for p in PAUSES
}
ABBREVIATIONS = {"mr": "mister", "mrs": "missis", "messrs": "messieurs", "dr": "doctor", "st": "saint"}
TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)*'?|--|[,.?!;:()\[\]\u2013\u2014]|(?<=\s)-(?=\s)")


@dataclass
class Word:
    """A word in lower case and the pause that its punctuation asks for (0 for none)."""

    text: str
    pause: int = 0


def is_pause(unit: int) -> bool:
    return SILENCE < unit < FIRST_PHONE


def tokenize(text: str) -> list[Word]:
    """Words of `text` with the pauses behind them; of several marks in a row, the one that closes a sentence counts.

    Raises ValueError for digits: corpora spell numbers out, and a guess would be aligned to what nobody said.
    """
    if found := re.search(r"\d+", text):
        raise ValueError(f"text holds the digits {found.group()!r}; expected numbers as words: {text!r}")
    words: list[Word] = []
    lower = text.lower().replace("\u2019", "'")
    for short in ABBREVIATIONS:
        lower = re.sub(rf"\b{short}\.", ABBREVIATIONS[short], lower)
    for token in TOKEN.findall(lower):
        if token[0].isalpha():
            words.append(Word(token))
        elif words:
            pause = PAUSES[MARKS.get(token, "-")]
            closing = pause in (PAUSES["."], PAUSES["?"], PAUSES["!"])
            words[-1].pause = pause if closing or not words[-1].pause else words[-1].pause
    return words


def strip_stress(phone: str) -> str:
    return phone.rstrip("012")
