"""What the benchmarks share: the name of the machine they ran on, and times of calls that take turns."""

import contextlib
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def cpu_name() -> str:
    """The processor's name as the system gives it, maybe an empty text."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def best_times(calls: Mapping[str, Callable[[], object]], rounds: int, seconds: float = 0.0) -> dict[str, float]:
    """Seconds: the least of all runs of each call, in rounds in which each has its turn. In its turn it runs once, and
    again until `seconds` have passed."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            end = time.perf_counter() + seconds
            while True:
                start = time.perf_counter()
                call()
                now = time.perf_counter()
                best[name] = min(best[name], now - start)
                if now >= end:
                    break
    return best
