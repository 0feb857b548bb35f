"""Adds the towers of voices from recordings to a model file, or replaces them; everything else in it stays as it is.

    python -m distill.add_towers voice.puni --work WORK -o voice-with-speaker.puni

A file that names its voice space (voice_space.py) gets the towers of that space. One that names none speaks vectors of
GE2E alone: it gets speaker_graph.py's, and a name for that.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pocketuni_tools.reader import Contents, read_model
from pocketuni_tools.report import compare, describe
from pocketuni_tools.source import Tower
from pocketuni_tools.writer import write_model

from . import cloning_towers, export, speaker_graph, voice_space

TEACHERS = "GE2E of Resemblyzer (Apache-2.0) for voice.speaker, silero VAD (MIT) for voice.activity"
DATA = "LibriSpeech, LJSpeech 1.1, VCTK p239, with synthetic rooms, noise and music"
WORST_COSINE = {"voice.speaker:features": 0.99, "voice.speaker_head:speaker": 0.999, "voice.activity:speech": 0.99}


def ge2e_space(work: Path) -> bytes:
    """Sixteen bytes that tell which map from GE2E to speaker vectors a model speaks: voices of one fit the other."""
    with np.load(work / "prepared/voices.npz") as file:
        content = b"".join(np.ascontiguousarray(file[name], "<f4").tobytes() for name in ("mean", "axes"))
    return hashlib.blake2b(content, digest_size=16).digest()


def towers_for(contents: Contents, work: Path) -> tuple[list[tuple[Tower, dict[str, str]]], bytes]:
    """The towers in the space of the file, and its name. Raises ValueError when the work folder has another space."""
    named = contents.blobs.get(voice_space.BLOB)
    if named is None or named == ge2e_space(work):
        return speaker_graph.speaker_towers(work), ge2e_space(work)
    if named != voice_space.load(work).digest():
        raise ValueError(f"the file's voice space {named.hex()} is not that of {work}; train with its own work folder")
    return cloning_towers.towers(work), named


def check(outputs: dict[str, dict[str, dict[str, float]]]) -> None:
    """Raises ValueError where a tower, as stored, differs from the student."""
    for name, least in WORST_COSINE.items():
        tower, output = name.split(":")
        if (cosine := outputs[tower][output]["cosine"]) < least:
            raise ValueError(f"{name}: cosine {cosine:.4f} to the student, expected at least {least}")


def add(stored: Contents, work: Path, out: Path) -> dict[str, Any]:
    """Writes the file with the towers; returns the errors of their outputs."""
    chosen, space = towers_for(stored, work)
    towers = [tower for tower, _ in chosen]
    packed = export.quantize(chosen)
    report = describe(towers, packed, "int8")
    report["outputs"] = compare(towers, packed)
    check(report["outputs"])
    rest = {name: p for _, precisions in chosen for name, p in precisions.items() if name not in packed}
    kept = export.others_of(stored, towers)
    provenance = dict(stored.meta.get("provenance", {}))
    provenance["voices from recordings"] = {"data": DATA, "teachers": TEACHERS}
    stored.meta["provenance"] = provenance
    stored.meta.setdefault("reports", {})["voices from recordings"] = report
    write_model(
        out,
        kept.towers + [tower.graph for tower in towers],
        precisions=rest,
        meta=stored.meta,
        blobs=stored.blobs | {voice_space.BLOB: space},
        packed=kept.packed | packed,
    )
    return report["outputs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the file to start from")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        outputs = add(read_model(options.model), options.work, options.out)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(json.dumps(outputs, indent=1))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
