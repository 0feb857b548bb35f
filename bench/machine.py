"""What the benchmarks say about the machine they ran on."""

import contextlib
import platform
from pathlib import Path


def cpu_name() -> str:
    """The processor's name as the system gives it, maybe an empty text."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
