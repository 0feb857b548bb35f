"""Judges voices from recordings on speakers that were never trained on, through rooms, noise and telephones.

    python -m distill.evaluate_speaker --work WORK [--model voice.puni] [--only gate]

Prints likeness to the teacher, equal error rates, identification, how near a voice of so many seconds is to the
speaker's long-run voice, how alike successive stretches of one and of two speakers are, and how often the gate decides
as silero does. With `--model` everything runs through the runtime, else through the trained networks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfilt

from . import disturbances, packed, speakers
from .mel import HOP_SAMPLES, RATE_HZ, log_mel
from .speaker_corpus import SPEECH
from .speaker_data import Silero, ge2e_windows

SECONDS = (1, 2, 3, 5, 10)
CURVE_SECONDS = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24)
STRETCH_FRAMES = 2 * RATE_HZ // HOP_SAMPLES
GAINS_DB = (-24, 0, 24)


# -- conditions


def add_noise(audio: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    scale = np.std(audio) / (np.std(noise) + 1e-9) * 10 ** (-snr_db / 20)
    return (audio + scale * noise[: len(audio)]).astype(np.float32)


def telephone(audio: np.ndarray) -> np.ndarray:
    """300 .. 3400 Hz, nothing above 4 kHz."""
    low = sosfilt(butter(4, 300, "high", fs=RATE_HZ, output="sos"), audio)
    return sosfilt(butter(16, 3600, "low", fs=RATE_HZ, output="sos"), low).astype(np.float32)


def laptop(audio: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A room, a small microphone without lows and with a resonance, a fan."""
    heard = sosfilt(butter(2, 220, "high", fs=RATE_HZ, output="sos"), disturbances.in_room(audio, random))
    heard = heard + 0.9 * sosfilt(butter(1, [2500, 4200], "band", fs=RATE_HZ, output="sos"), heard)
    return add_noise(heard, disturbances.noise("hum", len(audio), random, []), 18.0)


CONDITIONS: dict[str, Callable[[np.ndarray, np.random.Generator, list[np.ndarray]], np.ndarray]] = {
    "clean": lambda audio, random, others: audio,
    "8 kHz": lambda audio, random, others: telephone(audio),
    "noise 10 dB": lambda audio, random, others: add_noise(
        audio, disturbances.noise("pink", len(audio), random, []), 10.0
    ),
    "babble 10 dB": lambda audio, random, others: add_noise(
        audio, disturbances.noise("babble", len(audio), random, others), 10.0
    ),
    "room": lambda audio, random, others: disturbances.in_room(audio, random),
    "laptop": lambda audio, random, others: laptop(audio, random),
}


# -- towers


@dataclass
class Towers:
    """features: mel `[T, 80]` -> `[T, C]`; head: `[2 C]` -> `[192]`; activity: mel -> logit `[T]`.

    taught: how many of the 192 the teacher has an opinion on (voice_space.py).
    """

    features: Callable[[np.ndarray], np.ndarray]
    head: Callable[[np.ndarray], np.ndarray]
    activity: Callable[[np.ndarray], np.ndarray]
    taught: int = speakers.VECTOR

    def vector(self, features: np.ndarray) -> np.ndarray:
        """Frames of speech `[T, C]` -> speaker vector, as csrc/speech/speaker_pool.cc makes it."""
        mean, square = features.mean(0, dtype=np.float64), np.square(features, dtype=np.float64).mean(0)
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
        return self.head(np.concatenate([mean, deviation]).astype(np.float32))


