"""Trains the acoustic student on what prepare.py packed; resumes from its last checkpoint.

    python -m distill.train_acoustic --work /work-data --minutes 90

The learning rate follows the share of `--minutes` that has passed, so that a shared machine's pace does not matter.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from . import likeness, plots, restore, rounded, train_pitch, units
from .acoustic import Acoustic, Shape, synthesize_mel
from .critic import Critic, critic_loss, student_loss
from .data import Batch, Prepared, Sampler
from .timed_run import descend

# How often a corpus is drawn, as far as prepare.py has it. "shifted" are speakers made of others: see shifted.py.
CORPUS_WEIGHTS = {"ljspeech": 0.34, "vctk-p239": 0.04, "librispeech": 0.27, "librispeech-voices": 0.2, "shifted": 0.15}
WARMUP_STEPS = 200
DROPOUT_ENDS = 0.9  # share of the training; it falls from 0.1 before
LOSSES = {
    "mel": 1.0,
    "structure": 0.5,
    "log_frames": 0.5,
    "pitch": 0.5,
    "voiced": 0.2,
    "energy": 0.5,
    "heard_pitch": 0.03,
    "likeness": 0.8,
}
CRITIC_LOSSES = {"adversarial": 0.1, "features": 0.5}


def structure_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004) of normalized mels `[B, T, 80]` in windows of 5 frames x 5 bands."""

    def mean(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x[:, None], 5, stride=(2, 2), padding=2)[:, 0]

    mu_p, mu_t = mean(predicted), mean(target)
    var_p = mean(predicted.square()) - mu_p.square()
    var_t = mean(target.square()) - mu_t.square()
    cov = mean(predicted * target) - mu_p * mu_t
    c1, c2 = 0.05, 0.1
    similarity = (2 * mu_p * mu_t + c1) * (2 * cov + c2) / ((mu_p.square() + mu_t.square() + c1) * (var_p + var_t + c2))
    weight = mask[:, ::2][:, : similarity.shape[1]]
    return ((1 - similarity) * weight).sum() / (weight.sum() * similarity.shape[2]).clamp(min=1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def pitch_reader(path: Path) -> train_pitch.PitchReader:
    if not path.exists():
        raise OSError(f"{path}: not there; train the reader of F0 first, with distill.train_pitch")
    return train_pitch.load(path).requires_grad_(False)


class Trainer:
    def __init__(self, data: Prepared, folder: Path, options: argparse.Namespace):
        self.data, self.folder, self.options = data, folder, options
        self.random = np.random.default_rng(options.seed)
        torch.manual_seed(options.seed)
        self.model = Acoustic(Shape(**{k: v for k, v in vars(options).items() if k in Shape.__annotations__ and v}))
        mean, deviation = data.band_statistics()
        self.model.decoder.mean.copy_(torch.from_numpy(mean))
        self.model.decoder.deviation.copy_(torch.from_numpy(deviation))
        self.critic = Critic()
        self.reader = pitch_reader(options.work / "vocoder/pitch.pt")
        self.likeness = likeness.Likeness(likeness.bands_of(options.work)).requires_grad_(False)
        # cuDNN's rule holds for the LSTM on CPUs as well: no gradient outside of training mode. It has no dropout.
        self.likeness.teacher.train()
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        if options.rounded:
            rounded.round_products(self.model.int8_products())
        betas = (0.9, 0.98)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), options.rate, betas, weight_decay=0.01)
        self.critic_optimizer = torch.optim.AdamW(self.critic.parameters(), 2e-4, (0.5, 0.9))
        weights = {corpus: weight for corpus, weight in CORPUS_WEIGHTS.items() if data.select(corpus, True)}
        self.sampler = Sampler(data, weights, options.frames, self.random)
        self.step, self.spent_s, self.begin_s = 0, 0.0, time.monotonic()
        self.sums: dict[str, float] = defaultdict(float)
        self.counted = 0
        self.rows: list[dict[str, float]] = []

    # -- state

    def state(self) -> dict:
        return {
            "shape": self.model.shape.as_dict(),
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s(),
            "random": self.random.bit_generator.state,
            "torch_random": torch.get_rng_state(),
            "rows": self.rows,
        }

    def save(self) -> None:
        """Written beside and renamed, so that a checkpoint is whole or absent."""
        temporary = self.folder / "checkpoint.pt.part"
        torch.save(self.state(), temporary)
        os.replace(temporary, self.folder / "checkpoint.pt")
        if self.rows:
            names = ["step", *sorted({name for row in self.rows for name in row} - {"step"})]
            with (self.folder / "losses.csv").open("w", newline="") as stream:
                csv.writer(stream).writerows([names, *[[row.get(name, "nan") for name in names] for row in self.rows]])
            plots.losses(self.folder / "losses.csv", self.folder / "losses.png")

    def resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["shape"] != self.model.shape.as_dict():
            raise ValueError(f"{path}: shape {state['shape']}, expected {self.model.shape.as_dict()}; move it away")
        for name in ("model", "average", "critic", "optimizer", "critic_optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.spent_s, self.rows = state["step"], state["elapsed_s"], state["rows"]
        self.random.bit_generator.state = state["random"]
        torch.set_rng_state(state["torch_random"])
        print(f"resumed at step {self.step}, {self.spent_s / 60:.1f} min", flush=True)

    def start_from(self, path: Path) -> None:
        """Takes the weights of another run's checkpoint, or of a finished `.puni`; what it lacks stays as it is."""
        if path.suffix == ".puni":
            self.model.grow_from(restore.acoustic_of(path, *self.data.band_statistics()).state_dict())
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.model.grow_from(state["average"])
            self.critic.load_state_dict(state["critic"])
        self.average.load_state_dict(self.model.state_dict())
        print(f"starts from {path}", flush=True)

    def elapsed_s(self) -> float:
        return self.spent_s + time.monotonic() - self.begin_s

    def progress(self) -> float:
        return self.elapsed_s() / (self.options.minutes * 60)

    # -- one step

    def variance_losses(self, b: Batch, heads: Tensor) -> Iterator[tuple[str, Tensor]]:
        log_frames, pitch, voiced, energy = heads.unbind(-1)
        judged = b.unit_judged
        # Huber: whether a comma is spoken as a pause at all is nearly a coin toss, and its square would rule the rest.
        loss = functional.smooth_l1_loss(log_frames, b.log_frames, reduction="none", beta=0.5)
        inner = judged * (b.ids != units.SILENCE)
        yield "log_frames", weighted_mean(loss, inner + 0.1 * (judged - inner))
        # Huber again: creaky voice halves F0, or makes the tracker halve it.
        loss = functional.smooth_l1_loss(pitch, b.prosody[..., 0] - b.voice_pitch, reduction="none", beta=0.15)
        yield "pitch", weighted_mean(loss, judged * (b.prosody[..., 1] + 0.02))
        loss = functional.binary_cross_entropy_with_logits(voiced, b.prosody[..., 1], reduction="none")
        yield "voiced", weighted_mean(loss, judged)
        yield "energy", weighted_mean((energy - b.prosody[..., 2]).square(), judged)

    def losses(self, b: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Losses by name; the normalized mel that was made and the recorded one, zero beyond the crops."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bf16):
            hidden, heads = self.model.encoder(b.ids, b.flags, b.speaker, b.unit_mask)
            hidden = torch.gather(hidden, 1, b.owner[..., None].expand(-1, -1, hidden.shape[2]))
            made = self.model.decoder.normalized(hidden, b.place, b.prosody_frames(), b.speaker, b.frame_mask)
        target = (b.mel - self.model.decoder.mean) / self.model.decoder.deviation
        # Above what the recording holds, whatever is made there is right.
        target = torch.where(b.bands[:, None] > 0, target, made.detach())
        made, target = made * b.frame_mask, target * b.frame_mask
        found = dict(self.variance_losses(b, heads))
        found["mel"] = weighted_mean((made - target).abs().mean(-1, keepdim=True), b.frame_judged)
        found["structure"] = structure_loss(made, target, b.frame_judged)
        found["heard_pitch"] = self.heard_pitch(self.model.decoder.denormalized(made), b)
        if (loss := self.heard_speaker(made, target, b)) is not None:
            found["likeness"] = loss
        return found, made, target

    def heard_pitch(self, log_mel: Tensor, b: Batch) -> Tensor:
        """How badly the runtime's pitch reader would find the recording's F0 in what was made."""
        return train_pitch.loss_of(self.reader, log_mel, b.log_f0 * b.frame_judged[..., 0])

    def heard_speaker(self, made: Tensor, target: Tensor, b: Batch) -> Tensor | None:
        """How unlike the recorded speaker the first half of the batch sounds; None where all crops are too short."""
        lengths = b.frame_mask[: len(made) // 2, :, 0].sum(1).long()
        long = [i for i, length in enumerate(lengths.tolist()) if length >= likeness.SHORTEST_FRAMES]
        if not long:
            return None
        count = int(min(lengths[i] for i in long))
        denormalized = self.model.decoder.denormalized
        return self.likeness.distance(denormalized(made[long, :count]), denormalized(target[long, :count])).mean()

    def critic_step(self, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Trains the critic on this batch; returns the student's losses by it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bf16):
            real, fake = self.critic(target), self.critic(made.detach())
        loss = critic_loss(real, fake)
        self.critic_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimizer.step()
        self.critic.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bf16):
            adversarial, features = student_loss(real, self.critic(made))
        self.critic.requires_grad_(True)
        self.sums["critic"] += float(loss.detach())
        return {"adversarial": adversarial, "features": features}

    def train_step(self) -> None:
        progress = min(1.0, self.progress())
        rate = self.options.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / WARMUP_STEPS)
        self.model.encoder.set_dropout(self.options.dropout * min(1.0, max(0.0, (DROPOUT_ENDS - progress) / 0.1)))
        found, made, target = self.losses(self.sampler.batch(self.options.batch))
        loss = sum(LOSSES[name] * value for name, value in found.items())
        if progress >= self.options.critic_from:
            judged = self.critic_step(made, target)
            strength = min(1.0, (progress - self.options.critic_from) / 0.05)
            loss = loss + strength * sum(CRITIC_LOSSES[name] * value for name, value in judged.items())
            found |= judged
        self.step = descend(self.model, self.average, self.optimizer, loss, self.step)
        for name, value in found.items():
            self.sums[name] += float(value.detach())
        self.counted += 1

    # -- judging

    def validate(self) -> str:
        """Errors of the averaged model on held-out LJSpeech: mel L1 with real prosody, durations, F0."""
        mel, frames, f0 = [], [], []
        for u in self.data.select("ljspeech", False)[:10]:
            ids, flags = torch.from_numpy(u.units.astype(np.int64)), torch.from_numpy(u.flags.astype(np.int64))
            vector = torch.from_numpy(self.data.vectors[u.speaker])
            durations = torch.from_numpy(u.frames.astype(np.int64))
            made, _ = synthesize_mel(self.average, ids, flags, vector, durations, torch.from_numpy(u.prosody()))
            mel.append(float((made - torch.from_numpy(u.mel.astype(np.float32))).abs().mean()))
            _, heads = self.average.encoder(ids[None], flags[None], vector[None], torch.ones(1, len(ids), 1))
            phones = (ids >= units.FIRST_PHONE).float()
            frames.append(float(weighted_mean((heads[0, :, 0].exp() - durations).abs(), phones)))
            error = (heads[0, :, 1] - torch.from_numpy(u.pitch)).square()
            f0.append(float(weighted_mean(error, phones * torch.from_numpy(u.voiced))))
        return f"held out: mel {np.mean(mel):.3f}, durations {np.mean(frames):.2f} frames, F0 {np.mean(f0) ** 0.5:.3f}"

    def report(self) -> None:
        means = {name: value / self.counted for name, value in self.sums.items()}
        self.rows.append({"step": self.step} | means)
        told = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
        print(f"{time.strftime('%H:%M:%S')} step {self.step}, {self.progress():.3f}: {told}", flush=True)
        self.sums.clear()
        self.counted = 0

    def run(self) -> None:
        if self.options.start and not (self.folder / "checkpoint.pt").exists():
            self.start_from(self.options.start)
        self.resume()
        last = time.monotonic()
        while self.progress() < 1:
            self.train_step()
            if self.step % 50 == 0:
                self.report()
            if time.monotonic() - last > self.options.checkpoint_minutes * 60:
                self.save()
                print(self.validate(), flush=True)
                last = time.monotonic()
        self.save()
        print("done;", self.validate(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of training in all, resumed runs included")
    parser.add_argument("--start", type=Path, help="checkpoint or .puni whose weights a new run starts from")
    parser.add_argument("--name", default="acoustic", help="folder of the run within WORK")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=224, help="longest crop")
    parser.add_argument("--rate", type=float, default=1.2e-3)
    parser.add_argument("--critic-from", type=float, default=0.5, help="share of the training after which it starts")
    parser.add_argument("--dropout", type=float, default=1.0, help="factor; 0 for a short run from trained weights")
    parser.add_argument("--rounded", action="store_true", help=rounded.HELP)
    parser.add_argument("--checkpoint-minutes", type=float, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    for name in Shape.__annotations__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=0, help="width or depth; 0: usual")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = options.work / options.name
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(Prepared(options.work), folder, options)
    count = sum(p.numel() for p in trainer.model.parameters())
    print(f"{count / 1e6:.2f} M parameters, {len(trainer.data.utterances)} recordings", flush=True)
    trainer.run()


if __name__ == "__main__":
    main()
