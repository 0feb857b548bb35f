"""The acoustic student of docs/voice.md: encoder with variance predictors, and mel decoder. Convolutions only.

Everything is channels last, `[B, T, C]`; norms run over channels alone, so that a chunk's result equals the whole's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import units, voice_space
from .mel import MELS

KERNEL = 7
PITCH_SCALE = voice_space.DEVIATION_LOG_F0 / voice_space.PITCH_SHARE
SPEAKER = 192
# Prosody as the decoder reads it: pitch, voicing probability, energy; and the place in the unit, three numbers as well.
CONDITION = 6
# A few hours hold few thousand sentences: durations and F0 are learned by heart without it, the mel is not.
ENCODER_DROPOUT, VARIANCE_DROPOUT = 0.1, 0.2
GROWS = ("widen.weight", "widen.bias", "narrow.weight", "film.weight", "speaker.weight", "speaker.bias")
HEADS = 4  # log_frames, pitch, voiced, energy
PITCH_CENTRE = voice_space.CENTRE_LOG_F0  # 164 Hz: what `pitch` and `prosody` count from


@dataclass(frozen=True)
class Shape:
    """Widths and depths; stored in checkpoints."""

    encoder: int = 192
    encoder_inner: int = 576
    encoder_blocks: int = 4
    variance_inner: int = 384
    variance_blocks: int = 2
    decoder: int = 256
    decoder_inner: int = 768
    decoder_blocks: int = 9
    film: int = 96

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class DepthwiseFunction(torch.autograd.Function):
    """Depthwise convolution by shifted multiply-adds: on a CPU three times as fast as grouped `conv1d`."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        taps, half, count = len(weight), len(weight) // 2, x.shape[1]
        padded = functional.pad(x, (0, 0, half, half))
        y = bias.expand_as(x).clone()
        for k in range(taps):
            y.addcmul_(padded[:, k : k + count], weight[k])
        return y

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        taps, half, count = len(weight), len(weight) // 2, x.shape[1]
        padded = functional.pad(x, (0, 0, half, half))
        grad_padded = functional.pad(grad, (0, 0, half, half))
        dx, dw = torch.zeros_like(grad), torch.empty_like(weight)
        for k in range(taps):
            start = taps - 1 - k
            dx.addcmul_(grad_padded[:, start : start + count], weight[k])
            dw[k] = (padded[:, k : k + count] * grad).sum((0, 1))
        return dx, dw, grad.sum((0, 1))


class Depthwise(nn.Module):
    """Depthwise convolution over time, zero padded to the same length. `weight` is `[taps, C]`."""

    def __init__(self, channels: int, taps: int = KERNEL):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(taps, channels) * taps**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return DepthwiseFunction.apply(x.float(), self.weight, self.bias)


