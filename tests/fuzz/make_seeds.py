"""Writes the seeds of the fuzz targets (tests/fuzz/NAME/*), from numbers alone: the same bytes every time. Run from the
repository's root:

    PYTHONPATH=tools:tests python tests/fuzz/make_seeds.py tests/fuzz
"""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
from distill.lexicon_blob import encode_lexicon
from pocketuni_tools.pocket_tokenizer import (
    BPE,
    BYTE,
    BYTE_FALLBACK,
    COLLAPSE_SPACES,
    CONTROL,
    DUMMY_PREFIX,
    NORMAL,
    SPACE,
    UNIGRAM,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
)

TEXTS = [
    "Hello world. This is a dog, that is a cat!",
    "Dr. Smith owes $3.50 (or 50%) since Jan 3rd, 1999; call 555-0123 at 10:30 a.m.",
    '<speak>Wait <break time="300ms"/> then <emphasis>go</emphasis> &amp; stop.</speak>',
    "Visit https://example.com/a?b=c or write to me@example.org about 3/4 of 12 km/h, 5 ft 11 and -40 \u00b0C.",
    "Zo\u00eb\u2019s caf\u00e9\u2014\u00abna\u00efve\u00bb\u2026 \u65e5\u672c \U0001f600 e\u0301 \u202e \u00bd \u2163",
    "A\n\nnew paragraph\twith  spaces - - and ... dots?! 1,234,567.89 1e5 0x1F MMXXI",
]


def tokenizer(kind: int, flags: int) -> bytes:
    """Pieces of each type, and a table that writes a tab as a space."""
    pieces = [("<unk>", 0, UNKNOWN), ("<s>", 0, CONTROL), ("<0xFF>", 0, BYTE), (SPACE + "a", -9.5, USER_DEFINED)]
    pieces += [(text, -1 - place, NORMAL) for place, text in enumerate(["l", "o", "lo", SPACE, SPACE + "w", "."])]
    trie = np.zeros(26, "<u4")
    trie[9], trie[25] = 16 << 10 | 1 << 8 | 9, 0  # at 9 ^ 16: where the text begins
    charsmap = struct.pack("<I", trie.nbytes) + trie.tobytes() + b" \0"
    return Vocabulary(kind, flags, 0, "?", pieces, charsmap).pack()


def voice_file(name: bytes, clone: int = 1) -> bytes:
    """docs/voice.md, The `.voice` file."""
    vector = np.random.default_rng(len(name)).standard_normal(192).astype("<f4")
    vector /= np.linalg.norm(vector)
    size = 56 + 768 + len(name) + 16
    head = b"\x89PUV\r\n\x1a\n" + struct.pack("<HHI", 1, 0, size) + bytes(range(16))
    body = head + struct.pack("<IfffII", clone, 8.25, 0.75, 4.75, 192, len(name)) + vector.tobytes() + name
    return body + hashlib.blake2b(body, digest_size=16).digest()


ANY_RATE = 3


def sound(mode: int, rate: int, ratio: tuple[int, int], *parts: bytes) -> bytes:
    """What fuzz_audio.cc reads."""
    number = (rate - 8000) // 50 if mode == ANY_RATE else (rate - 8400) // 1050
    most = 6  # of its choices, the most samples
    return struct.pack("<BIIBBB", mode, 12345, number, *ratio, most) + b"".join(parts)


def sounds() -> list[bytes]:
    tone = lambda pitch, length=250, level=60: bytes([2, length, level, pitch])  # noqa: E731
    noise, silence = bytes([3, 100, 20]), bytes([4, 100, 0])
    raw = bytes([0, 6]) + struct.pack("<6f", 0.5, -1, 1e-40, np.inf, np.nan, 3e38)
    short = bytes([1, 16]) + bytes(range(0, 256, 16))
    constant = bytes([5, 40, 0]) + struct.pack("<f", 63.5)
    return [
        sound(ANY_RATE, 16000, (1, 1), tone(18), tone(20), tone(25)),
        sound(1, 8400, (1, 1), tone(36), silence, tone(30), noise),
        sound(1, 44100, (1, 1), tone(7), tone(8), short, constant),
        sound(1, 22050, (1, 1), tone(14), tone(14, level=255), raw),
        sound(2, 8400, (2, 146), tone(30), noise, short),
        sound(2, 8400, (255, 3), silence, constant, tone(9)),
        sound(0, 8400, (0, 0), raw, noise),
    ]


def write(folder: Path, files: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, content in enumerate(files):
        (folder / f"{index:02}").write_bytes(content)


def main(root: Path) -> None:
    lexicon = encode_lexicon({"a": (1,), "hello": (3, 40, 12, 50), "zoom": (9, 60, 7)}, ["hello"])
    tokenizers = [tokenizer(UNIGRAM, DUMMY_PREFIX | COLLAPSE_SPACES | BYTE_FALLBACK), tokenizer(BPE, 0)]
    write(root / "text", [text.encode() for text in TEXTS] + [lexicon, *tokenizers])
    later = bytearray(voice_file(b"me"))
    later[10] = 7  # a minor version of which only the beginning is known
    write(root / "voice_file", [voice_file(b""), voice_file("Zoë".encode(), 0), voice_file(b"x" * 255), bytes(later)])
    write(root / "audio", sounds())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
