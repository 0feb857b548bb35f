"""`pocketuni run`, `pocketuni see` and `pocketuni hear`: towers from the command line."""

from __future__ import annotations

import argparse
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .audio_file import AtomicFile, AudioWriter
from .audio_input import FileSource
from .features import resample
from .model import Model, Tower

PROCESSED = "Processed by a model."  # in the comment of a file whose speech is a person's


def run(args: argparse.Namespace) -> int:
    with Model(args.model, threads=args.threads, isa=args.isa) as model:
        if Path(args.input).suffix.lower() == ".npz":
            return run_arrays(model, args)
        stream = model.sound_stream(args.tower)
        with FileSource(args.input) as source, AudioWriter(args.output, stream.rate_hz, PROCESSED) as writer:
            heard = 0
            for block in at_rate(source, stream.rate_hz):
                heard += len(block)
                writer.write(stream.feed(block))
            if heard == 0:
                raise ValueError(f"{args.input}: the recording is empty")
            writer.write(stream.finish())
            if source.fault:
                raise ValueError(source.fault)
    return 0


def at_rate(source: FileSource, rate_hz: int) -> Iterator[np.ndarray]:
    """A file's blocks; resampled as a whole where its rate is another one."""
    if source.rate_hz == rate_hz:
        yield from source
        return
    blocks = [np.zeros(0, np.float32), *source]
    sound = resample(np.concatenate(blocks), source.rate_hz, rate_hz)
    for begin in range(0, len(sound), rate_hz):
        yield sound[begin : begin + rate_hz]


def run_arrays(model: Model, args: argparse.Namespace) -> int:
    tower = only_tower(model, args.tower)
    try:
        with np.load(args.input, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error):  # as NumPy fails on what is no .npz
        raise ValueError(f"{args.input} is not an .npz of arrays (numpy.savez writes them)") from None
    outputs: dict[str, Any] = tower.run(**arrays)
    with AtomicFile(args.output) as out:
        np.savez(out.stream, **outputs)
    return 0


def only_tower(model: Model, name: str | None) -> Tower:
    if name is not None and name not in model.towers:
        raise ValueError(f"{model.path} has no tower {name!r}; it has: {', '.join(model.towers)}")
    if name is None and len(model.towers) != 1:
        raise ValueError(f"{model.path} has the towers {', '.join(model.towers)}: name one with --tower")
    return model.towers[name if name is not None else next(iter(model.towers))]


def perceive(args: argparse.Namespace) -> int:
    with Model(args.model, threads=args.threads, isa=args.isa) as model:
        if args.kind == "see":
            found = model.see(args.file, args.tower)
        else:
            with FileSource(args.file) as source:
                blocks = [np.zeros(0, np.float32), *source]
            found = model.hear(np.concatenate(blocks), source.rate_hz, args.tower)
    if isinstance(found, np.ndarray):
        print(json.dumps(found.tolist()) if args.json else " ".join(f"{value:.6g}" for value in found.reshape(-1)))
    elif args.json:
        print(json.dumps([{"name": label.name, "probability": label.probability} for label in found]))
    else:
        for label in found:
            print(f"{label.probability:6.1%}  {label.name}")
    return 0
