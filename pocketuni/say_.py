"""`pocketuni say`, `stream` and `voices`."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from .audio_file import AtomicFile, AudioWriter, to_int16
from .cli import UsageError
from .model import Model
from .speech import RATE_HZ, Audio, Word, clock

READ_BYTES = 65536
LONG_TEXT = 500  # characters from which on a progress bar appears
CUE_CHARACTERS, CUE_SECONDS, CUE_GAP_SECONDS = 42, 5.0, 0.35


class Sink(Protocol):
    def write(self, samples: Any) -> None: ...


class RawOutput:
    """Signed 16-bit little-endian samples on standard output, each chunk at once."""

    def __init__(self) -> None:
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal: pipe it into a player, or use -o FILE or --play")

    def write(self, samples: Any) -> None:
        sys.stdout.buffer.write(to_int16(samples).tobytes())
        sys.stdout.buffer.flush()


class Player:
    """The machine's sound output. Raises ImportError or OSError saying what is missing."""

    def __init__(self, rate_hz: int = RATE_HZ) -> None:
        try:
            import sounddevice
        except ImportError as error:
            text = "--play needs sounddevice: pip install 'pocketuni[play]' (or pipe -o - into a player)"
            raise ImportError(text, name="sounddevice") from error
        except OSError as error:
            raise OSError(f"--play: {error} (or pipe -o - into a player)") from None
        try:
            self.stream = sounddevice.OutputStream(rate_hz, channels=1, dtype="float32")
            self.stream.start()
        except sounddevice.PortAudioError as error:
            raise OSError(f"--play: {error}") from None

    def write(self, samples: Any) -> None:
        self.stream.write(samples)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stream.stop()  # plays what is buffered
        self.stream.close()


def read_pieces(stream: io.RawIOBase | Any) -> Iterator[str]:
    """A byte stream's text as it comes; faulty UTF-8 becomes U+FFFD, which is passed over."""
    read = getattr(stream, "read1", stream.read)
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    while data := read(READ_BYTES):
        yield decoder.decode(utf8.decode(data))
    yield decoder.decode(utf8.decode(b"", True), True)


def text_pieces(args: argparse.Namespace, stack: ExitStack) -> Iterable[str]:
    if args.texts and args.file is not None:
        raise UsageError("give TEXT or -f FILE, not both")
    if args.texts:
        return [" ".join(args.texts)]
    if args.file in (None, "-"):
        return read_pieces(sys.stdin.buffer)
    return read_pieces(stack.enter_context(open(args.file, "rb")))


def progress(args: argparse.Namespace, stack: ExitStack) -> Any:
    """A bar over the characters of a long text on a terminal, where tqdm is installed; else None."""
    size = sum(map(len, args.texts))
    if args.file not in (None, "-"):
        size = os.path.getsize(args.file)
    if size < LONG_TEXT or not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return stack.enter_context(tqdm(total=size, unit="char", unit_scale=True, file=sys.stderr))


def cues(words: Iterable[Word]) -> Iterator[list[Word]]:
    """Groups of words for subtitles: until a pause, or until they are too long to read."""
    cue: list[Word] = []
    for word in words:
        if cue:
            characters = word.span[1] - cue[0].span[0]
            pause = word.start - cue[-1].end > CUE_GAP_SECONDS
            if pause or characters > CUE_CHARACTERS or word.end - cue[0].start > CUE_SECONDS:
                yield cue
                cue = []
        cue.append(word)
    if cue:
        yield cue


def cue_text(cue: list[Word], text: str) -> str:
    """The text that the words stand for, with the punctuation that follows."""
    first, last = cue[0].span[0], max(word.span[1] for word in cue)
    while last < len(text) and not text[last].isspace() and not text[last].isalnum():
        last += 1
    return " ".join(text[first:last].split()).replace("-->", "->")


def timestamps(kind: str, words: list[Word], text: str, rate_hz: int = RATE_HZ) -> str:
    if kind == ".json":
        entries = [{"text": w.text, "start": round(w.start, 4), "end": round(w.end, 4), "span": w.span} for w in words]
        return json.dumps({"rate_hz": rate_hz, "words": entries}, indent=1, ensure_ascii=False) + "\n"
    comma = "," if kind == ".srt" else "."
    lines = ["WEBVTT", ""] if kind == ".vtt" else []
    for index, cue in enumerate(cues(words), 1):
        lines += [str(index)] if kind == ".srt" else []
        lines += [f"{clock(cue[0].start, comma)} --> {clock(cue[-1].end, comma)}", cue_text(cue, text), ""]
    return "\n".join(lines)


