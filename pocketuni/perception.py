"""Pictures and recordings for towers that say in META how they want them: `Model.see`, `Model.hear`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .model import Model, Tower

MOST_PIXELS = 1 << 28
HALF_TAPS, KAISER_BETA = 10, 5.0  # of the filter, per sample of the lower rate


@dataclass(frozen=True)
class Label:
    """What a tower sees or hears, and how sure it is (0 to 1)."""

    name: str
    probability: float


def perceiving_tower(model: Model, kind: str, name: str | None) -> tuple[Tower, Mapping[str, Any]]:
    """The tower of that name, or the only one whose META says how it takes an `image` or `audio`."""
    said = model.meta.get("towers")
    said = said if isinstance(said, dict) else {}
    fitting = [tower for tower in model.towers if isinstance(said.get(tower), dict) and kind in said[tower]]
    if name is not None and name not in fitting:
        raise ValueError(f"{model.path}: tower {name!r} takes no {kind}; those that do: {', '.join(fitting) or 'none'}")
    if name is None and len(fitting) != 1:
        problem = f"several towers take {kind}: {', '.join(fitting)}; name one" if fitting else f"no tower takes {kind}"
        raise ValueError(f"{model.path}: {problem} (conversion: --preprocess {kind}:...)")
    chosen = name or fitting[0]
    settings = said[chosen][kind]
    if not isinstance(settings, dict) or settings.get("input") not in model.towers[chosen].inputs:
        raise ValueError(f"{model.path}: META's towers.{chosen}.{kind} names no input of the tower")
    return model.towers[chosen], {**settings, "labels": said[chosen].get("labels")}


# Pictures.


def read_picture(source: Any) -> np.ndarray:
    """A path, a PIL image or an array [height, width(, 1, 3 or 4)] (uint8, or floats from 0 to 1) -> uint8 RGB or grey.

    Raises OSError for a file that cannot be read, ValueError for what is no picture, ImportError without Pillow.
    """
    if isinstance(source, (str, os.PathLike)):
        image = open_picture(source)
    elif hasattr(source, "convert") and hasattr(source, "size"):
        image = source
    else:
        return picture_of_array(np.asarray(source))
    if image.size[0] * image.size[1] > MOST_PIXELS:
        raise ValueError(f"the picture has {image.size[0]} x {image.size[1]} pixels, more than {MOST_PIXELS}")
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def open_picture(path: str | os.PathLike[str]) -> Any:
    image = pillow("reading pictures")
    try:
        return image.open(path)
    except image.UnidentifiedImageError as error:
        raise ValueError(f"{os.fspath(path)} is not a picture that can be read: {error}") from error


def pillow(what: str) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"{what} needs Pillow: pip install pillow", name="PIL") from error
    return Image


def picture_of_array(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise ValueError(f"the picture is an array {list(array.shape)}, expected [height, width] or [height, width, 3]")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ValueError("the picture holds floats outside of 0 to 1; give uint8 for 0 to 255")
        array = np.rint(array * 255)
    elif array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise ValueError(f"the picture is {array.dtype}, expected uint8, or floats from 0 to 1")
    return np.ascontiguousarray(array[..., :3] if array.ndim == 3 else array, np.uint8)


def picture_input(source: Any, settings: Mapping[str, Any]) -> np.ndarray:
    """float32 [1, ..] as the tower takes it: resized (bilinear, with antialiasing), (pixel - mean) * scale."""
    picture, (height, width) = read_picture(source), settings["size"]
    if settings["channels"] == 1 and picture.ndim == 3:
        picture = np.rint(picture @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    if settings["channels"] == 3 and picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.shape[:2] != (height, width):
        image = pillow("resizing pictures")
        picture = np.asarray(image.fromarray(picture).resize((width, height), image.Resampling.BILINEAR))
    pixels = picture.reshape(height, width, -1).astype(np.float32)
    pixels = (pixels - np.float32(settings["mean"])) * np.float32(settings["scale"])
    return (pixels.transpose(2, 0, 1) if settings["layout"] == "nchw" else pixels)[None]


def see(model: Model, source: Any, tower: str | None) -> list[Label] | np.ndarray:
    chosen, settings = perceiving_tower(model, "image", tower)
    outputs = chosen.run(**{settings["input"]: picture_input(source, settings)})
    return labelled(outputs, settings["labels"], model.path)


def labelled(outputs: Mapping[str, np.ndarray], labels: list[str] | None, path: str) -> list[Label] | np.ndarray:
    """Labels, the most probable one first; without labels the first output as it is."""
    values = next(iter(outputs.values()))
    if labels is None:
        return values
    scores = values.reshape(-1).astype(np.float64)
    if len(scores) != len(labels):
        raise ValueError(f"{path}: the tower gives {len(scores)} numbers, but there are {len(labels)} labels")
    if scores.min() < 0 or abs(scores.sum() - 1) > 1e-3:  # not probabilities yet
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
    return [Label(labels[place], float(scores[place])) for place in np.argsort(-scores, kind="stable")]


# Recordings.


def resample(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """float32 [n] at another rate, through a windowed sinc; what lies beyond the ends counts as 0."""
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    if up == down:
        return np.asarray(samples, np.float32)
    count = -(-len(samples) * up // down)
    places = np.arange(count) * (down / up)  # of the result, in samples of the source
    cutoff = min(1.0, up / down)
    reach = math.ceil(HALF_TAPS / cutoff)
    base = np.floor(places).astype(np.int64)
    padded = np.pad(np.asarray(samples, np.float64), reach + 1)
    result = np.zeros(count)
    for lag in range(-reach, reach + 1):
        distance = (base + lag - places) * cutoff
        inside = np.clip(1 - (distance / HALF_TAPS) ** 2, 0, None)
        window = np.i0(KAISER_BETA * np.sqrt(inside)) / np.i0(KAISER_BETA)
        result += padded[base + lag + reach + 1] * np.sinc(distance) * window * cutoff
    return result.astype(np.float32)


def sound_input(samples: npt.ArrayLike, rate_hz: int, settings: Mapping[str, Any]) -> np.ndarray:
    """float32 [1, n] at the tower's rate. Several channels (the last dimension) are averaged."""
    array = np.asarray(samples)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or 0 in array.shape:
        raise ValueError(
            f"the recording is {array.dtype} {list(array.shape)}, expected [samples] or [samples, channels]"
        )
    if not 1000 <= rate_hz <= 192000:
        raise ValueError(f"rate_hz is {rate_hz}, expected 1000 to 192000")
    scale = 1.0 if array.dtype.kind == "f" else 1 / (np.iinfo(array.dtype).max + 1)
    mono = array.astype(np.float64) * scale
    mono = mono if mono.ndim == 1 else mono.mean(axis=1)
    if not np.isfinite(mono).all():
        raise ValueError("the recording holds numbers that are not finite")
    return resample(mono.astype(np.float32), int(rate_hz), settings["rate_hz"])[None]


