"""The blob `lexicon.en`: sorted words in blocks of 16, Huffman-coded. csrc/speech/lexicon.h describes its form."""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise

import numpy as np

from .g2p_net import LETTERS, PHONES

BLOCK = 16
WORD_END, PHONE_END = len(LETTERS), len(PHONES)
LONGEST_CODE, LONGEST_WORD, MOST_PHONES = 15, 64, 64
FILTER_HASHES, FILTER_BITS_PER_WORD = 7, 10


def code_lengths(counts: Sequence[int]) -> list[int]:
    """Lengths of a complete Huffman code of at most 15 bits; every symbol gets a code."""
    weights = [count + 1 for count in counts]
    while True:
        heap = [(weight, index, [index]) for index, weight in enumerate(weights)]
        heapq.heapify(heap)
        lengths = [0] * len(weights)
        while len(heap) > 1:
            a, _, left = heapq.heappop(heap)
            b, tie, right = heapq.heappop(heap)
            for symbol in left + right:
                lengths[symbol] += 1
            heapq.heappush(heap, (a + b, tie, left + right))
        if max(lengths) <= LONGEST_CODE:
            return lengths
        weights = [weight // 2 + 1 for weight in weights]  # flatter weights, shorter codes


def canonical_codes(lengths: Sequence[int]) -> list[str]:
    """Codes as strings of bits: shorter before longer, within a length by symbol."""
    codes, code, previous = [""] * len(lengths), 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths)):
        code <<= length - previous
        codes[symbol], previous = f"{code:0{length}b}", length
        code += 1
    return codes


def shared_letters(a: str, b: str) -> int:
    count = 0
    while count < min(len(a), len(b), 15) and a[count] == b[count]:
        count += 1
    return count


def word_hash(word: str) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in word.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def filter_of(words: Iterable[str]) -> bytes:
    """A Bloom filter: seven bits a word, of ten for each."""
    words = list(words)
    bits = -(-len(words) * FILTER_BITS_PER_WORD // 8) * 8
    field = np.zeros(bits, np.uint8)
    for word in words:
        value = word_hash(word)
        for index in range(FILTER_HASHES):
            field[((value & 0xFFFFFFFF) + index * (value >> 32 | 1)) % bits] = 1
    return np.packbits(field, bitorder="little").tobytes()


def encode_lexicon(words: Mapping[str, Sequence[int]], known: Iterable[str]) -> bytes:
    """The blob of `words` (word -> labels of phones, 1 for the first of `PHONES`), and of the filter of `known`.

    Raises ValueError for a word that the blob cannot hold.
    """
    ordered = sorted(words)
    for word in ordered:
        if not word or len(word) > LONGEST_WORD or set(word) - set(LETTERS) or len(words[word]) > MOST_PHONES:
            raise ValueError(f"{word!r} cannot be stored: 1 to 64 letters of a-z and ', at most 64 phones")
    shared = [
        0 if index % BLOCK == 0 else shared_letters(previous, word)
        for index, (previous, word) in enumerate(pairwise(["", *ordered]))
    ]
    letters = [[LETTERS.index(c) for c in word[keep:]] + [WORD_END] for word, keep in zip(ordered, shared, strict=True)]
    phones = [[label - 1 for label in words[word]] + [PHONE_END] for word in ordered]
    letter_counts, phone_counts = Counter(chain(*letters)), Counter(chain(*phones))
    letter_lengths = code_lengths([letter_counts[symbol] for symbol in range(WORD_END + 1)])
    phone_lengths = code_lengths([phone_counts[symbol] for symbol in range(PHONE_END + 1)])
    letter_codes, phone_codes = canonical_codes(letter_lengths), canonical_codes(phone_lengths)
    pieces, offsets, size = [], [], 0
    for index, keep in enumerate(shared):
        if index % BLOCK == 0:
            offsets.append(size)
        bits = f"{keep:04b}" + "".join(letter_codes[s] for s in letters[index])
        bits += "".join(phone_codes[s] for s in phones[index])
        pieces.append(bits)
        size += len(bits)
    stream = np.packbits(np.frombuffer("".join(pieces).encode(), np.uint8) - ord("0")).tobytes() if pieces else b""
    known_filter = filter_of(known)
    head = struct.pack("<4sIIIII", b"PULX", 1, len(ordered), len(offsets), len(known_filter) * 8, len(stream))
    head += bytes(letter_lengths) + bytes(phone_lengths) + bytes(2)
    return head + struct.pack(f"<{len(offsets)}I", *offsets) + known_filter + stream
