"""All recordings decoded once: `audio.i16`, 22,050 Hz, one after another, and an index of them.

`python -m distill.packed` writes both to `WORK/vocoder`. Training opens the files as memory maps.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly
from tqdm import tqdm

from . import mel, split

CORPORA = ("ljspeech", "vctk-p239", "librispeech", "librispeech-voices")
PEAK = 32767.0


def root() -> Path:
    """The folder of the checkout."""
    return Path(__file__).resolve().parents[2]


def default_data() -> Path:
    return root().parent / "shared" / "data"


def default_work() -> Path:
    return root() / "work-data"


def folder(work: Path) -> Path:
    return Path(work) / "vocoder"


@dataclass
class Entry:
    """One recording: `samples` is a multiple of the hop; `start` is where it begins in the file."""

    corpus: str
    file: str
    start: int
    samples: int
    training: bool


def to_int16(audio: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(audio * PEAK), -PEAK, PEAK).astype(np.int16)


def load_audio(path: Path) -> np.ndarray:
    """A recording as float32 mono at 22,050 Hz."""
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    audio = audio.mean(axis=1)
    if rate_hz != mel.RATE_HZ:
        common = gcd(rate_hz, mel.RATE_HZ)
        audio = resample_poly(audio, mel.RATE_HZ // common, rate_hz // common).astype(np.float32)
    return audio


class Pack:
    """The packed recordings. Raises OSError where `python -m distill.packed` has not run."""

    def __init__(self, work: Path):
        place = folder(work)
        self.entries = [Entry(**row) for row in json.loads((place / "index.json").read_text(encoding="utf-8"))]
        self.samples = self.entries[-1].start + self.entries[-1].samples
        self.data = np.memmap(place / "audio.i16", np.int16, "r", shape=(self.samples,))

    def audio(self, index: int) -> np.ndarray:
        """A whole recording, float32."""
        entry = self.entries[index]
        return self.data[entry.start : entry.start + entry.samples].astype(np.float32) / PEAK


def pack(work: Path, data: Path, corpora: list[str]) -> None:
    """Decodes all corpora. Evaluation sentences are packed too, marked as not for training."""
    place = folder(work)
    place.mkdir(parents=True, exist_ok=True)
    held_out = {row["file"] for row in split.ljspeech_held_out(data / "speech")}
    files = [(corpus, path) for corpus in corpora for path in sorted((data / "speech" / corpus).glob("*.opus"))]
    if not files:
        raise OSError(f"{data / 'speech'}: no recordings; see shared/data/README.md")
    entries: list[Entry] = []
    start = 0
    with (place / "audio.i16").open("wb") as stream:
        for corpus, path in tqdm(files, mininterval=5, desc="decode"):
            audio = load_audio(path)
            audio = audio[: len(audio) // mel.HOP_SAMPLES * mel.HOP_SAMPLES]
            stream.write(to_int16(audio).tobytes())
            training = split.is_training(corpus, path.name, held_out)
            entries.append(Entry(corpus, path.name, start, len(audio), training))
            start += len(audio)
    rows = json.dumps([asdict(entry) for entry in entries], indent=0)
    (place / "index.json").write_text(rows, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=default_work(), help="folder for features and checkpoints")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of the recordings")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA), choices=CORPORA)
    arguments = parser.parse_args()
    pack(arguments.work, arguments.data, arguments.corpora)


if __name__ == "__main__":
    main()
