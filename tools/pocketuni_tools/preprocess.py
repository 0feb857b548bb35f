"""What the Python layer does to a picture or a recording before a tower runs, as META holds it (docs/format.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from .ir import Graph, Shape

IMAGE_FORM = "image:HEIGHTxWIDTH[,scale=1/255][,mean=R:G:B][,layout=nhwc|nchw]"
AUDIO_FORM = "audio:rate=HZ[,window=SAMPLES,hop=SAMPLES[,mel=BANDS[,mfcc=COUNT]]]"
FORM = f"{IMAGE_FORM} or {AUDIO_FORM} (docs/towers.md)"
TAPERS, SCALES, PADS = ("hann", "sqrt-hann", "hamming", "none"), ("htk", "slaney"), ("none", "reflect")
MOST_FFT = 1 << 16


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
    return {kind: image(first, given, graph, name) if kind == "image" else audio(first, given, graph, name)}


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


def audio(first: str, given: dict[str, str], graph: Graph, name: str) -> dict[str, Any]:
    """`audio` of META: the rate, and where a window is given the features that the tower reads."""
    key, equals, value = first.partition("=")
    given = ({"rate": first} if not equals else {key: value}) | given
    rate = whole(given, "rate", None, 1000, 192000)
    settings: dict[str, Any] = {"input": name, "rate_hz": rate}
    if "window" in given:
        settings["features"] = features(given, rate, graph.values[name].shape, name)
    if given:
        raise ValueError(f"--preprocess: {', '.join(given)} does not fit; the form is {AUDIO_FORM}")
    return settings


def whole(given: dict[str, str], key: str, default: int | None, least: int, most: int) -> int:
    text = given.pop(key, None)
    if text is None and default is not None:
        return default
    if text is None or not text.isdigit() or not least <= int(text) <= most:
        raise ValueError(f"--preprocess: {key} is {text!r}, expected {least} to {most}; the form is {AUDIO_FORM}")
    return int(text)


def choice(given: dict[str, str], key: str, allowed: Sequence[str]) -> str:
    """One of the words, the first one where none is given."""
    text = given.pop(key, allowed[0])
    if text not in allowed:
        raise ValueError(f"--preprocess: {key} is {text!r}, expected one of {', '.join(allowed)}")
    return text


def features(given: dict[str, str], rate: int, shape: Shape, name: str) -> dict[str, Any]:
    """`audio.features` of META, checked against the shape of the input."""
    window = whole(given, "window", None, 2, MOST_FFT)
    found: dict[str, Any] = {"kind": "spectrum", "window": window, "hop": whole(given, "hop", None, 1, window)}
    found["fft"] = whole(given, "fft", 1 << (window - 1).bit_length(), window, MOST_FFT)
    found |= {"taper": choice(given, "taper", TAPERS), "pad": choice(given, "pad", PADS)}
    if choice(given, "normalize", ("none", "peak")) == "peak":
        found["peak"] = True
    bins = found["fft"] // 2 + 1
    sizes = [bins, 2]
    if "mel" in given:
        found |= {"kind": "mel", "mels": whole(given, "mel", None, 1, bins), "scale": choice(given, "scale", SCALES)}
        for key, default in (("low", 0), ("high", rate / 2), ("power", 2), ("floor", 1e-6)):
            found[key] = number(given.pop(key, str(default)), key)
        if not (0 <= found["low"] < found["high"] <= rate / 2 and found["power"] > 0 and found["floor"] > 0):
            raise ValueError(f"--preprocess: low, high, power or floor is out of range: {found}")
        sizes = [found["mels"]]
        if "mfcc" in given:
            found |= {"kind": "mfcc", "coefficients": whole(given, "mfcc", None, 1, found["mels"])}
            sizes = [found["coefficients"]]
    found["axes"] = axes_of(shape, sizes, name)
    return found


def axes_of(shape: Shape, sizes: Sequence[int], name: str) -> list[int]:
    """Axes of an input for frames and for what each frame holds: those of its size; frames have one that is left."""
    rest, axes = list(range(len(shape))), []
    for size in sizes:
        fitting = [axis for axis in rest if shape[axis] == size]
        if not fitting:
            raise ValueError(f"--preprocess: input {name!r} is {list(shape)}, which has no axis of {size} for features")
        axes.append(fitting[-1])
        rest.remove(fitting[-1])
    long = [axis for axis in rest if shape[axis] != 1 and axis != 0]
    if not rest or len(long) > 1:
        raise ValueError(f"--preprocess: input {name!r} is {list(shape)}: which axis of it counts frames?")
    return [long[0] if long else rest[-1], *axes]


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
