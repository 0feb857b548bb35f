"""A progress bar for conversions, shown only when one takes longer than two seconds."""

from __future__ import annotations

import sys

SHOWN_AFTER_S = 2


class Progress:
    """Counts steps of work. Without tqdm, or when quiet, it counts in silence. Use as a context manager."""

    def __init__(self, quiet: bool = True):
        self._bar = None
        if not quiet:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=0, delay=SHOWN_AFTER_S, leave=False, file=sys.stderr)

    def expect(self, steps: int) -> None:
        """More steps are to come."""
        if self._bar is not None:
            self._bar.total += steps

    def tick(self, what: str) -> None:
        """One step is done; `what` names it."""
        if self._bar is not None:
            self._bar.set_description(what, refresh=False)
            self._bar.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
