"""`pocketuni doctor`: what this machine offers, what is used of it, what is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from .model import default_model_path
from .text_table import size_text, table

# Package -> what is lost without it.
OPTIONAL = {
    "tokenizers": "embedding text (extra: text)",
    "sentencepiece": "embedding text, SentencePiece models (extra: text)",
    "soundfile": "saving speech as .flac and .ogg (extra: audio)",
    "sounddevice": "say --play (extra: play)",
    "matplotlib": "pictures of speech (extra: plot)",
    "torch": "convert (extra: tools)",
    "onnx": "convert onnx (extra: tools)",
    "safetensors": "convert (extra: tools)",
}


def cpu_name() -> str:
    """The CPU's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def installed_version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"


def examine() -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": _core.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "usable_cpus": _core.usable_cpus(),
        "isas": _core.usable_isas(),
        "module": _core.__file__,
    }
    try:
        found["isa"] = _core.default_isa()
    except ValueError as error:
        found["isa"] = None
        found["isa_problem"] = str(error)
    try:
        path = default_model_path()
        found["default_model"] = {"path": str(path), "size": path.stat().st_size}
    except OSError:
        found["default_model"] = None
    found["packages"] = {package: installed_version(package) for package in OPTIONAL}
    return found


def text(found: dict[str, Any]) -> str:
    forced = " (POCKETUNI_ISA)" if os.environ.get("POCKETUNI_ISA") else ""
    model = found["default_model"]
    rows = [
        ["pocketuni", found["version"]],
        ["module", f"{found['module']}, {size_text(os.path.getsize(found['module']))}"],
        ["Python", f"{found['python']}, NumPy {found['numpy']}"],
        ["system", found["system"]],
        ["CPU", found["cpu"]],
        ["threads", f"{found['usable_cpus']} used unless told otherwise ({found['cpus']} CPUs in the machine)"],
        ["kernels", f"{found['isa']}{forced}" if found["isa"] else f"PROBLEM: {found['isa_problem']}"],
        ["usable", ", ".join(found["isas"])],
        ["default model", f"{model['path']}, {size_text(model['size'])}" if model else "none: pass the path of a file"],
    ]
    for package, version in found["packages"].items():
        rows.append([package, version or f"not installed: no {OPTIONAL[package]}"])
    return table(rows, indent="")


def main(*, as_json: bool) -> int:
    found = examine()
    print(json.dumps(found, indent=1) if as_json else text(found))
    return 0
