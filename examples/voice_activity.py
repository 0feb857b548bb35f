"""Where somebody speaks: python examples/voice_activity.py MODEL.puni RECORDING OUT.png

Draws the probability of speech under the waveform. Needs soundfile and Pillow. MODEL: silero VAD, converted with
--fix sr=16000 --carry input=64+512 --preprocess audio:16000."""

import sys

import numpy as np
import soundfile
from PIL import Image, ImageDraw

import pocketuni

WIDTH, HEIGHT = 1200, 200


def curve(values: np.ndarray, top: float, bottom: float) -> list[tuple[float, float]]:
    """Points of values from 0 to 1 over the whole width."""
    x = np.linspace(0, WIDTH - 1, len(values))
    return list(zip(x.tolist(), (bottom - values * (bottom - top)).tolist(), strict=True))


def main(model: str, path: str, out: str) -> None:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    with pocketuni.Model(model) as opened:
        speech = opened.hear(samples, rate_hz).reshape(-1)
    mono = samples if samples.ndim == 1 else samples.mean(1)
    picture = Image.new("RGB", (WIDTH, 2 * HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    for x, part in enumerate(np.array_split(mono, WIDTH)):
        low, high = (HEIGHT / 2 * (1 - value) for value in (part.max(initial=0), part.min(initial=0)))
        draw.line([(x, low), (x, high)], fill="steelblue")
    draw.line(curve(speech, HEIGHT + 10, 2 * HEIGHT - 10), fill="crimson", width=2)
    picture.save(out)
    print(f"{np.mean(speech > 0.5):.0%} of {len(mono) / rate_hz:.1f} s is speech")


if __name__ == "__main__":
    main(*sys.argv[1:])
