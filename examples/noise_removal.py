"""Takes noise out of a recording, frame by frame as it would come from a microphone:
python examples/noise_removal.py MODEL.puni NOISY.wav CLEAN.wav

MODEL: GTCRN, converted from ONNX; its caches are found by name. 16 kHz, mono. Needs soundfile."""

import sys

import numpy as np
import soundfile

import pocketuni

SIZE, HOP = 512, 256  # samples of a frame, and between frames
WINDOW = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE))


def clean(model: pocketuni.Model, samples: np.ndarray) -> np.ndarray:
    """float32 [n] -> [n]; the result is one hop late, which is cut off here."""
    stream = model.towers["main"].stream()
    padded = np.pad(samples, (HOP, SIZE))
    out = np.zeros(len(padded))
    for begin in range(0, len(padded) - SIZE + 1, HOP):
        bins = np.fft.rfft(padded[begin : begin + SIZE] * WINDOW)
        frame = np.stack([bins.real, bins.imag], -1).astype(np.float32)
        enhanced = stream.run(frame[None, :, None])["enh"][0, :, 0]
        out[begin : begin + SIZE] += np.fft.irfft(enhanced[:, 0] + 1j * enhanced[:, 1]) * WINDOW
    return out[HOP : HOP + len(samples)].astype(np.float32)


def main(model: str, noisy: str, out: str) -> None:
    samples, rate_hz = soundfile.read(noisy, dtype="float32")
    if rate_hz != 16000 or samples.ndim != 1:
        raise SystemExit(f"{noisy} has {rate_hz} Hz and {samples.ndim} dimensions; the model wants 16000 Hz, mono")
    with pocketuni.Model(model, threads=1) as opened:
        result = clean(opened, samples)
    soundfile.write(out, result, rate_hz)
    print(f"{len(result) / rate_hz:.1f} s, {10 * np.log10(np.mean(samples**2) / np.mean(result**2)):.1f} dB softer")


if __name__ == "__main__":
    main(*sys.argv[1:])