class Block(nn.Module):
    """ConvNeXt block (Liu et al. 2022) with FiLM: x + W2 gelu(W1 (norm(depthwise(x)) * (1 + scale) + shift))."""

    def __init__(self, channels: int, inner: int, film: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.depthwise = Depthwise(channels)
        self.norm = nn.LayerNorm(channels, eps=1e-5)
        self.film = nn.Linear(film, 2 * channels)
        self.widen = nn.Linear(channels, inner)
        self.narrow = nn.Linear(inner, channels)
        nn.init.normal_(self.film.weight, std=0.02)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            self.narrow.weight.mul_(0.5)

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """x `[B, T, C]`; speaker `[B, film]`; mask `[B, T, 1]`, 0 beyond each sequence: there the result stays 0."""
        scale, shift = self.film(speaker).float()[:, None].chunk(2, dim=-1)
        y = self.norm(self.depthwise(x)) * (1 + scale) + shift
        y = self.narrow(functional.gelu(self.widen(y), approximate="tanh")).float()
        return (x + functional.dropout(y, self.dropout, self.training)) * mask


class Stack(nn.Module):
    """Blocks, and the speaker's bottleneck from which each takes its FiLM."""

    def __init__(self, channels: int, inner: int, blocks: int, film: int, dropout: float = 0.0):
        super().__init__()
        self.speaker = nn.Linear(SPEAKER, film)
        self.blocks = nn.ModuleList([Block(channels, inner, film, dropout) for _ in range(blocks)])

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        # GE2E's part, of unit length, has entries near 0.07; the factor brings them to order 1.
        code = functional.silu(self.speaker(speaker * SPEAKER**0.5))
        for block in self.blocks:
            x = block(x, code, mask)
        return x


def voice_pitch(speaker: Tensor) -> Tensor:
    """The mean `pitch` of a voice, `[B, 1]`, which its vector `[B, 192]` tells."""
    at = voice_space.PITCH_AT
    return voice_space.parts_of(speaker)[:, at : at + 1] * PITCH_SCALE


class Encoder(nn.Module):
    """Tower `voice.encoder`."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.encoder
        self.unit = nn.Embedding(units.COUNT, width)
        self.flag = nn.Embedding(2, width)
        self.stack = Stack(width, shape.encoder_inner, shape.encoder_blocks, shape.film, ENCODER_DROPOUT)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.variance = Stack(width, shape.variance_inner, shape.variance_blocks, shape.film, VARIANCE_DROPOUT)
        self.variance_norm = nn.LayerNorm(width, eps=1e-5)
        self.heads = nn.Linear(width, HEADS)
        self.dropout = VARIANCE_DROPOUT

    def set_dropout(self, scale: float) -> None:
        """Scales all dropout. Norms behind it see larger values with it than without: the last steps go without it."""
        self.dropout = VARIANCE_DROPOUT * scale
        for stack, rate in ((self.stack, ENCODER_DROPOUT), (self.variance, VARIANCE_DROPOUT)):
            for block in stack.blocks:
                block.dropout = rate * scale  # type: ignore[assignment]

    def forward(self, ids: Tensor, flags: Tensor, speaker: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """ids, flags `[B, U]`, speaker `[B, 192]`, mask `[B, U, 1]` -> hidden `[B, U, 192]`, heads `[B, U, 4]`.

        The head for pitch is relative to the voice's mean; see `full_heads`.
        """
        speaker = voice_space.parts_of(speaker)
        x = (self.unit(ids) + self.flag(flags)) * mask
        hidden = self.norm(self.stack(x, speaker, mask)) * mask
        y = functional.dropout(hidden, self.dropout, self.training)
        y = self.variance_norm(self.variance(y, speaker, mask))
        return hidden, self.heads(y).float()

    @staticmethod
    def full_heads(heads: Tensor, speaker: Tensor) -> Tensor:
        """The heads as the tower gives them: with pitch from `PITCH_CENTRE` instead of from the voice's mean."""
        log_frames, pitch, voiced, energy = heads.unbind(-1)
        return torch.stack([log_frames, pitch + voice_pitch(speaker), voiced, energy], dim=-1)


class Decoder(nn.Module):
    """Tower `voice.decoder`. The mel is learned normalized; `mean` and `deviation` of each band are constants."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.decoder
        self.enter = nn.Linear(shape.encoder, width)
        self.condition = nn.Linear(CONDITION, 64)
        self.condition_out = nn.Linear(64, width)
        self.stack = Stack(width, shape.decoder_inner, shape.decoder_blocks, shape.film)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.leave = nn.Linear(width, MELS)
        # A voice's spectrum is told by its vector, and nearly as it is: a way that no training data has to teach.
        self.tint = nn.Linear(SPEAKER, MELS, bias=False)
        nn.init.zeros_(self.tint.weight)
        self.register_buffer("mean", torch.zeros(MELS))
        self.register_buffer("deviation", torch.ones(MELS))

    def normalized(self, hidden: Tensor, place: Tensor, prosody: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """hidden `[B, T, 192]`, place and prosody `[B, T, 3]` -> normalized mel `[B, T, 80]`."""
        speaker = voice_space.parts_of(speaker)
        condition = functional.silu(self.condition(torch.cat([place, prosody], dim=-1)))
        x = (self.enter(hidden) + self.condition_out(condition)).float() * mask
        tint = self.tint(speaker * SPEAKER**0.5)[:, None]
        return (self.leave(self.norm(self.stack(x, speaker, mask))) + tint).float()

    def denormalized(self, mel: Tensor) -> Tensor:
        return mel * self.deviation + self.mean

    def forward(self, hidden: Tensor, place: Tensor, prosody: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        return self.denormalized(self.normalized(hidden, place, prosody, speaker, mask))


class Acoustic(nn.Module):
    def __init__(self, shape: Shape | None = None):
        super().__init__()
        self.shape = shape or Shape()
        self.encoder = Encoder(self.shape)
        self.decoder = Decoder(self.shape)

    def int8_products(self) -> list[nn.Module]:
        """The layers whose products the runtime does in int8."""
        stacks = (self.encoder.stack, self.encoder.variance, self.decoder.stack)
        blocks = [block for stack in stacks for block in stack.blocks]
        return [self.decoder.enter, *(layer for b in blocks for layer in (b.film, b.widen, b.narrow))]

    @torch.no_grad()
    def grow_from(self, weights: dict[str, Tensor]) -> None:
        """Takes the weights of a model with fewer blocks, or less width within them; what it computes stays the same.

        Blocks that are new add nothing yet, and what reads new channels is zero. Raises ValueError for others.
        """
        own = self.state_dict()
        if missing := sorted(name for name in own.keys() ^ weights.keys() if name in weights or ".blocks." not in name):
            raise ValueError(f"weights of another kind of model: {', '.join(missing)}")
        for name, mine in own.items():
            if name not in weights:
                if ".narrow." in name:
                    mine.zero_()
                continue
            theirs = weights[name]
            fits = theirs.dim() == mine.dim() and all(a <= b for a, b in zip(theirs.shape, mine.shape, strict=True))
            if theirs.shape != mine.shape and not (fits and name.endswith(GROWS)):
                raise ValueError(f"{name}: expected {tuple(mine.shape)}, got {tuple(theirs.shape)}")
            if theirs.dim() == 2 and theirs.shape[1] < mine.shape[1]:
                mine.zero_()
            mine[tuple(slice(n) for n in theirs.shape)] = theirs


def load_acoustic(path: Path) -> Acoustic:
    """The averaged model of a checkpoint. Raises OSError or ValueError for anything else."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not {"shape", "average"} <= state.keys():
        raise ValueError(f"{path}: expected a checkpoint of distill.train_acoustic with `shape` and `average`")
    model = Acoustic(Shape(**state["shape"]))
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False)


