"""The command line of the export tools: `python -m pocketuni_tools SOURCE ... -o FILE`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .fuse import fuse
from .quantize import PLANS, quantize
from .report import compare, describe
from .source import MissingPackage, Source, Tower, separate_names
from .texts import calibration_texts
from .writer import write_model


def convert(source: Source, output: str | os.PathLike, weights: str = "int8") -> dict[str, Any]:
    """Fuses, quantizes and writes a source; returns the report, which the file's META holds too.

    weights: one of `PLANS`. Raises ValueError for a graph that breaks a rule, OSError when the file cannot be written.
    """
    start = time.perf_counter()
    output = Path(output)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent} is not a folder")
    for tower in source.towers:
        fuse(tower.graph)
    separate_names(source.towers)
    packed = quantize(source.towers, weights)
    report = describe(source.towers, packed, weights)
    report["outputs"] = compare(source.towers, packed)
    report["seconds"] = round(time.perf_counter() - start, 2)
    meta = {**source.meta, "report": report}
    write_model(output, [tower.graph for tower in source.towers], meta=meta, blobs=source.blobs, packed=packed)
    return {**report, "file_bytes": output.stat().st_size}
