"""The vocoder's teacher: HiFi-GAN's generator (Kong et al., 2020, table V2 of the appendix), as published."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import mel

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
