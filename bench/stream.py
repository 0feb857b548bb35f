"""Times a vocoder of the size that docs/voice.md means, whole and in chunks: 80 -> 256 by 7 taps, 7 ConvNeXt blocks of
256 and 704, 1,026 outputs, inverse transform of 1,024 samples every 256; int8 weights, one thread.

    python bench/stream.py [--blocks 7] [--width 256] [--hidden 704] [--isa NAME] [--profile]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

from pocketuni import _core

FRAMES_PER_SECOND = 22050 / 256


def vocoder(blocks: int, width: int, hidden: int) -> tuple[Graph, dict[str, str]]:
    random = np.random.default_rng(1)
    graph, precisions = Graph("vocoder"), {}

    def constant(*shape: int, precision: str = "f32") -> str:
        array = np.asarray(random.normal(size=shape) / np.sqrt(shape[-1]), np.float32)
        name = graph.add_constant(f"w{len(graph.constants)}", array)
        precisions[name] = precision
        return name

    def node(op: str, inputs: list, size: int, **attributes) -> str:
        return graph.add_node(op, inputs, [Value("v", "float32", (1, "frames", size))], **attributes)[0]

    same = {"pad_left": 3, "pad_right": 3}
    x = graph.add_input("mel", "float32", (1, "frames", 80))
    x = node("conv1d", [x, constant(width, 560, precision="int8"), constant(width)], width, taps=7, **same)
    for _ in range(blocks):
        y = node("depthwise_conv1d", [x, constant(7, width), constant(width)], width, **same)
        y = node("layer_norm", [y, constant(width), constant(width)], width, eps=1e-6)
        y = node("linear", [y, constant(hidden, width, precision="int8"), constant(hidden)], hidden, activation="gelu")
        x = node("linear", [y, constant(width, hidden, precision="int8"), constant(width), x], width)
    x = node("linear", [x, constant(1026, width, precision="int8"), constant(1026)], 1026)
    graph.outputs = [node("istft", [x], 256, n_fft=1024, hop=256)]
    return graph, precisions


def best(function, rounds: int = 15) -> float:
    """Shortest time of a call in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def chunk_times(stream, mel: np.ndarray, size: int) -> tuple[float, list[float]]:
    """Milliseconds until the first samples, and of each chunk after them, with all frames known."""
    stream.reset()
    stream.push({"mel": mel})
    stream.finish()
    times = []
    while not stream.done:
        start = time.perf_counter()
        stream.pull(size)
        times.append((time.perf_counter() - start) * 1e3)
    return times[0], times[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=704)
    parser.add_argument("--isa", default="")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    mel = np.random.default_rng(2).normal(size=(1, 258, 80)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocoder.puni"
        graph, precisions = vocoder(args.blocks, args.width, args.hidden)
        write_model(path, [graph], precisions=precisions)
        model = _core.Model(str(path))
        session = _core.Session(model, "vocoder", 1, args.isa)
        seconds = mel.shape[1] / FRAMES_PER_SECOND
        print(f"{session.isa}, 1 thread, {path.stat().st_size / 2**20:.1f} MiB")
        print(f"whole, {seconds:.1f} s of audio: {best(lambda: session.run({'mel': mel})) / seconds:.2f} ms per second")
        if args.profile:
            session.set_profiling(True)
            session.run({"mel": mel})
            totals: dict[str, float] = {}
            for entry in session.profile():
                totals[entry["op"]] = totals.get(entry["op"], 0.0) + entry["seconds"]
            for op, value in sorted(totals.items(), key=lambda item: -item[1]):
                print(f"  {op:18} {value * 1e3 / seconds:.3f} ms per second")
        stream = _core.Stream(model, "vocoder", 1, args.isa)
        print(f"lookahead {stream.lookahead} frames")
        for size in (1, 2, 4, 8, 16, 32, 64):
            runs = [chunk_times(stream, mel, size) for _ in range(9)]
            first, rest = min(run[0] for run in runs), min(float(np.median(run[1])) for run in runs)
            rate = rest / (size / FRAMES_PER_SECOND)
            print(f"chunks of {size:2} frames: first {first:.2f} ms, each {rest:.3f} ms, {rate:.2f} ms per second")


if __name__ == "__main__":
    main()
