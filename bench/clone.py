"""How fast voices are made on this machine, as Markdown: from a recording, while it is heard, and until it speaks.

    python bench/clone.py recording.wav [--model voice.puni] [--json out.json] [--rounds 15]

Without --model, the one inside the package. Figures are medians and best of several rounds in this one process, CPU
time (of all threads) beside elapsed time: on one thread, the former is what an idle machine would take.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from voice import cpu_name, resident_bytes

import pocketuni
from pocketuni.audio_input import FileSource

SENTENCE = "Hello. This is how I sound when a computer speaks for me."
FEED_SECONDS, CLIP_SECONDS, VOICE_SECONDS = 0.08, 3.0, 5.0
Figure = dict[str, float]


def recording(path: str, least_seconds: float) -> tuple[np.ndarray, int]:
    """At least so much of it; a short one is repeated."""
    with FileSource(path) as source:
        samples = np.concatenate(list(source))
        wanted = int(least_seconds * source.rate_hz)
        return np.resize(samples, max(wanted, len(samples))), source.rate_hz


def figure(rounds: int, work: Callable[[], tuple[float, float]]) -> Figure:
    """Of (elapsed, CPU) seconds of several rounds, after one that does not count, in ms."""
    work()
    elapsed, cpu = (
        sorted(1000 * value for value in each) for each in zip(*(work() for _ in range(rounds)), strict=True)
    )
    return {
        "elapsed": statistics.median(elapsed),
        "least": elapsed[0],
        "most": elapsed[-1],
        "cpu": statistics.median(cpu),
    }


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - cpu


def voice_of(model: pocketuni.Model, samples: np.ndarray, rate_hz: int) -> pocketuni.Voice:
    builder = model.voice_builder(rate_hz)
    builder.feed(samples)
    return builder.voice()


def feeds(model: pocketuni.Model, samples: np.ndarray, rate_hz: int) -> Figure:
    """One call for each 80 ms."""
    size = int(FEED_SECONDS * rate_hz)
    pieces = [samples[at : at + size] for at in range(0, len(samples) - size, size)]
    builder = model.voice_builder(rate_hz)
    next_piece = iter(pieces)
    return figure(len(pieces) - 1, lambda: timed(lambda: builder.feed(next(next_piece))))


def first_audio(model: pocketuni.Model, samples: np.ndarray, rate_hz: int, rounds: int) -> Figure:
    """From the last 80 ms of a clip that was heard as it came, to the first chunk of speech in that voice."""
    size = int(FEED_SECONDS * rate_hz)

    def once() -> tuple[float, float]:
        builder = model.voice_builder(rate_hz)
        for at in range(0, len(samples) - size, size):
            builder.feed(samples[at : at + size])

        def rest() -> None:
            builder.feed(samples[len(samples) - size :])
            with model.stream(SENTENCE, voice=builder.voice()) as stream:
                next(stream)

        return timed(rest)

    return figure(rounds, once)


def an_hour(model: pocketuni.Model, samples: np.ndarray, rate_hz: int) -> Figure:
    builder = model.voice_builder(rate_hz)
    minute = np.resize(samples, 60 * rate_hz)
    begin = time.perf_counter()
    early = 0
    for count in range(60):
        builder.feed(minute)
        early = early or (resident_bytes() if count == 5 else 0)
    builder.voice()
    return {"seconds": time.perf_counter() - begin, "growth_kib": (resident_bytes() - early) / 1024}


def measure(path: str, model_path: str | None, rounds: int) -> dict[str, Any]:
    samples, rate_hz = recording(path, 12.0)
    threads = [n for n in (1, 2) if n <= len(os.sched_getaffinity(0))]
    models = {n: pocketuni.Model(model_path, threads=n) for n in threads}
    one = models[1]
    clip, five = samples[: int(CLIP_SECONDS * rate_hz)], samples[: int(VOICE_SECONDS * rate_hz)]
    return {
        "machine": cpu_name(),
        "kernels": one.options[1],
        "model": one.path,
        "rate_hz": rate_hz,
        "voice_of_5_s": {
            n: figure(rounds, lambda m=model: timed(lambda: voice_of(m, five, rate_hz))) for n, model in models.items()
        },
        "feed_of_80_ms": {n: feeds(model, samples, rate_hz) for n, model in models.items()},
        "first_audio_after_3_s": {n: first_audio(model, clip, rate_hz, rounds) for n, model in models.items()},
        "an_hour": an_hour(one, samples, rate_hz),
        "voice_file_bytes": len(voice_of(one, five, rate_hz)._core.encode()),
    }


def markdown(found: dict[str, Any]) -> str:
    model = Path(found["model"]).name
    lines = [
        f"{found['machine']}, kernels {found['kernels']}; {model}, recording at {found['rate_hz']} Hz",
        "",
        "| ms | threads | median | best | most | CPU time |",
        "|---|---|---|---|---|---|",
    ]
    for key, text in (
        ("voice_of_5_s", "a voice from 5 s, opened builder to voice"),
        ("feed_of_80_ms", "feed of 80 ms"),
        ("first_audio_after_3_s", "end of a clip of 3 s to the first audio in that voice"),
    ):
        for n, f in found[key].items():
            lines.append(f"| {text} | {n} | {f['elapsed']:.2f} | {f['least']:.2f} | {f['most']:.2f} | {f['cpu']:.2f} |")
    hour = found["an_hour"]
    lines += [
        "",
        f"An hour of audio: {hour['seconds']:.1f} s of work; memory grows by {hour['growth_kib']:.0f} KiB from its "
        f"sixth minute on. A voice file has {found['voice_file_bytes']} bytes and its name.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", help="of one person; the longer the better, 12 s are used")
    parser.add_argument("--model", help="a model that makes voices; without: the one in the package")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file, too")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    warnings.simplefilter("ignore", pocketuni.VoiceWarning)
    found = measure(args.recording, args.model, args.rounds)
    print(markdown(found))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
