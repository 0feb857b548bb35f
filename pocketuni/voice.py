"""Voices: made from recordings, saved, compared, mixed."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core, pocket_voice
from .audio_input import FileSource, mono_float32, rate_number

if TYPE_CHECKING:
    from .model import Model

VOICE_SUFFIX = ".voice"
ENOUGH_CONFIDENCE = _core.ENOUGH_CONFIDENCE
SPEAKER_WIDTH = 192


class VoiceWarning(UserWarning):
    """What was wrong with the recording that a voice was made from."""


class Level(NamedTuple):
    """In dB against full scale; -120 for silence."""

    rms_db: float
    peak_db: float


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"the path {path!r} holds a NUL character")
    return name


def numbered(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """The core's text names file and reason; the number makes it FileNotFoundError, PermissionError and so on."""
    for code in (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.ENOSPC, errno.EROFS):
        if str(error).endswith(f": {os.strerror(code)}"):
            return OSError(code, os.strerror(code), os.fspath(path))
    return error


class Voice:
    """A voice that a model can speak: `model.say(text, voice=voice)`. Made by `Model.voice` and `VoiceBuilder.voice`.

    Voices mix: `0.7 * a + 0.3 * b` speaks between the two; weights count relative to their sum. Immutable; threads may
    share it. It can be pickled.
    """

    def __init__(self, core: _core.Voice, parts: Sequence[tuple[float, _core.Voice]] = ()):
        self._core = core
        self._parts = tuple(parts) or ((1.0, core),)

    @property
    def name(self) -> str:
        """That of the stored voice or of the file that it came from; may be empty."""
        return self._core.name

    @property
    def vector(self) -> np.ndarray:
        """float32 `[192]` of unit length: a copy."""
        return self._core.vector

    @property
    def seconds(self) -> float:
        """Of speech that it was made from; 0 for a stored voice."""
        return self._core.seconds

    @property
    def confidence(self) -> float:
        """How far it can be trusted, 0 to 1: grows with the seconds of speech, falls with noise, clipping and several
        speakers."""
        return self._core.confidence

    @property
    def pitch_hz(self) -> float | None:
        """The speaker's median F0, which speech in this voice keeps; None where it is not known."""
        return float(np.exp(self._core.log_f0)) if self._core.log_f0 else None

    @property
    def is_clone(self) -> bool:
        """Whether it was made from a recording of somebody."""
        return self._core.clone

    def renamed(self, name: str) -> Voice:
        """The same voice with another name, at most 255 bytes of UTF-8."""
        if not isinstance(name, str):
            raise TypeError(f"name: expected a str, got {type(name).__name__}")
        return Voice(self._core.renamed(name))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a `.voice` file of about 850 bytes, which `Model.voice` reads. It appears whole or not at all. Raises
        ValueError for another suffix, OSError where it cannot be written."""
        if Path(os.fspath(path)).suffix.lower() != VOICE_SUFFIX:
            raise ValueError(f"{os.fspath(path)}: the name of a voice file ends in {VOICE_SUFFIX}")
        try:
            self._core.save(path_bytes(path))
        except OSError as error:
            raise numbered(error, path) from None

    def similarity(self, other: Voice) -> float:
        """Cosine of the two vectors, -1 to 1. Raises ValueError for voices of different models."""
        if not isinstance(other, Voice):
            raise TypeError(f"expected a Voice, got {type(other).__name__}")
        return self._core.similarity(other._core)

    def __mul__(self, weight: float) -> Voice:
        if not isinstance(weight, Real):
            return NotImplemented
        return Voice(self._core, [(float(weight) * each, part) for each, part in self._parts])

    __rmul__ = __mul__

    def __add__(self, other: Voice) -> Voice:
        if not isinstance(other, Voice):
            return NotImplemented
        parts = self._parts + other._parts
        return Voice(_core.Voice.mix(list(parts)), parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_bytes, (self._core.encode(),))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Voice) and self._core.encode() == other._core.encode()

    def __hash__(self) -> int:
        return hash(self._core.encode())

    def __repr__(self) -> str:
        kind = "clone" if self.is_clone else "voice"
        return f"<pocketuni.Voice {self.name!r}, {kind}, {self.seconds:.1f} s, confidence {self.confidence:.2f}>"


def from_bytes(data: bytes) -> Voice:
    return Voice(_core.Voice.decode(data, "a pickled voice"))


class VoiceBuilder:
    """A voice while it is heard. Made by `Model.voice_builder`. Threads may share it: calls follow each other."""

    def __init__(self, core: _core.VoiceBuilder, rate_hz: int):
        self._core = core
        self.rate_hz = rate_hz

    def feed(self, samples: npt.ArrayLike) -> None:
        """Takes the next samples, any number: `[n]`, or `[n, channels]`, which are averaged. float32 and float64 have
        full scale 1, int16 and int32 that of their type. Raises ValueError, and takes none of them, where one is not
        finite; TypeError for another dtype."""
        self._core.feed(mono_float32(samples))

    def voice(self, name: str = "") -> Voice:
        """The voice of the speech heard so far, the same bit for bit however it was cut into pieces; more may be fed
        afterwards. Raises ValueError, with advice, for less than half a second of speech."""
        voice = Voice(self._core.voice())
        return voice.renamed(name) if name else voice

    @property
    def seconds(self) -> float:
        """Of speech so far: silence and noise do not count."""
        return self._core.seconds

    @property
    def heard_seconds(self) -> float:
        """Of all samples so far."""
        return self._core.heard_seconds

    @property
    def confidence(self) -> float:
        """That of a voice made now, 0 to 1; from `pocketuni.ENOUGH_CONFIDENCE` on, more speech changes little."""
        return self._core.confidence

    @property
    def level(self) -> Level:
        """Of the last 300 ms."""
        return Level(*self._core.level)

    @property
    def advice(self) -> list[str]:
        """Sentences that say what is wrong with what was heard and what to do: too short, silent, soft, clipped, noisy,
        several speakers, telephone. Empty when all is well."""
        return self._core.advice

    def __repr__(self) -> str:
        return f"<pocketuni.VoiceBuilder at {self.rate_hz} Hz, {self.seconds:.1f} s of speech>"


def make_builder(model: Model, rate_hz: int) -> VoiceBuilder:
    rate_hz = rate_number(rate_hz)
    threads, isa = model.options
    return VoiceBuilder(_core.VoiceBuilder(model._open_core(), rate_hz, threads=threads, isa=isa), rate_hz)


def is_path(source: Any) -> bool:
    """Whether a str means a file rather than the name of a stored voice."""
    return isinstance(source, os.PathLike) or os.sep in source or bool(Path(source).suffix) or os.path.exists(source)


def make_voice(model: Model, source: Any, name: str | None) -> Voice | pocket_voice.PocketVoice:
    """What `Model.voice` gives."""
    core = model._open_core()
    if _core.is_pocket(core):
        return pocket_voice.make_voice(model, source, name)
    if isinstance(source, Voice):
        source._core.require_model(core)
        made = source
    elif isinstance(source, (str, os.PathLike)):
        if isinstance(source, str) and (source in _core.voice_names(core) or not is_path(source)):
            made = Voice(_core.Voice.named(core, source))
        elif Path(source).suffix.lower() == VOICE_SUFFIX:
            made = load(source)
            made._core.require_model(core)
        else:
            made = of_file(model, source)
    elif isinstance(source, tuple) and len(source) == 2:
        made = of_samples(model, *source)
    else:
        text = "expected a path, a name, a Voice or (samples, rate_hz)"
        raise TypeError(f"{text}, got {type(source).__name__}")
    return made if name is None else made.renamed(name)


def load(path: str | os.PathLike[str]) -> Voice:
    try:
        return Voice(_core.Voice.load(path_bytes(path)))
    except OSError as error:
        raise numbered(error, path) from None


def of_file(model: Model, path: str | os.PathLike[str]) -> Voice:
    with FileSource(path) as source:
        try:
            heard = make_builder(model, source.rate_hz)
            for block in source:
                heard._core.feed(block)
            warn(heard, [source.fault] if source.fault else [])
            return heard.voice(Path(path).stem)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None


def of_samples(model: Model, samples: npt.ArrayLike, rate_hz: int) -> Voice:
    heard = make_builder(model, rate_hz)
    heard.feed(samples)
    voice = heard.voice()
    warn(heard)
    return voice


def warn(heard: VoiceBuilder, faults: Sequence[str] = ()) -> None:
    if heard.seconds > 0:  # else the voice is an error, and says it
        for sentence in [*faults, *heard.advice]:
            warnings.warn(sentence, VoiceWarning, stacklevel=5)


def speaker_vector(voice: Any) -> list[float]:
    """192 floats of a voice that is not a name: an array, or what has one as `vector`. Raises TypeError, ValueError."""
    try:
        vector = np.asarray(getattr(voice, "vector", voice), np.float32)
    except (TypeError, ValueError):
        raise TypeError(
            f"voice: expected a name, a path, {SPEAKER_WIDTH} floats or a voice, got {type(voice).__name__}"
        ) from None
    if vector.shape != (SPEAKER_WIDTH,):
        raise ValueError(f"voice: expected a name or {SPEAKER_WIDTH} floats, got an array of shape {vector.shape}")
    return vector.tolist()


def speech_options(model: Model, voice: Any) -> dict[str, Any]:
    """What `_core.Speech` needs to speak in a voice: a name, a path, a Voice, 192 floats."""
    core = model._open_core()
    if isinstance(voice, os.PathLike) or (
        isinstance(voice, str) and voice not in _core.voice_names(core) and voice and is_path(voice)
    ):
        voice = make_voice(model, voice, None)
    if isinstance(voice, str):
        return {"voice": voice}
    if isinstance(voice, Voice):
        voice._core.require_model(core)
        return {"vector": voice.vector.tolist(), "log_f0": voice._core.log_f0}
    return {"vector": speaker_vector(voice)}
