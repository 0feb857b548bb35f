"""The command line of the export tools: `python -m pocketuni_tools SOURCE ... -o FILE`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .fuse import fuse
from .packing import Packed
from .preprocess import FORM, tower_meta
from .progress import Progress
from .quantize import PLANS, quantize, round_tower
from .report import compare, describe, text
from .source import Source, separate_names
from .texts import calibration_texts
from .writer import pack_constant, tensor_role, write_model


def convert(source: Source, output: str | Path, weights: str = "int8", quiet: bool = True) -> dict[str, Any]:
    """Fuses, quantizes and writes a source; returns the report, which the file's META holds too.

    weights: one of `PLANS`. Raises ValueError for a graph that breaks a rule, OSError when the file cannot be written.
    """
    start = time.perf_counter()
    output = Path(output)
    for tower in source.towers:
        fuse(tower.graph)
    separate_names(source.towers)
    with Progress(quiet) as progress:
        if source.precisions is not None:
            packed, notes = round_as_told(source, weights, progress), {}
        else:
            packed, notes = quantize(source.towers, weights, progress)
    report = describe(source.towers, packed, weights) | notes
    report["outputs"] = compare(source.towers, packed)
    report["seconds"] = round(time.perf_counter() - start, 2)
    meta = {**source.meta, "report": report}
    write_model(output, [tower.graph for tower in source.towers], meta=meta, blobs=source.blobs, packed=packed)
    return {**report, "file_bytes": output.stat().st_size}


def round_as_told(source: Source, plan: str, progress: Progress) -> dict[str, Packed]:
    """Each weight of a source that names the precisions itself: rounded on the tower's feeds, else by itself."""
    assert source.precisions is not None
    chosen = source.precisions(source.towers, plan)
    packed: dict[str, Packed] = {}
    for tower in source.towers:
        if tower.feeds and plan in ("int8", "int4", "auto"):
            named = {name: precision for name, precision in chosen.items() if name in tower.graph.constants}
            packed |= round_tower(tower.graph, tower.feeds, named, packed, progress)
        progress.expect(len(chosen.keys() & tower.graph.constants.keys() - packed.keys()))
        for name, array in tower.graph.constants.items():
            if name in chosen and name not in packed:
                packed[name] = pack_constant(array, tensor_role(tower.graph, name), chosen[name])
                progress.tick(f"rounding to {chosen[name]}")
    return packed


def describe_inputs(source: Source, preprocess: str | None, labels: Path | None) -> None:
    """Puts into META how the tower takes pictures or recordings, and what its outputs are called."""
    if preprocess is None and labels is None:
        return
    if len(source.towers) != 1:
        raise ValueError(f"--preprocess and --labels are for one tower, {source.name} has {len(source.towers)}")
    graph = source.towers[0].graph
    towers = source.meta.setdefault("towers", {})
    towers.setdefault(graph.name, {}).update(tower_meta(graph, preprocess, labels))


# Sources.


def sentence_transformers(args: argparse.Namespace) -> Source:
    from .import_sentence_transformers import import_sentence_transformers

    return import_sentence_transformers(args.folder, calibration_texts(args.calibration) if args.calibration else None)


def torch_module(args: argparse.Namespace) -> Source:
    from .import_factory import import_factory

    return import_factory(args.factory)


def onnx_file(args: argparse.Namespace) -> Source:
    from .import_onnx_file import import_onnx_file
    from .onnx_states import read_numbers, read_pairs

    states = None if args.state is None else read_pairs(args.state)
    fixed = read_numbers(args.fix)
    return import_onnx_file(args.file, args.calibration, states, fixed, args.carry, args.name, args.preprocess)


def pocket_tts(args: argparse.Namespace) -> Source:
    from .import_pocket_tts import import_pocket_tts

    return import_pocket_tts(args.config, args.checkpoint)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pocketuni convert",
        description="Converts a model to a .puni file. Every conversion ends with a report against its source.",
    )
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")

    def source(name: str, read: Any, argument: str, text: str, calibration: str | None) -> argparse.ArgumentParser:
        command = sources.add_parser(name, help=text, description=text)
        command.add_argument(argument.lower(), metavar=argument)
        command.add_argument("-o", "--output", type=Path, required=True, help="the .puni file to write")
        command.add_argument(
            "--weights",
            choices=PLANS,
            default="int8",
            help="precision of the weights; auto chooses for each by measured sensitivity (default: int8)",
        )
        command.add_argument("--preprocess", metavar="HOW", help=f"how see and hear prepare an input: {FORM}")
        command.add_argument("--labels", type=Path, metavar="FILE", help="names of the outputs, one a line")
        command.add_argument("--quiet", action="store_true", help="no progress and no report")
        if calibration:
            command.add_argument("--calibration", "--calibrate", type=Path, metavar="INPUTS", help=calibration)
        command.set_defaults(read=read)
        return command

    folder = "a sentence-transformers folder (modules.json, config.json, weights, tokenizer)"
    source("sentence-transformers", sentence_transformers, "FOLDER", folder, "UTF-8 text, one sentence a line")
    factory = "a PyTorch module: PACKAGE.MODULE:FUNCTION that returns (module, example inputs, dynamic dimensions)"
    source("torch", torch_module, "FACTORY", factory, None)
    calibration = "a .npz of inputs, the first axis counting examples, or a folder of pictures or recordings"
    command = source("onnx", onnx_file, "FILE", "an ONNX file", calibration)
    command.add_argument("--name", default="main", help="name of the tower (default: main)")
    command.add_argument(
        "--state",
        metavar="IN=OUT,...",
        help="inputs that a run takes from outputs of the run before; default: those whose names say so; none: none",
    )
    command.add_argument(
        "--fix", action="append", default=[], metavar="NAME=NUMBER", help="an input that is this number from now on"
    )
    command.add_argument(
        "--carry", metavar="INPUT=BEFORE+CHUNK", help="keeps so many samples of a chunk in front of the next one"
    )
    pocket = "a Pocket TTS configuration (.yaml), or the folder of one, with weights and tokenizer beside it"
    command = source("pocket-tts", pocket_tts, "CONFIG", pocket, None)
    command.add_argument("--checkpoint", type=Path, metavar="FILE", help="the weights (.safetensors)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status. What a user can cause is one line on stderr, not a traceback."""
    args = parse(argv)
    try:
        if not args.output.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"{args.output.absolute().parent} is not a folder; the output cannot be written there"
            )
        source = args.read(args)
        describe_inputs(source, args.preprocess, args.labels)
        report = convert(source, args.output, args.weights, quiet=args.quiet)
    except (ValueError, OSError) as error:
        print(f"pocketuni convert: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pocketuni convert: interrupted; nothing was written", file=sys.stderr)
        return 130
    if not args.quiet:
        print(text(report))
    return 0
