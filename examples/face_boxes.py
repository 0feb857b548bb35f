"""Draws boxes around faces: python examples/face_boxes.py MODEL.puni PICTURE OUT.png

MODEL: Ultra-Light-Fast-Generic-Face-Detector (slim, 320 x 240), converted from ONNX. Needs Pillow."""

import sys

import numpy as np
from PIL import Image, ImageDraw

import pocketuni

WIDTH, HEIGHT = 320, 240
ANCHORS = ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256)))  # pixels between, edges
SURE, OVERLAP = 0.7, 0.3


def anchors() -> np.ndarray:
    """[boxes, 4]: middle and size, from 0 to 1, of the boxes that the model moves and stretches."""
    rows = []
    for step, edges in ANCHORS:
        down, across = (np.arange(-(-length // step)) for length in (HEIGHT, WIDTH))
        middle = np.stack(np.meshgrid((across + 0.5) * step / WIDTH, (down + 0.5) * step / HEIGHT), -1)
        sizes = np.array([[edge / WIDTH, edge / HEIGHT] for edge in edges])
        rows.append(np.concatenate(np.broadcast_arrays(middle.reshape(-1, 1, 2), sizes), -1).reshape(-1, 4))
    return np.concatenate(rows).clip(0, 1)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Shared area over joint area, of corners [4] and [n, 4]."""
    shared = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared)


def faces(model: pocketuni.Model, picture: Image.Image) -> list[tuple[np.ndarray, float]]:
    """(corners from 0 to 1, probability) of each face, the surest one first."""
    pixels = np.asarray(picture.convert("RGB").resize((WIDTH, HEIGHT)), np.float32)
    out = model.towers["main"].run(input=((pixels - 127) / 128).transpose(2, 0, 1)[None])
    places, moves, sure = anchors(), out["boxes"][0], out["scores"][0, :, 1]
    middle = moves[:, :2] * 0.1 * places[:, 2:] + places[:, :2]
    half = np.exp(moves[:, 2:] * 0.2) * places[:, 2:] / 2
    boxes = np.concatenate([middle - half, middle + half], 1)
    left, found = np.flatnonzero(sure > SURE), []
    while len(left):
        best = left[sure[left].argmax()]
        found.append((boxes[best], float(sure[best])))
        left = left[overlaps(boxes[best], boxes[left]) < OVERLAP]
    return found


def main(model: str, path: str, out: str) -> None:
    picture = Image.open(path).convert("RGB")
    draw = ImageDraw.Draw(picture)
    with pocketuni.Model(model) as opened:
        found = faces(opened, picture)
    for box, probability in found:
        draw.rectangle([*(box.reshape(2, 2) * picture.size).reshape(-1)], outline="lime", width=3)
        print(f"{probability:6.1%}  {np.round(box, 3).tolist()}")
    picture.save(out)
    print(f"{len(found)} faces")


if __name__ == "__main__":
    main(*sys.argv[1:])
