"""The command line: `pocketuni COMMAND ...`. Exit codes: 0 done, 1 failed (a line on stderr says why), 2 usage."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence

import numpy as np

from . import __version__
from .audio_file import AtomicFile
from .model import Model

Command = Callable[[argparse.Namespace], int]

EMBED_EXAMPLES = """examples:
  pocketuni embed minilm.puni "A sentence." "Another one."
  pocketuni embed minilm.puni -f sentences.txt --npy vectors.npy
  cut -f 2 table.tsv | pocketuni embed minilm.puni --json > vectors.json

Prints one vector a line, numbers separated by spaces, in the order of the texts."""

INSPECT_EXAMPLES = """examples:
  pocketuni inspect minilm.puni
  pocketuni inspect minilm.puni --verify && echo sound
  pocketuni inspect minilm.puni --json | jq .sizes"""

RUN_EXAMPLES = """examples:
  pocketuni run denoise.puni --input noisy.wav -o clean.wav
  pocketuni run labels.puni --tower main --input inputs.npz -o outputs.npz

Sound goes through chunk by chunk, with the tower's state kept in between; the file has the tower's rate."""

BENCH_EXAMPLES = """examples:
  pocketuni bench minilm.puni --shape batch=8 --shape sequence=64
  pocketuni bench minilm.puni --threads 1 --profile

Inputs are random (seeded): indices lie inside the tables that they index, other integers and bools are 1. Dimensions
that no --shape names are 1 for "batch" and 128 for others."""

SAY_EXAMPLES = """examples:
  pocketuni say "Hello world." -o hello.wav
  pocketuni say -f book.txt -o book.ogg --speed 1.2 --timestamps book.srt
  fortune | pocketuni say --play
  pocketuni say "Hello world." -o - | aplay -f S16_LE -r 22050

`-o -` writes raw 16-bit samples, mono, 22,050 a second, each as soon as it is computed. Files are
.wav, .flac or .ogg."""

CLONE_EXAMPLES = """examples:
  pocketuni clone me.wav -o me.voice && pocketuni say "It is me." --voice me.voice -o me-again.wav
  pocketuni clone --mic -o me.voice
  arecord -q -f S16_LE -r 16000 -t raw | pocketuni clone --file - -o me.voice --say hello.wav

Clone only people who agreed to it."""

LIVE_EXAMPLES = """examples:
  pocketuni live --mic
  pocketuni live me.wav --lines lines.txt --say out.wav

Each line is spoken in the voice as it is heard by then."""

CONVERT_EXAMPLES = """examples:
  pocketuni convert sentence-transformers path/to/all-MiniLM-L6-v2 -o minilm.puni --weights int8
  pocketuni convert onnx encoder.onnx -o encoder.puni
  pocketuni convert pocket-tts english.yaml -o english.puni
  pocketuni convert --help

