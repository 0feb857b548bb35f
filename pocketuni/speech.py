"""Speech: what `Model.say` and `Model.stream` give."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core, pocket_voice
from .audio_file import AudioWriter
from .voice import speech_options

if TYPE_CHECKING:
    from .model import Model

RATE_HZ = _core.RATE_HZ
CONTINUATION = bytes(range(0x80, 0xC0))  # the bytes of UTF-8 that begin no character


@dataclass(frozen=True)
class Word:
    """A word as it is spoken: "three" and "dollars" for "$3". `start` and `end` are seconds from the first sample;
    `span` is the part of the text that it stands for, so that `text[slice(*span)]` shows it."""

    text: str
    start: float
    end: float
    span: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound: `samples` float32 `[N]` in [-1, 1], `rate_hz` a second, and the words that begin in it."""

    samples: np.ndarray
    rate_hz: int = RATE_HZ
    words: list[Word] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate_hz

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a .wav (16 bits), or a .flac or .ogg file (these need `pip install 'pocketuni[audio]'`).

        An interrupted call leaves no half file. Raises ValueError for another suffix, OSError where nothing can be
        written, ImportError when the library for the format is missing.
        """
        with AudioWriter(path, self.rate_hz) as writer:
            writer.write(self.samples)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draws waveform and mel spectrogram with the words into an image file (.png, .svg, .pdf).

        Needs `pip install 'pocketuni[plot]'`: raises ImportError without. Raises OSError where nothing can be written.
        """
        from .speech_plot import draw

        draw(self, path)

    def __len__(self) -> int:
        return len(self.samples)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        made = np.asarray(self.samples, dtype)
        return made.copy() if copy and made is self.samples else made

    def __repr__(self) -> str:
        return f"<pocketuni.Audio of {self.seconds:.2f} s at {self.rate_hz} Hz, {len(self.words)} words>"


class CharacterPlaces:
    """Turns places in bytes of UTF-8 into places in characters, for places that never fall back far."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._first_byte = self._first_character = 0

    def append(self, text: bytes) -> None:
        self._bytes += text

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Characters for bytes `begin` to `end`. What lies before `begin` is forgotten."""
        skipped = max(0, begin - self._first_byte)
        self._first_character += self._count(skipped)
        self._first_byte += skipped
        del self._bytes[:skipped]
        return self._first_character, self._first_character + self._count(end - self._first_byte)

    def _count(self, size: int) -> int:
        return len(self._bytes[: max(0, size)].translate(None, CONTINUATION))


def encode(text: Any) -> bytes:
    """UTF-8; lone surrogates become bytes that the front end passes over. Raises TypeError for what is not a str."""
    if not isinstance(text, str):
        raise TypeError(f"text: expected a str, got {type(text).__name__}")
    return text.encode("utf-8", "surrogatepass")


class SpeechStream(Iterator[Audio]):
    """Speech in chunks, computed when they are asked for. Made by `Model.stream`.

    Chunks follow each other without gap or overlap, and together are what `Model.say` gives. `close()`, leaving a
    `with` block or forgetting the stream ends it; `close()` may be called from any thread, and the thread that waits
    for a chunk then gets the end. Faulty markup in the text is a ValueError, after which iteration can go on.
    """

    def __init__(self, core: _core.Speech | _core.PocketStream, text: str | Iterable[str]):
        if not isinstance(text, (str, Iterable)) or isinstance(text, (bytes, bytearray)):
            raise TypeError(f"text: expected a str or an iterable of str, got {type(text).__name__}")
        self.rate_hz: int = getattr(core, "rate_hz", RATE_HZ)
        self._core = core
        self._pieces: Iterator[Any] | None = iter((text,) if isinstance(text, str) else text)
        self._places = CharacterPlaces()

    def __next__(self) -> Audio:
        while not self._core.cancelled:
            made = self._core.next()
            if made is not None:
                return self._audio(*made)
            if self._pieces is None:
                break
            self._take_text()
        self.close()
        raise StopIteration

    def _take_text(self) -> None:
        assert self._pieces is not None
        try:
            text = encode(next(self._pieces))
        except StopIteration:
            self._pieces = None
            self._core.finish()
            return
        self._places.append(text)
        self._core.push(text)

    def _audio(self, samples: np.ndarray, words: list[tuple[str, float, float, int, int]]) -> Audio:
        said = [Word(text, start, end, self._places.span(first, last)) for text, start, end, first, last in words]
        return Audio(samples, self.rate_hz, said)

    def close(self) -> None:
        """Ends the speech; nothing further is computed. Any thread, any number of times."""
        self._core.cancel()

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None


def whole(name: str, value: Any, least: int, most: int) -> int:
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an int, got {value!r}") from None
    if not least <= value <= most:
        raise ValueError(f"{name} is {value}, expected {least} to {most}")
    return value


def start(
    model: Model,
    voice: Any = None,
    speed: float = 1.0,
    pitch: float = 0.0,
    volume: float = 1.0,
    seed: int | None = None,
    chunk_frames: int | None = None,
) -> _core.Speech | _core.PocketStream:
    """A speech of a model, to which text can be pushed. Checks what the core does not."""
    if _core.is_pocket(model._open_core()):
        from . import pocket

        return pocket.start(model, voice, speed, pitch, volume, seed, chunk_frames)
    if voice is None or isinstance(voice, str):
        voice = voice or default_voice(model)
    threads, isa = model.options
    return _core.Speech(
        model._open_core(),
        **speech_options(model, voice),
        speed=number("speed", speed),
        pitch=number("pitch", pitch),
        volume=number("volume", volume),
        seed=0 if seed is None else whole("seed", seed, 0, 2**32 - 1),
        threads=threads,
        isa=isa,
        chunk_frames=0 if chunk_frames is None else whole("chunk_frames", chunk_frames, 1, _core.MAX_CHUNK_FRAMES),
    )


def say(core: _core.Speech | _core.PocketStream, text: str) -> Audio:
    encode(text)  # pieces of text are for streams
    stream = SpeechStream(core, text)
    chunks = list(stream)
    samples = np.concatenate([chunk.samples for chunk in chunks]) if chunks else np.zeros(0, np.float32)
    return Audio(samples, stream.rate_hz, [word for chunk in chunks for word in chunk.words])


def voices(model: Model) -> dict[str, dict[str, Any]]:
    """Name -> what the file says about the voice, in the order of the file."""
    told = model.meta.get("voices")
    told = told if isinstance(told, Mapping) else {}
    core = model._open_core()
    names = pocket_voice.stored_names(model) if _core.is_pocket(core) else _core.voice_names(core)
    return {name: dict(told[name]) if isinstance(told.get(name), Mapping) else {} for name in names}


def default_voice(model: Model) -> str:
    """The voice that META names, else the first of the file; "" when it has none."""
    names = _core.voice_names(model._open_core())
    named = model.meta.get("default_voice")
    return named if named in names else next(iter(names), "")


def clock(seconds: float, comma: str = ".") -> str:
    """Hours, minutes, seconds and milliseconds, as subtitles have them."""
    milliseconds = math.floor(seconds * 1000 + 0.5)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{comma}{rest % 1000:03}"
