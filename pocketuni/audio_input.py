"""Sound coming in: arrays, audio files, raw samples from a pipe, a microphone."""

from __future__ import annotations

import os
import queue
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

MOST_CHANNELS = 32
READ_BYTES = 65536
FORMATS = {"s16le": "<i2", "s32le": "<i4", "f32le": "<f4"}
SILENT_SECONDS = 2.0  # a microphone that gives nothing for so long is gone
RECORDER_HINT = "pipe a recorder: arecord -q -f S16_LE -r 16000 -t raw | pocketuni clone --file - -o me.voice"


class Source(Protocol):
    """Blocks of mono float32 samples, full scale 1, as they come. A context manager. `fault` tells, when the blocks
    have ended, why they ended early; it is empty otherwise."""

    rate_hz: int
    fault: str

    def __iter__(self) -> Iterator[np.ndarray]: ...
    def __enter__(self) -> Source: ...
    def __exit__(self, *_: object) -> None: ...


def mono_float32(samples: npt.ArrayLike) -> np.ndarray:
    """Samples `[n]` or `[n, channels]` as float32 `[n]`, full scale 1; channels are averaged.

    float16, float32 and float64 have full scale 1, int16 and int32 that of their type, uint8 128 around 128. Raises
    TypeError for another dtype, ValueError for another shape.
    """
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MOST_CHANNELS):
        text = f"expected samples of shape (n,) or (n, channels) with up to {MOST_CHANNELS} channels, got {array.shape}"
        raise ValueError(text + ("; transpose them" if array.ndim == 2 and array.shape[0] <= MOST_CHANNELS else ""))
    if array.dtype.kind == "f":
        scaled: np.ndarray = array.astype(np.float32, copy=False)
    elif array.dtype in (np.int16, np.int32):
        scaled = (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    elif array.dtype == np.uint8:
        scaled = (array.astype(np.float32) - 128) / 128
    else:
        raise TypeError(f"samples are {array.dtype}; expected float32, float64, int16, int32 or uint8")
    if scaled.ndim == 2:
        scaled = scaled.mean(axis=1, dtype=np.float32)
    return np.ascontiguousarray(scaled)


def wave_samples(data: bytes, width: int, channels: int) -> np.ndarray:
    """PCM of a .wav file as an array `[n, channels]` that `mono_float32` takes."""
    if width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        flat = wide.reshape(-1).view("<i4")
    else:
        flat = np.frombuffer(data, {1: "u1", 2: "<i2", 4: "<i4"}[width])
    return flat.reshape(-1, channels)


class FileSource:
    """An audio file, a second at a time: what libsndfile reads (.wav, .flac, .ogg, .opus, .mp3, ...), or only .wav with
    integers where `soundfile` is not installed. Raises OSError where the file cannot be opened, ValueError for what is
    no audio file, ImportError naming the package."""

    fault = ""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(os.fspath(path))
        self._closing: BinaryIO = self.path.open("rb")
        self._file: Any
        try:
            self._open()
        except BaseException:
            self._closing.close()
            raise

    def _open(self) -> None:
        try:
            import soundfile
        except (ImportError, OSError) as error:  # OSError: the package is there, libsndfile is not
            if self.path.suffix.lower() != ".wav":
                text = f"{self.path}: reading {self.path.suffix} files needs soundfile: pip install 'pocketuni[audio]'"
                raise ImportError(text, name="soundfile") from error
            self._open_wave()
            return
        try:
            self._file = soundfile.SoundFile(self._closing)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"{self.path}: not an audio file that can be read ({error.error_string})") from None
        self.rate_hz = int(self._file.samplerate)

    def _open_wave(self) -> None:
        try:
            self._file = wave.open(self._closing, "rb")
        except (wave.Error, EOFError) as error:
            text = f"{self.path}: not a .wav file with integers ({error}); pip install 'pocketuni[audio]' reads others"
            raise ValueError(text) from None
        self.rate_hz = self._file.getframerate()

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            while len(block := self._read(max(1, self.rate_hz))):
                yield mono_float32(block)
        except RuntimeError as error:  # libsndfile's errors are of this kind; what was read before counts
            self.fault = f"{self.path}: the file breaks off ({error})"

    def _read(self, frames: int) -> np.ndarray:
        if isinstance(self._file, wave.Wave_read):
            return wave_samples(self._file.readframes(frames), self._file.getsampwidth(), self._file.getnchannels())
        return self._file.read(frames, dtype="float32", always_2d=True)

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._closing.close()


