"""`pocketuni clone` and `live`: a voice from a file, a pipe or a microphone, and speech in it while it is made."""

from __future__ import annotations

import argparse
import io
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .audio_file import AudioWriter
from .audio_input import FORMATS, FileSource, Microphone, RawSource, Source
from .cli import UsageError
from .model import Model
from .say_ import Player, Sink
from .speech import RATE_HZ
from .voice import ENOUGH_CONFIDENCE, VOICE_SUFFIX, Voice, VoiceBuilder

SENTENCE = "Hello. This is how I sound when a computer speaks for me."
MIC_SECONDS = 10.0  # of speech, after which a recording ends by itself
FIRST_SECONDS = 1.0  # of speech that `live` waits for
ECHO_SECONDS = 0.3  # for which the loudspeaker is heard after the last sample
METER_DB, METER_CELLS = 60.0, 20


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def is_pipe(path: str) -> bool:
    return os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)


def open_source(args: argparse.Namespace) -> Source:
    """The microphone, a file, or raw samples. Raises UsageError."""
    chosen = [args.mic, args.recording is not None, args.file is not None]
    if sum(chosen) != 1:
        raise UsageError("give one of FILE, --file FILE (- is raw samples on standard input) and --mic")
    if args.mic:
        device = int(args.device) if args.device is not None and args.device.isdecimal() else args.device
        return Microphone(device, args.rate)
    path = args.recording if args.file is None else args.file
    kind, rate_hz = args.format or "s16le", args.rate or 16000
    if path == "-":
        if sys.stdin.isatty():
            raise UsageError("standard input is a terminal: pipe a recorder into it, or use --mic")
        # Unbuffered: a thread that waits in a buffered read would hold its lock when the program ends.
        return RawSource(io.FileIO(sys.stdin.fileno(), closefd=False), rate_hz, kind, args.channels)
    if args.format is not None or is_pipe(path):
        return RawSource(open(path, "rb", buffering=0), rate_hz, kind, args.channels, path)
    return FileSource(path)


class Meter:
    """Shows on a terminal how loud it is, what was heard and how far the voice can be trusted; says once when that is
    enough. Where standard error is no terminal, it says only that."""

    def __init__(self, builder: VoiceBuilder):
        self.builder = builder
        self._live = sys.stderr.isatty()
        self._shown = 0.0
        self._said = False

    def show(self) -> None:
        if not self._said and self.builder.confidence >= ENOUGH_CONFIDENCE:
            self._said = True
            self._line("")
            note(f"That is enough: {self.builder.seconds:.1f} s of speech. More makes it a little better.")
        now = time.monotonic()
        if now - self._shown < 0.1:
            return
        self._shown = now
        self._line(meter_text(self.builder))

    def _line(self, text: str) -> None:
        if self._live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        self._shown = 0.0
        self.show()
        if self._live:
            note("")


def meter_text(builder: VoiceBuilder) -> str:
    """A bar for the level and the figures beside it."""
    rms, peak = builder.level
    cells = round(METER_CELLS * min(1.0, max(0.0, 1 + rms / METER_DB)))
    bar = "#" * cells + "-" * (METER_CELLS - cells)
    clipped = " CLIPPED" if peak > -0.1 else ""
    figures = f"heard {builder.heard_seconds:.1f} s, speech {builder.seconds:.1f} s"
    return f"[{bar}] {rms:4.0f} dB  {figures}, confidence {builder.confidence:.2f}{clipped}"


def listen(source: Source, builder: VoiceBuilder, most_seconds: float | None) -> None:
    """Feeds the builder until the source ends, `most_seconds` of speech were heard, or Ctrl-C: what was heard stays."""
    meter = Meter(builder)
    try:
        for block in source:
            builder.feed(block)
            meter.show()
            if most_seconds is not None and builder.seconds >= most_seconds:
                break
    except KeyboardInterrupt:
        if builder.heard_seconds == 0:
            raise
    finally:
        meter.end()
    if source.fault:
        note(f"pocketuni: {source.fault}")


def report(voice: Voice, path: str, advice: Iterable[str]) -> None:
    for sentence in advice:
        note(f"pocketuni: {sentence}")
    pitch = f", pitch {voice.pitch_hz:.0f} Hz" if voice.pitch_hz else ""
    note(f"{path}: {voice.seconds:.1f} s of speech, confidence {voice.confidence:.2f}{pitch}")


