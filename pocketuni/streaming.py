"""Towers as streams: chunk by chunk, with what one chunk leaves for the next kept inside."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core

if TYPE_CHECKING:
    from .model import Tower

ALL_ROWS = 1 << 40


class TowerStream:
    """One sequence that goes through a tower. Made by `Tower.stream`; several of one tower are independent of each
    other and share its weights. Threads may share a stream: its runs follow each other.

    A tower with state (a recurrent network, caches) takes what its state needs from the run before; it starts from
    zeros. A tower without state that works row by row along a dimension of time, or on windows of rows, gives the rows
    that are complete; `finish` gives the rest.
    """

    def __init__(self, tower: Tower, core: _core.Model, threads: int, isa: str):
        self._lock = threading.Lock()
        self._state: _core.StateStream | None = None
        self._rows: _core.Stream | None = None
        if _core.states(core, tower.name):
            self._state = _core.StateStream(core, tower.name, threads, isa)
            self._inputs = tuple(self._state.inputs)
        else:
            self._rows = _core.Stream(core, tower.name, threads, isa)
            self._inputs = tuple(tower.inputs)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what a run is given: the tower's inputs without its state."""
        return self._inputs

    def run(self, chunk: npt.ArrayLike | None = None, /, **arrays: npt.ArrayLike) -> dict[str, np.ndarray]:
        """Gives the next chunk, as the only input or by name; returns the outputs without the state, by name.

        Raises ValueError as `Tower.run` does, and where the sizes are not those of the chunks before. Releases the GIL
        while it computes.
        """
        given: dict[str, Any] = dict(arrays)
        if chunk is not None:
            if len(self._inputs) != 1:
                raise ValueError(f"the tower takes the inputs {', '.join(self._inputs)}: give them by name")
            given[self._inputs[0]] = chunk
        if self._state is not None:
            return self._state.run(given)
        assert self._rows is not None
        with self._lock:
            self._rows.push(given)
            return self._rows.pull(ALL_ROWS)

    def finish(self) -> dict[str, np.ndarray]:
        """No more comes: what is left of the outputs; nothing of a tower with state. `reset` starts anew."""
        if self._rows is None:
            return {}
        with self._lock:
            self._rows.finish()
            return self._rows.pull(ALL_ROWS)

    def reset(self) -> None:
        """Forgets what came before: the next chunk is the first one of another sequence."""
        if self._state is not None:
            self._state.reset()
        if self._rows is not None:
            self._rows.reset()