def trained_towers(work: Path) -> Towers:
    from .activity import load_activity
    from .speaker_tower import load_speaker

    speaker, gate = load_speaker(work / "speaker/speaker.pt"), load_activity(work / "speaker/activity.pt")

    def run(function: Callable, x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return function(torch.from_numpy(x)[None])[0].numpy()

    return Towers(
        lambda mel: run(speaker.features, mel), lambda stats: run(speaker.speaker, stats), lambda mel: run(gate, mel)
    )


def stored_towers(path: Path, work: Path) -> Towers:
    from pocketuni_tools.reader import read_model

    import pocketuni

    from . import add_towers, voice_space

    towers = pocketuni.Model(str(path)).towers
    alone = read_model(path).blobs.get(voice_space.BLOB) == add_towers.ge2e_space(work)
    return Towers(
        lambda mel: towers["voice.speaker"].run(mel=mel[None])["features"][0],
        lambda stats: towers["voice.speaker_head"].run(stats=stats[None])["speaker"][0],
        lambda mel: towers["voice.activity"].run(mel=mel[None])["speech"][0],
        speakers.VECTOR if alone else voice_space.TEACHER,
    )


# -- recordings


@dataclass
class Heard:
    """One recording under one condition."""

    speaker: str
    features: np.ndarray  # of the frames in which the gate hears speech
    taught: np.ndarray  # the teacher's vector of the clean recording
    teacher: np.ndarray  # of what is heard
    vector: np.ndarray


@dataclass
class Judge:
    work: Path
    data: Path
    towers: Towers

    def __post_init__(self) -> None:
        self.teacher = speakers.SpeakerTeacher()
        with np.load(self.work / "prepared/voices.npz") as file:
            self.mean, self.axes = file["mean"], file["axes"]
        folder = self.data / "speech/librispeech-unseen"
        self.files = sorted(folder.glob("*.opus"))
        if not self.files:
            raise OSError(f"{folder}: no recordings; see shared/data/README.md")
        self.audio = [packed.load_audio(path) for path in self.files]
        libri = sorted((self.data / "speech/librispeech-voices").glob("*.opus"))[:6]
        self.others = [packed.load_audio(path) for path in libri]

    def taught(self, audio: np.ndarray) -> np.ndarray:
        import soxr

        windows = ge2e_windows(self.teacher, soxr.resample(audio, RATE_HZ, speakers.RATE_HZ)).mean(0)
        return speakers.project(windows / np.linalg.norm(windows), self.mean, self.axes[: self.towers.taught])

    def mel(self, audio: np.ndarray) -> np.ndarray:
        return log_mel(torch.from_numpy(audio)[None])[0].numpy()

    def hear(self, condition: str) -> list[Heard]:
        found = []
        for number, (path, audio) in enumerate(zip(self.files, self.audio, strict=True)):
            random = np.random.default_rng(number)
            heard = CONDITIONS[condition](audio, random, self.others)
            mel = self.mel(heard)
            features = self.towers.features(mel)[self.towers.activity(mel) > 0]
            taught = self.taught(audio)
            teacher = taught if condition == "clean" else self.taught(heard)
            vector = self.towers.vector(features)
            found.append(Heard(path.name.split("-")[0], features, taught, teacher, vector))
        return found


# -- figures


def equal_error(same: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The rate at which as many pairs of one speaker are refused as pairs of two are taken, and its threshold."""
    limits = np.sort(np.concatenate([same, other]))
    refused = np.searchsorted(np.sort(same), limits) / len(same)
    taken = 1 - np.searchsorted(np.sort(other), limits) / len(other)
    at = int(np.argmin(np.abs(refused - taken)))
    return float((refused[at] + taken[at]) / 2), float(limits[at])


def pair_similarities(vectors: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs of one speaker, and of two."""
    a, b = np.triu_indices(len(vectors), 1)
    cosines, same = (vectors @ vectors.T)[a, b], owners[a] == owners[b]
    return cosines[same], cosines[~same]


def identified(vectors: np.ndarray, owners: np.ndarray, references: np.ndarray) -> float:
    """Share of recordings whose nearest speaker, by the mean of the *other* recordings, is their own."""
    right = 0
    for i, owner in enumerate(owners):
        means = {}
        for name in np.unique(owners):
            chosen = (owners == name) & (np.arange(len(owners)) != i)
            means[name] = references[chosen].mean(0) / np.linalg.norm(references[chosen].mean(0))
        right += max(means, key=lambda name: float(means[name] @ vectors[i])) == owner
    return right / len(owners)


def stretches(heard: list[Heard], frames: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Speaker, a stretch of speech and the rest of what was said, from each speaker's recordings in a row."""
    for name in sorted({h.speaker for h in heard}):
        said = np.concatenate([h.features for h in heard if h.speaker == name])
        for begin in range(0, len(said) - frames + 1, frames):
            yield name, said[begin : begin + frames], np.concatenate([said[:begin], said[begin + frames :]])


def judge_condition(towers: Towers, heard: list[Heard], clean: list[Heard]) -> dict[str, float]:
    owners = np.array([h.speaker for h in heard])
    ours, taught, teacher = (np.stack([getattr(h, n) for h in heard]) for n in ("vector", "taught", "teacher"))
    references = np.stack([h.vector for h in clean])
    same, other = pair_similarities(ours, owners)
    opinion = ours[:, : towers.taught] / np.linalg.norm(ours[:, : towers.taught], axis=1, keepdims=True)
    found = {
        "cosine to clean GE2E": float((opinion * taught).sum(1).mean()),
        "GE2E's own": float((teacher * taught).sum(1).mean()),
        "same": float(same.mean()),
        "different": float(other.mean()),
        "EER": equal_error(same, other)[0],
        "GE2E's EER": equal_error(*pair_similarities(teacher, owners))[0],
        "identified": identified(ours, owners, references),
    }
    for seconds in SECONDS:
        cut = list(stretches(heard, round(seconds * RATE_HZ / HOP_SAMPLES)))
        vectors = np.stack([towers.vector(features) for _, features, _ in cut])
        found[f"EER {seconds} s"] = equal_error(*pair_similarities(vectors, np.array([name for name, *_ in cut])))[0]
    return found


def confidence_curve(towers: Towers, heard: list[Heard]) -> dict[str, tuple[float, float]]:
    """Seconds of speech -> mean and 10th percentile of the cosine to the voice of the speaker's other speech."""
    found = {}
    for seconds in CURVE_SECONDS:
        cut = list(stretches(heard, round(seconds * RATE_HZ / HOP_SAMPLES)))[:: 1 if seconds > 1.5 else 3]
        cosines = [float(towers.vector(some) @ towers.vector(rest)) for _, some, rest in cut]
        found[f"{seconds:g}"] = (float(np.mean(cosines)), float(np.percentile(cosines, 10)))
    return found


def stretch_likeness(towers: Towers, heard: list[Heard]) -> dict[str, object]:
    """Cosines between the vectors of stretches of 2 s: percentiles 1, 5, 25, 50, 75, 95, 99."""
    cut = list(stretches(heard, STRETCH_FRAMES))
    vectors, owners = np.stack([towers.vector(some) for _, some, _ in cut]), np.array([name for name, *_ in cut])
    same, other = pair_similarities(vectors, owners)
    after = (vectors[1:] * vectors[:-1]).sum(1)[owners[1:] == owners[:-1]]
    percentiles = (1, 5, 25, 50, 75, 95, 99)
    eer, limit = equal_error(same, other)
    return {
        "one speaker": np.percentile(same, percentiles).round(2).tolist(),
        "one speaker, successive": np.percentile(after, percentiles).round(2).tolist(),
        "two speakers": np.percentile(other, percentiles).round(2).tolist(),
        "EER": round(eer, 3),
        "at": round(limit, 2),
    }


def group_cosine(vectors: np.ndarray) -> float:
    """Cosine between the middles of the two groups into which csrc/speech/speaker_pool.cc sorts stretches `[N, 192]`;
    1 where the smaller group has less than two."""
    alike = vectors @ vectors.T
    middles = vectors[list(np.unravel_index(np.argmin(alike), alike.shape))]
    for _ in range(4):
        first = vectors @ middles[0] >= vectors @ middles[1]
        if not 0 < first.sum() < len(vectors):
            return 1.0
        middles = np.stack([vectors[first].sum(0), vectors[~first].sum(0)])
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    return float(middles[0] @ middles[1]) if min(first.sum(), (~first).sum()) >= 2 else 1.0


def several_speakers(towers: Towers, heard: list[Heard]) -> dict[str, object]:
    """`group_cosine` of 4 to 16 stretches of one speaker, and of two who share them: percentiles, and at each limit how
    often one is taken for two and two for one."""
    cut = list(stretches(heard, STRETCH_FRAMES))
    vectors, owners = np.stack([towers.vector(some) for _, some, _ in cut]), np.array([name for name, *_ in cut])
    random = np.random.default_rng(5)
    names = np.unique(owners)
    one, two = [], []
    for _ in range(400):
        count = int(random.integers(4, 17))
        a, b = random.choice(names, 2, replace=False)
        of_a, of_b = np.flatnonzero(owners == a), np.flatnonzero(owners == b)
        one.append(group_cosine(vectors[random.choice(of_a, min(count, len(of_a)), replace=False)]))
        parts = [random.choice(some, min(count // 2, len(some)), replace=False) for some in (of_a, of_b)]
        two.append(group_cosine(vectors[np.concatenate(parts)]))
    limits = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
    return {
        "one speaker": np.percentile(one, (1, 5, 25, 50)).round(2).tolist(),
        "two speakers": np.percentile(two, (50, 75, 95, 99)).round(2).tolist(),
        "limits": {
            str(x): [round(float(np.mean(np.array(one) < x)), 3), round(float(np.mean(np.array(two) >= x)), 3)]
            for x in limits
        },
    }


def judge_gate(judge: Judge) -> dict[str, dict[str, float]]:
    """Condition -> share of frames decided as silero decides: on the clean recording, and on what is heard."""
    import soxr

    silero = Silero(judge.data / "models/silero_vad/silero_vad_op18_ifless.onnx")

    def decisions(audio: np.ndarray, frames: int) -> np.ndarray:
        return silero.frames(soxr.resample(audio, RATE_HZ, speakers.RATE_HZ), frames) > SPEECH

    found: dict[str, dict[str, float]] = {}
    for name in [*CONDITIONS, *(f"gain {db} dB" for db in GAINS_DB if db)]:
        agree, also, missed, false = [], [], [], []
        for number, audio in enumerate(judge.audio):
            # A second of silence on both sides: recordings of speech hold little of it.
            clean = np.pad(audio, RATE_HZ)
            random = np.random.default_rng(number)
            if name in CONDITIONS:
                heard = CONDITIONS[name](clean, random, judge.others)
            else:
                heard = (clean * 10 ** (float(name.split()[1]) / 20)).clip(-1, 1).astype(np.float32)
            mel = judge.mel(heard)
            ours, wanted = judge.towers.activity(mel) > 0, decisions(clean, len(mel))
            agree.append(ours == wanted)
            also.append(decisions(heard, len(mel)) == wanted)
            missed.append(~ours[wanted])
            false.append(ours[~wanted])
        names = ("as silero on the clean", "silero itself", "speech missed", "silence taken")
        found[name] = {
            label: round(float(np.concatenate(values).mean()), 4)
            for label, values in zip(names, (agree, also, missed, false), strict=True)
        }
    for kind in ("white", "pink", "band", "hum", "clicks", "music"):
        random = np.random.default_rng(99)
        audios = [disturbances.noise(kind, 10 * RATE_HZ, random, []) for _ in range(4)]
        taken = np.concatenate([judge.towers.activity(judge.mel(audio)) > 0 for audio in audios])
        found.setdefault("taken for speech", {})[kind] = round(float(taken.mean()), 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=packed.default_data())
    parser.add_argument("--model", type=Path, help="a model file, to be judged instead of the checkpoints")
    parser.add_argument("--only", choices=("speaker", "gate"), help="one half of it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    towers = stored_towers(options.model, options.work) if options.model else trained_towers(options.work)
    judge = Judge(options.work, options.data, towers)
    clean: list[Heard] = []
    for name in CONDITIONS if options.only != "gate" else ():
        heard = judge.hear(name)
        clean = clean or heard
        figures = {key: round(value, 3) for key, value in judge_condition(towers, heard, clean).items()}
        print(json.dumps({name: figures}), flush=True)
        if name in ("clean", "laptop"):
            print(json.dumps({f"{name}: cosine to the long run by seconds": confidence_curve(towers, heard)}))
            print(json.dumps({f"{name}: stretches of 2 s": stretch_likeness(towers, heard)}))
            print(json.dumps({f"{name}: groups of stretches": several_speakers(towers, heard)}), flush=True)
    for name, row in judge_gate(judge).items() if options.only != "speaker" else ():
        print(json.dumps({f"gate, {name}": row}), flush=True)


if __name__ == "__main__":
    main()
