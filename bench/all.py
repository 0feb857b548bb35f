"""All benchmarks, one after the other: one Markdown page, one JSON file, and plots.

    python bench/all.py --out build/bench [--only minilm voice ...] [--data ../shared/data]

Each is a script of this folder that measures pocketuni and its peers interleaved in a process of its own; see there for
what it needs. First comes what this machine can do (limits.cc, built with CMake). One that fails or lacks a package is
left out and said so; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import cpu_name

HERE = Path(__file__).resolve().parent
LENGTHS = ("1x16", "1x32", "1x64", "1x128", "1x256", "1x512", "8x128")
Row = dict[str, str]


@dataclass
class Part:
    """A script with its arguments, and what its tables are about."""

    title: str
    script: str
    arguments: tuple[str, ...] = ()


def parts(data: Path) -> dict[str, Part]:
    """By name, in the order in which they run."""
    speech = data / "speech/ljspeech"
    recording = str(next(iter(sorted(speech.glob("*.opus"))), speech))
    return {
        "limits": Part("Limits of the machine", "limits.cc"),
        "minilm": Part("Sentence embeddings", "minilm.py", ("--data", str(data), "--shapes", *LENGTHS)),
        "voice": Part("The default voice", "voice.py"),
        "clone": Part("Voices from recordings", "clone.py", (recording,)),
        "pocket": Part("Pocket TTS", "pocket_speech.py"),
        "onnx": Part("Vision and audio", "onnx_models.py"),
        "towers": Part("Several towers, and experts", "towers.py"),
        "ops": Part("Operators in int8 against fp32", "ops.py"),
        "scaling": Part("Proportion", "scaling.py"),
    }


def tables(markdown: str) -> list[list[Row]]:
    """The tables of a page, each a list of rows by the names of their columns."""
    found: list[list[Row]] = []
    names: list[str] | None = None
    for line in markdown.splitlines():
        if not line.startswith("|"):
            names = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if names is None:
            names = cells
            found.append([])
        elif set(line) - set("|-"):
            found[-1].append(dict(zip(names, cells, strict=False)))
    return found


def run(command: list[str], log: Path) -> str:
    """What a command prints; its progress, or all of it if it fails, goes to a file. Raises CalledProcessError."""
    with log.open("w") as stream:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stream, text=True)
        if done.returncode != 0:
            stream.write(done.stdout)
    done.check_returncode()
    return done.stdout


def limits(out: Path) -> dict[str, float | str]:
    build, log = out / "limits", out / "limits.log"
    run(["cmake", "-S", str(HERE.parent), "-B", str(build), "-DPOCKETUNI_TESTS=ON"], log)
    run(["cmake", "--build", str(build), "--target", "limits"], log)
    return json.loads(run([str(build / "limits")], log))


def limits_table(found: dict[str, Any]) -> str:
    lines = ["| | measured | of the limit |", "|---|---|---|"]
    peak, tiles = found.get("int8_peak_gops"), found.get("tile_peak_gops")
    if peak:
        lines.append(f"| int8 products by vectors, one core | {peak} GOP/s | |")
    if tiles:
        lines.append(f"| int8 products by tiles, one core | {tiles} GOP/s | |")
    if "float_peak_gflops" in found:
        lines.append(f"| float products, one core | {found['float_peak_gflops']} GFLOP/s | |")
    for name, value in found.items():
        kind, _, number = name.rpartition("_")
        if kind == "read_gb_s":
            lines.append(f"| reading memory, threads: {number} | {value} GB/s | |")
        elif kind == "int4_gemv_gb_s":
            share = value / found[f"read_gb_s_{number}"]
            lines.append(f"| int4 product of a row, 14336 x 4096, threads: {number} | {value} GB/s | {share:.0%} |")
        elif kind == "int8_gemm_gops":
            shares = [
                f"{value / limit:.0%} of {name}'" for name, limit in (("vectors", peak), ("tiles", tiles)) if limit
            ]
            share = ", ".join(shares)
            lines.append(f"| int8 product of {number} rows, 1024 x 1024, one thread | {value} GOP/s | {share} |")
    return "\n".join(lines)


def plot_lengths(rows: list[Row], pyplot: Any) -> Any:
    """Latency by number of tokens, of each runtime, one thread and two."""
    rows = [row for row in rows if row["shape"].startswith("1x")]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), sharey=True)
    for axis, threads in zip(axes, ("1", "2"), strict=True):
        chosen = [row for row in rows if row["threads"] == threads]
        lengths = [int(row["shape"][2:]) for row in chosen]
        for name in rows[0]:
            if name.startswith(("pocketuni", "ORT", "OpenVINO")):
                axis.loglog(lengths, [float(row[name].split()[0]) for row in chosen], marker="o", label=name)
        axis.set(title=f"MiniLM-L6, threads: {threads}", xlabel="tokens", ylabel="ms")
    axes[0].legend()
    return figure


def plot_first_audio(rows: list[Row], pyplot: Any) -> Any:
    """Time to the first audio by length of text."""
    chosen = [row for row in rows if row[""].startswith("first audio of")]
    lengths = [int(row[""].split()[3].replace(",", "")) for row in chosen]
    figure, axis = pyplot.subplots(figsize=(6, 4))
    axis.semilogx(lengths, [float(row["elapsed"].split()[0]) for row in chosen], marker="o")
    axis.set(xlabel="characters of text", ylabel="ms to the first audio", ylim=(0, None))
    return figure


PLOTS: dict[str, tuple[str, Callable[[list[Row], Any], Any]]] = {
    "minilm": ("latency.png", plot_lengths),
    "voice": ("first_audio.png", plot_first_audio),
}


def save_plot(name: str, rows: list[Row], out: Path) -> str:
    """Draws the plot of a benchmark; returns the name of its file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    file, plot = PLOTS[name]
    plot(rows, pyplot).savefig(out / file, dpi=120, bbox_inches="tight")
    return file


def measure(name: str, part: Part, out: Path) -> tuple[str, Any]:
    """What a benchmark prints, and its figures. Raises CalledProcessError."""
    if name == "limits":
        found = limits(out)
        return limits_table(found), found
    printed = run([sys.executable, str(HERE / part.script), *part.arguments], out / f"{name}.log")
    return printed.strip(), tables(printed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for bench.md, bench.json and the plots")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared/data")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(parts(Path()))}")
    args = parser.parse_args()
    known = parts(args.data)
    if unknown := set(args.only or known) - known.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)
    page, figures, failed = [f"# {cpu_name()}, {time.strftime('%Y-%m-%d')}"], {}, []
    for name, part in known.items():
        if name not in (args.only or known):
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        page.append(f"## {part.title}")
        try:
            printed, figures[name] = measure(name, part, args.out)
        except (OSError, subprocess.CalledProcessError):
            failed.append(name)
            page.append(f"Not measured: see `{name}.log`.")
            continue
        page.append(printed)
        (args.out / "bench.md").write_text("\n\n".join(page) + "\n")  # what is measured outlives an interruption
        (args.out / "bench.json").write_text(json.dumps(figures, indent=1))
        if name in PLOTS:
            page.append(f"![]({save_plot(name, figures[name][0], args.out)})")
    (args.out / "bench.md").write_text("\n\n".join(page) + "\n")
    print("\n\n".join(page))
    for name in failed:
        print(f"bench: {name} failed; {args.out / name}.log says why", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
