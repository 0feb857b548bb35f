"""Sounds for the tests of voices: something like a voice, and files of it."""

import wave

import numpy as np

RATE = 16000


def voiced(seconds, hz=140.0, formant=700.0, rate=RATE, size=0.3):
    """Harmonics under one formant, in syllables, some louder than others: to the towers of the test, most of it is
    speech."""
    time_s = np.arange(int(seconds * rate)) / rate
    sound = np.zeros(len(time_s))
    for k in range(1, int(min(4000, 0.45 * rate) / hz)):
        sound += np.sin(2 * np.pi * k * hz * time_s) * (0.2 / k + np.exp(-(((k * hz - formant) / 400) ** 2)) / 4)
    loud = 0.4 + 0.6 * np.mod(np.floor(4 * time_s) * 0.618, 1)
    return (size * sound * loud * np.sin(2 * np.pi * 2 * time_s) ** 2).astype(np.float32)


def write_wave(path, samples, rate=RATE, width=2, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", "not compressed"))
        scaled = np.round(np.repeat(samples, channels) * (2 ** (8 * width - 1) - 1)).astype("<i4")
        if width == 3:
            data = scaled.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        else:
            data = (scaled + (128 if width == 1 else 0)).astype({1: "u1", 2: "<i2", 4: "<i4"}[width]).tobytes()
        file.writeframes(data)
    return path