def check_voice_path(path: str) -> None:
    if Path(path).suffix.lower() != VOICE_SUFFIX:
        raise UsageError(f"-o {path}: the name of a voice file ends in {VOICE_SUFFIX}")


def sinks(args: argparse.Namespace, stack: ExitStack) -> list[Sink]:
    """A file where one is named; the sound output where there is one."""
    made: list[Sink] = []
    if args.say is not None:
        made.append(stack.enter_context(AudioWriter(args.say, RATE_HZ)))
    if not args.no_play:
        try:
            made.append(stack.enter_context(Player()))
        except (ImportError, OSError) as error:
            if args.say is None:
                reason = str(error).removeprefix("--play: ").removeprefix("--play ")
                note(f"pocketuni: it is not played here ({reason}); --say FILE.wav writes it")
    return made


def clone(args: argparse.Namespace) -> int:
    """Makes a voice file, then speaks a sentence in that voice. Raises UsageError."""
    check_voice_path(args.output)
    with ExitStack() as stack:
        model = stack.enter_context(Model(args.model, threads=args.threads, isa=args.isa))
        source = stack.enter_context(open_source(args))
        builder = model.voice_builder(source.rate_hz)
        if args.mic:
            note("Speak until I say that it is enough; Ctrl-C ends the recording.")
        listen(source, builder, args.seconds or (MIC_SECONDS if args.mic else None))
        voice = builder.voice(args.name or Path(args.output).stem)
        voice.save(args.output)
        report(voice, args.output, builder.advice)
        if outputs := sinks(args, stack):
            speak_line(model, voice, args.text, outputs)
    return 0


class Listener(threading.Thread):
    """Feeds a builder from a source while the main thread speaks. `error`: what ended it early."""

    def __init__(self, source: Source, builder: VoiceBuilder):
        super().__init__(daemon=True, name="pocketuni-listener")
        self.source, self.builder = source, builder
        self.error: Exception | None = None
        self._stopped = False
        self._changed = threading.Condition()

    def run(self) -> None:
        try:
            for block in self.source:
                if self._stopped:
                    break
                self.builder.feed(block)
                with self._changed:
                    self._changed.notify_all()
        except Exception as error:
            self.error = error
        finally:
            self._stopped = True
            with self._changed:
                self._changed.notify_all()

    def wait_for_speech(self) -> None:
        """Until there is enough to speak, or nothing more comes."""
        with self._changed:
            if self.builder.seconds < FIRST_SECONDS and not self._stopped:
                note("(listening: say something)")
            while self.builder.seconds < FIRST_SECONDS and not self._stopped:
                self._changed.wait(0.2)

    def stop(self) -> None:
        """Ends it; a file is heard to its end."""
        if isinstance(self.source, FileSource):
            self.join()
        self._stopped = True
        self.join(1.0)  # it may wait in a pipe from which nothing comes

    def deaf(self, on: bool) -> None:
        """A microphone must not hear the loudspeaker: the clone would become a clone of itself."""
        if isinstance(self.source, Microphone):
            self.source.muted = on


def line_input(args: argparse.Namespace, stack: ExitStack) -> TextIO:
    """Where the lines come from: a file, standard input, or the terminal when that brings the samples."""
    if args.lines is not None:
        return stack.enter_context(open(args.lines, encoding="utf-8", errors="replace"))
    if args.file == "-" or args.recording == "-":
        try:
            return stack.enter_context(open("/dev/tty", encoding="utf-8", errors="replace"))
        except OSError:
            raise UsageError(
                "standard input brings the samples and there is no terminal: name a file of lines with --lines FILE"
            ) from None
    return sys.stdin


def prompted(lines: TextIO) -> Iterator[str]:
    shown = lines.isatty() and sys.stderr.isatty()
    while True:
        if shown:
            print("> ", end="", file=sys.stderr, flush=True)
        line = lines.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def speak_line(model: Model, voice: Voice, text: str, outputs: list[Sink]) -> float:
    """Speaks; the seconds until the first samples were there."""
    begin = time.perf_counter()
    first = -1.0
    for chunk in model.stream(text, voice=voice):
        if first < 0:
            first = time.perf_counter() - begin
        for output in outputs:
            output.write(chunk.samples)
    return first


