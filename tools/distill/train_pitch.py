"""Trains the small network that reads F0 off a mel, so that the vocoder's pulses fit whatever mel it is given.

Writes WORK/vocoder/pitch.pt. Judged on LibriSpeech's validation sentences and the held-out ones of LJSpeech: the share
of voiced frames whose F0 is off by more than 20 % (octave errors, mostly), and the mean deviation of the others.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from . import mel, packed, segments, source, vocoder

LOWEST_HZ, HIGHEST_HZ = 55.0, 480.0
CLASSES = 120  # 0.3 semitones each
BLUR = 1.0  # standard deviation, in classes, of what the network is trained to answer
SHARPEN = 2.0  # applied to the logits before their expectation, which keeps rivals an octave away out of it


class PitchReader(nn.Module):
    """Log-mel `[B, T, 80]` -> natural logarithm of F0 in Hz, `[B, T]`; unvoiced frames get some F0 as well."""

    def __init__(self, config: vocoder.Config | None = None):
        super().__init__()
        self.config = config or vocoder.Config(channels=96, hidden=192, blocks=4)
        self.trunk = vocoder.Trunk(mel.MELS, self.config)
        self.head = nn.Linear(self.config.channels, CLASSES)
        self.register_buffer("values", torch.linspace(np.log(LOWEST_HZ), np.log(HIGHEST_HZ), CLASSES))

    def logits(self, log_mel: Tensor) -> Tensor:
        return self.head(self.trunk((log_mel - vocoder.MEL_CENTRE) * vocoder.MEL_SCALE)).float()

    def forward(self, log_mel: Tensor) -> Tensor:
        return (torch.softmax(self.logits(log_mel) * SHARPEN, dim=2) @ self.values[:, None]).squeeze(2)

    def read(self, log_mel: np.ndarray) -> np.ndarray:
        """F0 in Hz, `[T]`, of a log-mel `[T, 80]`."""
        with torch.inference_mode():
            return self(torch.from_numpy(np.asarray(log_mel, np.float32))[None])[0].exp().numpy()


def save(model: PitchReader, path: Path) -> None:
    torch.save({"config": asdict(model.config), "state": model.state_dict()}, path)


def load(path: Path) -> PitchReader:
    stored = torch.load(path, map_location="cpu", weights_only=True)
    model = PitchReader(vocoder.Config(**stored["config"]))
    model.load_state_dict(stored["state"])
    return model.eval()


def loss_of(model: PitchReader, log_mel: Tensor, log_f0: Tensor) -> Tensor:
    """Cross-entropy with a blurred class, over the voiced frames."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.logits(log_mel)
    step = (model.values[-1] - model.values[0]) / (CLASSES - 1)
    distance = (model.values - log_f0[..., None]) / (step * BLUR)
    wanted = torch.softmax(-0.5 * distance.square(), dim=2)
    voiced = (log_f0 > 0).float()
    error = -(wanted * functional.log_softmax(logits, dim=2)).sum(dim=2)
    return (error * voiced).sum() / voiced.sum().clamp(min=1.0)


def evaluate(model: PitchReader, work: Path, corpora: list[str]) -> dict[str, tuple[float, float]]:
    """For each corpus: share of gross errors, and mean deviation of the others as a ratio."""
    pack = packed.Pack(work)
    features = source.Frames(work, pack.samples // mel.HOP_SAMPLES)
    done = source.ready(work, len(pack.entries))
    figures = {}
    for corpus in corpora:
        deviations = []
        chosen = [i for i, e in enumerate(pack.entries) if e.corpus == corpus and not e.training and done[i]]
        for index in chosen[:20]:
            entry = pack.entries[index]
            first, count = entry.start // mel.HOP_SAMPLES, entry.samples // mel.HOP_SAMPLES
            wanted = np.asarray(features.log_f0[first : first + count])
            with torch.inference_mode():
                got = model(mel.log_mel(torch.from_numpy(pack.audio(index))[None]))[0].numpy()
            deviations.append(np.abs(np.exp(got - wanted) - 1.0)[wanted > 0])
        if deviations:
            joined = np.concatenate(deviations)
            figures[corpus] = (float((joined > 0.2).mean()), float(joined[joined <= 0.2].mean()))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=packed.default_work(), help="folder for features and checkpoints")
    parser.add_argument("--name", default="pitch.pt", help="file to write within WORK/vocoder")
    parser.add_argument("--start", type=Path, help="pitch.pt to go on from")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--predicted", type=float, default=0.0, help="share of segments with a predicted mel")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    model = load(arguments.start).train() if arguments.start else PitchReader()
    sampler = segments.Sampler(
        arguments.work, arguments.frames, arguments.batch, arguments.seed, list(packed.CORPORA), arguments.predicted
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, arguments.steps, pct_start=0.1)
    bar = tqdm(range(1, arguments.steps + 1), mininterval=20)
    for step in bar:
        batch = sampler.next()
        loss = loss_of(model, batch.log_mel, batch.log_f0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 0 or step == arguments.steps:
            model.eval()
            bar.write(f"{step} {loss.item():.3f} {evaluate(model, arguments.work, ['ljspeech', 'librispeech'])}")
            model.train()
            save(model, packed.folder(arguments.work) / arguments.name)


if __name__ == "__main__":
    main()