Needs the extra `tools`: pip install 'pocketuni[tools]'"""


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 file, or of stdin for "-". Raises ValueError naming the file when it is not UTF-8."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read().decode()
        else:
            with open(path, "rb") as file:
                text = file.read().decode()
    except UnicodeDecodeError as error:
        name = "standard input" if path == "-" else path
        raise ValueError(f"{name}: not UTF-8 (byte {error.object[error.start]:#04x} at {error.start})") from None
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def embed(args: argparse.Namespace) -> int:
    if args.texts and args.file is not None:
        raise UsageError("embed: give texts or -f FILE, not both")
    with Model(args.model, threads=args.threads, isa=args.isa) as model:
        texts = args.texts or read_lines("-" if args.file is None else args.file)
        vectors = model.embed(texts)
    if args.npy is not None:
        with AtomicFile(args.npy) as file:
            np.save(file.stream, vectors)
    elif args.json:
        print(json.dumps([{"text": t, "embedding": v.tolist()} for t, v in zip(texts, vectors, strict=True)]))
    else:
        for vector in vectors:
            print(" ".join(f"{value:.9g}" for value in vector))
    return 0


def run_tower(args: argparse.Namespace) -> int:
    from .run_ import run

    return run(args)


def perceive(args: argparse.Namespace) -> int:
    from .run_ import perceive

    return perceive(args)


def inspect(args: argparse.Namespace) -> int:
    from .inspect_ import main

    return main(args.file, verify=args.verify, as_json=args.json, nodes=args.nodes)


def bench(args: argparse.Namespace) -> int:
    from .bench_ import main

    return main(args)


def doctor(args: argparse.Namespace) -> int:
    from .doctor import main

    return main(as_json=args.json)


def say(args: argparse.Namespace) -> int:
    from .say_ import say

    return say(args)


def voices(args: argparse.Namespace) -> int:
    from .say_ import voices

    return voices(args)


def clone(args: argparse.Namespace) -> int:
    from .clone_ import clone

    return clone(args)


def live(args: argparse.Namespace) -> int:
    from .clone_ import live

    return live(args)


TOOLS = {
    "convert": ("convert", "main"),
    "compare": ("compare", "main"),
    "pack": ("pack", "pack_main"),
    "unpack": ("pack", "unpack_main"),
}  # commands of pocketuni_tools: module and function


def tool(command: str, arguments: Sequence[str]) -> int:
    """Hands over to pocketuni_tools, which the extra `tools` completes."""
    module, function = TOOLS[command]
    try:
        return getattr(importlib.import_module(f"pocketuni_tools.{module}"), function)(list(arguments)) or 0
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] == "pocketuni_tools":
            raise
        text = f"{command} needs the package {error.name}: pip install 'pocketuni[tools]'"
        raise ImportError(text, name=error.name) from error


class UsageError(Exception):
    """Arguments that do not go together: exit code 2."""


def threads_number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError(f"{number} is not 1 to 64")
    return number


def rounds_number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{number} is not 1 to 1000000")
    return number


def shape_pair(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name or not value.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER, e.g. sequence=64")
    return name, int(value)


threads_number.__name__ = rounds_number.__name__ = "number"  # argparse: "invalid number value: 'x'"


def make_parser() -> argparse.ArgumentParser:
    from .clone_ import add_clone_options, add_live_options
    from .say_ import add_say_options

    parser = argparse.ArgumentParser(prog="pocketuni", description="Runs compact models on a CPU.")
    parser.add_argument("--version", action="version", version=f"pocketuni {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, function: Command, text: str, examples: str = "") -> argparse.ArgumentParser:
        raw = argparse.RawDescriptionHelpFormatter
        command = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=examples, formatter_class=raw
        )
        command.set_defaults(function=function)
        return command

    def add_run_options(command: argparse.ArgumentParser, usual: str = "as many as this process may use") -> None:
        command.add_argument("--threads", type=threads_number, help=f"1 to 64; without: {usual}")
        command.add_argument("--isa", help="instruction set, one of those that `pocketuni doctor` lists")

    one = add("say", say, "speak a text into a file, a pipe or the sound output", SAY_EXAMPLES)
    add_say_options(one)
    one.add_argument("-o", "--output", metavar="OUT", help="a .wav, .flac or .ogg file, or - for raw samples")
    add_run_options(one, "one")

    one = add("stream", say, "speak a text as raw 16-bit samples on standard output: say -o -")
    add_say_options(one)
    one.set_defaults(output="-")
    add_run_options(one, "one")

    one = add("voices", voices, "list the voices of a model")
    one.add_argument("-m", "--model", help="without: the model in the package")
    one.add_argument("--json", action="store_true", help="print one JSON object")

    one = add("clone", clone, "make a voice from a recording, a pipe or the microphone", CLONE_EXAMPLES)
    add_clone_options(one)
    add_run_options(one, "one")

    one = add("live", live, "speak typed lines in the voice that is being heard", LIVE_EXAMPLES)
    add_live_options(one)
    add_run_options(one, "one")

    one = add("embed", embed, "print embeddings of texts", EMBED_EXAMPLES)
    one.add_argument("model", metavar="MODEL", help="a .puni file with a text tower")
    one.add_argument("texts", nargs="*", metavar="TEXT", help="without TEXT and -f, lines are read from stdin")
    one.add_argument("-f", "--file", help="read texts from this file, one a line (UTF-8; - is stdin)")
    form = one.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a JSON list of {text, embedding}")
    form.add_argument("--npy", metavar="OUT", help="write a NumPy file (n, d) float32 instead of printing")
    add_run_options(one)

    one = add(
        "run", run_tower, "send a recording through a tower from sound to sound, or arrays through any", RUN_EXAMPLES
    )
    one.add_argument("model", metavar="MODEL")
    one.add_argument("--input", "-i", required=True, metavar="IN", help="an audio file, or an .npz of arrays by input")
    one.add_argument("-o", "--output", required=True, metavar="OUT", help="a .wav, .flac or .ogg file; .npz for arrays")
    one.add_argument("--tower", help="without: the only one that fits")
    add_run_options(one)

    for name, what, noun in (("see", "a picture", "PICTURE"), ("hear", "a recording", "RECORDING")):
        one = add(name, perceive, f"print what a tower finds in {what}")
        one.add_argument("model", metavar="MODEL")
        one.add_argument("file", metavar=noun)
        one.add_argument("--tower", help="without: the only one that fits")
        one.add_argument("--json", action="store_true", help="print JSON")
        one.set_defaults(kind=name)
        add_run_options(one)

    one = add("inspect", inspect, "show what is in a model file", INSPECT_EXAMPLES)
    one.add_argument("file", metavar="FILE")
    one.add_argument("--verify", action="store_true", help="check the hashes of all weights; 1 if one does not match")
    one.add_argument("--nodes", action="store_true", help="list every operator")
    one.add_argument("--json", action="store_true", help="print one JSON object")

    one = add("bench", bench, "measure how long a model's towers take", BENCH_EXAMPLES)
    one.add_argument("file", metavar="FILE")
    one.add_argument("--tower", help="without: each tower")
    one.add_argument("--shape", type=shape_pair, action="append", default=[], metavar="NAME=NUMBER")
    one.add_argument("--rounds", type=rounds_number, default=30, help="runs that are measured (30), after 3 others")
    one.add_argument("--profile", action="store_true", help="show the share of each operator")
    one.add_argument("--json", action="store_true", help="print one JSON object")
    add_run_options(one)

    one = add("doctor", doctor, "show what this machine offers and what is installed")
    one.add_argument("--json", action="store_true", help="print one JSON object")

    add("convert", lambda args: 0, "make a model file from a checkpoint or a graph", CONVERT_EXAMPLES)
    add("compare", lambda args: 0, "print the error behind every layer of a model against its ONNX source")
    add("pack", lambda args: 0, "put the towers of model files into one file")
    add("unpack", lambda args: 0, "write some towers of a file into another")
    return parser


def run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in TOOLS:
        return tool(arguments[0], arguments[1:])  # its own parser knows its options and its --help
    parser = make_parser()
    args = parser.parse_args(arguments)
    try:
        return args.function(args)
    except UsageError as error:
        parser.error(str(error))


def message(error: BaseException) -> str:
    """One line for stderr."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return str(error) or "out of memory"
    return " ".join(str(error).split()) or type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. 130 after Ctrl-C, as shells say it."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read the output has gone; the flush at exit must not complain about that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, TypeError, ImportError, MemoryError, RuntimeError) as error:
        print(f"pocketuni: {message(error)}", file=sys.stderr)
        return 1
