"""The letter-to-sound network and its data: what training, the lexicon and the exporter share.

Letters go in, two slots of phones come out for each letter; collapsing repeated labels and dropping blanks (CTC) gives
the pronunciation. The network guesses once in the middle and sees its own guess in the second half, so that phones and
stresses that are predicted side by side agree with each other (self-conditioned CTC, Nozaki and Komatsu 2021).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

LETTERS = "abcdefghijklmnopqrstuvwxyz'"
EDGE = 0  # the letter id of the two ends of a word; letter i has id i + 1
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()
PHONES = CONSONANTS + [vowel + stress for vowel in VOWELS for stress in "012"]
BLANK = 0  # the label of a slot without a phone; phone i has label i + 1, and unit i + FIRST_UNIT
FIRST_UNIT = 6  # docs/voice.md, units
SLOTS = 2
LABELS = len(PHONES) + 1
PHONE_IDS = {phone: index + 1 for index, phone in enumerate(PHONES)}


class Block(nn.Module):
    """Depthwise convolution over letters, then a row-wise two-layer network, added to the input (ConvNeXt)."""

    def __init__(self, width: int, hidden: int, kernel: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x `[B, T, width]`; mask `[B, T, 1]` is 0 behind the end of a word, where x is 0 too."""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        y = x + self.narrow(functional.gelu(self.widen(self.norm(y)), approximate="tanh"))
        return y if mask is None else y * mask


class G2p(nn.Module):
    """letters int64 `[B, T]` -> two sets of scores `[B, SLOTS * T, LABELS]`: the guess halfway, and the result."""

    def __init__(self, width: int = 128, hidden: int = 256, blocks: int = 6, kernel: int = 7):
        super().__init__()
        self.embed = nn.Embedding(len(LETTERS) + 1, width)
        self.blocks = nn.ModuleList(Block(width, hidden, kernel) for _ in range(blocks))
        self.guess = nn.Linear(width, SLOTS * LABELS)
        self.reread = nn.Linear(SLOTS * LABELS, width)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.out = nn.Linear(width, SLOTS * LABELS)

    def forward(self, letters: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`lengths` `[B]` are needed where words are shorter than T: a word's result does not depend on the padding."""
        mask = None
        if lengths is not None:
            mask = (torch.arange(letters.shape[1]) < lengths[:, None]).unsqueeze(2).float()
        x = self.embed(letters)
        x = x if mask is None else x * mask
        guess = None
        for index, block in enumerate(self.blocks):
            x = block(x, mask)
            if index == len(self.blocks) // 2 - 1:
                guess = self.guess(x).unflatten(2, (SLOTS, LABELS))
                x = x + self.reread(guess.softmax(3).flatten(2))
                x = x if mask is None else x * mask
        assert guess is not None
        scores = self.out(self.norm(x)).unflatten(2, (SLOTS, LABELS))
        return guess.flatten(1, 2), scores.flatten(1, 2)


def letter_ids(word: str) -> list[int]:
    """The network's input for a word of `LETTERS`: its letters between two edges."""
    return [EDGE, *(LETTERS.index(letter) + 1 for letter in word), EDGE]


def collapse(labels: Iterable[int]) -> tuple[int, ...]:
    """CTC: runs of one label become one, blanks vanish. Gives phone labels (`PHONE_IDS`)."""
    result, previous = [], BLANK
    for label in labels:
        if label not in (previous, BLANK):
            result.append(label)
        previous = label
    return tuple(result)


def pad_words(words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Letter ids `[B, T]` padded with edges, and lengths `[B]`."""
    rows = [torch.tensor(letter_ids(word)) for word in words]
    lengths = torch.tensor([len(row) for row in rows])
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=EDGE), lengths


@torch.no_grad()
def pronounce(net: G2p, words: Sequence[str], batch: int = 1024) -> list[tuple[int, ...]]:
    """Phone labels of each word."""
    order = sorted(range(len(words)), key=lambda index: len(words[index]))
    result: list[tuple[int, ...]] = [()] * len(words)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        letters, lengths = pad_words([words[index] for index in part])
        labels = net(letters, lengths)[1].argmax(2).tolist()
        for index, row, length in zip(part, labels, lengths.tolist(), strict=True):
            result[index] = collapse(row[: SLOTS * length])
    return result


def read_cmudict(path: Path) -> dict[str, list[tuple[int, ...]]]:
    """Word -> pronunciations as phone labels, in the order of the file; only words made of `LETTERS`.

    Raises ValueError, naming the line, for a phone that is not ARPAbet.
    """
    words: dict[str, list[tuple[int, ...]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        word, *phones = line.split("#")[0].split()
        word = word.split("(")[0]
        if set(word) - set(LETTERS):
            continue
        if unknown := [phone for phone in phones if phone not in PHONE_IDS]:
            raise ValueError(f"{path}:{number}: {unknown[0]!r} is not an ARPAbet phone")
        words.setdefault(word, []).append(tuple(PHONE_IDS[phone] for phone in phones))
    return words


def is_held_out(word: str) -> bool:
    """One word in twenty, by hash: never trained on. Possessives go with their stem, which would give them away."""
    stem = word.removesuffix("'s").removesuffix("'")
    return hashlib.blake2b(stem.encode(), digest_size=2).digest()[0] * 20 < 256


def load_net(checkpoint: Path) -> G2p:
    """The network of a checkpoint of train_g2p.py, ready to run."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    net = G2p(**state["config"])
    net.load_state_dict(state["net"])
    return net.eval()
