"""Towers from sound to sound, as the sound comes: `Model.sound_stream`, `pocketuni run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .features import arranged, disarranged, reach, spectrum_of, taper
from .perception import perceiving_tower

if TYPE_CHECKING:
    from .model import Model, Tower

SMALLEST = 1e-8  # sum of squared tapers below which a sample is not in any frame


class SoundStream:
    """One recording that goes through a tower. Made by `Model.sound_stream`; one thread at a time.

    `feed` gives as many samples as are complete, `finish` the rest: together as many as went in. A tower with state
    keeps it in between; one without state sees each chunk alone, or, where it takes any length, the whole at the end.
    """

    def __init__(self, model: Model, tower: str | None):
        self._tower, settings = perceiving_tower(model, "audio", tower)
        self.rate_hz: int = settings["rate_hz"]
        self._name: str = settings["input"]
        self._shape = self._tower.inputs[self._name].shape
        self._output = output_of(self._tower, settings, model.path)
        self._stream = self._tower.stream() if self._tower.states else None
        features = settings.get("features")
        self._frames = None if features is None else Frames(features)
        size = self._shape[-1] if features is None else self._shape[features["axes"][0]]
        self._size = size if isinstance(size, int) else None
        self.reset()

    def reset(self) -> None:
        """Another recording begins."""
        self._held = np.zeros(0, np.float32)
        self._given = self._returned = 0
        if self._stream is not None:
            self._stream.reset()
        if self._frames is not None:
            self._frames.reset()

    def feed(self, samples: npt.ArrayLike) -> np.ndarray:
        """Takes the next samples, [n] floats at `rate_hz`; gives those that are complete. Raises ValueError."""
        array = np.asarray(samples, np.float32)
        if array.ndim != 1 or not np.isfinite(array).all():
            raise ValueError(f"samples are {list(array.shape)}, expected [n] finite floats")
        self._given += len(array)
        if self._frames is None:
            self._held = np.concatenate([self._held, array])
            return self._count(self._run_samples())
        return self._count(self._run_frames(self._frames.cut(array)))

    def finish(self) -> np.ndarray:
        """No more comes: the rest. `reset` begins anew."""
        left = self._given - self._returned
        if left == 0:
            return np.zeros(0, np.float32)
        if self._frames is not None:
            return self._count(self._run_frames(self._frames.tail(left), last=True)[:left])
        size = self._size or len(self._held)
        self._held = np.pad(self._held, (0, -len(self._held) % size))
        return self._count(self._run_samples(last=True)[:left])

    def _count(self, samples: np.ndarray) -> np.ndarray:
        self._returned += len(samples)
        return samples

    def _run(self, chunk: np.ndarray) -> np.ndarray:
        run = self._tower.run if self._stream is None else self._stream.run
        return run(**{self._name: chunk})[self._output]

    def _run_samples(self, last: bool = False) -> np.ndarray:
        size = self._size or (len(self._held) if last or self._stream is not None else 0)
        parts = [np.zeros(0, np.float32)]
        while size and len(self._held) >= size:
            target = [item if isinstance(item, int) else 1 for item in self._shape]
            target[-1] = size
            parts.append(self._run(self._held[:size].reshape(target)).reshape(-1))
            self._held = self._held[size:]
        return np.concatenate(parts)

    def _run_frames(self, spectrum: np.ndarray, last: bool = False) -> np.ndarray:
        assert self._frames is not None
        axes = self._frames.features["axes"]
        rows = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)
        parts = [np.zeros(0, np.float32)]
        for chunk in self._frames.hold(rows, self._size, last or self._stream is not None, last):
            out = disarranged(self._run(arranged(chunk, self._shape, axes)), axes)
            parts.append(self._frames.add(out[..., 0] + 1j * out[..., 1]))
        return np.concatenate(parts)


class Frames:
    """Cuts sound into frames and adds frames up to sound, with what hangs over kept in between."""

    def __init__(self, features: Mapping[str, Any]):
        self.features = features
        self.window, self.hop, self.edge = features["window"], features["hop"], reach(features)
        self.taper = taper(features)
        self.reset()

    def reset(self) -> None:
        self.started = False
        self.pending = np.zeros(0, np.float64)  # samples that are not at the beginning of a frame yet
        self.rows: np.ndarray | None = None  # frames that wait for a whole chunk
        self.sum, self.weight = np.zeros(self.window), np.zeros(self.window)
        self.skip = self.edge  # samples in front of the recording

    def cut(self, samples: np.ndarray) -> np.ndarray:
        """complex [frames, bins] of the frames that are complete with these samples."""
        self.pending = np.concatenate([self.pending, samples])
        if not self.started:
            if len(self.pending) <= self.edge:
                return np.zeros((0, self.features["fft"] // 2 + 1), complex)
            self.pending = np.concatenate([self.pending[1 : self.edge + 1][::-1], self.pending])
            self.started = True
        count = max(0, 1 + (len(self.pending) - self.window) // self.hop)
        frames = [self.pending[k * self.hop : k * self.hop + self.window] * self.taper for k in range(count)]
        self.pending = self.pending[count * self.hop :]
        return spectrum_of(np.array(frames).reshape(count, self.window), self.features)

    def tail(self, left: int) -> np.ndarray:
        """The frames that complete the last `left` samples: the end mirrored, then silence."""
        if not self.started:  # shorter than what would be mirrored
            self.pending = np.concatenate([np.zeros(self.edge), self.pending])
            self.started = True
        mirrored = self.pending[-self.edge - 1 : -1][::-1] if self.edge else self.pending[:0]
        missing = -(-(left + self.skip) // self.hop) * self.hop + self.window - self.hop
        after = np.pad(mirrored, (0, max(0, missing - len(self.pending) - len(mirrored))))
        return self.cut(after[: missing - len(self.pending)])

    def hold(self, rows: np.ndarray, size: int | None, free: bool, last: bool) -> list[np.ndarray]:
        """Frames in chunks of `size`; all together where that is None and they are `free` to go."""
        rows = rows if self.rows is None else np.concatenate([self.rows, rows])
        if size is None:
            self.rows = None if free else rows
            return [rows] if free and len(rows) else []
        if last:
            rows = np.pad(rows, [(0, -len(rows) % size), (0, 0), (0, 0)])
        whole = len(rows) // size
        self.rows = rows[whole * size :]
        return [rows[k * size : (k + 1) * size] for k in range(whole)]

    def add(self, spectrum: np.ndarray) -> np.ndarray:
        """complex [frames, bins] -> the samples that no later frame reaches."""
        parts = []
        for frame in np.fft.irfft(spectrum, self.features["fft"])[:, : self.window]:
            self.sum += frame * self.taper
            self.weight += self.taper**2
            parts.append(self.sum[: self.hop] / np.maximum(self.weight[: self.hop], SMALLEST))
            self.sum = np.concatenate([self.sum[self.hop :], np.zeros(self.hop)])
            self.weight = np.concatenate([self.weight[self.hop :], np.zeros(self.hop)])
        samples = np.concatenate([np.zeros(0), *parts])
        drop = min(self.skip, len(samples))
        self.skip -= drop
        return samples[drop:].astype(np.float32)


def output_of(tower: Tower, settings: Mapping[str, Any], path: str) -> str:
    """The output that is the sound, in the form of the input. Raises ValueError for a tower that gives none."""
    source = tower.inputs[settings["input"]].shape
    features = settings.get("features")
    names = [name for name, spec in tower.outputs.items()
             if name not in tower.states.values() and spec.dtype == "float32" and fits(source, spec.shape)]  # fmt: skip
    if not names or (features is not None and features["kind"] != "spectrum"):
        wanted = "samples" if features is None else features["kind"]
        raise ValueError(f"{path}: tower {tower.name!r} makes no sound of {wanted} {list(source)}: use hear()")
    if features is not None and features.get("peak"):
        raise ValueError(f"{path}: tower {tower.name!r} needs the recording's largest sample first: use hear()")
    return names[0]


def fits(source: tuple[Any, ...], target: tuple[Any, ...]) -> bool:
    """Whether an output of shape `target` may be the sound for an input of shape `source`."""
    pairs = zip(source, target, strict=False)
    return len(source) == len(target) and all(a == b or "?" in (a, b) for a, b in pairs)
