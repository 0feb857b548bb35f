"""Speech of Pocket TTS models, behind the same calls as that of the default model."""

from __future__ import annotations

import codecs
import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from .pocket_text import TextRules, chunk_texts, most_frames
from .pocket_voice import make_voice, stored_names

if TYPE_CHECKING:
    from .model import Model

FIRST_FRAMES, MOST_FRAMES = 1, 8  # of a chunk of sound: the first comes soon, later ones cost less
KNEE = 0.95  # beyond it, samples are bent so that they stay below 1


class PocketSpeech:
    """Takes text as `_core.Speech` does and gives samples as it does, without times of words.

    Text that is pushed waits for the next piece or for the end, so that a whole text is cut into chunks as a whole; of
    pieces, what is complete sentences is spoken at once.
    """

    def __init__(self, model: Model, voice: Any, options: dict[str, Any], volume: float, most_frames: int | None):
        core = model._open_core()
        self._engine = _core.pocket_settings(core)
        self.rate_hz: int = self._engine["rate_hz"]
        self._rules = TextRules.of(model.meta, model.path)
        self._tokenizer = self._rules.load_tokenizer(model.blob, model.path)
        threads, isa = model.options
        settings = {key: self._engine[key] for key in ("temperature", "eos_threshold", "steps")}
        state = b"" if voice is None else make_voice(model, voice).state
        self._core = _core.PocketSpeech(
            core, state, **{**settings, "noise_clamp": 0.0, **options}, threads=threads, isa=isa
        )
        self._volume, self._most = volume, most_frames
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held, self._ready = "", ""  # the last piece; text before it
        self._grow = FIRST_FRAMES
        self._chunks: deque[str] = deque()

    @property
    def cancelled(self) -> bool:
        return self._core.cancelled

    def cancel(self) -> None:
        self._core.cancel()

    def push(self, text: bytes) -> None:
        self._ready += self._held
        self._held = self._decoder.decode(text)
        complete = last_sentence_end(self._ready)
        if complete:
            self._speak(self._ready[:complete])
            self._ready = self._ready[complete:]

    def finish(self) -> None:
        text = self._ready + self._held + self._decoder.decode(b"", True)
        self._decoder.reset()
        self._held = self._ready = ""
        self._speak(text)

    def speak(self, text: str, frames_after_eos: int | None = None, max_tokens: int | None = None) -> None:
        """The whole of a text, as the package pocket-tts cuts it."""
        self._speak(text, frames_after_eos, **({} if max_tokens is None else {"most": max_tokens}))

    def _speak(self, text: str, frames_after_eos: int | None = None, **limits: int) -> None:
        rate = self.rate_hz / self._engine["frame_samples"]
        for chunk in chunk_texts(self._rules, self._tokenizer, text, **limits):
            ids = self._tokenizer.encode(self._rules.prepare(chunk))
            after = self._rules.frames_after(chunk) if frames_after_eos is None else frames_after_eos
            self._core.push(ids, most_frames(len(ids), rate), after)

    def next(self) -> tuple[np.ndarray, list[Any]] | None:
        """(samples, no words), or None when more text must come first or nothing is left."""
        samples = self._core.next(self._most or self._grow)
        if samples is None:
            self._grow = FIRST_FRAMES
            return None
        self._grow = min(2 * self._grow, MOST_FRAMES)
        return limited(samples * np.float32(self._volume)), []


def limited(samples: np.ndarray) -> np.ndarray:
    """A soft limit: nothing below the knee changes, and nothing reaches 1."""
    loud = np.abs(samples) > KNEE
    if loud.any():
        bent = KNEE + (1 - KNEE) * np.tanh((np.abs(samples[loud]) - KNEE) / (1 - KNEE))
        samples[loud] = np.copysign(bent, samples[loud])
    return np.nan_to_num(samples, copy=False)


def last_sentence_end(text: str) -> int:
    """Where the last sentence that is followed by a space ends; 0 for none."""
    ends = [text.rfind(sign + space) + 1 for sign in ".!?\u2026\n" for space in " \n"]
    return max(ends)


def start(
    model: Model,
    voice: Any = None,
    speed: float = 1.0,
    pitch: float = 0.0,
    volume: float = 1.0,
    seed: int | None = None,
    chunk_frames: int | None = None,
) -> PocketSpeech:
    """A speech of a Pocket TTS model. Raises ValueError for a speed or a pitch, which these models do not know."""
    from .speech import number, whole

    for name, value, neutral in (("speed", speed, 1.0), ("pitch", pitch, 0.0)):
        if number(name, value) != neutral:
            raise ValueError(
                f"{name} is {value!r}, but Pocket TTS models speak as their voice does; leave it {neutral}"
            )
    volume = number("volume", volume)
    if not (0 <= volume <= 10) or math.isnan(volume):
        raise ValueError(f"volume is {volume}, expected 0 to 10")
    if voice is None:
        voice = default_voice(model)
    options = {"seed": 0 if seed is None else whole("seed", seed, 0, 2**32 - 1)}
    most = None if chunk_frames is None else max(1, whole("chunk_frames", chunk_frames, 1, _core.MAX_CHUNK_FRAMES) // 8)
    return PocketSpeech(model, voice, options, volume, most)


def default_voice(model: Model) -> str | None:
    """The voice that META names, else the first of the file; None when it has none."""
    names = stored_names(model)
    named = model.meta.get("default_voice")
    return named if named in names else next(iter(names), None)
