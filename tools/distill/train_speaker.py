"""Trains the student of GE2E (speaker_tower.py) on what speaker_data.py wrote; resumes from its last checkpoint.

    python -m distill.train_speaker --work WORK --minutes 25

What it hears is disturbed by rooms, noise, microphones and band limits; what it must answer is what the teacher says
of the clean recording: of the crop, of the whole recording, and of all the speaker's recordings. In every second batch
each crop is spoken by a voice of its own (warped.py), of which the teacher hears the mel.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import likeness, warped
from .disturbances import Severity, disturb
from .speaker_corpus import SPEECH, Corpus, Crops, CropSampler, Recording
from .speaker_tower import Shape, SpeakerTower, describe, statistics
from .timed_run import TimedRun

WEIGHTS = {"crop": 0.5, "recording": 0.3, "voice": 0.2, "who": 0.01, "warped": 1.0}
SHORTEST, LONGEST = 104, 480  # frames of a crop: 1.2 .. 5.6 s
SHARPNESS = 18.0  # of the softmax over all voices
VALIDATION_FRAMES = 258  # 3 s
# Worse disturbances than these cost more likeness on good recordings than they bring on bad ones.
SEVERITY = Severity(noisy=0.6, snr_db=(6.0, 40.0), coloured=0.6, narrow=0.25, gain_db=(-16.0, 10.0))
UNDISTURBED, IN_ROOM = 0.3, 0.3
WARPED = 0.5  # of the batches
FIT_BATCHES, LAST_FIT, RIDGE = 160, 2, 10.0


class SpeakerTraining:
    def __init__(self, run: TimedRun, corpus: Corpus, hearing: likeness.Likeness, batch_frames: int, bf16: bool):
        self.run, self.corpus, self.hearing, self.batch_frames, self.bf16 = run, corpus, hearing, batch_frames, bf16
        self.sampler, self.dry_sampler = CropSampler(corpus, run.random, IN_ROOM), CropSampler(corpus, run.random, 0.0)
        self.prototypes = torch.from_numpy(corpus.prototypes())
        self.whole = {id(r): corpus.vectors(corpus.whole(r)) for r in corpus.training + corpus.held_out}
        self.check = self.validation_set()

    def heard_speech(self, speech: Tensor) -> Tensor:
        """Which frames are pooled: an activity gate of some threshold, with errors."""
        thresholds = torch.from_numpy(self.run.random.uniform(0.2, 0.8, (len(speech), 1))).float()
        mask = speech > thresholds
        wrong = torch.from_numpy(self.run.random.random(speech.shape) < 0.03)
        mask = mask ^ wrong
        mask[:, 0] |= ~mask.any(1)
        return mask.float()

    def crops_of(self, frames: int) -> int:
        """How many make a batch."""
        return max(6, self.batch_frames // frames)

    def draw(self, frames: int) -> tuple[Crops, Tensor, Tensor]:
        """Crops with what is heard of them, `[B, frames, 80]`, and the frames that are pooled, `[B, frames]`."""
        crops = self.sampler.crops(self.crops_of(frames), frames)
        return crops, *self.through_air(crops.log_mel, crops.speech)

    def through_air(self, log_mel: Tensor, speech: Tensor) -> tuple[Tensor, Tensor]:
        """What is heard of `log_mel` `[B, T, 80]`, and the frames that are pooled `[B, T]`."""
        random, (count, frames, _) = self.run.random, log_mel.shape
        noise = self.sampler.noise(count, frames)
        heard = disturb(log_mel, (speech > SPEECH).float(), noise, random, SEVERITY)
        plain = torch.from_numpy(random.random(count) < UNDISTURBED)
        return torch.where(plain[:, None, None], log_mel, heard), self.heard_speech(speech)

    def statistics(self, model: SpeakerTower, heard: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            features = model.features(heard)
        return statistics(features, mask)

    @staticmethod
    def embeddings(crops: Crops) -> np.ndarray:
        """The teacher's means `[B, 256]` over the crops."""
        frames = crops.log_mel.shape[1]
        pairs = zip(crops.recordings, crops.begins, strict=True)
        return np.stack([r.embedding(b, b + frames) for r, b in pairs])

    def taught(self, crops: Crops) -> Tensor:
        """The teacher's vectors `[B, 192]` of the crops."""
        return torch.from_numpy(self.corpus.vectors(self.embeddings(crops)))

    @torch.no_grad()
    def fit_head(self, model: SpeakerTower, batches: int = FIT_BATCHES) -> None:
        """The head by ridge regression on what the features are now."""
        stats, vectors = [], []
        for _ in range(batches):
            crops, heard, mask = self.draw(int(self.run.random.integers(SHORTEST, LONGEST)))
            stats.append(self.statistics(model, heard, mask))
            vectors.append(self.taught(crops))
        model.head.fit(torch.cat(stats), torch.cat(vectors), RIDGE)

    def losses_of_warped(self, frames: int) -> dict[str, Tensor]:
        random = self.run.random
        crops = self.dry_sampler.crops(self.crops_of(frames), frames)
        warps = [warped.draw(random, warped.USUAL_LOG_F0) for _ in crops.recordings]
        made = torch.from_numpy(np.stack([w(x) for w, x in zip(warps, crops.log_mel.numpy(), strict=True)]))
        # The teacher hears mels not quite as it hears audio; the difference that a warp makes it hears alike.
        loud = -float(np.log(likeness.LEVEL))
        moved = warped.heard(self.hearing, made + loud) - warped.heard(self.hearing, crops.log_mel + loud)
        target = torch.from_numpy(self.corpus.vectors(self.embeddings(crops) + moved.numpy()))
        heard, mask = self.through_air(made, crops.speech)
        found = self.run.model.speaker(self.statistics(self.run.model, heard, mask))
        return {"warped": (1 - (found * target).sum(1)).mean()}

    def losses(self) -> dict[str, Tensor]:
        frames = int(np.exp(self.run.random.uniform(np.log(SHORTEST), np.log(LONGEST))))
        if self.run.random.random() < WARPED:
            return self.losses_of_warped(frames)
        crops, heard, mask = self.draw(frames)
        made = self.run.model.speaker(self.statistics(self.run.model, heard, mask))
        target = self.taught(crops)
        whole = np.stack([self.whole[id(r)] for r in crops.recordings])
        voices = torch.tensor([r.voice for r in crops.recordings])
        return {
            "crop": (1 - (made * target).sum(1)).mean(),
            "recording": (1 - (made * torch.from_numpy(whole)).sum(1)).mean(),
            "voice": (1 - (made * self.prototypes[voices]).sum(1)).mean(),
            "who": functional.cross_entropy(SHARPNESS * made @ self.prototypes.T, voices),
        }

    def validation_set(self) -> list[tuple[Recording, Tensor, Tensor, Tensor]]:
        """Recordings of held-out speakers with the clean log-mel, a disturbed one and the mask of speech."""
        random = np.random.default_rng(7)
        sampler = CropSampler(self.corpus, random)
        seen = {r.speaker for r in self.corpus.training}
        found = []
        for r in (r for r in self.corpus.held_out if r.speaker not in seen):
            clean, room = (torch.from_numpy(x.astype(np.float32))[None] for x in (r.clean, r.room))
            mask = torch.from_numpy(r.speech.astype(np.float32) > SPEECH).float()[None]
            heard = disturb(
                room, mask, sampler.noise(1, room.shape[1]), random, Severity(noisy=1.0, snr_db=(5.0, 20.0))
            )
            found.append((r, clean, heard, mask))
        return found

    @torch.inference_mode()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """1 - cosine to the teacher's vector of the whole recording: clean, disturbed, and of the first 3 s."""
        found: dict[str, list[float]] = {"clean": [], "disturbed": [], "clean 3 s": [], "disturbed 3 s": []}
        for r, clean, heard, mask in self.check:
            vector = torch.from_numpy(self.whole[id(r)])
            for name, log_mel in (("clean", clean), ("disturbed", heard)):
                for suffix, end in (("", clean.shape[1]), (" 3 s", VALIDATION_FRAMES)):
                    if mask[:, :end].sum() > 0:
                        made = model(log_mel[:, :end], mask[:, :end])[0]
                        found[name + suffix].append(1 - float(made @ vector))
        return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True, help="of training in all, resumed runs included")
    parser.add_argument("--name", default="speaker", help="of the checkpoint within WORK/speaker")
    parser.add_argument("--batch-frames", type=int, default=6000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    for name in Shape.__annotations__:
        parser.add_argument(f"--{name}", type=int, default=0, help="width or depth; 0: usual")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    shape = Shape(**{name: value for name, value in vars(options).items() if name in Shape.__annotations__ and value})
    model = SpeakerTower(shape)
    run = TimedRun(
        model, options.work / "speaker", options.name, describe(shape), options.minutes, options.rate, options.seed
    )
    corpus = Corpus(options.work)
    count = sum(p.numel() for p in model.parameters())
    print(f"{count / 1e6:.2f} M parameters, {len(corpus.training)} recordings, {len(corpus.voices)} voices", flush=True)
    hearing = likeness.Likeness(likeness.bands_of(options.work)).requires_grad_(False)
    training = SpeakerTraining(run, corpus, hearing, options.batch_frames, options.bf16)
    if not run.resume():
        training.fit_head(model)
        run.average.load_state_dict(model.state_dict())
    run.run(training.losses, WEIGHTS, training.validate)
    # The trained head is better on bad recordings, a fitted one on good ones; their mean is the best of both on either.
    trained = copy.deepcopy(run.average.head)
    training.fit_head(run.average, LAST_FIT * FIT_BATCHES)
    run.average.head.average_with(trained)
    run.report(training.validate)
    run.save()


if __name__ == "__main__":
    main()
