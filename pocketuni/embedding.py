"""Texts to vectors: tokenization, batches of similar length, one tower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import ModelFileError
from .tokenization import TextTokenizer, load_tokenizer

if TYPE_CHECKING:
    from .model import Model, Tower

# A batch ends at either limit. Past some hundred rows a bigger matrix product is no faster, and activations grow with
# the product of the two.
BATCH_TEXTS = 32
BATCH_TOKENS = 2048


class TextEmbedder:
    """Embeds texts with one tower, as `towers.NAME.embed` in META says (docs/format.md, META)."""

    def __init__(self, tower: Tower, tokenizer: TextTokenizer, spec: dict[str, Any]):
        self.tower, self.tokenizer = tower, tokenizer
        self.ids, self.mask, self.output = spec["ids"], spec["mask"], spec["output"]
        width = tower.outputs[self.output].shape[-1]
        assert isinstance(width, int)
        self.width = width

    @classmethod
    def of(cls, model: Model) -> TextEmbedder:
        """The embedder of a model's first tower that has one. Raises ValueError when none has, ModelFileError when what
        META says does not fit the tower."""
        described = model.meta.get("towers")
        for name, entry in described.items() if isinstance(described, dict) else ():
            if isinstance(entry, dict) and entry.get("embed") is not None:
                where = f"{model.path}: section META, towers.{name}.embed"
                if name not in model.towers:
                    raise ModelFileError(f"{where}: the model has no such tower")
                spec = check_spec(model.towers[name], entry["embed"], where)
                return cls(model.towers[name], load_tokenizer(model.blob, spec, where), spec)
        towers = ", ".join(model.towers) or "none"
        raise ValueError(f"{model.path}: none of the model's towers embeds text (its towers: {towers})")

    def embed(self, texts: str | Iterable[str]) -> np.ndarray:
        items = [texts] if isinstance(texts, str) else list(texts)
        check_texts(items)
        result = np.empty((len(items), self.width), np.float32)
        encoded = self.tokenizer.encode(items)
        for rows in batches([len(ids) for ids in encoded], padding=self.mask is not None):
            result[rows] = self._run([encoded[row] for row in rows])
        return result

    def _run(self, encoded: Sequence[Sequence[int]]) -> np.ndarray:
        longest = max(len(ids) for ids in encoded)
        ids = np.full((len(encoded), longest), self.tokenizer.pad, np.int64)
        mask = np.zeros(ids.shape, np.int64)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        arrays = {self.ids: ids} if self.mask is None else {self.ids: ids, self.mask: mask}
        return self.tower.run(**arrays)[self.output]


def check_texts(items: Sequence[Any]) -> None:
    """Raises TypeError for what is not a str, ValueError for one that no text encoding can express."""
    for index, item in enumerate(items):
        if not isinstance(item, str):
            raise TypeError(f"text {index} is {type(item).__name__}, expected str")
        try:
            item.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"text {index} holds half a surrogate pair at position {error.start}") from None


def batches(lengths: Sequence[int], padding: bool = True) -> Iterator[list[int]]:
    """Indices in batches of similar length, shortest first; without padding, of equal length."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = len(batch) == BATCH_TEXTS or (len(batch) + 1) * lengths[index] > BATCH_TOKENS
        if batch and (full or (not padding and lengths[batch[-1]] != lengths[index])):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def check_spec(tower: Tower, spec: Any, where: str) -> dict[str, Any]:
    """META's description of an embedding with defaults filled in. Raises ModelFileError naming the wrong entry."""

    def fail(fault: str) -> ModelFileError:
        return ModelFileError(f"{where}: {fault}")

    if not isinstance(spec, dict):
        raise fail(f"expected an object, got {type(spec).__name__}")
    spec = {"ids": "input_ids", "mask": None, "output": "embedding", **spec}
    for key in ("tokenizer", "kind", "ids", "output"):
        if not isinstance(spec.get(key), str):
            raise fail(f"'{key}' is {spec.get(key)!r}, expected a text")
    length = spec.get("max_length")
    if type(length) is not int or not 1 <= length < 2**31:
        raise fail(f"'max_length' is {length!r}, expected a number of tokens")
    expected = {spec["ids"]} | ({spec["mask"]} if spec["mask"] is not None else set())
    if expected != tower.inputs.keys():
        raise fail(f"it gives the inputs {sorted(expected)}, the tower takes {sorted(tower.inputs)}")
    if any(len(item.shape) != 2 or not item.dtype.startswith("int") for item in tower.inputs.values()):
        raise fail("the tower's inputs are not integers of two dimensions (texts, tokens)")
    output = tower.outputs.get(spec["output"])
    if output is None:
        raise fail(f"the tower has no output {spec['output']!r}; it has {sorted(tower.outputs)}")
    if len(output.shape) != 2 or output.dtype != "float32" or not isinstance(output.shape[1], int):
        raise fail(f"the output is {output.dtype} {output.shape}, expected float32 (texts, a fixed width)")
    return spec
