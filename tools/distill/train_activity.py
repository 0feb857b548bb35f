"""Trains the voice activity tower from silero's probabilities (speaker_data.py); resumes from its last checkpoint.

    python -m distill.train_activity --work WORK --minutes 8

Silero hears the clean recording, the student a disturbed one. Recordings of speech hold little silence, so stretches
are muted, and a part of every batch is noise or music alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .activity import ActivityTower, Shape, describe
from .disturbances import NOISES, Severity, disturb
from .speaker_corpus import SPEECH, Corpus, CropSampler
from .timed_run import TimedRun

FRAMES = 320
SPEECHLESS = tuple(kind for kind in NOISES if kind != "babble")
SEVERITY = Severity(noisy=0.75, snr_db=(-4.0, 35.0), gain_db=(-26.0, 24.0))
NOISE_SHARE, MUTED, UNDISTURBED = 0.3, 0.5, 0.08
MUTED_LEVEL = float(np.log(1e-4))
MUSIC_SHARE = 0.35  # of the crops without speech
JUDGED = slice(8, -8)  # frames whose window lies within the crop, on the side that matters most


class ActivityTraining:
    def __init__(self, run: TimedRun, corpus: Corpus, batch: int, bf16: bool):
        self.run, self.batch, self.bf16 = run, batch, bf16
        self.sampler = CropSampler(corpus, run.random)
        self.check = validation_set(corpus)

    def muted(self, count: int) -> Tensor:
        """`[B, T]`: 1, but 0 in up to two stretches of half of the crops."""
        random, gates = self.run.random, np.ones((count, FRAMES), np.float32)
        for row in gates:
            if random.random() < MUTED:
                for _ in range(random.integers(1, 3)):
                    begin, size = random.integers(-40, FRAMES), random.integers(15, 160)
                    row[max(0, begin) : begin + size] = 0
        return torch.from_numpy(gates)

    def losses(self) -> dict[str, Tensor]:
        random = self.run.random
        negatives = int(round(self.batch * NOISE_SHARE))
        crops = self.sampler.crops(self.batch - negatives, FRAMES, least_speech=0.0)
        gate = self.muted(self.batch - negatives)
        said = crops.log_mel + (1 - gate[..., None]) * MUTED_LEVEL
        musical = int(round(negatives * MUSIC_SHARE))
        rest = self.sampler.noise(negatives - musical, FRAMES, SPEECHLESS)
        log_mel = torch.cat([said, self.sampler.noise(musical, FRAMES, ("music",)), rest])
        speech = torch.cat([crops.speech * gate, torch.zeros(negatives, FRAMES)])
        mask = (speech > SPEECH).float()
        mask[mask.sum(1) == 0] = 1.0  # the level of crops without speech is that of all of them
        noises = self.sampler.noise(self.batch, FRAMES, SPEECHLESS)
        heard = disturb(log_mel, mask, noises, random, SEVERITY)
        plain = torch.from_numpy(random.random(self.batch) < UNDISTURBED)
        heard = torch.where(plain[:, None, None], log_mel.clamp(min=float(np.log(1e-5))), heard)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.run.model(heard)
        loss = functional.binary_cross_entropy_with_logits(logits[:, JUDGED], speech[:, JUDGED])
        return {"speech": loss}

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Share of frames that are decided otherwise than silero decides on the clean recording."""
        wrong: dict[str, list[np.ndarray]] = {"clean": [], "disturbed": []}
        for clean, heard, speech in self.check:
            for name, log_mel in (("clean", clean), ("disturbed", heard)):
                wrong[name].append(((model(log_mel) > 0) != (speech > SPEECH)).numpy()[0])
        return {f"{name} wrong": float(np.concatenate(values).mean()) for name, values in wrong.items()}


def validation_set(corpus: Corpus) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Held-out recordings: clean log-mel, disturbed one, probability of speech."""
    random = np.random.default_rng(11)
    sampler, found = CropSampler(corpus, random), []
    for r in corpus.held_out:
        clean, room = (torch.from_numpy(x.astype(np.float32))[None] for x in (r.clean, r.room))
        speech = torch.from_numpy(r.speech.astype(np.float32))[None]
        noise = sampler.noise(1, room.shape[1], SPEECHLESS)
        severity = Severity(noisy=1.0, snr_db=(5.0, 20.0), gain_db=(-24.0, 24.0))
        found.append((clean, disturb(room, (speech > SPEECH).float(), noise, random, severity), speech))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of training in all, resumed runs included")
    parser.add_argument("--name", default="activity", help="of the checkpoint within WORK/speaker")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    model = ActivityTower(Shape())
    folder = options.work / "speaker"
    run = TimedRun(model, folder, options.name, describe(model.shape), options.minutes, options.rate, options.seed)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    training = ActivityTraining(run, Corpus(options.work), options.batch, options.bf16)
    run.resume()
    run.run(training.losses, {"speech": 1.0}, training.validate)


if __name__ == "__main__":
    main()