def live(args: argparse.Namespace) -> int:
    """Speaks each line in the voice that is being heard. Raises UsageError."""
    if args.output is not None:
        check_voice_path(args.output)
    with ExitStack() as stack:
        model = stack.enter_context(Model(args.model, threads=args.threads, isa=args.isa))
        source = stack.enter_context(open_source(args))
        lines = line_input(args, stack)
        outputs = sinks(args, stack)
        if not outputs:
            raise OSError("there is no sound output, and no --say FILE.wav to write to")
        builder = model.voice_builder(source.rate_hz)
        listener = Listener(source, builder)
        note("Type a line to hear it in the voice that is being heard; keep talking to improve it. Ctrl-D ends.")
        listener.start()
        try:
            for line in prompted(lines):
                answer(model, listener, line, outputs)
        except KeyboardInterrupt:
            note("")
        finally:
            listener.stop()
        if listener.error is not None:
            raise listener.error
        if args.output is not None:
            voice = builder.voice(args.name or Path(args.output).stem)
            voice.save(args.output)
            report(voice, args.output, builder.advice)
    return 0


def answer(model: Model, listener: Listener, line: str, outputs: list[Sink]) -> None:
    listener.wait_for_speech()
    if listener.error is not None:
        raise listener.error
    builder = listener.builder
    begin = time.perf_counter()
    try:
        voice = builder.voice()
    except ValueError as error:
        note(f"pocketuni: {error}")
        return
    made = time.perf_counter() - begin
    listener.deaf(True)
    try:
        first = speak_line(model, voice, line, outputs)
        if isinstance(listener.source, Microphone):
            time.sleep(ECHO_SECONDS)
    except ValueError as error:  # faulty markup: the next line may be better
        note(f"pocketuni: {error}")
        return
    finally:
        listener.deaf(False)
    if first < 0:
        note("(nothing to say)")
        return
    figures = f"{voice.seconds:.1f} s of speech, confidence {voice.confidence:.2f}"
    note(f"({figures}; first sound after {1000 * (made + first):.0f} ms)")


def positive(kind: Callable[[str], Any], text: str) -> Any:
    number = kind(text)
    if not 0 < number < np.inf:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def seconds_number(text: str) -> float:
    return positive(float, text)


def whole_number(text: str) -> int:
    return positive(int, text)


seconds_number.__name__ = whole_number.__name__ = "number"  # argparse: "invalid number value: 'x'"


def add_source_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("recording", nargs="?", metavar="FILE", help="an audio file of one person")
    command.add_argument("--file", metavar="FILE", help="the same; - is raw samples on standard input; also a FIFO")
    command.add_argument("--mic", action="store_true", help="record from the microphone (extra: mic)")
    command.add_argument("--device", metavar="NAME", help="of the microphone, or its number")
    command.add_argument(
        "--rate", type=whole_number, help="samples a second: of raw samples (16000), or to record with"
    )
    command.add_argument("--format", choices=sorted(FORMATS), help="of raw samples (s16le)")
    command.add_argument("--channels", type=whole_number, default=1, help="of raw samples (1)")
    command.add_argument("--name", help="stored in the voice file; without: the name of that file")
    command.add_argument("-m", "--model", help="a .puni file with a voice; without: the one in the package")
    command.add_argument("--say", metavar="OUT", help="write what is spoken to a .wav, .flac or .ogg file")
    command.add_argument("--no-play", action="store_true", help="do not play it on this machine")


def add_clone_options(command: argparse.ArgumentParser) -> None:
    add_source_options(command)
    command.add_argument("-o", "--output", required=True, metavar="OUT.voice")
    command.add_argument("--seconds", type=seconds_number, help="of speech, then stop (10 with --mic; else all of it)")
    command.add_argument("--text", default=SENTENCE, help="what to say in the new voice")


def add_live_options(command: argparse.ArgumentParser) -> None:
    add_source_options(command)
    command.add_argument("-o", "--output", metavar="OUT.voice", help="keep the voice at the end")
    command.add_argument("--lines", metavar="FILE", help="what to say, line by line; without: standard input")
