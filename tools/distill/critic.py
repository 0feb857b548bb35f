"""The mel critic of the acoustic student: least-squares GAN on patches of two scales, against over-smoothed mels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (24, 48, 64)


class PatchCritic(nn.Module):
    """Strided 3x3 convolutions over frames x bands; one score for a patch of 15 x 15."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, *CHANNELS)
        self.layers = nn.ModuleList(
            [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:], strict=False)]
        )
        self.score = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x `[B, 1, T, 80]` -> scores `[B, 1, T / 8, 10]` and the features of each layer."""
        features = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


class Critic(nn.Module):
    """Patches of the mel itself and of the mel averaged over pairs of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList([PatchCritic(), PatchCritic()])

    def forward(self, mel: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
        """mel `[B, T, 80]`, normalized, zero where padded."""
        x = mel[:, None].contiguous(memory_format=torch.channels_last)
        return [self.scales[0](x), self.scales[1](functional.avg_pool2d(x, (2, 1)))]


def critic_loss(real: list, fake: list) -> Tensor:
    pairs = zip(real, fake, strict=True)
    return sum((r[0] - 1).square().mean() + f[0].square().mean() for r, f in pairs) / len(real)


def student_loss(real: list, fake: list) -> tuple[Tensor, Tensor]:
    """The student's adversarial loss, and the distance between features of what it made and what was recorded."""
    adversarial = sum((f[0] - 1).square().mean() for f in fake) / len(fake)
    distances = [
        (a - b.detach()).abs().mean() for r, f in zip(real, fake, strict=True) for a, b in zip(f[1], r[1], strict=True)
    ]
    return adversarial, sum(distances) / len(distances)
