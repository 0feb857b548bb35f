"""Weights of a Pocket TTS checkpoint by name, each taken once and with the shape that the configuration asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Weights:
    """Arrays by the names that the package gives them. What nobody takes is an error at the end, as is what is missing
    or has another shape: a checkpoint that does not fit its configuration must not pass for one that does."""

    def __init__(self, arrays: Mapping[str, np.ndarray], where: str):
        self._arrays, self._where = arrays, where
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def free(self, name: str) -> np.ndarray:
        """An array of any shape, float32. Raises ValueError when it is missing."""
        if name not in self._arrays:
            raise ValueError(f"{self._where}: the tensor {name!r} is missing")
        self._taken.add(name)
        return np.asarray(self._arrays[name], np.float32)

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """An array, float32, the caller's own. Raises ValueError when it is missing or has another shape."""
        array = self.free(name)
        if array.shape != tuple(shape):
            raise ValueError(
                f"{self._where}: the tensor {name!r} is {list(array.shape)}, the configuration asks for {list(shape)}"
            )
        return array.copy()

    def optional(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        return self.take(name, shape) if name in self._arrays else None

    def linear(self, name: str, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
        return self.take(f"{name}.weight", (outputs, inputs)), self.take(f"{name}.bias", (outputs,))

    def norm(self, name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
        return self.take(f"{name}.weight", (width,)), self.take(f"{name}.bias", (width,))

    def finish(self, spared: tuple[str, ...] = ()) -> None:
        """Raises ValueError naming tensors that nothing has asked for, but for those whose names begin as told."""
        extra = sorted(name for name in set(self._arrays) - self._taken if not name.startswith(spared))
        if extra:
            shown = ", ".join(map(repr, extra[:5])) + (" ..." if len(extra) > 5 else "")
            raise ValueError(f"{self._where}: {len(extra)} tensors have no place in the configuration: {shown}")


DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .safetensors file, mapped where that is possible; bfloat16 becomes float32. Raises OSError,
    ValueError for what is no such file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; expected weights (.safetensors)")
    data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
    try:
        start = 8 + int(data[:8].view("<u8")[0])
        head = json.loads(bytes(data[8:start]))
        entries = {name: entry for name, entry in head.items() if name != "__metadata__"}
        return {name: read_entry(data[start:], entry, name) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} is not a valid safetensors file: {error}") from error


def read_entry(body: np.ndarray, entry: Mapping[str, Any], name: str) -> np.ndarray:
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"the tensor {name!r} has the dtype {entry['dtype']}, which is not supported")
    first, end = entry["data_offsets"]
    if not 0 <= first <= end <= len(body):
        raise ValueError(f"the tensor {name!r} lies outside the file")
    array = body[first:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array
