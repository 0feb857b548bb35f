"""A picture of speech: waveform, mel spectrogram and words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .audio_file import AtomicFile

if TYPE_CHECKING:
    from .speech import Audio

# The frames of docs/voice.md.
FFT_SAMPLES, HOP_SAMPLES, MELS = 1024, 256, 80
HIGH_HZ = 8000.0
FLOOR = 1e-5
MOST_WORDS = 80  # more would cover each other


def filter_bank(rate_hz: int) -> np.ndarray:
    """Triangles of equal area on Slaney's mel scale from 0 to 8 kHz: float32 `[80, 513]`."""
    # The scale is linear up to 1 kHz (15 mel), then 27 mel stand for a factor of 6.4.
    top = 15.0 + 27.0 * np.log(HIGH_HZ / 1000.0) / np.log(6.4)
    mels = np.linspace(0.0, top, MELS + 2)
    edges = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp((mels - 15.0) * np.log(6.4) / 27.0))
    bins = np.linspace(0.0, rate_hz / 2, FFT_SAMPLES // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    return (np.maximum(0.0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


def log_mel(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Natural logarithm of mel magnitudes, `[floor(N / 256), 80]`."""
    edge = (FFT_SAMPLES - HOP_SAMPLES) // 2
    padded = np.pad(samples, edge, mode="reflect" if len(samples) > edge else "constant")
    if len(padded) < FFT_SAMPLES:
        return np.zeros((0, MELS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)
    bank = filter_bank(rate_hz).T
    parts = [np.abs(np.fft.rfft(part * window)) @ bank for part in np.array_split(frames, len(frames) // 256 + 1)]
    return np.log(np.maximum(np.concatenate(parts), FLOOR))


def draw(audio: Audio, path: str | os.PathLike[str]) -> None:
    try:
        from matplotlib.figure import Figure  # not pyplot: it keeps global state and may open windows
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'pocketuni[plot]'", name="matplotlib") from error
    kind = Path(os.fspath(path)).suffix.lower().removeprefix(".")
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"{os.fspath(path)}: the format follows from the suffix, one of .png, .svg, .pdf")
    width = min(40.0, max(8.0, 2.5 * audio.seconds))
    figure = Figure(figsize=(width, 5.0), layout="constrained")
    wave, mel = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    times = np.arange(len(audio.samples)) / audio.rate_hz
    wave.plot(times, audio.samples, linewidth=0.4)
    wave.set(ylim=(-1, 1), ylabel="amplitude", xlim=(0, max(audio.seconds, 1e-3)))
    bands = log_mel(audio.samples, audio.rate_hz)
    if len(bands):
        extent = (0.0, len(bands) * HOP_SAMPLES / audio.rate_hz, 0.0, float(MELS))
        mel.imshow(bands.T, origin="lower", aspect="auto", extent=extent, vmin=np.log(FLOOR))
    mel.set(ylabel="mel band", xlabel="seconds")
    for word in audio.words[:MOST_WORDS]:
        for axes in (wave, mel):
            axes.axvline(word.start, linewidth=0.5, color="0.6")
        wave.text(word.start, 1.0, f" {word.text}", fontsize=8, rotation=30, va="bottom")
    with AtomicFile(path) as file:
        figure.savefig(file.stream, format=kind, dpi=120)