def fitted(sound: np.ndarray, tower: Tower, name: str) -> np.ndarray:
    """Cut, or repeated, to the length that a tower of fixed length takes."""
    shape = tower.inputs[name].shape
    length = shape[-1]
    if not isinstance(length, int):
        return sound
    sound = np.tile(sound, (1, -(-length // sound.shape[1])))[:, :length]
    return sound.reshape([item if isinstance(item, int) else 1 for item in shape])


def hear(model: Model, samples: npt.ArrayLike, rate_hz: int, tower: str | None) -> list[Label] | np.ndarray:
    chosen, settings = perceiving_tower(model, "audio", tower)
    name, sound = settings["input"], sound_input(samples, rate_hz, settings)
    if not chosen.states:
        return labelled(chosen.run(**{name: fitted(sound, chosen, name)}), settings["labels"], model.path)
    chunk = chosen.inputs[name].shape[-1]
    if not isinstance(chunk, int):
        raise ValueError(f"{model.path}: tower {chosen.name!r} takes chunks of any size: use its stream()")
    stream = chosen.stream()
    padded = np.pad(sound, ((0, 0), (0, -sound.shape[1] % chunk)))
    steps = [stream.run(**{name: part}) for part in np.split(padded, padded.shape[1] // chunk, axis=1)]
    return np.concatenate([next(iter(step.values())) for step in steps])
