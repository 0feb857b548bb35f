"""What the Python layer does to a picture or a recording before a tower runs, as META holds it (docs/format.md)."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from .ir import Graph

FORM = "image:HEIGHTxWIDTH[,scale=1/255][,mean=R/G/B][,layout=nhwc|nchw] or audio:RATE"


def number(text: str, what: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"--preprocess: {what} is {text!r}, expected a number or a fraction such as 1/255") from None


def numbers(text: str, what: str) -> list[float]:
    """One number, or one for each channel: `0.485:0.456:0.406`; a fraction stays one number."""
    return [number(part, what) for part in text.split(":")]


def read_preprocess(text: str, graph: Graph) -> dict[str, Any]:
    """`towers.NAME.image` or `towers.NAME.audio` of META, checked against the tower. Raises ValueError."""
    kind, colon, rest = text.partition(":")
    if kind not in ("image", "audio") or not colon:
        raise ValueError(f"--preprocess {text!r} is not of the form {FORM}")
    first, *options = rest.split(",")
    given = dict(item.partition("=")[::2] for item in options)
    name = given.pop("input", "") or only_input(graph)
    if name not in graph.inputs:
        raise ValueError(f"--preprocess: there is no input {name!r}; inputs are {', '.join(graph.inputs)}")
    return {kind: image(first, given, graph, name) if kind == "image" else audio(first, given, name)}


def only_input(graph: Graph) -> str:
    names = [name for name in graph.inputs if name not in graph.states]
    if len(names) != 1:
        raise ValueError(f"--preprocess: the tower has the inputs {', '.join(names)}; say which: ...,input=NAME")
    return names[0]


def image(size: str, given: dict[str, str], graph: Graph, name: str) -> dict[str, Any]:
    height, cross, width = size.partition("x")
    if not (cross and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ValueError(f"--preprocess: the size {size!r} is not of the form HEIGHTxWIDTH")
    shape, rows = graph.values[name].shape, [int(height), int(width)]
    layout = given.pop("layout", "")
    fitting = [kind for kind, at in (("nchw", (2, 3)), ("nhwc", (1, 2)))
               if len(shape) == 4 and all(isinstance(shape[axis], str) or shape[axis] == rows[place]
                                          for place, axis in enumerate(at))]  # fmt: skip
    channels_at = {"nchw": 1, "nhwc": 3}
    fitting = [kind for kind in fitting if shape[channels_at[kind]] in (1, 3) and layout in ("", kind)]
    if len(fitting) != 1:
        raise ValueError(
            f"--preprocess: input {name!r} is {list(shape)}, which is not a picture of {size}: say layout=nhwc or nchw"
        )
    options = {key: numbers(given.pop(key, default), key) for key, default in (("scale", "1"), ("mean", "0"))}
    channels = shape[channels_at[fitting[0]]]
    if given or any(len(values) not in (1, channels) for values in options.values()):
        raise ValueError(f"--preprocess: {', '.join(given) or 'scale or mean'} does not fit; the form is {FORM}")
    return {"input": name, "size": rows, "layout": fitting[0], "channels": channels, **options}


def audio(rate: str, given: dict[str, str], name: str) -> dict[str, Any]:
    rate = rate.removeprefix("rate=")
    if not rate.isdigit() or not 1000 <= int(rate) <= 192000 or given:
        raise ValueError(f"--preprocess: the rate {rate!r} is not 1000 to 192000 Hz; the form is {FORM}")
    return {"input": name, "rate_hz": int(rate)}


def read_labels(path: Path) -> list[str]:
    """One label a line, UTF-8. Raises OSError or ValueError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error}") from error
    labels = [line.strip() for line in lines if line.strip()]
    if not labels:
        raise ValueError(f"{path} holds no labels")
    return labels


def tower_meta(graph: Graph, preprocess: str | None, labels: Path | None) -> Mapping[str, Any]:
    """What META says of a tower."""
    meta: dict[str, Any] = read_preprocess(preprocess, graph) if preprocess else {}
    if labels is not None:
        meta["labels"] = read_labels(labels)
    return meta
