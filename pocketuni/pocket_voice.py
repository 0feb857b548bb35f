"""Voices of Pocket TTS models: what the language model has cached of a prompt."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from .audio_file import AtomicFile

if TYPE_CHECKING:
    from .model import Model

MAGIC, HEAD = b"PUVS", struct.Struct("<4sI16sIIII")
PREFIX = "pocket.voice/"
SUFFIX = ".voice"


class PocketVoice:
    """A voice that a Pocket TTS model can speak: `model.say(text, voice=voice)`. Made by `Model.voice`. Immutable."""

    def __init__(self, state: bytes, name: str = ""):
        self.state, self.name = state, name

    @property
    def positions(self) -> int:
        """Rows of the prompt that the language model keeps: 12.5 for a second of speech."""
        return HEAD.unpack_from(self.state)[4]

    def renamed(self, name: str) -> PocketVoice:
        if not isinstance(name, str):
            raise TypeError(f"name: expected a str, got {type(name).__name__}")
        return PocketVoice(self.state, name)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a `.voice` file, which `Model.voice` reads. Raises ValueError for another suffix, OSError where it
        cannot be written; it appears whole or not at all."""
        if Path(os.fspath(path)).suffix.lower() != SUFFIX:
            raise ValueError(f"{os.fspath(path)}: the name of a voice file ends in {SUFFIX}")
        with AtomicFile(os.fspath(path)) as file:
            file.stream.write(self.state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PocketVoice) and self.state == other.state

    def __hash__(self) -> int:
        return hash(self.state)

    def __repr__(self) -> str:
        return f"<pocketuni.PocketVoice {self.name!r}, {self.positions} positions, {len(self.state)} bytes>"


def stored_names(model: Model) -> list[str]:
    return [name[len(PREFIX) :] for name in model.blob_names() if name.startswith(PREFIX)]


def make_voice(model: Model, source: Any, name: str | None = None) -> PocketVoice:
    """What `Model.voice` gives for a Pocket TTS model: of a recording, of `(samples, rate_hz)`, of a `.voice` file or a
    state that the package pocket-tts exported (`.safetensors`), or stored, by name."""
    if isinstance(source, PocketVoice):
        made = source
    elif isinstance(source, str) and source in stored_names(model):
        made = PocketVoice(model.blob(PREFIX + source), source)
    elif isinstance(source, str) and not Path(source).suffix and not os.path.exists(source):
        known = ", ".join(stored_names(model)) or "none"
        raise ValueError(f"the model has no voice {source!r}; it has: {known}; or give the path of a recording")
    elif isinstance(source, (str, os.PathLike)):
        made = of_file(model, Path(source))
    elif isinstance(source, tuple) and len(source) == 2:
        made = of_samples(model, *source)
    else:
        text = "expected a path, a name, a PocketVoice or (samples, rate_hz)"
        raise TypeError(f"{text}, got {type(source).__name__}")
    check(model, made)
    return made if name is None else made.renamed(name)


def check(model: Model, voice: PocketVoice) -> None:
    """Raises ValueError for a state that is damaged or of another model."""
    _core.check_pocket_voice(model._open_core(), voice.state)


def of_file(model: Model, path: Path) -> PocketVoice:
    if path.suffix.lower() == SUFFIX:
        return PocketVoice(path.read_bytes(), path.stem)
    if path.suffix.lower() == ".safetensors":
        return PocketVoice(imported(model, path), path.stem)
    from .audio_input import FileSource

    with FileSource(path) as source:
        blocks = list(source)
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        try:
            return PocketVoice(of_samples(model, samples, source.rate_hz).state, path.stem)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def of_samples(model: Model, samples: npt.ArrayLike, rate_hz: int) -> PocketVoice:
    from .audio_input import mono_float32, rate_number

    threads, isa = model.options
    sound = mono_float32(samples)
    return PocketVoice(_core.make_pocket_voice(model._open_core(), sound, rate_number(rate_hz), threads, isa))


def imported(model: Model, path: Path) -> bytes:
    """A state that the package pocket-tts exported, in the form that this engine reads. Raises ImportError, OSError,
    ValueError naming what does not fit."""
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError(
            f"{path}: reading it needs safetensors: pip install safetensors", name="safetensors"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        arrays = load_file(path)
    except Exception as error:  # the library's own kind
        raise ValueError(f"{path} is not a valid safetensors file: {error}") from error
    layers = heads = 0
    parts = []
    while (key := f"transformer.layers.{layers}.self_attn/cache") in arrays:
        cache, prefix = arrays[key], key.removesuffix("cache")
        if f"{prefix}offset" in arrays:
            count = int(arrays[f"{prefix}offset"].reshape(-1)[0])
        else:
            count = len(arrays.get(f"{prefix}current_end", ()))
        if cache.ndim != 5 or cache.shape[:2] != (2, 1) or not 0 < count <= cache.shape[2]:
            raise ValueError(f"{path}: '{key}' is {list(cache.shape)} with {count} positions in use: no voice state")
        heads = cache.shape[3]
        parts.append(cache[:, 0, :count].reshape(2, count, -1).astype("<f2"))
        layers += 1
    if not parts or len({part.shape for part in parts}) != 1:
        raise ValueError(f"{path} holds no voice state: its entries are {', '.join(sorted(arrays)[:3])} ...")
    state = np.stack(parts)
    identity = _core.pocket_settings(model._open_core())["model"]
    return HEAD.pack(MAGIC, 1, identity, layers, state.shape[2], state.shape[3], heads) + state.tobytes()
