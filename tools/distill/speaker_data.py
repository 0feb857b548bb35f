"""Material of `voice.speaker` and `voice.activity`: log-mels, what GE2E hears in them, where silero hears speech.

    python -m distill.speaker_data --work WORK --jobs 2

Reads the packed recordings (distill.packed) and writes WORK/speaker. A recording is taken as it is and, of some, at
another speed: played faster, a voice is that of another speaker, with higher pitch and formants. Teachers hear
the clean sound; what the students hear is made worse by disturbances.py. Goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from dataclasses import asdict, dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from . import disturbances, packed, speakers
from .mel import HOP_SAMPLES, MELS, RATE_HZ, log_mel

SHIFTS = (0.84, 0.91, 1.09, 1.19)
MORE_SHIFTS = (0.875, 0.95, 1.045, 1.14)  # of librispeech-voices: what limits the student is how many voices it hears
VALIDATION_STEP = 12  # every so many-th speaker of librispeech-voices is kept out of training
MOST_S = 20.0
CHUNK = 48  # recordings computed and stored at once
NOISE_S, NOISE_EACH = 10.0, 14
SILERO_SAMPLES, SILERO_CONTEXT = 512, 64  # at 16 kHz
COLUMNS = ("clean", "room", "speech", "windows")


@dataclass
class Item:
    """One recording at one speed; `voice` names the speaker it then is. `training` is False for the validation."""

    pack: int
    shift: float
    voice: str
    training: bool
    frames: int = 0
    windows: int = 0


def speaker_of(entry: packed.Entry) -> str:
    return entry.corpus if entry.corpus in ("ljspeech", "vctk-p239") else entry.file.split("-")[0]


def plan(entries: list[packed.Entry]) -> list[Item]:
    """Every recording once, and at other speeds: all of librispeech-voices at all, a third of the others at one."""
    others = sorted({speaker_of(e) for e in entries if e.corpus == "librispeech-voices"})
    held_out = set(others[::VALIDATION_STEP])
    items = []
    for i, entry in enumerate(entries):
        name = speaker_of(entry)
        training = entry.training and name not in held_out
        shifts: tuple[float, ...] = (1.0,)
        if training and entry.corpus == "librispeech-voices":
            shifts += SHIFTS
        elif training and i % 3 == 0:
            shifts += (SHIFTS[i // 3 % len(SHIFTS)],)
        items += [Item(i, shift, f"{name}*{shift:g}", training) for shift in shifts]
    return items


def plan_more(entries: list[packed.Entry], items: list[Item]) -> list[Item]:
    """The recordings of librispeech-voices that are trained on, at more speeds."""
    chosen = [i for i in items if i.training and i.shift == 1.0 and entries[i.pack].corpus == "librispeech-voices"]
    return [Item(i.pack, shift, f"{i.voice.split('*')[0]}*{shift:g}", True) for i in chosen for shift in MORE_SHIFTS]


def chunks(items: list[Item], entries: list[packed.Entry], random: np.random.Generator) -> list[list[Item]]:
    """Groups in the order in which they are computed: every second one of librispeech-voices and the validation, so
    that the first few chunks already hold many voices and a fair sample of the rest."""
    shuffled = [items[i] for i in random.permutation(len(items))]

    def groups(some: list[Item]) -> list[list[Item]]:
        return [some[a : a + CHUNK] for a in range(0, len(some), CHUNK)]

    first = [entries[i.pack].corpus == "librispeech-voices" or not i.training for i in shuffled]
    parts = ([i for i, is_first in zip(shuffled, first, strict=True) if is_first == wanted] for wanted in (True, False))
    pairs = zip_longest(*map(groups, parts))
    more = plan_more(entries, items)
    ordered = [group for pair in pairs for group in pair if group]
    return ordered + groups([more[i] for i in random.permutation(len(more))])


class Silero:
    """Probabilities of speech by silero VAD (MIT), one for every 32 ms."""

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Audio at 16 kHz -> `[ceil(N / 512)]` in 0 .. 1."""
        audio = np.pad(audio, (SILERO_CONTEXT, -len(audio) % SILERO_SAMPLES)).astype(np.float32)
        state, found = np.zeros((2, 1, 128), np.float32), []
        for start in range(0, len(audio) - SILERO_CONTEXT, SILERO_SAMPLES):
            heard = audio[None, start : start + SILERO_CONTEXT + SILERO_SAMPLES]
            feed = {"input": heard, "sr": np.array(16000, np.int64), "state": state}
            probability, state = self.session.run(None, feed)
            found.append(float(probability[0, 0]))
        return np.array(found, np.float32)

    def frames(self, audio: np.ndarray, count: int) -> np.ndarray:
        """The probability at the middle of each of `count` mel frames; audio at 16 kHz."""
        found = self(audio)
        middles_s = (np.arange(count) + 0.5) * HOP_SAMPLES / RATE_HZ
        at = (middles_s * speakers.RATE_HZ / SILERO_SAMPLES).astype(int)
        return found[np.minimum(at, len(found) - 1)]


