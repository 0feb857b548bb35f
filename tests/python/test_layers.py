"""Includes and imports point down the layers only."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = {
    "base": set(),
    "format": {"base"},
    "kernels": set(),
    "ops": {"kernels", "base", "format"},
    "graph": {"ops", "kernels", "format", "base"},
    "speech": {"graph", "ops", "kernels", "format", "base"},
    "lm": {"speech", "graph", "ops", "kernels", "format", "base"},
    "api": {"lm", "speech", "graph", "ops", "kernels", "format", "base"},
}


def test_includes_point_down():
    wrong, seen = [], 0
    for path in sorted((ROOT / "csrc").rglob("*.*")):
        layer = path.relative_to(ROOT / "csrc").parts[0]
        for target in re.findall(r'#include "(\w+)/', path.read_text()):
            seen += 1
            if target != layer and target not in LAYERS[layer]:
                wrong.append(f"{path.name} includes {target}/")
    assert not wrong
    assert seen > 20


def test_tools_do_not_import_the_runtime_and_the_runtime_not_torch():
    for path in (ROOT / "tools/pocketuni_tools").rglob("*.py"):  # distill judges what the runtime makes of its models
        assert not re.search(r"^\s*(import pocketuni\b|from pocketuni\b)", path.read_text(), re.M), path
    for path in (ROOT / "pocketuni").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) torch\b", path.read_text(), re.M), path
