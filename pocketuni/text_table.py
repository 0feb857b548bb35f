"""Text for terminals: columns and sizes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


def table(rows: Sequence[Sequence[Any]], right: Collection[int] = (), indent: str = "  ") -> str:
    """Columns of equal width; those whose numbers stand in `right` are aligned to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = []
    for row in texts:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def size_text(size: int) -> str:
    """Bytes in decimal units: 812 B, 1.2 kB, 22.7 MB."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
