"""The student of GE2E: features of mel frames (`voice.speaker`), and a vector from their statistics over speech
(`voice.speaker_head`). In between, mean and standard deviation come from running sums, so that a voice can grow with
each frame that a microphone gives.

Channels last, `[B, T, C]`; norms run over channels alone, windows are finite: chunks give what the whole gives.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .acoustic import SPEAKER
from .mel import MELS

MEL_CENTRE, MEL_SCALE = -5.5, 0.4  # (mel - centre) * scale is of order 1
SMALLEST_VARIANCE = 1e-4


class ShiftedSums(torch.autograd.Function):
    """Depthwise convolution of x, already padded, by multiply-adds: `weight` `[taps, C]`, taps `dilation` apart."""

    @staticmethod
    def forward(ctx, padded: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(padded, weight)
        ctx.dilation = dilation
        count = padded.shape[1] - dilation * (len(weight) - 1)
        y = bias.expand(len(padded), count, -1).clone()
        for k in range(len(weight)):
            y.addcmul_(padded[:, k * dilation : k * dilation + count], weight[k])
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        padded, weight = ctx.saved_tensors
        count = grad.shape[1]
        dx, dw = torch.zeros_like(padded), torch.empty_like(weight)
        for k in range(len(weight)):
            start = k * ctx.dilation
            dx[:, start : start + count].addcmul_(grad, weight[k])
            dw[k] = (padded[:, start : start + count] * grad).sum((0, 1))
        return dx, dw, grad.sum((0, 1)), None


class Depthwise(nn.Module):
    """Depthwise convolution over time that sees `left` frames before and `right` frames after each, zeros beyond."""

    def __init__(self, channels: int, left: int, right: int, dilation: int = 1):
        super().__init__()
        if (left + right) % dilation:
            raise ValueError(f"a window of {left} + {right} frames: expected a multiple of the dilation {dilation}")
        self.left, self.right, self.dilation = left, right, dilation
        taps = (left + right) // dilation + 1
        self.weight = nn.Parameter(torch.randn(taps, channels) * taps**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        padded = functional.pad(x.float(), (0, 0, self.left, self.right))
        return ShiftedSums.apply(padded, self.weight, self.bias, self.dilation)


class Block(nn.Module):
    """ConvNeXt block (Liu et al. 2022): x + W2 gelu(W1 norm(depthwise(x)))."""

    def __init__(self, channels: int, inner: int, left: int = 3, right: int = 3, dilation: int = 1):
        super().__init__()
        self.depthwise = Depthwise(channels, left, right, dilation)
        self.norm = nn.LayerNorm(channels, eps=1e-5)
        self.widen = nn.Linear(channels, inner)
        self.narrow = nn.Linear(inner, channels)
        with torch.no_grad():
            self.narrow.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x))
        return x + self.narrow(functional.gelu(self.widen(y), approximate="tanh")).float()


class Enter(nn.Module):
    """Dense convolution over `taps` frames of the scaled mel; `weight` `[C, taps 80]`, taps outermost, as stored."""

    def __init__(self, channels: int, taps: int = 5):
        super().__init__()
        self.taps = taps
        self.linear = nn.Linear(taps * MELS, channels)

    def forward(self, log_mel: Tensor) -> Tensor:
        half, count = self.taps // 2, log_mel.shape[1]
        x = functional.pad((log_mel - MEL_CENTRE) * MEL_SCALE, (0, 0, half, half))
        return self.linear(torch.cat([x[:, k : k + count] for k in range(self.taps)], dim=2)).float()


class Head(nn.Module):
    """Statistics, standardized, through one matrix. Two layers learn the voices of the training by heart: with the same
    features they came to a cosine of 0.45 to the teacher on unseen speakers, this to 0.57."""

    def __init__(self, statistics: int):
        super().__init__()
        self.linear = nn.Linear(statistics, SPEAKER)
        self.register_buffer("mean", torch.zeros(statistics))
        self.register_buffer("deviation", torch.ones(statistics))

    def forward(self, stats: Tensor) -> Tensor:
        return functional.normalize(self.linear((stats - self.mean) / self.deviation).float(), dim=-1)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Matrix and bias that take the statistics as they are."""
        weight = self.linear.weight / self.deviation
        return weight, self.linear.bias - weight @ self.mean

    @torch.no_grad()
    def fit(self, stats: Tensor, vectors: Tensor, ridge: float) -> None:
        """Sets all of it to the ridge regression of vectors `[N, 192]` on statistics `[N, C]`."""
        self.mean.copy_(stats.mean(0))
        self.deviation.copy_(stats.std(0) + 1e-5)
        x = ((stats - self.mean) / self.deviation).double()
        middle = vectors.double().mean(0)
        gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=torch.float64)
        self.linear.weight.copy_(torch.linalg.solve(gram, x.T @ (vectors.double() - middle)).T)
        self.linear.bias.copy_(middle)

    @torch.no_grad()
    def average_with(self, other: Head) -> None:
        """Becomes the mean of both as maps of the statistics as they are."""
        (weight, bias), (weight_2, bias_2) = self.folded(), other.folded()
        middle = (weight + weight_2) / 2
        self.linear.weight.copy_(middle * self.deviation)
        self.linear.bias.copy_((bias + bias_2) / 2 + middle @ self.mean)