def places(durations: Tensor) -> tuple[Tensor, Tensor]:
    """Durations `[U]` in frames -> each frame's unit `[T]` and place `[T, 3]`: passed, log frames, remaining."""
    owner = torch.repeat_interleave(torch.arange(len(durations), device=durations.device), durations)
    starts = torch.cumsum(durations, 0) - durations
    length = durations[owner].float()
    passed = (torch.arange(len(owner), device=durations.device) - starts[owner] + 0.5) / length
    return owner, torch.stack([passed, torch.log(length), 1 - passed], dim=-1)


def round_durations(log_frames: Tensor, ids: Tensor, speed: float = 1.0) -> Tensor:
    """Whole frames `[U]`: at least 1 for a phone, at least 0 for a pause or the silence at the ends."""
    frames = torch.round(torch.exp(log_frames) / speed).long()
    return torch.where(ids >= units.FIRST_PHONE, frames.clamp(min=1), frames.clamp(min=0))


@torch.no_grad()
def synthesize_mel(
    model: Acoustic,
    ids: Tensor,
    flags: Tensor,
    speaker: Tensor,
    durations: Tensor | None = None,
    prosody: Tensor | None = None,
    pitch_shift: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """One utterance: ids, flags `[U]`, speaker `[192]` -> mel `[T, 80]`, durations `[U]`.

    `durations` `[U]` and `prosody` `[U, 3]` (pitch, voiced, energy) replace the predicted ones where given;
    `pitch_shift` is added to predicted pitch.
    """
    mask = torch.ones(1, len(ids), 1)
    hidden, heads = model.encoder(ids[None], flags[None], speaker[None], mask)
    log_frames, pitch, voiced, energy = model.encoder.full_heads(heads, speaker[None])[0].unbind(-1)
    if durations is None:
        durations = round_durations(log_frames, ids)
    if prosody is None:
        prosody = torch.stack([pitch + pitch_shift, torch.sigmoid(voiced), energy], dim=-1)
    owner, place = places(durations)
    ones = torch.ones(1, len(owner), 1)
    mel = model.decoder(hidden[:, owner], place[None], prosody[owner][None], speaker[None], ones)
    return mel[0], durations