@cache
def ge2e_bank() -> np.ndarray:
    """`[201, 40]`. A plain product with it takes a fifth of the time of librosa's own einsum."""
    import librosa

    bank = librosa.filters.mel(sr=speakers.RATE_HZ, n_fft=speakers.WINDOW_SAMPLES, n_mels=speakers.MELS)
    return np.ascontiguousarray(bank.T)


def ge2e_windows(teacher: speakers.SpeakerTeacher, audio: np.ndarray) -> np.ndarray:
    """GE2E of every 1.6 s, 0.8 s apart, `[W, 256]`; audio at 16 kHz. As `SpeakerTeacher.embed`, before the mean."""
    import librosa

    rms = np.sqrt(np.mean(np.square(audio)) + 1e-12)
    loud = audio * max(1.0, 10 ** (speakers.LEVEL_DBFS / 20) / rms)
    bins = librosa.stft(loud, n_fft=speakers.WINDOW_SAMPLES, hop_length=speakers.HOP_SAMPLES)
    bands = np.square(np.abs(bins)).T.astype(np.float32) @ ge2e_bank()
    bands = np.pad(bands, ((0, max(0, speakers.WINDOW_FRAMES - len(bands))), (0, 0)))
    starts = range(0, len(bands) - speakers.WINDOW_FRAMES + 1, speakers.STEP_FRAMES)
    with torch.inference_mode():
        return teacher(torch.from_numpy(np.stack([bands[s : s + speakers.WINDOW_FRAMES] for s in starts]))).numpy()


class Worker:
    """Everything that is done to one recording; lives in each process."""

    def __init__(self, work: Path, data: Path):
        torch.set_num_threads(1)
        self.pack = packed.Pack(work)
        self.silero = Silero(data / "models/silero_vad/silero_vad_op18_ifless.onnx")
        self.teacher = speakers.SpeakerTeacher()

    def __call__(self, item: Item, seed: int) -> dict[str, np.ndarray]:
        """`clean`, `room` `[T, 80]`, `speech` `[T]`, `windows` `[W, 256]`, all float16."""
        import soxr

        audio = self.pack.audio(item.pack)[: int(MOST_S * RATE_HZ)]
        if item.shift != 1.0:
            audio = soxr.resample(audio, RATE_HZ * item.shift, RATE_HZ)
        narrow = soxr.resample(audio, RATE_HZ, speakers.RATE_HZ)
        heard = disturbances.in_room(audio, np.random.default_rng(seed))
        both = log_mel(torch.from_numpy(np.stack([audio, heard]))).numpy()
        found = {"clean": both[0], "room": both[1], "speech": self.silero.frames(narrow, both.shape[1])}
        found["windows"] = ge2e_windows(self.teacher, narrow)
        return {name: values.astype(np.float16) for name, values in found.items()}


_worker: Worker | None = None


