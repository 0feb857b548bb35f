"""The verbs of the package `pocket-tts` over this engine: NumPy arrays stand where it has tensors.

from pocketuni.compat.pocket_tts import TTSModel

model = TTSModel.load_model(config="pocket.puni")
voice = model.get_state_for_audio_prompt("me.wav")
audio = model.generate_audio(voice, "Hello world.")  # float32 [samples] at model.sample_rate
"""

from __future__ import annotations

import json
import os
import secrets
import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import _core
from ..audio_file import AtomicFile
from ..model import Model
from ..pocket import stream
from ..pocket_voice import HEAD, PocketVoice, make_voice

TRUNCATED_SECONDS = 30
MAX_TOKENS = _core.MAX_CHUNK_TOKENS

__all__ = ["TTSModel", "export_model_state"]


class TTSModel:
    """A Pocket TTS model, loaded by `load_model`. Threads may not share one speech, but they may share the model."""

    def __init__(self, model: Model, options: dict[str, float]):
        self._model, self._options = model, options
        self._settings = _core.pocket_settings(model._open_core())

    @classmethod
    def load_model(
        cls,
        language: str | None = None,
        config: str | os.PathLike[str] | None = None,
        temp: float | None = None,
        sampler_decode_steps: int | None = None,
        noise_clamp: float | None = None,
        eos_threshold: float | None = None,
        quantize: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        lsd_decode_steps: int | None = None,
        threads: int | None = None,
    ) -> TTSModel:
        """Opens a model.

        config: a `.puni` file, or a `.yaml` configuration with weights and tokenizer beside it, which is converted
        first (to int8 with `quantize`, else fp32; this needs `pip install 'pocketuni[tools]'`). `checkpoint`: weights
        (.safetensors) for a `.yaml`. `language`: nothing is downloaded, so it is an error that says what to do.
        temp, noise_clamp, eos_threshold: as the package has them; None means what the model recommends.
        Raises OSError, ValueError.
        """
        if config is None or language is not None:
            wanted = language or "english"
            raise ValueError(
                f"nothing is downloaded here: get the configuration {wanted}.yaml with its weights and tokenizer, run "
                f"`pocketuni convert pocket-tts {wanted}.yaml -o {wanted}.puni`, and pass config='{wanted}.puni'"
            )
        path = Path(os.fspath(config))
        if path.suffix.lower() in (".yaml", ".yml"):
            model = converted(path, checkpoint, quantize, threads)
        else:
            if checkpoint is not None:
                raise ValueError("checkpoint: the weights are in the .puni file; it goes with a .yaml configuration")
            model = Model(path, threads=threads)
        if not _core.is_pocket(model._open_core()):
            raise ValueError(f"{path} holds no Pocket TTS model")
        steps = lsd_decode_steps if lsd_decode_steps is not None else sampler_decode_steps
        given = {"temperature": temp, "steps": steps, "noise_clamp": noise_clamp, "eos_threshold": eos_threshold}
        return cls(model, {key: value for key, value in given.items() if value is not None})

    @property
    def sample_rate(self) -> int:
        return self._settings["rate_hz"]

    @property
    def has_voice_cloning(self) -> bool:
        return self._settings["can_clone"]

    @property
    def device(self) -> str:
        return "cpu"

    def get_state_for_audio_prompt(
        self, audio_conditioning: str | os.PathLike[str] | npt.NDArray[np.float32], truncate: bool = False
    ) -> PocketVoice:
        """The voice of an audio file, of samples `[channels, samples]` at `sample_rate`, of an exported state
        (.safetensors, .voice), or one that the model holds, by name. truncate: to the first 30 s."""
        if isinstance(audio_conditioning, np.ndarray):
            sound = audio_conditioning.mean(axis=0) if audio_conditioning.ndim == 2 else audio_conditioning
            most = TRUNCATED_SECONDS * self.sample_rate if truncate else len(sound)
            return make_voice(self._model, (sound[:most], self.sample_rate))
        if truncate and Path(audio_conditioning).suffix.lower() not in (".safetensors", ".voice", ""):
            from ..audio_input import FileSource

            with FileSource(audio_conditioning) as source:
                sound = np.concatenate([*source, np.zeros(0, np.float32)])[: TRUNCATED_SECONDS * source.rate_hz]
                return make_voice(self._model, (sound, source.rate_hz))
        return make_voice(self._model, audio_conditioning)

    def generate_audio(
        self,
        model_state: PocketVoice,
        text_to_generate: str,
        max_tokens: int = MAX_TOKENS,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
    ) -> np.ndarray:
        """Speaks a text: float32 `[samples]`. A state is never changed, whatever `copy_state` says."""
        stream = self.generate_audio_stream(model_state, text_to_generate, max_tokens, frames_after_eos, copy_state)
        return np.concatenate(list(stream))

    def generate_audio_stream(
        self,
        model_state: PocketVoice,
        text_to_generate: str,
        max_tokens: int = MAX_TOKENS,
        frames_after_eos: int | None = None,
        copy_state: bool = True,
        stop: threading.Event | None = None,
    ) -> Iterator[np.ndarray]:
        """The same in pieces, each as soon as it is computed. `stop`: when it is set, no further piece begins."""
        if not text_to_generate.strip():
            raise ValueError("Text prompt cannot be empty")
        speech = stream(self._model, model_state, {"seed": secrets.randbits(32), **self._options})
        speech.speak(text_to_generate, -1 if frames_after_eos is None else frames_after_eos, max_tokens)
        try:
            while not (stop is not None and stop.is_set()):
                made = speech.next()
                if made is None:
                    break
                yield made[0]
        finally:
            speech.cancel()

    def export_model_state(self, model_state: PocketVoice, dest: str | os.PathLike[str]) -> None:
        """Writes a voice as the package does (.safetensors): both read it."""
        export_model_state(model_state, dest)


def converted(path: Path, checkpoint: str | os.PathLike[str] | None, quantize: bool, threads: int | None) -> Model:
    """A configuration as a model, in a file that is gone when the process ends."""
    try:
        from pocketuni_tools.convert import convert
        from pocketuni_tools.import_pocket_tts import import_pocket_tts
    except ImportError as error:
        text = f"{path}: converting a configuration needs pocketuni_tools: pip install 'pocketuni[tools]'"
        raise ImportError(text, name=error.name) from error
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"{path.stem}.puni"
        convert(import_pocket_tts(path, checkpoint), made, "int8" if quantize else "fp32")
        return Model(made, threads=threads)  # mapped: it outlives its name


def export_model_state(model_state: PocketVoice, dest: str | os.PathLike[str]) -> None:
    """Writes a voice in the package's form, a .safetensors file: both read it."""
    _, _, _, layers, positions, width, heads = HEAD.unpack_from(model_state.state)
    halves = np.frombuffer(model_state.state, "<f2", offset=HEAD.size)
    caches = halves.reshape(layers, 2, 1, positions, heads, width // heads).astype("<f4")
    arrays: dict[str, np.ndarray] = {}
    for layer in range(layers):
        prefix = f"transformer.layers.{layer}.self_attn"
        arrays[f"{prefix}/cache"] = caches[layer]
        arrays[f"{prefix}/offset"] = np.array([positions], "<i8")
        arrays[f"{prefix}/pad"] = np.array([0], "<i8")
    head, offset = {}, 0
    for name, array in arrays.items():
        dtype = "F32" if array.dtype == np.float32 else "I64"
        head[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with AtomicFile(os.fspath(dest)) as file:
        file.stream.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.stream.write(array.tobytes())
