"""Several towers at once: a backbone that they share runs once, towers that share nothing run beside each other."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core

KEPT = 4  # sets of towers that stay ready

Given = Mapping[str, Mapping[str, npt.ArrayLike]]


class TowersTogether:
    """What `Model.run_many` keeps for later calls: memory and threads for each set of towers. Threads may share one."""

    def __init__(self, threads: int, isa: str):
        self._options = (threads, isa)
        self._lock = threading.Lock()
        self._ready: dict[tuple[str, ...], _core.Together] = {}  # most recently used last

    def of(self, core: _core.Model, names: tuple[str, ...]) -> _core.Together:
        with self._lock:
            found = self._ready.pop(names, None)
            if found is None:
                found = _core.Together(core, list(names), *self._options)
            self._ready[names] = found
            while len(self._ready) > KEPT:
                del self._ready[next(iter(self._ready))]
        return found

    def run(self, core: _core.Model, inputs: Given) -> dict[str, dict[str, np.ndarray]]:
        if not isinstance(inputs, Mapping) or not all(isinstance(arrays, Mapping) for arrays in inputs.values()):
            raise TypeError("run_many takes a dict of tower -> dict of input -> array")
        if not inputs:
            return {}
        given: list[dict[str, Any]] = [dict(arrays) for arrays in inputs.values()]
        return dict(zip(inputs, self.of(core, tuple(inputs)).run(given), strict=True))

    def close(self) -> None:
        with self._lock:
            self._ready.clear()
