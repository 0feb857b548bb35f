"""Calibration inputs: an .npz of arrays, or a folder of pictures or recordings, prepared as the runtime will do it."""

from __future__ import annotations

import importlib.util
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .evaluate import evaluate
from .ir import Graph
from .source import Feed

EXAMPLES_PER_FEED = 8
MOST_FILES = 256
MOST_CHUNKS = 24  # of one recording
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
RECORDINGS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au")


@cache
def runtime_module(name: str) -> Any:
    """`pocketuni/NAME.py`, one of the modules that need nothing of the package, without importing the package: the
    tools work where its extension is not built. Raises ImportError."""
    package = importlib.util.find_spec("pocketuni")
    if package is None or not package.submodule_search_locations:
        raise ImportError("the package pocketuni is not installed beside pocketuni_tools", name="pocketuni")
    path = Path(package.submodule_search_locations[0]) / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"pocketuni_tools._runtime_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_calibration(path: Path, graph: Graph, settings: Mapping[str, Any]) -> list[Feed]:
    """Inputs for every run. settings: what META says of the tower (`image` or `audio`); a folder needs one of them.
    Raises ValueError for what does not fit, OSError where files cannot be read."""
    return read_folder(path, graph, settings) if path.is_dir() else read_inputs(path, graph)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error):  # as NumPy fails on what is no .npz
        raise ValueError(f"{path} is not an .npz of arrays (numpy.savez writes them)") from None


def read_inputs(path: Path, graph: Graph) -> list[Feed]:
    """An .npz with an array for each input, all of one length: their first axis counts examples."""
    arrays = load_arrays(path)
    lengths = {array.shape[:1] for array in arrays.values()}
    if arrays.keys() != set(graph.inputs) or len(lengths) != 1 or () in lengths:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"{path} holds {shapes}, expected equally long arrays named {graph.inputs}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            raise ValueError(f"{path}: {name!r} is {array.dtype}, expected finite {graph.values[name].dtype}")
    fixed = [graph.values[name].shape[0] for name in graph.inputs if isinstance(graph.values[name].shape[0], int)]
    step, count = (fixed[0] if fixed else EXAMPLES_PER_FEED), len(next(iter(arrays.values())))
    if len(set(fixed)) > 1:
        raise ValueError(f"{path}: the inputs have different fixed batch sizes {fixed}")
    feeds = []
    for begin in range(0, count - (count % step if fixed else 0), step):
        part = {name: array[begin : begin + step] for name, array in arrays.items()}
        feeds.append({name: array.astype(graph.values[name].dtype, copy=False) for name, array in part.items()})
    if not feeds:
        raise ValueError(f"{path} holds {count} examples, expected at least {step}")
    return feeds


# Folders.


def read_folder(folder: Path, graph: Graph, settings: Mapping[str, Any]) -> list[Feed]:
    kind = next((kind for kind in ("image", "audio") if kind in settings), None)
    if kind is None:
        raise ValueError(f"{folder} is a folder: say with --preprocess how the tower takes pictures or recordings")
    endings, read = (PICTURES, pictures) if kind == "image" else (RECORDINGS, recordings)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings)
    if not files:
        raise ValueError(f"{folder} holds no {kind} files ({', '.join(endings)})")
    name = settings[kind]["input"]
    if missing := set(graph.inputs) - graph.states.keys() - {name}:
        raise ValueError(f"{folder}: inputs {', '.join(sorted(missing))} are neither files nor state: give an .npz")
    return read(files[:: -(-len(files) // MOST_FILES)], graph, settings[kind])


def pictures(files: list[Path], graph: Graph, settings: Mapping[str, Any]) -> list[Feed]:
    prepare: Callable[..., np.ndarray] = runtime_module("pictures").picture_input
    return batches((prepare(path, settings) for path in files), graph, settings["input"])


def batches(examples: Iterator[np.ndarray], graph: Graph, name: str) -> list[Feed]:
    """Examples [1, ..] in feeds: as many in each as the tower takes."""
    size = graph.values[name].shape[0]
    step = size if isinstance(size, int) else EXAMPLES_PER_FEED
    held, feeds = list(examples), []
    for begin in range(0, len(held), step):
        part = held[begin : begin + step]
        part += held[: step - len(part)] if isinstance(size, int) else []
        if len({item.shape for item in part}) == 1 and (len(part) == step or not isinstance(size, int)):
            feeds.append({name: np.concatenate(part)})
        else:
            feeds += [{name: item} for item in part]
    return feeds


def samples_of(path: Path) -> tuple[np.ndarray, int]:
    try:
        import soundfile
    except ImportError as error:
        raise ValueError("calibration on recordings needs soundfile: pip install 'pocketuni[audio]'") from error
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: not an audio file that can be read ({error.error_string})") from error
    if not len(samples):
        raise ValueError(f"{path}: the recording is empty")
    return samples, rate_hz


def recordings(files: list[Path], graph: Graph, settings: Mapping[str, Any]) -> list[Feed]:
    sound, name = runtime_module("features"), settings["input"]
    shape = graph.values[name].shape
    if graph.states:
        return [feed for path in files for feed in steps(path, graph, settings)]
    length = sound.samples_needed(settings, shape)

    def parts() -> Iterator[np.ndarray]:
        for path in files:
            whole = sound.mono(*samples_of(path), settings["rate_hz"])
            count = 1 if length is None else max(1, min(4, len(whole) // length))
            for part in np.array_split(whole, count):
                yield sound.sound_input(part, settings["rate_hz"], settings, shape)

    return batches(parts(), graph, name)


def steps(path: Path, graph: Graph, settings: Mapping[str, Any]) -> list[Feed]:
    """Some chunks of a recording in a row, each with the state that the exact graph has by then."""
    sound, name = runtime_module("features"), settings["input"]
    whole = sound.mono(*samples_of(path), settings["rate_hz"])
    chunks = sound.chunks(whole, settings, graph.values[name].shape, str(path))[:MOST_CHUNKS]
    state = {}
    for item in graph.states:
        dims = [dim if isinstance(dim, int) else 1 for dim in graph.values[item].shape]
        state[item] = np.zeros(dims, graph.values[item].dtype)
    feeds = []
    for chunk in chunks:
        feeds.append({name: chunk, **state})
        outputs = evaluate(graph, feeds[-1])
        state = {item: outputs[other] for item, other in graph.states.items()}
    return feeds