def timestamp_file(path: str) -> AtomicFile:
    if Path(path).suffix.lower() not in (".json", ".srt", ".vtt"):
        raise UsageError(f"--timestamps {path}: the format follows from the suffix, one of .json, .srt, .vtt")
    return AtomicFile(path)


def outputs(args: argparse.Namespace, stack: ExitStack, rate_hz: int = RATE_HZ) -> list[Sink]:
    made: list[Sink] = []
    if args.output is None and not args.play:
        raise UsageError("where should the speech go? -o FILE, -o - (raw 16-bit samples) or --play")
    if args.output == "-":
        made.append(RawOutput())
    elif args.output is not None:
        made.append(stack.enter_context(AudioWriter(args.output, rate_hz)))
    if args.play:
        made.append(stack.enter_context(Player(rate_hz)))
    return made


def say(args: argparse.Namespace) -> int:
    """Speaks; the first samples are written while the rest is still to be computed. Raises UsageError."""
    options = {"voice": args.voice, "speed": args.speed, "pitch": args.pitch, "volume": args.volume, "seed": args.seed}
    kept: list[str] = []

    def keeping(pieces: Iterable[str]) -> Iterator[str]:
        for piece in pieces:
            kept.append(piece)
            yield piece

    with ExitStack() as stack:
        pieces = text_pieces(args, stack)
        model = stack.enter_context(Model(args.model, threads=args.threads, isa=args.isa))
        stream = stack.enter_context(model.stream(keeping(pieces) if args.timestamps else pieces, **options))
        marks = stack.enter_context(timestamp_file(args.timestamps)) if args.timestamps else None
        sinks = outputs(args, stack, stream.rate_hz)
        bar = progress(args, stack)
        words: list[Word] = []
        samples = 0
        for chunk in stream:
            samples += deliver(chunk, sinks, bar)
            if marks is not None:
                words += chunk.words
        if samples == 0:
            raise ValueError("there is nothing to say: the text holds no words")
        if bar is not None:
            bar.update(bar.total - bar.n)
        if marks is not None:
            kind = Path(args.timestamps).suffix.lower()
            marks.stream.write(timestamps(kind, words, "".join(kept), stream.rate_hz).encode("utf-8", "replace"))
    return 0


def deliver(chunk: Audio, sinks: list[Sink], bar: Any) -> int:
    for sink in sinks:
        sink.write(chunk.samples)
    if bar is not None and chunk.words:
        bar.update(min(chunk.words[-1].span[1], bar.total) - bar.n)
    return len(chunk)


def voices(args: argparse.Namespace) -> int:
    with Model(args.model) as model:
        known = model.voices
        if args.json:
            print(json.dumps(known, indent=1, ensure_ascii=False))
            return 0
        if not known:
            raise ValueError(f"{model.path} holds no voices")
        from .text_table import table

        rows = [[name, ", ".join(f"{key} {value}" for key, value in info.items())] for name, info in known.items()]
        print(table(rows, indent=""))
    return 0


def add_say_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("texts", nargs="*", metavar="TEXT", help="without TEXT and -f, text is read from stdin")
    command.add_argument("-f", "--file", help="read the text from this file (UTF-8; - is stdin)")
    command.add_argument("-m", "--model", help="a .puni file with a voice; without: the one in the package")
    command.add_argument("--play", action="store_true", help="play it on this machine (extra: play)")
    command.add_argument("--voice", help="a name that `pocketuni voices` lists, or a .voice file")
    command.add_argument("--speed", type=float, default=1.0, help="0.25 to 4 (1); 2 is twice as fast")
    command.add_argument("--pitch", type=float, default=0.0, help="semitones, -12 to 12 (0)")
    command.add_argument("--volume", type=float, default=1.0, help="0 to 10 (1)")
    command.add_argument("--seed", type=int, help="of the noise in the voice (0)")
    command.add_argument("--timestamps", metavar="OUT", help="write when each word is said: .json, .srt or .vtt")
