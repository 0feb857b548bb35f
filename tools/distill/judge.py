"""Judges a finished `.puni` through the runtime, and prints all figures that count, as one table.

    python -m distill.judge voice.puni --work WORK [--parts voice words clones speed] [--quick]

`voice`: the default voice on 35 held-out sentences of LJSpeech, next to their recordings. `voices`: the other named
ones, on six of them. `words`: Harvard sentences and short inputs. `clones`: speakers never heard. `speed`: of this
machine, which should have nothing else to do. `--quick` takes a few sentences of each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import judge_clones, judge_speed, judge_voices, judge_words, speakers, split
from .packed import default_data

PARTS = ("voice", "voices", "words", "clones", "speed")
OTHER_VOICES = 6  # sentences for each voice but the default one
QUICK = {"sentences": 8, "harvard": 24, "clones": 4}
WHOLE = {"sentences": split.LJSPEECH_HELD_OUT, "harvard": 360, "clones": 12}


class Table:
    """Rows that are printed as they are found, and kept for `--json`."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def add(self, name: str, figures: dict[str, Any]) -> None:
        self.rows[name] = figures
        told = ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
        print(f"| {name} | {told} |", flush=True)


def judge_voice(table: Table, model: Any, options: argparse.Namespace, sizes: dict[str, int]) -> None:
    judge = judge_voices.VoiceJudge(options.data, options.work)
    texts = judge_voices.held_out_texts(options.data, sizes["sentences"])
    voice = model.meta["default_voice"]
    vector = np.frombuffer(model.blob(f"voice/{voice}"), "<f4")
    recordings = judge_voices.recording_figures(judge, options.data, sizes["sentences"], vector)
    table.add("recordings", recordings)
    figures = judge_voices.voice_figures(model, judge, texts, voice, options.out)
    ratio = figures["word_error"] / recordings["word_error"]
    table.add(f"voice {voice}", figures | {"word error against recordings": ratio})


def judge_others(table: Table, model: Any, options: argparse.Namespace, sizes: dict[str, int]) -> None:
    judge = judge_voices.VoiceJudge(options.data, options.work)
    texts = judge_voices.held_out_texts(options.data, OTHER_VOICES)
    for voice in model.voices:
        if voice != model.meta["default_voice"]:
            table.add(f"voice {voice}", judge_voices.voice_figures(model, judge, texts, voice, options.out))


def judge_text(table: Table, model: Any, options: argparse.Namespace, sizes: dict[str, int]) -> None:
    table.add("Harvard sentences", judge_words.word_figures(model, options.data, sizes["harvard"]))
    table.add("short inputs", judge_words.short_inputs(model))


def judge_cloning(table: Table, model: Any, options: argparse.Namespace, sizes: dict[str, int]) -> None:
    def by_model(audio: np.ndarray) -> Any:
        return model.voice((audio, speakers.RATE_HZ))

    clone: Callable = judge_clones.exact_cloner(options.work) if options.vectors == "exact" else by_model
    judge = judge_clones.CloneJudge(options.data, options.work, clone)
    figures = judge(model, sizes["clones"], options.recognize)
    for name, rows in judge_clones.table(figures).items():
        table.add(name, rows)


def main() -> None:
    import pocketuni

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .puni file that distill.export wrote")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="a few sentences of each part")
    parser.add_argument(
        "--vectors", choices=["model", "exact"], default="model", help="clones by the model's towers or by the teachers"
    )
    parser.add_argument(
        "--recognize", action=argparse.BooleanOptionalAction, default=True, help="judge intelligibility of clones"
    )
    parser.add_argument("--out", type=Path, help="folder for the first sentences of each voice")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, table = pocketuni.Model(str(options.model), threads=1), Table()
    sizes = QUICK if options.quick else WHOLE
    parts: dict[str, Callable] = {
        "voice": judge_voice,
        "voices": judge_others,
        "words": judge_text,
        "clones": judge_cloning,
    }
    for name in options.parts:
        if name == "speed":
            table.add("speed", judge_speed.speed_figures(options.model, options.data))
        else:
            parts[name](table, model, options, sizes)
    if options.json:
        options.json.write_text(json.dumps(table.rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
