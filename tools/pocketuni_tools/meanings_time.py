"""What the operators over time of docs/format.md mean: convolutions of [batch, time, channels], frames of samples."""

from __future__ import annotations

import numpy as np

from .meanings import FLOAT, Array, finish, meaning, round_rows


def taps_of(x: Array, taps: int, stride: int, dilation: int, pad_left: int, pad_right: int) -> Array:
    """[B, T, C] -> [B, T', taps, C]: the rows that each output row reads."""
    padded = np.pad(x, ((0, 0), (pad_left, pad_right), (0, 0)))
    rows = max(0, (padded.shape[1] - (taps - 1) * dilation - 1) // stride + 1)
    index = np.arange(rows)[:, None] * stride + np.arange(taps) * dilation
    return padded[:, index]


def rounded_by_group(x: Array, groups: int) -> Array:
    """[..., C] rounded to int8, each group of channels by a scale of its own."""
    rows, scale = round_rows(x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups))
    return (rows * scale).reshape(x.shape)


def product_by_group(windows: Array, w: Array, groups: int) -> Array:
    """[..., taps, C] times [N, taps * C / groups] -> [..., N]: each group of outputs from its group of channels."""
    *places, taps, channels = windows.shape
    split = windows.reshape(*places, taps, groups, channels // groups)
    kernel = w.reshape(groups, len(w) // groups, taps, channels // groups)
    y = np.einsum("...kgc,gnkc->...gn", split, kernel, optimize=True)
    return y.reshape(*places, len(w)).astype(FLOAT)


@meaning("conv1d")
def conv1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    taps: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    pad_left: int = 0,
    pad_right: int = 0,
    activation: str = "none",
    quantized: bool = False,
) -> Array:
    x = rounded_by_group(x, groups) if quantized else x
    windows = taps_of(x, taps, stride, dilation, pad_left, pad_right)
    return finish(product_by_group(windows, w, groups), bias, residual, activation)


@meaning("depthwise_conv1d")
def depthwise_conv1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: int = 1,
    dilation: int = 1,
    pad_left: int = 0,
    pad_right: int = 0,
    activation: str = "none",
) -> Array:
    windows = taps_of(x, len(w), stride, dilation, pad_left, pad_right)
    return finish((windows * w).sum(axis=2, dtype=FLOAT), bias, None, activation)


@meaning("conv_transpose1d")
def conv_transpose1d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    taps: int,
    stride: int = 1,
    cut_left: int = 0,
    cut_right: int = 0,
    activation: str = "none",
    quantized: bool = False,
) -> Array:
    if quantized:
        rows, scale = round_rows(x)
        x = rows * scale
    batch, length, channels = x.shape
    count, outputs = -(-taps // stride), len(w) // stride
    kernel = w.reshape(stride, outputs, count, channels)
    full = np.zeros((batch, length + count - 1 if length else 0, stride, outputs), np.float64)
    for j in range(count):  # tap j of a phase reads row u - (count - 1) + j
        begin = count - 1 - j
        full[:, begin : begin + length] += np.einsum("btc,rnc->btrn", x, kernel[:, :, j])
    rows = (length - 1) * stride + taps - cut_left - cut_right if length else 0
    y = full.reshape(batch, -1, outputs)[:, cut_left : cut_left + max(rows, 0)]
    return finish(y.astype(FLOAT), bias, None, activation)


def hann(size: int) -> Array:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


@meaning("istft")
def istft(x: Array, n_fft: int, hop: int) -> Array:
    batch, frames, _ = x.shape
    edge, window = (n_fft - hop) // 2, hann(n_fft)
    spectrum = x[..., : n_fft // 2 + 1] + 1j * x[..., n_fft // 2 + 1 :]
    parts = np.fft.irfft(spectrum, n_fft) * window
    length = frames * hop
    sums, weights = np.zeros((batch, length + 2 * edge)), np.zeros(length + 2 * edge)
    for frame in range(frames):
        sums[:, frame * hop : frame * hop + n_fft] += parts[:, frame]
        weights[frame * hop : frame * hop + n_fft] += window**2
    inside = slice(edge, edge + length)
    safe = np.where(weights < 1e-10, np.inf, weights)
    return (sums / safe)[:, inside].reshape(batch, frames, hop).astype(FLOAT)


def mel_bands(n_fft: int, mels: int, rate: float, low: float, high: float) -> Array:
    """[mels, n_fft / 2 + 1]: triangles of area 1 on Slaney's scale: linear to 1000 Hz, then logarithmic."""

    def to_mel(hz: float) -> float:
        return hz * 3 / 200 if hz < 1000 else 15 + np.log(hz / 1000) * 27 / np.log(6.4)

    mel = np.linspace(to_mel(low), to_mel(high), mels + 2)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    hz = np.arange(n_fft // 2 + 1) * rate / n_fft
    rise = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]


@meaning("mel_spectrogram")
def mel_spectrogram(
    samples: Array,
    n_fft: int,
    hop: int,
    mels: int,
    rate: float,
    low: float = 0.0,
    high: float | None = None,
    floor: float = 1e-5,
) -> Array:
    batch, length = samples.shape
    edge, frames = (n_fft - hop) // 2, length // hop
    if not frames:
        return np.zeros((batch, 0, mels), FLOAT)
    padded = np.pad(samples.astype(np.float64), ((0, 0), (edge, edge)), mode="reflect" if length > 1 else "edge")
    index = np.arange(frames)[:, None] * hop + np.arange(n_fft)
    spectrum = np.fft.rfft(padded[:, index] * hann(n_fft))
    bands = mel_bands(n_fft, mels, rate, low, rate / 2 if high is None else high)
    return np.log(np.maximum(np.sqrt(np.abs(spectrum) ** 2 + 1e-9) @ bands.T, floor)).astype(FLOAT)
