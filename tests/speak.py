"""Says whether an installed pocketuni speaks: with the model inside the package, or with the one that is given, from a
folder where no sources lie around. Prints what it found; ends with status 1 where something is wrong."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import pocketuni


def main(model: pocketuni.Model) -> None:
    audio = model.say("Hello world. It speaks in three pieces, or is it four?")
    chunks = list(model.stream("Hello world. It speaks in three pieces, or is it four?"))
    streamed = np.concatenate([chunk.samples for chunk in chunks])
    assert audio.samples.tobytes() == streamed.tobytes() and len(chunks) > 1, "a stream differs from the whole"
    assert audio.seconds > 1 and np.isfinite(audio.samples).all(), "there is too little speech"
    assert audio.samples.std() > 0.005, "nothing is to be heard"
    with tempfile.TemporaryDirectory() as folder:
        audio.save(Path(folder) / "hello.wav")
        assert (Path(folder) / "hello.wav").stat().st_size > 2 * len(audio.samples), "the file is too short"
    core = pocketuni._core
    print(f"{pocketuni.__file__}: {core.__version__}, {core.default_isa()}, {audio.seconds:.2f} s of speech")


if __name__ == "__main__":
    main(pocketuni.Model(*sys.argv[1:2]))