class RawSource:
    """Raw samples from a pipe or a file, as they come. Raises ValueError for a .wav file in their place."""

    fault = ""

    def __init__(
        self, stream: BinaryIO | Any, rate_hz: int, kind: str, channels: int = 1, name: str = "standard input"
    ):
        self.rate_hz = rate_hz
        self._stream, self._name, self._channels = stream, name, channels
        self._dtype = np.dtype(FORMATS[kind])

    def __iter__(self) -> Iterator[np.ndarray]:
        read = getattr(self._stream, "read1", self._stream.read)
        size = self._dtype.itemsize * self._channels
        held = b""
        first = True
        while data := read(READ_BYTES):
            held += data
            if first and len(held) < 4:
                continue
            if first:
                first = False
                if held[:4] in (b"RIFF", b"fLaC", b"OggS"):
                    text = f"{self._name} holds an audio file, expected raw samples: let the recorder write them"
                    raise ValueError(f"{text} (arecord -t raw), or give the file's name")
            whole = len(held) // size * size
            if whole:
                yield mono_float32(np.frombuffer(held[:whole], self._dtype).reshape(-1, self._channels))
                held = held[whole:]

    def __enter__(self) -> RawSource:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def import_sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        text = f"--mic needs sounddevice: pip install 'pocketuni[mic]' (or {RECORDER_HINT})"
        raise ImportError(text, name="sounddevice") from error
    except OSError as error:  # the package is there, PortAudio is not
        raise OSError(f"--mic: {error}: install PortAudio (Debian: libportaudio2), or {RECORDER_HINT}") from None
    return sounddevice


class Microphone:
    """The machine's sound input. Raises ImportError or OSError saying what is missing and what to do.

    A microphone that is pulled out ends the blocks, with `fault` set. `muted`: what comes in is thrown away.
    """

    def __init__(self, device: str | int | None = None, rate_hz: int | None = None):
        sounddevice = import_sounddevice()
        self.fault = ""
        self.muted = False
        self._blocks: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        try:
            found = sounddevice.query_devices(device, "input")
            self.rate_hz = int(rate_hz or found["default_samplerate"])
            self._stream = sounddevice.InputStream(
                self.rate_hz,
                device=device,
                channels=1,
                dtype="float32",
                callback=self._take,
                finished_callback=lambda: self._blocks.put(None),
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise OSError(self._advice(sounddevice, str(error))) from None

    @staticmethod
    def _advice(sounddevice: Any, fault: str) -> str:
        try:
            names = [d["name"] for d in sounddevice.query_devices() if d["max_input_channels"] > 0]
        except sounddevice.PortAudioError:
            names = []
        text = f"--mic: the microphone cannot be opened ({fault})"
        if not names:
            return f"{text}: no input was found; plug a microphone in, allow this program to use it, or {RECORDER_HINT}"
        known = ", ".join(dict.fromkeys(names))
        return f"{text}: allow this program to use it, or name another with --device; inputs: {known}"

    def _take(self, samples: np.ndarray, *_: object) -> None:
        if not self.muted:
            self._blocks.put(samples[:, 0].copy())

    def __iter__(self) -> Iterator[np.ndarray]:
        waited = 0.0
        while waited < SILENT_SECONDS:
            try:
                block = self._blocks.get(timeout=0.1)
            except queue.Empty:
                waited = 0.0 if self.muted else waited + 0.1
                continue
            if block is None:
                break
            waited = 0.0
            yield block
        self.fault = "the microphone gives no sound any more (was it unplugged?): what was heard before is kept"

    def __enter__(self) -> Microphone:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close(ignore_errors=True)


def rate_number(rate_hz: Any) -> int:
    """A rate as an int; whole floats are taken. Raises TypeError, ValueError."""
    try:
        number = float(rate_hz)
    except (TypeError, ValueError):
        raise TypeError(f"rate_hz: expected a number, got {rate_hz!r}") from None
    if not number.is_integer():
        raise ValueError(f"rate_hz is {rate_hz!r}, expected a whole number")
    return int(number)
