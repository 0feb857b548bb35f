"""Tokenizers of Pocket TTS models in the form that the engine reads (docs/pocket.md, Tokenizer): from a SentencePiece
`.model` or a `tokenizer.json` that was made of one. Neither library is needed."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNIGRAM, BPE = 0, 1
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE, UNUSED = range(6)
DUMMY_PREFIX, COLLAPSE_SPACES, BYTE_FALLBACK = 1, 2, 4
PIECE_TYPES = {1: NORMAL, 2: UNKNOWN, 3: CONTROL, 4: USER_DEFINED, 5: UNUSED, 6: BYTE}  # SentencePiece's numbers
MODEL_TYPES = {1: UNIGRAM, 2: BPE}
SPACE = "\u2581"
UNKNOWN_SURFACE = " \u2047 "


@dataclass(frozen=True)
class Vocabulary:
    """Pieces are (text, score, type), by id; `charsmap` is SentencePiece's table of characters."""

    kind: int
    flags: int
    unknown: int
    unknown_text: str
    pieces: list[tuple[str, float, int]]
    charsmap: bytes

    def pack(self) -> bytes:
        surface = self.unknown_text.encode()
        parts = [
            struct.pack("<4s6I", b"PUTK", 1, self.kind, self.flags, self.unknown, len(self.pieces), len(self.charsmap)),
            bytes([len(surface)]) + surface,
        ]
        for text, score, kind in self.pieces:
            data = text.encode()
            if not 0 < len(data) < 256:
                raise ValueError(f"the piece {text[:20]!r} has {len(data)} bytes, expected 1 to 255")
            parts.append(struct.pack("<fBB", score, kind, len(data)) + data)
        return b"".join([*parts, self.charsmap])


def read_tokenizer(path: Path, kind: str) -> Vocabulary:
    """kind: `sentencepiece` or `tokenizers`. Raises OSError, ValueError naming the file and what in it is wrong or
    cannot be expressed."""
    data = path.read_bytes()
    try:
        return of_json(json.loads(data)) if kind == "tokenizers" else of_model(data)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, struct.error) as error:
        raise ValueError(f"{path}: the tokenizer cannot be read: {error}") from error


# SentencePiece: a message of protocol buffers.


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("it is no SentencePiece model")


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: an int, the bytes of a string or message, or those of a fixed number."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        wire = key & 7
        if wire == 0:
            value: Any
            value, at = read_varint(data, at)
        else:
            size, at = {1: (8, at), 5: (4, at)}.get(wire) or read_varint(data, at) if wire in (1, 2, 5) else (-1, at)
            value = data[at : at + size]
            if size < 0 or len(value) != size:
                raise ValueError("it is no SentencePiece model, or was cut short")
            at += size
        yield key >> 3, value


def of_model(data: bytes) -> Vocabulary:
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in fields(data):
        if number == 1:
            piece = dict(fields(value))
            score = struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0
            pieces.append((piece[1].decode(), score, PIECE_TYPES[piece.get(3, 1)]))
        elif number == 2:
            trainer = dict(fields(value))
        elif number == 3:
            normalizer = dict(fields(value))
    kind = trainer.get(3, 1)
    if kind not in MODEL_TYPES:
        raise ValueError(f"trainer_spec.model_type is {kind}, expected unigram (1) or bpe (2)")
    if trainer.get(24, 0) or not normalizer.get(5, 1):
        raise ValueError("spaces as suffixes, or unescaped ones, are not supported")
    unknown = [i for i, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN]
    if len(unknown) != 1:
        raise ValueError(f"it has {len(unknown)} pieces for what is unknown, expected 1")
    flags = DUMMY_PREFIX * bool(normalizer.get(3, 1)) | COLLAPSE_SPACES * bool(normalizer.get(4, 1))
    flags |= BYTE_FALLBACK * bool(trainer.get(35, 0))
    surface = trainer.get(44, UNKNOWN_SURFACE.encode()).decode()
    return Vocabulary(MODEL_TYPES[kind], flags, unknown[0], surface, pieces, normalizer.get(2, b""))


# tokenizer.json of the library `tokenizers`.


def parts_of(entry: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    if entry is None:
        return []
    return list(entry[name]) if entry["type"] == "Sequence" else [entry]


def text_flags(data: Mapping[str, Any]) -> tuple[int, bytes]:
    """Flags and table of characters that normalizer and pre-tokenizer amount to."""
    flags, charsmap = 0, b""
    for part in parts_of(data.get("normalizer"), "normalizers"):
        kind, pattern = part["type"], part.get("pattern", {})
        if kind == "Precompiled":
            charsmap = base64.b64decode(part["precompiled_charsmap"] or "")
        elif kind == "Prepend" and part["prepend"] == SPACE:
            flags |= DUMMY_PREFIX
        elif kind == "Strip" or (kind == "Replace" and pattern.get("Regex") == " {2,}"):
            flags |= COLLAPSE_SPACES
        elif not (kind == "Replace" and pattern.get("String") == " " and part["content"] == SPACE):
            raise ValueError(f"the normalizer {kind} {pattern or ''} is not supported")
    for part in parts_of(data.get("pre_tokenizer"), "pretokenizers"):
        if part["type"] == "WhitespaceSplit":
            flags |= COLLAPSE_SPACES
        elif part["type"] == "Metaspace" and part.get("replacement") == SPACE:
            scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
            flags |= DUMMY_PREFIX * (scheme != "never")
        else:
            raise ValueError(f"the pre_tokenizer {part['type']} is not supported")
    return flags, charsmap


def scored(model: Mapping[str, Any]) -> tuple[int, list[tuple[str, float]], int]:
    """Kind, pieces with their scores by id, and the id of the unknown piece."""
    if model["type"] == "Unigram":
        return UNIGRAM, [(text, float(score)) for text, score in model["vocab"]], int(model["unk_id"])
    if model["type"] != "BPE":
        raise ValueError(f"model.type is {model['type']!r}, expected Unigram or BPE")
    ranks: dict[str, float] = {}
    for rank, pair in enumerate(model["merges"]):
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        ranks.setdefault(left + right, -float(rank))
    by_id: Sequence[tuple[int, str]] = sorted((id_, text) for text, id_ in model["vocab"].items())
    if [id_ for id_, _ in by_id] != list(range(len(by_id))):
        raise ValueError("the ids of model.vocab have gaps")
    return BPE, [(text, ranks.get(text, 0.0)) for _, text in by_id], int(model["vocab"][model["unk_token"]])


def of_json(data: Mapping[str, Any]) -> Vocabulary:
    flags, charsmap = text_flags(data)
    kind, pieces, unknown = scored(data["model"])
    fallback = bool(data["model"].get("byte_fallback", False))
    types = [BYTE if fallback and len(text) == 6 and text.startswith("<0x") else NORMAL for text, _ in pieces]
    surface = pieces[unknown][0]
    for token in sorted(data.get("added_tokens", ()), key=lambda token: token["id"]):
        place, special = token["id"], token["special"]
        if place > len(pieces):
            raise ValueError(f"added_tokens has the id {place}, but there are {len(pieces)} pieces before it")
        if place == len(pieces):
            pieces.append((token["content"], 0.0))
            types.append(NORMAL)
        types[place] = CONTROL if special else USER_DEFINED
        surface = "" if special and place == unknown else surface
    types[unknown] = UNKNOWN
    whole = [(text, score, type_) for (text, score), type_ in zip(pieces, types, strict=True)]
    return Vocabulary(kind, flags | BYTE_FALLBACK * fallback, unknown, surface, whole, charsmap)
