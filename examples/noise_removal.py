"""Takes noise out of a recording, as it would come from a microphone: a hundredth of a second at a time.
python examples/noise_removal.py MODEL.puni NOISY.wav CLEAN.wav

MODEL: GTCRN, converted with --preprocess audio:rate=16000,window=512,hop=256,taper=sqrt-hann,pad=reflect. The shell
does the same with `pocketuni run MODEL.puni --input NOISY.wav -o CLEAN.wav`. Needs soundfile."""

import sys
import time

import numpy as np
import soundfile

import pocketuni


def main(model: str, noisy: str, out: str) -> None:
    samples, rate_hz = soundfile.read(noisy, dtype="float32")
    with pocketuni.Model(model, threads=1) as opened:
        stream = opened.sound_stream()
        if rate_hz != stream.rate_hz or samples.ndim != 1:
            raise SystemExit(f"{noisy} has {rate_hz} Hz and {samples.ndim} dimensions, not {stream.rate_hz} Hz, mono")
        start, step = time.perf_counter(), rate_hz // 100
        parts = [stream.feed(samples[at : at + step]) for at in range(0, len(samples), step)]
        result = np.concatenate([*parts, stream.finish()])
        speed = len(samples) / rate_hz / (time.perf_counter() - start)
    soundfile.write(out, result, rate_hz)
    softer = 10 * np.log10(np.mean(samples**2) / np.mean(result**2))
    print(f"{len(result) / rate_hz:.1f} s, {softer:.1f} dB softer, {speed:.0f} times as fast as it was said")


if __name__ == "__main__":
    main(*sys.argv[1:])
