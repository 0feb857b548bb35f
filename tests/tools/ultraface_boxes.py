"""What the face detector takes and gives: a picture, boxes, and how far two of them cover each other."""

from pathlib import Path

import numpy as np

import pocketuni


def picture_of(path: Path) -> np.ndarray:
    """A picture as the model takes it, [1, 3, 240, 320]. Needs Pillow."""
    from PIL import Image

    picture = np.asarray(Image.open(path).convert("RGB").resize((320, 240)), np.float32)
    return ((picture - 127) / 128).transpose(2, 0, 1)[None]


def priors() -> np.ndarray:
    """[boxes, 4]: the middle and the size that each box is relative to, of a picture of 240 x 320."""
    rows = []
    for step, sizes in ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256))):
        down, across = (np.arange(-(-length // step)) for length in (240, 320))
        middle = np.stack(np.meshgrid((across + 0.5) * step / 320, (down + 0.5) * step / 240), -1).reshape(-1, 1, 2)
        size = np.array([[edge / 320, edge / 240] for edge in sizes])
        rows.append(np.concatenate(np.broadcast_arrays(middle, size), -1).reshape(-1, 4))
    return np.concatenate(rows).clip(0, 1)


def boxes(model: pocketuni.Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of all boxes, and how sure it is that each is a face."""
    out, prior = model.towers["main"].run(input=x), priors()
    middle = out["boxes"][0, :, :2] * 0.1 * prior[:, 2:] + prior[:, :2]
    size = np.exp(out["boxes"][0, :, 2:] * 0.2) * prior[:, 2:]
    return np.concatenate([middle - size / 2, middle + size / 2], 1), out["scores"][0, :, 1]


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union."""
    size = np.maximum(0, np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])).prod(1)
    return size / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - size)
