"""Trains the vocoder student on recordings; a later run goes on from the last checkpoint.

python -m distill.packed && python -m distill.source && python -m distill.train_pitch
python -m distill.source --reader WORK/vocoder/pitch.pt && python -m distill.train_vocoder --stop 2300
python -m distill.train_vocoder --predicted 0.6        # once there are predicted mels: see README.md

Writes to `WORK/vocoder/NAME`: state.pt (everything, for resumption), vocoder.pt (averaged weights, what the exporter
reads), losses.csv and losses.png.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from . import istft, mel, packed, plots, restore, rounded, segments, source, spectral_loss, taught, vocoder

CLIP_NORM = 5.0
TERMS = ("resolution", "coherent", "mel")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=packed.default_work(), help="folder for features and checkpoints")
    parser.add_argument("--name", default="student", help="folder of this run within WORK/vocoder")
    parser.add_argument("--start", type=Path, help="vocoder.pt or .puni whose weights a new run starts from")
    parser.add_argument("--steps", type=int, default=4700)
    parser.add_argument("--stop", type=int, help="end this run here; a later one goes on (default: at --steps)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=96, help="length of a training segment")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--warmup", type=int, default=200, help="steps until the highest learning rate")
    parser.add_argument("--average", type=float, default=0.998, help="decay of the averaged weights")
    parser.add_argument("--coherent", type=float, default=1.0, help="weight of the voiced part's complex error")
    parser.add_argument("--mel", type=float, default=0.5, help="weight of the mel error")
    parser.add_argument("--channels", type=int, default=vocoder.Config.channels)
    parser.add_argument("--hidden", type=int, default=vocoder.Config.hidden)
    parser.add_argument("--blocks", type=int, default=vocoder.Config.blocks)
    parser.add_argument("--corpora", nargs="+", default=list(packed.CORPORA), choices=packed.CORPORA)
    parser.add_argument("--predicted", type=float, default=0.0, help="share of segments with a predicted mel")
    parser.add_argument("--taught", type=float, default=0.0, help="share of segments by the teacher (distill.taught)")
    parser.add_argument("--taught-hz", type=float, default=mel.RATE_HZ / 2, help="up to where the teacher is followed")
    parser.add_argument("--rounded", action="store_true", help=rounded.HELP)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-seconds", type=float, default=120.0, help="time between checkpoints")
    return parser.parse_args()


def learning_rate(step: int, arguments: argparse.Namespace) -> float:
    """Linear warm-up, then a cosine to a hundredth."""
    if step < arguments.warmup:
        return arguments.rate * (step + 1) / arguments.warmup
    share = (step - arguments.warmup) / max(1, arguments.steps - arguments.warmup)
    return arguments.rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share))))


def write_atomic(state: dict, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


class Trainer:
    """The model, its average, the optimizer and the sampler, saved and restored together."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.folder = packed.folder(arguments.work) / arguments.name
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(arguments.seed)
        config = vocoder.Config(arguments.channels, arguments.hidden, arguments.blocks)
        self.model = vocoder.Vocoder(config)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        if arguments.rounded:
            rounded.round_products(self.model.int8_products())
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        plain = [p for p in self.model.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.98))
        self.samplers = self.make_samplers()
        self.step = 0
        self.rows: list[list[float]] = []
        if (self.folder / "state.pt").exists():
            self.restore()
        elif arguments.start:
            self.start_from(arguments.start)

    def make_samplers(self) -> list[segments.Sampler]:
        """Of recordings, and of the teacher's speech."""
        a = self.arguments
        taught_rows = round(a.batch * a.taught)
        samplers = []
        if taught_rows < a.batch:
            rows = a.batch - taught_rows
            samplers.append(segments.Sampler(a.work, a.frames, rows, a.seed, a.corpora, a.predicted))
        if taught_rows:
            folder, corpora = taught.folder(a.work), [taught.CORPUS]
            samplers.append(segments.Sampler(folder, a.frames, taught_rows, a.seed, corpora, 1.0, a.taught_hz))
        return samplers

    def restore(self) -> None:
        state = torch.load(self.folder / "state.pt", map_location="cpu", weights_only=False)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        for sampler, random in zip(self.samplers, state["random"], strict=True):
            sampler.random.bit_generator.state = random
        self.step, self.rows = state["step"], state["rows"]

    def start_from(self, path: Path) -> None:
        """Takes the weights of another run's vocoder.pt, or of a finished `.puni`."""
        weights = (restore.vocoder_of if path.suffix == ".puni" else vocoder.load)(path).state_dict()
        self.model.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": [sampler.random.bit_generator.state for sampler in self.samplers],
            "step": self.step,
            "rows": self.rows,
        }
        write_atomic(state, self.folder / "state.pt")
        temporary = self.folder / "vocoder.tmp"
        vocoder.save(self.average, temporary)
        os.replace(temporary, self.folder / "vocoder.pt")
        with (self.folder / "losses.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["step", *TERMS], *self.rows])
        plots.losses(self.folder / "losses.csv", self.folder / "losses.png")

    def losses(self, batch: segments.Batch) -> tuple[Tensor, list[float]]:
        """The weighted sum, and the terms one by one."""
        edge = spectral_loss.EDGE_FRAMES
        excitation = source.excitation(batch.phase, batch.noise)
        with torch.autocast("cpu", torch.bfloat16):
            voiced, noisy = self.model.parts(batch.log_mel, excitation)
        audio = istft.inverse(voiced + noisy)
        inner = slice(edge * 256, -edge * 256)
        resolution = spectral_loss.resolution_loss(audio[:, inner], batch.audio[:, inner], batch.limit_hz)
        real, imaginary = voiced[:, edge:-edge].chunk(2, dim=2)
        target, is_voiced = batch.target[:, edge:-edge], batch.log_f0[:, edge:-edge] > 0
        coherent = spectral_loss.coherent_loss(torch.complex(real, imaginary), target, is_voiced, batch.limit_hz)
        output = segments.spectrum_within(audio)[:, 3:-3]
        bands = spectral_loss.mel_loss(output, batch.target[:, 4 : 4 + output.shape[1]], batch.limit_hz)
        total = resolution + self.arguments.coherent * coherent + self.arguments.mel * bands
        return total, [resolution.item(), coherent.item(), bands.item()]

    def advance(self) -> list[float]:
        """One step; returns the terms of its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.arguments)
        total, terms = self.losses(segments.joined([sampler.next() for sampler in self.samplers]))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.step += 1
        decay = min(self.arguments.average, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
                mean.lerp_(value, 1.0 - decay)
        return terms

    def run(self) -> None:
        recent: list[list[float]] = []
        saved = time.monotonic()
        last = min(self.arguments.steps, self.arguments.stop or self.arguments.steps)
        bar = tqdm(total=last, initial=self.step, mininterval=20)
        while self.step < last:
            recent.append(self.advance())
            bar.update()
            if self.step % 50 == 0 or self.step == last:
                means = [sum(column) / len(recent) for column in zip(*recent, strict=True)]
                self.rows.append([self.step, *means])
                bar.set_postfix({name: f"{value:.3f}" for name, value in zip(TERMS, means, strict=True)})
                recent = []
            if time.monotonic() - saved > self.arguments.save_seconds:
                self.save()
                saved = time.monotonic()
        self.save()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    Trainer(arguments).run()


if __name__ == "__main__":
    main()