def start_worker(*arguments) -> None:
    global _worker
    _worker = Worker(*arguments)


def compute_chunk(job: tuple[Path, list[Item], int]) -> int:
    """Computes and stores a chunk of recordings, unless it is there; returns how many."""
    path, items, seed = job
    if not path.exists():
        assert _worker is not None
        found = [_worker(item, seed + i) for i, item in enumerate(items)]
        joined = {name: np.concatenate([one[name] for one in found]) for name in COLUMNS}
        sizes = [(len(one["speech"]), len(one["windows"])) for one in found]
        np.savez(partial := path.with_suffix(".part.npz"), sizes=sizes, **joined)
        partial.rename(path)
    return len(items)


def make_noises(pack: packed.Pack, seed: int) -> np.ndarray:
    """Log-mels `[kinds, pieces, T, 80]` float16 of every kind of noise."""
    random = np.random.default_rng(seed)
    count = int(NOISE_S * RATE_HZ) // HOP_SAMPLES * HOP_SAMPLES
    usable = [i for i, e in enumerate(pack.entries) if e.training]
    found = []
    for kind in disturbances.NOISES:
        for _ in range(NOISE_EACH):
            speech = [pack.audio(int(i)) for i in random.choice(usable, 6)] if kind == "babble" else []
            audio = disturbances.noise(kind, count, random, speech)
            found.append(log_mel(torch.from_numpy(audio)[None])[0].numpy().astype(np.float16))
    return np.stack(found).reshape(len(disturbances.NOISES), NOISE_EACH, -1, MELS)


def join(folder: Path, chunks: list[tuple[Path, list[Item], int]]) -> list[Item]:
    """One file for each column from all chunks, and the items with their sizes."""
    items: list[Item] = []
    streams = {name: (folder / f"{name}.f16.part").open("wb") for name in COLUMNS}
    for path, some, _ in chunks:
        with np.load(path) as file:
            for item, (frames, windows) in zip(some, file["sizes"].tolist(), strict=True):
                item.frames, item.windows = frames, windows
            for name, stream in streams.items():
                stream.write(file[name].tobytes())
        items += some
    for name, stream in streams.items():
        stream.close()
        os.replace(folder / f"{name}.f16.part", folder / f"{name}.f16")  # a training that reads the old one goes on
    return items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=packed.default_data())
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=0, help="only so many chunks, for a trial")
    parser.add_argument("--cached", action="store_true", help="pack what the cache holds: to start training early")
    parser.add_argument("--first", type=int, default=0, help="begin with this chunk; earlier ones come last")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.work / "speaker"
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    pack = packed.Pack(options.work)
    items = plan(pack.entries)
    groups = chunks(items, pack.entries, np.random.default_rng(options.seed))
    jobs = [(cache / f"{i:04d}.npz", some, 100003 * (i + 1)) for i, some in enumerate(groups)]
    jobs = jobs[: options.limit] if options.limit else jobs
    total = sum(len(some) for _, some, _ in jobs)
    if options.cached:
        jobs = [job for job in jobs if job[0].exists()]
    begin, done = time.monotonic(), 0
    if not (folder / "noise.npy").exists():
        np.save(folder / "noise.npy", make_noises(pack, options.seed))
        print(f"noises: {time.monotonic() - begin:.0f} s", flush=True)
    with multiprocessing.get_context("spawn").Pool(options.jobs, start_worker, (options.work, options.data)) as pool:
        for count in pool.imap(compute_chunk, jobs[options.first :] + jobs[: options.first]):
            done += count
            print(f"{done}/{total} {time.monotonic() - begin:.0f} s", flush=True)
    items = join(folder, jobs)
    (folder / "index.json").write_text(json.dumps([asdict(item) for item in items], indent=0), encoding="utf-8")
    hours = sum(item.frames for item in items) * HOP_SAMPLES / RATE_HZ / 3600
    print(f"{len(items)} items, {hours:.2f} h, {len({item.voice for item in items})} voices")


if __name__ == "__main__":
    main()
