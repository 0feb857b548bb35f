"""Averages two acoustic students, of which one was trained on from the other ("model soups", Wortsman et al. 2022).

    python -m distill.blend voice.puni WORK/acoustic/checkpoint.pt --work WORK --share 0.5 -o WORK/acoustic/blend.pt

What lies between them keeps much of what either does better; distill.export takes it (`--acoustic`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from . import restore
from .acoustic import Acoustic
from .data import Prepared


def blend(first: Acoustic, second: Acoustic, share: float) -> Acoustic:
    """`share` of the second's weights and the rest of the first's. Raises ValueError for other widths or depths."""
    if first.shape != second.shape:
        raise ValueError(f"expected two models of one shape, got {first.shape.as_dict()} and {second.shape.as_dict()}")
    model, theirs = Acoustic(first.shape), second.state_dict()
    model.load_state_dict({name: torch.lerp(mine, theirs[name], share) for name, mine in first.state_dict().items()})
    return model.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, help="checkpoint or .puni")
    parser.add_argument("second", type=Path, help="checkpoint or .puni")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the second's weights, 0 to 1 (0.5)")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    if not 0 <= options.share <= 1:
        parser.error(f"--share is {options.share}, expected 0 to 1")
    data = Prepared(options.work)
    model = blend(*(restore.student_of(path, data) for path in (options.first, options.second)), options.share)
    torch.save({"shape": model.shape.as_dict(), "average": model.state_dict()}, options.out)


if __name__ == "__main__":
    main()
