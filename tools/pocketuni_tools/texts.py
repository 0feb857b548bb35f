"""Ordinary sentences for calibration: those that come with the package, or a file's."""

from __future__ import annotations

from pathlib import Path


def calibration_texts(path: str | Path | None = None) -> list[str]:
    """The non-empty lines of a UTF-8 text file, by default of the package's own sentences (written for this project).
    Raises OSError for a file that cannot be read, ValueError for one without text."""
    path = Path(__file__).with_name("calibration.txt") if path is None else Path(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    texts = [line for line in lines if line]
    if not texts:
        raise ValueError(f"{path} holds no text; expected one sentence a line")
    return texts
