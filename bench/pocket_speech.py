"""Pocket TTS with random weights against the package `pocket-tts` on torch, as Markdown.

    python bench/pocket_speech.py [--config NAME ...] [--weights PLAN ...] [--folder DIR] [--frames 100] [--rounds 3]

Models are true to the package's configurations; their weights are random, so what is spoken is noise, and speech never
ends by itself. Both speak the same frames behind a voice of 5 s on two threads, in this one process, one after the
other; figures are the best of the rounds. Memory is what a process of its own holds that has loaded a saved voice and
spoken.
--folder keeps the models for the next time.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import cpu_name

import pocketuni
from pocketuni import _core

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

CONFIGS = ("english", "english_18m_2026-10", "english_7m_2026-10", "english_2m_2026-10")
TEXT = "The birch canoe slid on the planks."
VOICE_SECONDS = 5
THREADS = 2
MOST_FRAMES = 8  # at once, as streams have them


def made_folder(name: str, folder: Path) -> Path:
    """A random model of a configuration of the package, made where it is not there yet."""
    from pocket import random_model

    target = folder / name
    if not (target / "model.safetensors").is_file():
        target.mkdir(parents=True, exist_ok=True)
        random_model.write_folder(target, random_model.package_config(name))
    return target


def converted(folder: Path, weights: str) -> Path:
    from pocketuni_tools.convert import convert
    from pocketuni_tools.import_pocket_tts import import_pocket_tts

    target = folder / f"{weights}.puni"
    if not target.is_file():
        convert(import_pocket_tts(folder), target, weights)
    return target


def prompt(rate_hz: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    time_axis = np.arange(VOICE_SECONDS * rate_hz) / rate_hz
    sound = 0.3 * np.sin(900 * time_axis + 3 * np.sin(20 * time_axis)) * (1 + np.sin(9 * time_axis)) / 2
    return (sound + 0.01 * generator.standard_normal(len(sound))).astype(np.float32)


def best(rounds: int, measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """The least of each of two times."""
    measure()
    first, whole = zip(*(measure() for _ in range(rounds)), strict=True)
    return min(first), min(whole)


def timed(chunks: Iterator[Any]) -> tuple[float, float]:
    begin = time.perf_counter()
    next(chunks)
    first = time.perf_counter() - begin
    for _ in chunks:
        pass
    return first, time.perf_counter() - begin


class Package:
    """The package: the generator of latents and the decoder have a thread each."""

    def __init__(self, folder: Path, quantize: bool, frames: int):
        import torch
        from pocket import random_model

        logging.disable(logging.WARNING)
        self.torch, self.frames = torch, frames
        self.model = random_model.load_package(folder, quantize)
        self.model._estimate_max_gen_len = lambda _: frames
        self.state: Any = None

    def voice(self) -> float:
        begin = time.perf_counter()
        sound = self.torch.from_numpy(prompt(self.model.sample_rate))[None]
        self.torch.set_num_threads(THREADS)
        self.state = self.model.get_state_for_audio_prompt(sound)
        self.torch.set_num_threads(1)
        return time.perf_counter() - begin

    def save(self, path: Path) -> None:
        from pocket_tts import export_model_state

        export_model_state(self.state, path)

    def load(self, path: Path) -> None:
        self.state = self.model.get_state_for_audio_prompt(path)

    def speak(self) -> tuple[float, float]:
        return timed(self.model.generate_audio_stream(self.state, TEXT, max_tokens=1000))


class Here:
    def __init__(self, file: Path, frames: int):
        self.model = pocketuni.Model(file, threads=THREADS)
        self.frames = frames
        self.settings = _core.pocket_settings(self.model._open_core())
        self.text = _core.PocketText(self.model.blob("pocket.tokenizer"))
        self.state: Any = None

    def voice(self) -> float:
        begin = time.perf_counter()
        self.state = self.model.voice((prompt(self.settings["rate_hz"]), self.settings["rate_hz"]))
        return time.perf_counter() - begin

    def save(self, path: Path) -> None:
        self.state.save(path)

    def load(self, path: Path) -> None:
        self.state = self.model.voice(path)

    def speak(self) -> tuple[float, float]:
        options = {key: self.settings[key] for key in ("temperature", "steps")}

        def chunks() -> Iterator[Any]:
            speech = _core.PocketSpeech(
                self.model._open_core(),
                self.state.state,
                "",
                threads=THREADS,
                seed=0,
                noise_clamp=0.0,
                eos_threshold=1e9,
                **options,
            )
            speech.push(self.text.encode(TEXT), self.frames, 0)
            most = 1
            while (samples := speech.next(most)) is not None:
                yield samples
                most = min(2 * most, MOST_FRAMES)

        return timed(chunks())


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def memory_of(arguments: list[str]) -> float:
    """MB that a process holds after it has loaded a voice and spoken."""
    done = subprocess.run(
        [sys.executable, __file__, "--inside", *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def inside(kind: str, path: Path, voice: Path, frames: int) -> None:
    side: Package | Here = Here(path, frames) if kind == "here" else Package(path, kind == "int8", frames)
    side.load(voice)
    side.speak()
    print(json.dumps(resident_mb()))


def measure(name: str, weights: list[str], folder: Path, frames: int, rounds: int, memory: bool) -> list[str]:
    target = made_folder(name, folder)
    sides: dict[str, tuple[Package | Here, list[str]]] = {}
    for label, quantize in (("package, fp32", False), ("package, int8", True)):
        sides[label] = Package(target, quantize, frames), ["int8" if quantize else "fp32", str(target)]
    for plan in weights:
        file = converted(target, plan)
        sides[f"pocketuni, {plan}"] = Here(file, frames), ["here", str(file)]
    lines = []
    for label, (side, arguments) in sides.items():
        voice = min(side.voice() for _ in range(2))
        first, whole = best(rounds, side.speak)
        saved = folder / f"bench.{'voice' if isinstance(side, Here) else 'safetensors'}"
        side.save(saved)
        held = memory_of([*arguments, str(saved), "--frames", str(frames)]) if memory else float("nan")
        speed = 0.08 * frames / whole
        lines.append(f"| {name} | {label} | {speed:.1f} | {first * 1e3:.1f} | {voice * 1e3:.0f} | {held:.0f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=list(CONFIGS))
    parser.add_argument("--weights", nargs="+", default=["fp32", "int8", "int4"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--inside", nargs=3, metavar=("KIND", "PATH", "VOICE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        return inside(args.inside[0], Path(args.inside[1]), Path(args.inside[2]), args.frames)
    print(f"{cpu_name()}, {THREADS} threads, {args.frames} frames of 80 ms\n")
    print("| configuration | engine | times real time | first audio, ms | voice of 5 s, ms | memory, MB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for name in args.config:
            measure(name, args.weights, folder, args.frames, args.rounds, not args.no_memory)
    return None


if __name__ == "__main__":
    main()
