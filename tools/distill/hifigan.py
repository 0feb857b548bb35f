"""The vocoder teacher: HiFi-GAN's generator (Kong et al., 2020, table V2 of the appendix), for its published weights.

`python -m distill.hifigan` runs it over the packed recordings and stores what it says, which the student regresses.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from . import mel, packed

CHANNELS = 128  # at the frame rate; every stage halves them
UPSAMPLING = ((8, 16), (8, 16), (2, 4), (2, 4))  # (factor, kernel)
KERNELS = (3, 7, 11)
DILATIONS = (1, 3, 5)
SLOPE = 0.1
FINAL_SLOPE = 0.01  # the published generator's last activation has another slope than the rest


class ResidualStack(nn.Module):
    """Three pairs of a dilated and a plain convolution, each pair added to its input."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in DILATIONS
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=kernel // 2) for _ in DILATIONS)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(functional.leaky_relu(dilated(functional.leaky_relu(x, SLOPE)), SLOPE))
        return x


class HifiganV2(nn.Module):
    """Log-mel `[B, T, 80]` -> audio `[B, 256 T]` in [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.conv_pre = nn.Conv1d(mel.MELS, CHANNELS, 7, padding=3)
        widths = [CHANNELS >> stage for stage in range(len(UPSAMPLING) + 1)]
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(widths[i], widths[i + 1], kernel, factor, padding=(kernel - factor) // 2)
            for i, (factor, kernel) in enumerate(UPSAMPLING)
        )
        self.resblocks = nn.ModuleList(ResidualStack(width, kernel) for width in widths[1:] for kernel in KERNELS)
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3)

    def forward(self, log_mel: Tensor) -> Tensor:
        x = self.conv_pre(log_mel.transpose(1, 2))
        for stage, up in enumerate(self.ups):
            x = up(functional.leaky_relu(x, SLOPE))
            stacks = self.resblocks[stage * len(KERNELS) : (stage + 1) * len(KERNELS)]
            x = sum(stack(x) for stack in stacks) / len(KERNELS)
        return torch.tanh(self.conv_post(functional.leaky_relu(x, FINAL_SLOPE)))[:, 0]


def load_teacher(path: Path) -> HifiganV2:
    """The generator with its weight norms folded. Raises ValueError when the file holds another network."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("generator", state)
    folded = {}
    for name, tensor in state.items():
        if name.endswith("weight_v"):
            gain = state[name[:-1] + "g"]
            norm = tensor.flatten(1).norm(dim=1).reshape(gain.shape)
            folded[name[:-2]] = tensor * (gain / norm)
        elif not name.endswith("weight_g"):
            folded[name] = tensor
    teacher = HifiganV2()
    try:
        teacher.load_state_dict(folded)
    except RuntimeError as error:
        raise ValueError(f"{path}: not the weights of HiFi-GAN V2: {error}") from error
    return teacher.eval().requires_grad_(False)


def teach(work: Path, weights: Path, corpora: list[str], threads: int) -> None:
    """Fills teacher.i16, which parallels audio.i16, corpus by corpus; a later run goes on where this one stopped."""
    torch.set_num_threads(threads)
    pack = packed.Pack(work)
    teacher = load_teacher(weights)
    target = packed.open_teacher(work, pack.samples)
    done_path = packed.folder(work) / "teacher_done.npy"
    done = np.load(done_path) if done_path.exists() else np.zeros(len(pack.entries), bool)
    todo = [i for corpus in corpora for i, e in enumerate(pack.entries) if e.corpus == corpus and not done[i]]
    with torch.inference_mode():
        for count, index in enumerate(tqdm(todo, mininterval=10, desc="teacher")):
            entry = pack.entries[index]
            audio = teacher(mel.log_mel(torch.from_numpy(pack.audio(index))[None]))[0].numpy()
            target[entry.start : entry.start + len(audio)] = packed.to_int16(audio)
            done[index] = True
            if count % 20 == 19 or index == todo[-1]:
                target.flush()
                temporary = done_path.with_suffix(".tmp.npy")
                np.save(temporary, done)
                os.replace(temporary, done_path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=packed.default_work(), help="folder for features and checkpoints")
    parser.add_argument("--weights", type=Path, default=packed.default_data() / "models/hifigan_v2/generator_v2.pt")
    parser.add_argument("--corpora", nargs="+", default=list(packed.CORPORA), choices=packed.CORPORA)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    teach(arguments.work, arguments.weights, arguments.corpora, arguments.threads)


if __name__ == "__main__":
    main()
