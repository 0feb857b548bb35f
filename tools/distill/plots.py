"""Pictures of training: loss curves and spectrograms."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend must be chosen first)


def losses(table: Path, picture: Path) -> None:
    """Draws every column of a CSV file against its first one, the step."""
    with Path(table).open(newline="") as stream:
        names, *rows = list(csv.reader(stream))
    if not rows:
        return
    values = np.array(rows, np.float64)
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for column in range(1, values.shape[1]):
        axes.plot(values[:, 0], values[:, column], label=names[column], linewidth=1)
    axes.set_xlabel(names[0])
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)


def spectrograms(log_mels: dict[str, np.ndarray], picture: Path) -> None:
    """Draws log-mels `[T, bands]`, one above the other, in one scale of colours."""
    figure, all_axes = pyplot.subplots(
        len(log_mels), 1, figsize=(10, 2.2 * len(log_mels)), layout="constrained", squeeze=False
    )
    low = min(float(values.min()) for values in log_mels.values())
    high = max(float(values.max()) for values in log_mels.values())
    for axes, (title, values) in zip(all_axes[:, 0], log_mels.items(), strict=True):
        axes.imshow(values.T, origin="lower", aspect="auto", vmin=max(low, high - 12), vmax=high, cmap="magma")
        axes.set_title(title, fontsize=9)
    figure.savefig(picture, dpi=90)
    pyplot.close(figure)
