"""Text for Pocket TTS models: how it is prepared, cut into chunks and turned into tokens (META's `pocket`)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ._core import ModelFileError

MAX_TOKENS = 50  # of a chunk: the models were trained on single sentences
TOKENS_PER_SECOND, SPARE_SECONDS = 3.0, 2.0  # a chunk may last as long as this reckons
SENTENCE_ENDS, WEAK_ENDS, CLOSERS = ".!?\u2026", ",;:-\u2013\u2014", "\"'\u201d\u2019)]\u00bb"
FEW_WORDS = 5  # below, texts are padded where the model asks for it
PADDING = " " * 8


class Tokenizer(Protocol):
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


class JsonTokenizer:
    """A `tokenizer.json`, read by the library `tokenizers`."""

    def __init__(self, data: bytes):
        from tokenizers import Tokenizer as Library

        self._library = Library.from_buffer(data)

    def encode(self, text: str) -> list[int]:
        return self._library.encode(text).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self._library.decode(list(ids))


class PieceTokenizer:
    """A SentencePiece model."""

    def __init__(self, data: bytes):
        from sentencepiece import SentencePieceProcessor

        self._processor = SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(data)

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text, out_type=int)

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode(list(ids))


@dataclass(frozen=True)
class TextRules:
    """What META's `pocket` says about text."""

    tokenizer: str
    kind: str
    pad_with_spaces: bool = False
    remove_semicolons: bool = False
    end_with_punctuation: bool = True
    capitalize: bool = True
    replace: dict[str, str] | None = None
    frames_after_eos: int | None = None

    @classmethod
    def of(cls, meta: Any, where: str) -> TextRules:
        """Raises ModelFileError naming the entry that is missing or wrong."""
        entry = meta.get("pocket") if isinstance(meta, dict) else None
        if not isinstance(entry, dict):
            raise ModelFileError(f"{where}: section META has no object 'pocket'")
        kinds = {"tokenizer": str, "kind": str, "replace": dict, "frames_after_eos": int}
        given: dict[str, Any] = {}
        for key, value in entry.items():
            kind = kinds.get(key, bool)
            if key not in cls.__dataclass_fields__:
                continue  # a later writer's
            small = not isinstance(value, int) or 0 <= value < 1 << 16
            if value is not None and (type(value) is not kind or not small):
                raise ModelFileError(f"{where}: section META, pocket.{key} is {value!r}, expected {kind.__name__}")
            given[key] = value
        missing = {"tokenizer", "kind"} - given.keys()
        if missing:
            raise ModelFileError(f"{where}: section META, pocket.{min(missing)} is missing")
        return cls(**given)

    def load_tokenizer(self, blob: Callable[[str], bytes], where: str) -> Tokenizer:
        """Raises ImportError naming what to install, ModelFileError for a stored tokenizer that cannot be read."""
        makers: dict[str, Callable[[bytes], Tokenizer]] = {"tokenizers": JsonTokenizer, "sentencepiece": PieceTokenizer}
        if self.kind not in makers:
            raise ModelFileError(f"{where}: section META, pocket.kind is {self.kind!r}, not one of {', '.join(makers)}")
        try:
            return makers[self.kind](blob(self.tokenizer))
        except ImportError as error:
            text = f"speaking with this model needs the library {error.name}: pip install 'pocketuni[text]'"
            raise ImportError(text, name=error.name) from error
        except (
            Exception
        ) as error:  # what these libraries raise for broken data: RuntimeError, ValueError, bare Exception
            raise ModelFileError(f"{where}: the tokenizer {self.tokenizer!r} cannot be read: {error}") from error

    def cleaned(self, text: str) -> str:
        text = text.strip()
        if self.replace:
            text = " ".join(text.translate(str.maketrans(dict[str, str | int | None](self.replace))).split())
            # A deleted quote may leave a comma behind the end of a sentence.
            text = re.sub(r"([.!?\u2026])\s*[,;:]", r"\1", text)
        if not text:
            return ""
        text = text.replace("\n", " ").replace("\r", " ").replace("  ", " ")
        return text.replace(";", ",") if self.remove_semicolons else text

    def prepare(self, text: str) -> str:
        """A text as the model was trained on it; "" for one that holds nothing to say."""
        text = self.cleaned(text)
        if not text:
            return ""
        if self.capitalize and not text[0].isupper():
            text = text[0].upper() + text[1:]
        if self.end_with_punctuation:
            text = ended(text)
        if self.pad_with_spaces and len(text.split()) < FEW_WORDS:
            text = PADDING + text
        return text

    def frames_after(self, text: str) -> int:
        """Frames that are still spoken after the model said that a chunk has ended: short ones end more slowly."""
        if self.frames_after_eos is not None:
            return self.frames_after_eos
        return 5 if len(self.cleaned(text).split()) <= 4 else 3


def ended(text: str) -> str:
    """With the sign of a sentence's end: put behind it, or in place of a comma, colon or dash."""
    core = text.rstrip(CLOSERS + " ")
    if not core or core[-1] in SENTENCE_ENDS:
        return text
    if core[-1] in WEAK_ENDS:
        return core.rstrip(WEAK_ENDS + " ") + "." + text[len(core) :].strip()
    return text + "."


def cuts(ids: Sequence[int], signs: set[int], keep_together: Callable[[int], bool]) -> list[tuple[int, int]]:
    """Pieces of ids, each ending with a run of signs, unless `keep_together` says so of the place behind them."""
    places = [0]
    for place in range(1, len(ids)):
        if ids[place - 1] in signs and ids[place] not in signs and not keep_together(place):
            places.append(place)
    return list(zip(places, [*places[1:], len(ids)], strict=True))


def chunk_texts(rules: TextRules, tokenizer: Tokenizer, text: str, most: int = MAX_TOKENS) -> list[str]:
    """Sentences in groups of at most `most` tokens; a sentence that is longer is cut at commas, semicolons, colons."""
    prepared = rules.prepare(text).strip()
    if not prepared:
        return []
    ids = tokenizer.encode(prepared)

    def within_number(place: int) -> bool:
        before, after = tokenizer.decode(ids[:place]), tokenizer.decode(ids[place:])
        return before[-1:] == "." and before[-2:-1].isdigit() and after[:1].isdigit()

    # The first id of both strings of signs is the space before them.
    ends, commas = (set(tokenizer.encode(signs)[1:]) for signs in (".!...?", ",;:"))
    pieces = []
    for begin, end in cuts(ids, ends, within_number):
        sentence = tokenizer.decode(ids[begin:end])
        if end - begin <= most:
            pieces.append((end - begin, sentence))
            continue
        inner = tokenizer.encode(sentence.strip())
        parts = cuts(inner, commas, lambda _: False)
        whole = [(end - begin, sentence)]
        pieces += [(last - first, tokenizer.decode(inner[first:last])) for first, last in parts] if parts[1:] else whole
    return grouped(pieces, most)


def grouped(pieces: Sequence[tuple[int, str]], most: int) -> list[str]:
    """Neighbours joined as long as they stay within `most` tokens."""
    chunks: list[str] = []
    size = 0
    for count, text in pieces:
        if not chunks or (chunks[-1] and size + count > most):
            chunks.append(text)
            size = count
        else:
            chunks[-1] = f"{chunks[-1]} {text}" if chunks[-1] else text
            size = size + count if chunks[-1] != text else count
    return [chunk.strip() for chunk in chunks if chunk]


def most_frames(tokens: int, frames_per_second: float) -> int:
    """How long a chunk may last, so that one that never ends does."""
    return math.ceil((tokens / TOKENS_PER_SECOND + SPARE_SECONDS) * frames_per_second)
