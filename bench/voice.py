"""Speech on this machine, as Markdown: real-time factor, time to first audio by length of text, memory.

    python bench/voice.py [--model voice.puni] [--json out.json] [--quick]

Without --model, the one inside the package. Figures are medians of several runs in this one process; memory is measured
in a process of its own. CPU time is given beside elapsed time: on one thread, it is what an idle machine would take.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import cpu_name

import pocketuni

# Harvard sentences, lists 1 and 2 (IEEE, 1969).
SENTENCES = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
    "It's easy to tell the depth of a well. These days a chicken leg is a rare dish. "
    "Rice is often served in round bowls. The juice of lemons makes fine punch. "
    "The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage. "
    "Four hours of steady work faced us. A large size in stockings is hard to sell. "
)
LENGTHS = (20, 200, 2_000, 20_000)
LONG_CHARACTERS = 60_000  # about an hour of speech
MEGABYTE = 1 << 20


def resident_bytes() -> int:
    """What this process holds in memory now."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def text_of(characters: int) -> str:
    return (SENTENCES * (characters // len(SENTENCES) + 1))[:characters]


def median_of(rounds: int, measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    measure()
    elapsed, cpu = zip(*(measure() for _ in range(rounds)), strict=True)
    return statistics.median(elapsed), statistics.median(cpu)


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, seconds of CPU time, result."""
    begin, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - begin, time.process_time() - cpu, result


def real_time_factor(model: pocketuni.Model, rounds: int) -> tuple[float, float]:
    """Seconds of work for a second of speech."""

    def measure() -> tuple[float, float]:
        elapsed, cpu, audio = timed(lambda: model.say(SENTENCES))
        return elapsed / audio.seconds, cpu / audio.seconds

    return median_of(rounds, measure)


def first_audio_ms(model: pocketuni.Model, text: str, rounds: int) -> tuple[float, float]:
    """From the call to the first chunk, which is 93 ms long."""

    def first() -> None:
        with model.stream(text) as stream:
            next(stream)

    def measure() -> tuple[float, float]:
        elapsed, cpu, _ = timed(first)
        return 1000 * elapsed, 1000 * cpu

    return median_of(rounds, measure)


def long_text(model: pocketuni.Model, characters: int) -> dict[str, float]:
    """Speaks a long text and throws it away: memory when a tenth is said, and the most from there on."""
    seconds, early, most, begin, cpu = 0.0, 0, 0, time.perf_counter(), time.process_time()
    with model.stream(text_of(characters), chunk_frames=64) as stream:
        for chunk in stream:
            seconds += chunk.seconds
            if chunk.words and chunk.words[-1].span[1] > characters / 10:
                most = max(most, resident_bytes())
                early = early or most
    return {
        "seconds_of_speech": seconds,
        "seconds_of_work": time.perf_counter() - begin,
        "seconds_of_cpu": time.process_time() - cpu,
        "resident_mb_at_a_tenth": early / MEGABYTE,
        "resident_mb_at_most": most / MEGABYTE,
    }


def measure(path: str | None, quick: bool) -> dict[str, Any]:
    rounds = 3 if quick else 9
    threads = [n for n in (1, 2) if n <= len(os.sched_getaffinity(0))]
    models = {n: pocketuni.Model(path, threads=n) for n in threads}
    one = models[1]
    command = [sys.executable, __file__, "--memory", str(LONG_CHARACTERS // (10 if quick else 1)), "--model", one.path]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        "machine": cpu_name(),
        "kernels": one.options[1],
        "model": one.path,
        "model_bytes": os.path.getsize(one.path),
        "real_time_factor": {n: real_time_factor(model, rounds) for n, model in models.items()},
        "first_audio_ms": {n: first_audio_ms(one, text_of(n), rounds) for n in LENGTHS},
        "long_text": json.loads(told),
    }


def markdown(found: dict[str, Any]) -> str:
    long = found["long_text"]
    file = f"{Path(found['model']).name}, {found['model_bytes'] / 1e6:.1f} MB"
    lines = [
        f"{found['machine']}, kernels {found['kernels']}; {file}",
        "",
        "| | elapsed | CPU time |",
        "|---|---|---|",
    ]
    for threads, (elapsed, cpu) in found["real_time_factor"].items():
        lines.append(f"| seconds for a second of speech, threads: {threads} | {elapsed:.4f} | {cpu:.4f} |")
    for characters, (elapsed, cpu) in found["first_audio_ms"].items():
        lines.append(f"| first audio of {characters:,} characters, 1 thread | {elapsed:.1f} ms | {cpu:.1f} ms |")
    minutes = f"{long['seconds_of_speech'] / 60:.0f} minutes of speech, 1 thread"
    lines.append(f"| {minutes} | {long['seconds_of_work']:.0f} s | {long['seconds_of_cpu']:.0f} s |")
    lines += [
        "",
        f"Memory of the process when a tenth of that is said: {long['resident_mb_at_a_tenth']:.1f} MiB; "
        f"most from there to its end: {long['resident_mb_at_most']:.1f} MiB.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a voice model; without: the one in the package")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file, too")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, a tenth of the long text")
    parser.add_argument("--memory", type=int, metavar="CHARACTERS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory is not None:
        print(json.dumps(long_text(pocketuni.Model(args.model, threads=1), args.memory)))
        return
    found = measure(args.model, args.quick)
    print(markdown(found))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
