"""Texts to token ids, by the libraries that made the vocabularies: `tokenizers` and `sentencepiece`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ._core import ModelFileError


class TextTokenizer(Protocol):
    """Ids of texts, cut to the model's maximum, special tokens included; `pad` fills what a batch leaves over."""

    pad: int

    def encode(self, texts: list[str]) -> list[list[int]]: ...


class HuggingFaceTokenizer:
    """A `tokenizer.json`, read by the library `tokenizers`."""

    def __init__(self, data: bytes, max_length: int, pad: int | None):
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_buffer(data)
        padding = self._tokenizer.padding or {}
        self.pad = pad if pad is not None else int(padding.get("pad_id", 0))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]


class SentencePieceTokenizer:
    """A SentencePiece model; `bos` and `eos` are ids put around each text, or None."""

    def __init__(self, data: bytes, max_length: int, bos: int | None, eos: int | None, pad: int | None):
        from sentencepiece import SentencePieceProcessor

        self._processor = SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(data)
        self._before = [] if bos is None else [bos]
        self._after = [] if eos is None else [eos]
        self._room = max(max_length - len(self._before) - len(self._after), 0)
        self.pad = 0 if pad is None else pad

    def encode(self, texts: list[str]) -> list[list[int]]:
        pieces: Sequence[list[int]] = self._processor.encode(texts, out_type=int)
        return [self._before + ids[: self._room] + self._after for ids in pieces]


def load_tokenizer(blob: Callable[[str], bytes], spec: dict[str, Any], where: str) -> TextTokenizer:
    """The tokenizer that META's `embed` names. Raises ImportError naming what to install when its library is missing,
    ModelFileError when the stored tokenizer is missing or broken."""
    special = {key: spec.get(key) for key in ("bos", "eos", "pad")}
    for key, value in special.items():
        if value is not None and (type(value) is not int or not 0 <= value < 2**31):
            raise ModelFileError(f"{where}: '{key}' is {value!r}, expected the id of a token or null")
    try:
        data = blob(spec["tokenizer"])
    except ValueError as error:
        raise ModelFileError(f"{where}: {error}") from None
    try:
        if spec["kind"] == "tokenizers":
            return HuggingFaceTokenizer(data, spec["max_length"], special["pad"])
        if spec["kind"] == "sentencepiece":
            return SentencePieceTokenizer(data, spec["max_length"], **special)
    except ImportError as error:
        text = f"embedding text with this model needs the library {error.name}: pip install 'pocketuni[text]'"
        raise ImportError(text, name=error.name) from error
    except Exception as error:  # what these libraries raise for broken data: RuntimeError, ValueError, bare Exception
        raise ModelFileError(f"{where}: the tokenizer {spec['tokenizer']!r} cannot be read: {error}") from error
    raise ModelFileError(f"{where}: the kind {spec['kind']!r} is not one of tokenizers, sentencepiece")
