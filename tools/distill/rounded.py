"""Products as the runtime does them, for the last steps of training: weights and inputs rounded to int8.

Gradients pass the rounding as if it were not there (Bengio et al. 2013), so that weights move to where rounding harms
least.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

HELP = "multiply as the runtime does, rounded to int8: for the last steps"


def as_rounded(x: Tensor, dims: int | tuple[int, ...]) -> Tensor:
    """x after rounding to -127..127 times a scale, one for all elements along `dims`: what the runtime multiplies.
    The gradient is that of x itself."""
    with torch.no_grad():
        wide = x.float()
        peak = wide.abs().amax(dims, keepdim=True).clamp(min=1e-30)
        rounded = torch.round(wide * (127 / peak)) * (peak / 127)
    return x + (rounded - x).detach()


class RoundedLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(as_rounded(x, -1), as_rounded(self.weight, 1), self.bias)


class RoundedConv1d(nn.Conv1d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(as_rounded(x, 1), as_rounded(self.weight, (1, 2)), self.bias)


def round_products(layers: Iterable[nn.Module]) -> None:
    """Makes these layers multiply rounded from now on; their weights, and the names of these, stay."""
    kinds: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: RoundedLinear, nn.Conv1d: RoundedConv1d}
    for layer in layers:
        layer.__class__ = kinds[type(layer)]
