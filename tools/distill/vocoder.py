"""The vocoder student: mel and excitation to the spectrum of speech. All convolutional, channels last."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import mel

MEL_CENTRE, MEL_SCALE = -5.0, 0.5  # brings log-mels of speech to about unit variance
LOG_GAIN_LIMITS = (-14.0, 4.0)
FIRST_LOG_GAIN = -6.5  # excitations have unit power in every bin, speech far less


@dataclass(frozen=True)
class Config:
    channels: int = 192
    hidden: int = 576
    blocks: int = 6
    kernel: int = 7
    # Applied outside training. The losses compare logarithms of magnitudes, in which noise that is right on average is
    # too loud: on training sentences the mel's distortion is least at -1 to -2 dB, DNSMOS greatest at -1.5 dB.
    noise_db: float = -1.5


class Depthwise(nn.Module):
    """One filter for each channel along time: `[B, T, C]` -> `[B, T, C]`, zeros beyond the ends."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel).uniform_(-1.0, 1.0) / kernel**0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        channels, _, kernel = self.weight.shape
        if torch.compiler.is_exporting():
            y = functional.conv1d(x.transpose(1, 2), self.weight, self.bias, padding=kernel // 2, groups=channels)
            return y.transpose(1, 2)
        # As a 2-D convolution in channels-last layout: the 1-D one would transpose, and takes 2.5 times as long.
        image = x.transpose(1, 2).unsqueeze(2)
        weight = self.weight.unsqueeze(2).to(x.dtype)
        y = functional.conv2d(image, weight, self.bias.to(x.dtype), padding=(0, kernel // 2), groups=channels)
        return y.squeeze(2).transpose(1, 2)


class Block(nn.Module):
    """ConvNeXt block (Liu et al. 2022) in one dimension."""

    def __init__(self, config: Config):
        super().__init__()
        self.depthwise = Depthwise(config.channels, config.kernel)
        self.norm = nn.LayerNorm(config.channels, eps=1e-6)
        self.expand = nn.Linear(config.channels, config.hidden)
        self.reduce = nn.Linear(config.hidden, config.channels)
        self.scale = nn.Parameter(torch.full((config.channels,), 1.0 / config.blocks))

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(functional.gelu(self.expand(self.norm(self.depthwise(x)))))
        return x + y * self.scale


class Trunk(nn.Module):
    """Convolution and ConvNeXt blocks: `[B, T, inputs]` -> `[B, T, channels]`, normalized over channels."""

    def __init__(self, inputs: int, config: Config):
        super().__init__()
        self.first = nn.Conv1d(inputs, config.channels, config.kernel, padding=config.kernel // 2)
        self.first_norm = nn.LayerNorm(config.channels, eps=1e-6)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.last_norm = nn.LayerNorm(config.channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first_norm(self.first(x.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        return self.last_norm(x)


class Vocoder(nn.Module):
    """Gains of the pulses (complex) and of the noise (real) in each bin, from the mel; applied to the excitation."""

    def __init__(self, config: Config | None = None):
        super().__init__()
        self.config = config or Config()
        self.trunk = Trunk(mel.MELS, self.config)
        self.head = nn.Linear(self.config.channels, 4 * mel.BINS)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        with torch.no_grad():
            loud, real, imaginary = FIRST_LOG_GAIN, 1.0, 0.0
            self.head.bias.copy_(torch.tensor([loud, loud, real, imaginary]).repeat_interleave(mel.BINS))

    def int8_products(self) -> list[nn.Module]:
        """The layers whose products the runtime does in int8."""
        inner = [layer for block in self.trunk.blocks for layer in (block.expand, block.reduce)]
        return [self.trunk.first, *inner, self.head]

    def gains(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Real and imaginary gain of the pulses and gain of the noise, `[B, T, 513]` each."""
        values = self.head(self.trunk((log_mel - MEL_CENTRE) * MEL_SCALE)).float()
        pulse, noise, real, imaginary = values.split(mel.BINS, dim=2)
        pulse = torch.exp(pulse.clamp(*LOG_GAIN_LIMITS))
        if not self.training:
            noise = noise + self.config.noise_db * math.log(10.0) / 20.0
        return pulse * real, pulse * imaginary, torch.exp(noise.clamp(*LOG_GAIN_LIMITS))

    def parts(self, log_mel: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """The spectra of the voiced and of the noisy part, `[B, T, 1026]` each."""
        real, imaginary, noise = self.gains(log_mel)
        pulse_real, pulse_imaginary, noise_real, noise_imaginary = source.split(mel.BINS, dim=2)
        voiced = torch.cat(
            [
                real * pulse_real - imaginary * pulse_imaginary,
                real * pulse_imaginary + imaginary * pulse_real,
            ],
            dim=2,
        )
        return voiced, torch.cat([noise * noise_real, noise * noise_imaginary], dim=2)

    def forward(self, log_mel: Tensor, source: Tensor) -> Tensor:
        """`log_mel` `[B, T, 80]` and `source` `[B, T, 2052]` (see source.py) -> `spectrum` `[B, T, 1026]`."""
        voiced, noisy = self.parts(log_mel, source)
        return voiced + noisy


def save(model: Vocoder, path: Path) -> None:
    torch.save({"config": asdict(model.config), "state": model.state_dict()}, path)


def load(path: Path) -> Vocoder:
    """A model that `save` stored, in evaluation mode. Raises OSError or ValueError for anything else."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(stored, dict) or not {"config", "state"} <= stored.keys():
        raise ValueError(f"{path}: expected a vocoder with `config` and `state`; train one with distill.train_vocoder")
    model = Vocoder(Config(**stored["config"]))
    model.load_state_dict(stored["state"])
    return model.eval()
