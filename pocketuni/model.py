"""Models and their towers: opening, running, embedding."""

from __future__ import annotations

import errno
import json
import operator
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, perception, speech
from .embedding import TextEmbedder
from .perception import Label
from .pocket_voice import PocketVoice
from .sound_stream import SoundStream
from .streaming import TowerStream
from .together import Given, TowersTogether
from .voice import Voice, VoiceBuilder, make_builder, make_voice

MAX_THREADS = 64
DEFAULT_FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class TensorSpec:
    """What an input must be or an output is. `shape` holds sizes, or names of dimensions that a run binds; an output
    may also hold "?", a size that only the run knows."""

    shape: tuple[int | str, ...]
    dtype: str


def default_model_path() -> Path:
    """The model inside the package. Raises FileNotFoundError when this installation holds none."""
    files = sorted(DEFAULT_FOLDER.glob("*.puni"))
    if not files:
        text = "this installation of pocketuni holds no default model; pass the path of a .puni file"
        raise FileNotFoundError(errno.ENOENT, text, str(DEFAULT_FOLDER))
    return files[0]


def _open(path: str) -> _core.Model:
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"the path {path!r} holds a NUL character")
    try:
        return _core.Model(name)
    except OSError as error:
        # The core's text names file and reason; the number makes it FileNotFoundError, PermissionError and so on.
        for code in (errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            if str(error).endswith(f": {os.strerror(code)}"):
                raise OSError(code, os.strerror(code), path) from None
        raise


class Tower:
    """One entry point of a model. Threads may share it: runs of one tower follow each other, runs of different towers
    or models overlap. Made by `Model.towers`."""

    def __init__(self, core: _core.Model, name: str, threads: int, isa: str, file: str):
        self.name = name
        self._core: _core.Model | None = core
        self._options = (threads, isa)
        self._file = file
        self._session: _core.Session | None = None
        self._lock = threading.Lock()
        self._inputs = {n: TensorSpec(shape, dtype) for n, dtype, shape in core.inputs(name)}
        self._outputs = {n: TensorSpec(shape, dtype) for n, dtype, shape in core.outputs(name)}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Name -> what it must be."""
        return dict(self._inputs)

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Name -> what it will be."""
        return dict(self._outputs)

    @property
    def isa(self) -> str:
        """Name of the instruction set whose kernels this tower uses."""
        return self._ready().isa

    @property
    def threads(self) -> int:
        return self._ready().threads

    def run(self, /, **arrays: npt.ArrayLike) -> dict[str, np.ndarray]:
        """Runs the tower on one array (or nested list) for each input; gives one new array for each output.

        Integers and bools are converted to an integer input's dtype when they fit; nothing else that would lose
        information is. Raises ValueError saying what was expected and what came for a missing or unknown name, a wrong
        dtype, number of dimensions or size, or an index outside its table. Releases the GIL while it computes.
        """
        return self._ready().run(arrays)

    @property
    def states(self) -> Mapping[str, str]:
        """Input -> the output that the next run of a stream takes for it; empty for a tower without state."""
        return dict(_core.states(self._open_core(), self.name))

    def stream(self) -> TowerStream:
        """A sequence of its own that goes through the tower chunk by chunk.

        Raises ValueError naming the operator that cannot work on chunks, where the tower has no state.
        """
        return TowerStream(self, self._open_core(), *self._options)

    def set_profiling(self, on: bool) -> None:
        """Starts (from zero) or stops timing of each operator."""
        self._ready().set_profiling(on)

    def profile(self) -> list[dict[str, Any]]:
        """Per operator, in order: `name`, `op`, `seconds` in all profiled runs, number of `runs`."""
        return self._ready().profile()

    def nodes(self) -> list[dict[str, Any]]:
        """The operators in order: `op`, `name`, `inputs` and `outputs` by name, `attributes`."""
        return self._open_core().nodes(self.name)

    def _open_core(self) -> _core.Model:
        core = self._core
        if core is None:
            raise ValueError(f"{self._file}: the model is closed")
        return core

    def _ready(self) -> _core.Session:
        """The session, which is made by the first run."""
        session = self._session
        if session is None:
            with self._lock:
                session = self._session
                if session is None:
                    session = self._session = _core.Session(self._open_core(), self.name, *self._options)
        return session

    def _close(self) -> None:
        with self._lock:
            self._core = self._session = None

    def __repr__(self) -> str:
        return f"<pocketuni.Tower {self.name!r} of {self._file!r}>"


class Model:
    """A model file, opened and verified.

    path: a `.puni` file; None means the default model inside the package.
    threads: 1 to 64 for each tower; None means as many as this process may use.
    isa: one of the instruction sets that `pocketuni doctor` lists; None means the fastest (or `POCKETUNI_ISA`).

    Raises OSError for a file that is missing or cannot be read, ModelFileError (a ValueError) for one that is broken,
    ValueError for options. The file stays mapped until the model is closed or forgotten; it must not be changed in
    place meanwhile. Threads may share a model. It can be pickled: the other process opens the same file.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, threads: int | None = None, isa: str | None = None):
        if threads is not None and not 1 <= operator.index(threads) <= MAX_THREADS:
            raise ValueError(f"threads is {threads}, expected 1 to {MAX_THREADS} or None (as many as may be used)")
        usable = _core.usable_isas()
        if isa is not None and isa not in usable:
            raise ValueError(f"the instruction set {isa!r} cannot be used here; usable: {', '.join(usable)}")
        self._isa = isa or _core.default_isa()
        self._arguments = (threads, isa)
        self.path = os.fspath(default_model_path() if path is None else path)
        self._core: _core.Model | None = _open(self.path)
        try:
            self.meta: dict[str, Any] = json.loads(self._core.meta_json)
        except (ValueError, RecursionError) as error:
            raise _core.ModelFileError(f"{self.path}: section META is not valid JSON: {error}") from None
        self._towers = {
            name: Tower(self._core, name, threads or 0, self._isa, self.path) for name in self._core.tower_names()
        }
        self._together = TowersTogether(threads or 0, self._isa)
        self._embedder: TextEmbedder | None = None
        self._lock = threading.Lock()

    @property
    def towers(self) -> Mapping[str, Tower]:
        """Name -> tower."""
        return dict(self._towers)

    @property
    def info(self) -> dict[str, Any]:
        """What the file says about itself: `name`, `licence`, `provenance`, `report` (of the conversion), `towers`
        (inputs, outputs, number of operators), `sizes` (bytes of weights by encoding), `file` and `file_size`."""
        core = self._open_core()
        sizes: dict[str, int] = {}
        for tensor in core.tensors():
            sizes[tensor["encoding"]] = sizes.get(tensor["encoding"], 0) + tensor["size"]
        towers = {
            name: {
                "inputs": {n: {"shape": list(s.shape), "dtype": s.dtype} for n, s in tower.inputs.items()},
                "outputs": {n: {"shape": list(s.shape), "dtype": s.dtype} for n, s in tower.outputs.items()},
                "operators": len(tower.nodes()),
            }
            for name, tower in self._towers.items()
        }
        said = {key: self.meta.get(key) for key in ("name", "licence", "provenance", "report")}
        return {**said, "towers": towers, "sizes": sizes, "file": self.path, "file_size": core.file_size}

    def embed(self, texts: str | Iterable[str]) -> np.ndarray:
        """Embeddings of texts: (n, d) float32, row i for text i; one string gives (1, d), no texts give (0, d).

        Texts longer than the model's maximum are cut. A row does not depend on the texts beside it. Raises TypeError
        for what is not a str, ValueError for a model that does not embed text, ImportError when the tokenizer's library
        is missing (`pip install 'pocketuni[text]'`).
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = TextEmbedder.of(self)
            embedder = self._embedder
        return embedder.embed(texts)

    @property
    def options(self) -> tuple[int, str]:
        """Threads (0: as many as may be used) and instruction set."""
        return self._arguments[0] or 0, self._isa

    @property
    def voices(self) -> dict[str, dict[str, Any]]:
        """Name -> what the file says about the voice (`sex`, `accent`, `source`, ...); empty when it cannot speak."""
        return speech.voices(self)

    def say(
        self,
        text: str,
        voice: Any = None,
        speed: float = 1.0,
        pitch: float = 0.0,
        volume: float = 1.0,
        seed: int | None = None,
    ) -> speech.Audio:
        """Speaks a text: float32 samples at 22,050 Hz, and the words with their times (Pocket TTS models: at their
        own rate, without times, and with neither speed nor pitch).

        voice: one of `voices`, a `Voice`, the path of a `.voice` file or of a recording, or 192 floats; None means the
        default.
        speed: 0.25 to 4, 2 is twice as fast. pitch: semitones, -12 to 12. volume: 0 to 10; what would leave [-1, 1] is
        bent back softly. seed: of the noise in the voice, 0 to 2^32 - 1; None means 0.

        One thread computes, unless the model was opened with `threads`: others then speak the next sentences. The same
        arguments give the same samples, with any number of threads. A text without words gives no samples.
        Raises ValueError for an option out of range, an unknown voice (naming those there are), one of another model,
        faulty markup, and a model that cannot speak. Releases the GIL while it computes.
        """
        chunk_frames = 256  # nobody waits for the first one
        return speech.say(speech.start(self, voice, speed, pitch, volume, seed, chunk_frames), text)

    def stream(
        self,
        text: str | Iterable[str],
        voice: Any = None,
        speed: float = 1.0,
        pitch: float = 0.0,
        volume: float = 1.0,
        seed: int | None = None,
        chunk_frames: int | None = None,
    ) -> speech.SpeechStream:
        """Speaks a text, or pieces of one as they come, in chunks: an iterator of `Audio`, whose samples in a row are
        those of `say`. The first chunk is short and does not wait for the rest of the sentence; of pieces, speech
        starts when the first sentence is complete.

        chunk_frames: 256 samples each, for every chunk, 1 to 4096; None means few in the first, then more and more.
        Other arguments and errors are those of `say`. Ends early with `close()`, with a `with` block, or forgotten.
        """
        return speech.SpeechStream(speech.start(self, voice, speed, pitch, volume, seed, chunk_frames), text)

    def voice(
        self, source: str | os.PathLike[str] | tuple[npt.ArrayLike, int] | Voice | PocketVoice, name: str | None = None
    ) -> Voice | PocketVoice:
        """A voice: of a recording, of a `.voice` file, or one of `voices` by name.

        source: the path of a recording (3 to 10 s of one person, with their consent: docs/consent.md), or
        `(samples, rate_hz)` as `VoiceBuilder.feed` takes them, at 8,000 to 192,000 Hz; the path of a `.voice` file; a
        name. Silence and noise in a recording do not count. name: of the voice; None means that of the file.
        Of Pocket TTS models (docs/pocket.md) also the path of a state that the package exported (`.safetensors`).

        What makes a recording less useful (too short, clipped, noisy, several speakers) is a `VoiceWarning`. Raises
        ValueError for less than half a second of speech, samples that are not finite, a voice file that is damaged or
        of another model, an unknown name, and a model that cannot make voices; OSError where a file cannot be read;
        ImportError where reading it needs `pip install 'pocketuni[audio]'`.
        """
        return make_voice(self, source, name)

    def voice_builder(self, rate_hz: int) -> VoiceBuilder:
        """Makes a voice while it is heard: feed it samples at `rate_hz`, 8,000 to 192,000, and ask for the voice at any
        moment. Raises ValueError for another rate, and for a model that cannot make voices."""
        return make_builder(self, rate_hz)

    def see(self, image: Any, tower: str | None = None) -> list[Label] | np.ndarray:
        """What a picture shows: labels with probabilities, the most probable first; without labels in the file the
        tower's first output as it is (an embedding, say).

        image: a path, a PIL image, or an array [height, width(, 1, 3 or 4)] of uint8 or floats from 0 to 1; it is
        resized and scaled as the file says. tower: which one, where several take pictures.
        Raises ValueError for what is no picture and a model without such a tower, OSError for a file that cannot be
        read, ImportError where Pillow is needed and missing.
        """
        return perception.see(self, image, tower)

    def hear(self, samples: npt.ArrayLike, rate_hz: int, tower: str | None = None) -> list[Label] | np.ndarray:
        """What a recording holds, as `see` for pictures.

        samples: [n] or [n, channels], floats from -1 to 1 or integers; rate_hz: 1,000 to 192,000. A tower with state
        hears the recording in chunks, and its outputs come one after another.
        Raises ValueError for an empty recording, one that is not finite, and a model without such a tower.
        """
        return perception.hear(self, samples, rate_hz, tower)

    def sound_stream(self, tower: str | None = None) -> SoundStream:
        """A recording on its way through a tower from sound to sound (noise removal, say): `feed` it samples at its
        `rate_hz` as they come. Several are independent of each other. tower: which one, where several take sound.
        Raises ValueError for a model without such a tower."""
        return SoundStream(self, tower)

    def run_many(self, inputs: Given) -> dict[str, dict[str, np.ndarray]]:
        """Runs several towers: tower -> its inputs as for `Tower.run`; gives tower -> outputs, the same bit for bit.

        What several of them compute from equal inputs with the same weights (a backbone that `pocketuni pack` stored
        once) is computed once. Towers that share nothing run beside each other where that is faster, which the first
        calls find out. Raises as `Tower.run` does. Releases the GIL while it computes.
        """
        return self._together.run(self._open_core(), inputs)

    def blob(self, name: str) -> bytes:
        """A file stored in the model, e.g. a tokenizer. Raises ValueError when there is none of that name."""
        return self._open_core().blob(name)

    def blob_names(self) -> list[str]:
        return self._open_core().blob_names()

    def tensors(self) -> list[dict[str, Any]]:
        """The stored tensors: `name`, `encoding`, `dims`, `size` in bytes."""
        return self._open_core().tensors()

    def verify(self) -> list[str]:
        """Reads all weights and compares them with their hashes. The faults, one text each; none for a sound file."""
        return self._open_core().verify_weights()

    def close(self) -> None:
        """Gives memory and threads back. Whatever is asked of the model or its towers afterwards is a ValueError."""
        self._core = None
        self._embedder = None
        self._together.close()
        for tower in self._towers.values():
            tower._close()

    def _open_core(self) -> _core.Model:
        core = self._core
        if core is None:
            raise ValueError(f"{self.path}: the model is closed")
        return core

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Model, (os.path.abspath(self.path), *self._arguments))

    def __repr__(self) -> str:
        state = "closed" if self._core is None else "towers: " + (", ".join(self._towers) or "none")
        return f"<pocketuni.Model {self.path!r}, {state}>"
