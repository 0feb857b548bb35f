"""Voice states of Pocket TTS: from the package's export to the compact form that the engine reads (docs/pocket.md)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .pocket_config import Config
from .pocket_weights import read_safetensors

MAGIC, VERSION = b"PUVS", 1


def read_state(arrays: Mapping[str, np.ndarray], layers: int, heads: int, width: int) -> np.ndarray:
    """An exported state as `[layers, 2, positions, heads, width]`: keys, turned by their position, and values.

    Raises ValueError naming the entry that is missing or has another shape.
    """
    parts = []
    for layer in range(layers):
        name = f"transformer.layers.{layer}.self_attn"
        cache = arrays.get(f"{name}/cache")
        if cache is None:
            raise ValueError(f"the entry '{name}/cache' is missing; expected a state of {layers} layers")
        if cache.ndim != 5 or cache.shape[:2] != (2, 1) or cache.shape[3:] != (heads, width):
            raise ValueError(
                f"'{name}/cache' is {list(cache.shape)}, expected [2, 1, positions, {heads}, {width}]: "
                "the state is of another model"
            )
        if f"{name}/offset" in arrays:
            count = int(np.asarray(arrays[f"{name}/offset"]).reshape(-1)[0])
        elif f"{name}/current_end" in arrays:
            count = len(arrays[f"{name}/current_end"])
        else:
            raise ValueError(f"the entry '{name}/offset' is missing")
        if not 0 < count <= cache.shape[2]:
            raise ValueError(f"'{name}/offset' is {count}, but the state holds {cache.shape[2]} positions")
        parts.append(np.asarray(cache[:, 0, :count], np.float32))
    if len({part.shape for part in parts}) != 1:
        raise ValueError("its layers differ in their number of positions")
    state = np.stack(parts)
    if not np.isfinite(state).all():
        raise ValueError("it holds numbers that are not finite")
    return state


def pack_state(state: np.ndarray, identity: str) -> bytes:
    """`[layers, 2, positions, heads, width]` as the engine stores it, in half precision."""
    layers, _, positions, heads, width = state.shape
    head = struct.pack("<4sI16sIIII", MAGIC, VERSION, bytes.fromhex(identity), layers, positions, heads * width, heads)
    return head + np.ascontiguousarray(state, "<f2").tobytes()


def read_voices(folder: Path, config: Config, identity: str) -> dict[str, bytes]:
    """Name -> state of each `NAME.safetensors` of a folder; none where there is no folder."""
    lm = config.flow_lm.transformer
    heads, width = lm.num_kv_heads or lm.num_heads, (lm.attn_dim or lm.d_model) // lm.num_heads
    voices = {}
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        try:
            state = read_state(read_safetensors(path), lm.num_layers, heads, width)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        voices[path.stem] = pack_state(state, identity)
    return voices
