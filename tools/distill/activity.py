"""The student of silero VAD: whether there is speech in each mel frame (`voice.activity`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .speaker_tower import Block, Enter

LOOKAHEAD = 8  # frames, 93 ms: the end of a word is not cut, and the gate is not late
# (frames before, frames after, dilation) of each block; with the two of the first layer they see 38 back and 8 ahead.
WINDOWS = ((3, 3, 1), (9, 3, 2), (24, 0, 4))


@dataclass(frozen=True)
class Shape:
    channels: int = 48
    inner: int = 96


class ActivityTower(nn.Module):
    def __init__(self, shape: Shape | None = None):
        super().__init__()
        self.shape = shape or Shape()
        width = self.shape.channels
        self.enter = Enter(width)
        self.enter_norm = nn.LayerNorm(width, eps=1e-5)
        self.blocks = nn.ModuleList([Block(width, self.shape.inner, *window) for window in WINDOWS])
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.leave = nn.Linear(width, 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel `[B, T, 80]` -> logit of speech `[B, T]`."""
        x = self.enter_norm(self.enter(log_mel))
        for block in self.blocks:
            x = block(x)
        return self.leave(self.norm(x)).float().squeeze(2)


def describe(shape: Shape) -> dict[str, int]:
    return asdict(shape)


def load_activity(path: Path) -> ActivityTower:
    """The averaged model of a checkpoint. Raises OSError or ValueError for anything else."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not {"shape", "average"} <= state.keys():
        raise ValueError(f"{path}: expected a checkpoint of distill.train_activity")
    model = ActivityTower(Shape(**state["shape"]))
    model.load_state_dict(state["average"])
    return model.eval().requires_grad_(False)
