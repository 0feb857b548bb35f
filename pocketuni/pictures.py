"""Pictures as towers read them, as META's `image` describes it (docs/format.md).

NumPy and Pillow alone, without anything of this package: the tools compute calibration inputs with the same functions.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_PIXELS = 1 << 28


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
    if 0 in image.size:
        raise ValueError(f"the picture has {image.size[0]} x {image.size[1]} pixels")
    if image.mode == "F":
        raise ValueError("the picture holds floats of unknown scale (mode F); give an array of floats from 0 to 1")
    if image.mode.startswith("I"):  # 16 bits, whichever way they are kept
        wide = np.asarray(image, np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError(f"the picture holds {wide.min()} to {wide.max()} (mode {image.mode}), expected 0 to 65535")
        return (wide >> 8).astype(np.uint8)
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"))


def open_picture(path: str | os.PathLike[str]) -> Any:
    """The picture of a file, decoded, turned as its camera says."""
    image = pillow("reading pictures")
    from PIL import ImageOps

    try:
        opened = image.open(path)
        if opened.size[0] * opened.size[1] <= MOST_PIXELS:
            opened.load()
        return ImageOps.exif_transpose(opened)
    except image.UnidentifiedImageError as error:
        raise ValueError(f"{os.fspath(path)} is not a picture that can be read: {error}") from error
    except OSError as error:
        if error.errno is not None:  # the system's: no such file, no right to read it
            raise
        raise ValueError(f"{os.fspath(path)}: the picture is damaged ({error})") from error
    except (SyntaxError, ValueError, struct.error, image.DecompressionBombError) as error:  # as decoders of kinds raise
        raise ValueError(f"{os.fspath(path)}: the picture is damaged ({error})") from error


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
