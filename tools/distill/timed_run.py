"""Training that follows the clock: steps, averaged weights, checkpoints to go on from, a table and its picture."""

from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import plots

WARMUP_STEPS = 100
EMA = 0.998
LOWEST_RATE = 0.02  # of the first one, at the end
REPORT_STEPS = 100
CHECKPOINT_S = 120.0


def descend(model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, step: int) -> int:
    """One step down a loss, after which `average` follows the model; returns the next step's number. Raises
    FloatingPointError when the gradient is not finite."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    if not torch.isfinite(norm):
        raise FloatingPointError(f"step {step}: the gradient is not finite; resume with a smaller --rate")
    optimizer.step()
    step += 1
    decay = min(EMA, (step + 1) / (step + 20))
    with torch.no_grad():
        for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
            mine.lerp_(theirs, 1 - decay)
    return step


class TimedRun:
    """Trains `model` for `minutes` in all, interruptions left out; `FOLDER/NAME.pt`, `.csv` and `.png` tell the state.

    Seeded, but not repeatable to the bit: the learning rate follows the clock.
    """

    def __init__(
        self, model: nn.Module, folder: Path, name: str, shape: dict[str, int], minutes: float, rate: float, seed: int
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.model, self.folder, self.name, self.shape = model, folder, name, shape
        self.minutes, self.rate = minutes, rate
        self.random = np.random.default_rng(seed)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.98), weight_decay=0.02)
        self.step, self.spent_s, self.begin_s = 0, 0.0, time.monotonic()
        self.since: dict[str, list[float]] = defaultdict(list)  # losses by name, since the last report
        self.rows: list[dict[str, float]] = []

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}.pt"

    def elapsed_s(self) -> float:
        return self.spent_s + time.monotonic() - self.begin_s

    def progress(self) -> float:
        return self.elapsed_s() / (self.minutes * 60)

    def save(self) -> None:
        """Written beside and renamed, so that a checkpoint is whole or absent."""
        state = {
            "shape": self.shape,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s(),
            "random": self.random.bit_generator.state,
            "rows": self.rows,
        }
        torch.save(state, partial := self.checkpoint.with_suffix(".pt.part"))
        os.replace(partial, self.checkpoint)

    def resume(self) -> bool:
        """Goes on from the checkpoint; False where there is none, or the weights of a finished file alone."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if state["shape"] != self.shape:
            raise ValueError(f"{self.checkpoint}: shape {state['shape']}, expected {self.shape}; move it away")
        if "optimizer" not in state:  # distill.restore has written it
            for model in (self.model, self.average):
                model.load_state_dict(state["average"])
            print(f"starts from the weights of {self.checkpoint}", flush=True)
            return False
        for name in ("model", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.spent_s, self.rows = state["step"], state["elapsed_s"], state["rows"]
        self.random.bit_generator.state = state["random"]
        print(f"resumed at step {self.step}, {self.spent_s / 60:.1f} min", flush=True)
        return True

    def take_step(self, losses: dict[str, Tensor], weights: dict[str, float]) -> None:
        """One step down the weighted sum of losses. Raises FloatingPointError when the gradient is not finite."""
        progress = min(1.0, self.progress())
        rate = self.rate * (LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / WARMUP_STEPS)
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        self.step = descend(self.model, self.average, self.optimizer, loss, self.step)
        for name, value in losses.items():
            self.since[name].append(float(value.detach()))

    def report(self, validate: Callable[[nn.Module], dict[str, float]] | None) -> None:
        """One more row of the table: mean losses since the last, and what `validate` says of the averaged model."""
        row = {"step": float(self.step)} | {name: float(np.mean(values)) for name, values in self.since.items()}
        self.since.clear()
        print(f"{time.strftime('%H:%M:%S')} {self.progress():.3f}: {figures(row)}", flush=True)
        if validate is not None:
            row |= (found := validate(self.average))
            self.rows.append(row)
            print(f"  held out: {figures(found)}", flush=True)
            with (table := self.folder / f"{self.name}.csv").open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(row), restval="nan", extrasaction="ignore")  # losses may change
                writer.writeheader()
                writer.writerows(self.rows)
            plots.losses(table, self.folder / f"{self.name}.png")

    def run(
        self,
        losses: Callable[[], dict[str, Tensor]],
        weights: dict[str, float],
        validate: Callable[[nn.Module], dict[str, float]],
    ) -> None:
        """Trains until the time is up. `losses` draws a batch; `validate` gives figures of the averaged model."""
        last_s = time.monotonic()
        while self.progress() < 1:
            self.take_step(losses(), weights)
            if self.step % REPORT_STEPS == 0:
                due = time.monotonic() - last_s > CHECKPOINT_S
                self.report(validate if due else None)
                if due:
                    self.save()
                    last_s = time.monotonic()
        self.report(validate)
        self.save()


def figures(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in row.items())