@dataclass(frozen=True)
class Shape:
    """Widths and depths; stored in checkpoints."""

    channels: int = 160
    inner: int = 320
    blocks: int = 5
    features: int = 160


class SpeakerTower(nn.Module):
    def __init__(self, shape: Shape | None = None):
        super().__init__()
        self.shape = shape or Shape()
        s = self.shape
        self.enter = Enter(s.channels)
        self.enter_norm = nn.LayerNorm(s.channels, eps=1e-5)
        # Every second block looks twice as far: syllables, not phones alone, tell speakers apart.
        self.blocks = nn.ModuleList(
            [Block(s.channels, s.inner, 3 * d, 3 * d, d) for d in (1 + i % 2 for i in range(s.blocks))]
        )
        self.norm = nn.LayerNorm(s.channels, eps=1e-5)
        self.leave = nn.Linear(s.channels, s.features)
        self.head = Head(2 * s.features)

    def features(self, log_mel: Tensor) -> Tensor:
        """Tower `voice.speaker`: log-mel `[B, T, 80]` -> `[B, T, features]`."""
        x = self.enter_norm(self.enter(log_mel))
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x)).float()

    def speaker(self, stats: Tensor) -> Tensor:
        """Tower `voice.speaker_head`: statistics `[B, 2 features]` -> vectors `[B, 192]` of unit length."""
        return self.head(stats)

    def forward(self, log_mel: Tensor, mask: Tensor) -> Tensor:
        """Log-mel `[B, T, 80]`, mask `[B, T]`, 1 for speech -> vectors `[B, 192]`."""
        return self.speaker(statistics(self.features(log_mel), mask))


def statistics(features: Tensor, mask: Tensor) -> Tensor:
    """Mean and standard deviation `[B, 2 C]` of features `[B, T, C]` over the frames of `mask` `[B, T]`, from sums."""
    weight = (mask / mask.sum(1, keepdim=True).clamp(min=1.0))[..., None]
    mean, square = (features * weight).sum(1), (features.square() * weight).sum(1)
    return torch.cat([mean, (square - mean.square()).clamp(min=SMALLEST_VARIANCE).sqrt()], dim=1)


def describe(shape: Shape) -> dict[str, int]:
    return asdict(shape)


def load_speaker(path: Path) -> SpeakerTower:
    """The averaged model of a checkpoint. Raises OSError or ValueError for anything else."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not {"shape", "average"} <= state.keys():
        raise ValueError(f"{path}: expected a checkpoint of distill.train_speaker")
    model = SpeakerTower(Shape(**state["shape"]))
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False)
