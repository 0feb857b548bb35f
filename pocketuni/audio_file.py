"""Files that appear whole or not at all, and audio files written while the speech is computed."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ._core import __version__

SOUNDFILE_FORMATS = {".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
PEAK = 32767
# Stored in every file, so that whoever finds it can tell: `soundfile.SoundFile(path).comment` shows it.
PROVENANCE = "Synthetic speech: computed by a machine, not recorded from a person."
SOFTWARE = f"pocketuni {__version__}"


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as little-endian 16-bit integers."""
    return np.round(np.clip(samples, -1.0, 1.0) * PEAK).astype("<i2")


def add_info(stream: BinaryIO, comment: str = PROVENANCE) -> None:
    """Appends a comment and SOFTWARE to a complete .wav file as a LIST chunk of kind INFO (RIFF MCI, 1991)."""
    size = stream.seek(0, os.SEEK_END)
    body = b"INFO"
    for name, text in ((b"ICMT", comment), (b"ISFT", SOFTWARE)):
        data = text.encode("ascii") + b"\0"
        body += name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    stream.write(b"\0" * (size % 2) + b"LIST" + struct.pack("<I", len(body)) + body)
    total = stream.tell()
    stream.seek(4)
    stream.write(struct.pack("<I", min(total - 8, 2**32 - 1)))


class AtomicFile:
    """A binary file under a temporary name beside `path`, synced and renamed to it by `commit`, deleted otherwise.

    Raises OSError, naming `path`, when nothing can be written there.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(os.fspath(path))
        if self.path.is_dir():
            raise IsADirectoryError(21, "Is a directory", str(self.path))
        self._temporary = self.path.with_name(f".{self.path.name}.{os.urandom(4).hex()}.tmp")
        try:
            self.stream: BinaryIO = self._temporary.open("wb")
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(self.path)) from None

    def commit(self) -> None:
        try:
            self.stream.flush()
            os.fsync(self.stream.fileno())  # else a crash of the system could leave the name without the contents
            self.stream.close()
            os.replace(self._temporary, self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Deletes what was written; nothing after `commit`."""
        try:
            self.stream.close()
        except OSError:
            pass  # what was still to be written is not wanted
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()


class AudioWriter:
    """Writes mono sound piece by piece into a .wav (16 bits), .flac or .ogg file; the comment in it is that its speech
    is synthetic, unless another one is given.

    A context manager: the file appears when the block ends without an exception. Raises ValueError for another suffix,
    ImportError without `soundfile` for .flac and .ogg, OSError where nothing can be written.
    """

    def __init__(self, path: str | os.PathLike[str], rate_hz: int, comment: str = PROVENANCE):
        self._comment = comment
        suffix = Path(os.fspath(path)).suffix.lower()
        if suffix != ".wav" and suffix not in SOUNDFILE_FORMATS:
            known = ", ".join([".wav", *SOUNDFILE_FORMATS])
            raise ValueError(f"{os.fspath(path)}: the format follows from the suffix, one of {known}")
        soundfile = None if suffix == ".wav" else import_soundfile(suffix)
        self._file = AtomicFile(path)
        self._writer: Any
        try:
            if soundfile is None:
                self._writer = wave.open(self._file.stream, "wb")
                self._writer.setparams((1, 2, rate_hz, 0, "NONE", "not compressed"))
                self._writer.writeframes(b"")  # the header stands even when no samples follow
            else:
                kind, subtype = SOUNDFILE_FORMATS[suffix]
                self._writer = soundfile.SoundFile(self._file.stream, "w", rate_hz, 1, subtype, format=kind)
                self._writer.comment, self._writer.software = comment, SOFTWARE
        except BaseException:
            self._file.discard()
            raise

    def write(self, samples: np.ndarray) -> None:
        if isinstance(self._writer, wave.Wave_write):
            self._writer.writeframes(to_int16(samples).tobytes())
        else:
            self._writer.write(np.asarray(samples, np.float32))

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._writer.close()
            if isinstance(self._writer, wave.Wave_write):
                add_info(self._file.stream, self._comment)
        except BaseException:
            self._file.discard()
            raise
        if kind is None:
            self._file.commit()
        else:
            self._file.discard()


def import_soundfile(suffix: str) -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is there, libsndfile is not
        text = f"{suffix} files need soundfile: pip install 'pocketuni[audio]' (or write a .wav)"
        raise ImportError(text, name="soundfile") from error
    return soundfile
