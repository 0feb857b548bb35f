"""Turns recordings and transcripts into packed training data: mels, units, durations, pitch, energy, speaker vectors.

python -m distill.prepare --data ../shared/data --work /work-data
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from . import align, pitch, restore, shifted, speakers, split, units, voice_space
from .mel import HOP_SAMPLES, RATE_HZ, log_mel
from .pronounce import Lexicon

CORPORA = ("ljspeech", "vctk-p239", "librispeech", split.UNTRANSCRIBED)
LEAD_FRAMES, TAIL_FRAMES = 10, 22  # silence kept at both ends
END_FRAMES = 6  # of the tail: unit 0; the rest belongs to the closing pause
LONGEST_PAUSE = 52  # 0.6 s; longer ones lose their middle
MINIMUM_PAUSE_S = 0.08  # a silence that no punctuation explains becomes a comma from here on
LEVEL = 0.115  # RMS of speech, to which each speaker's recordings are scaled: LJSpeech's own
OCTAVES_OFF = 0.75  # F0 further from the speaker's median (natural logarithm) is a tracking error: unvoiced
WORST_PER_MILLE = {split.UNTRANSCRIBED: 250}  # of each corpus, by alignment score, are dropped
USUAL_WORST = 20


@dataclass
class Recording:
    corpus: str
    file: str
    speaker: str
    sex: str
    text: str


def recordings(speech: Path, work: Path) -> list[Recording]:
    """All that have a text; of the corpus without any, what transcribe.py has heard."""
    fixed = {"ljspeech": ("lj", "F"), "vctk-p239": ("p239", "F")}
    found = []
    for row in split.pseudo_transcripts(work):
        if row["text"]:
            name = row["file"].partition("-")[0]
            found.append(Recording(split.UNTRANSCRIBED, row["file"], name, "", row["text"]))
    for corpus in CORPORA[:-1]:
        for row in split.transcripts(speech, corpus):
            name, sex = fixed.get(corpus) or (row["speaker"], row["sex"])
            text = row["text"].replace('\\"', '"')
            found.append(Recording(corpus, row["file"], name, sex, text))
    return found


def load(path: Path, rate_hz: int) -> np.ndarray:
    """Mono float32 at `rate_hz`."""
    import soundfile
    import soxr

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(audio.mean(1), rate, rate_hz).astype(np.float32)


def speaker_gains(found: list[Recording], speech: Path, path: Path) -> dict[str, float]:
    """Speaker -> factor that brings the RMS of (up to 20 of) his recordings to `LEVEL`; kept in `path`."""
    gains = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    files: dict[str, list[Path]] = {}
    for r in found:
        if r.speaker not in gains:
            files.setdefault(r.speaker, []).append(speech / r.corpus / r.file)
    for name, paths in files.items():
        sample = np.concatenate([load(path, align.RATE_HZ) for path in paths[:: max(1, len(paths) // 20)]])
        blocks = sample[: len(sample) // 400 * 400].reshape(-1, 400)
        power = np.mean(np.square(blocks), axis=1)
        loud = power[power > 0.03 * np.percentile(power, 95)]
        gains[name] = float(LEVEL / np.sqrt(loud.mean()))
    path.write_text(json.dumps(gains), encoding="utf-8")
    return gains


@dataclass
class Timeline:
    """Units with flags and bounds in mel frames, before silences are shortened."""

    ids: list[int]
    flags: list[int]
    ends: list[int]

    def add(self, unit: int, flag: int, end: int) -> None:
        self.ids.append(unit)
        self.flags.append(flag)
        self.ends.append(max(end, self.ends[-1] if self.ends else 0))


def timeline(segments: list[align.Segment], words: list[units.Word], frames: int) -> Timeline:
    """Lays units on mel frames: pauses where the text asks for them or a long silence is heard, 0 at both ends."""

    def frame(seconds: float) -> int:
        return min(frames, max(0, round(seconds * RATE_HZ / HOP_SAMPLES)))

    spoken = [i for i, s in enumerate(segments) if s.phone]
    first, last = spoken[0], spoken[-1]
    line = Timeline([], [], [])
    line.add(units.SILENCE, 0, frame(segments[first].start_s))
    for i in range(first, last + 1):
        s = segments[i]
        if s.phone is None:
            continue
        end = s.end_s
        gap_end = next(t.start_s for t in segments[i + 1 :] if t.phone) if i < last else end
        word_ends = i < last and segments[spoken[spoken.index(i) + 1]].word != s.word
        pause = words[s.word].pause if word_ends else 0
        if not pause and gap_end - end >= MINIMUM_PAUSE_S:
            pause = units.COMMA
        if not pause:
            end = (end + gap_end) / 2  # a short gap is shared by its neighbours
        opens = i == first or segments[spoken[spoken.index(i) - 1]].word != s.word
        line.add(units.PHONES[s.phone], int(opens), frame(end))
        if pause:
            line.add(pause, 0, frame(gap_end))
    line.add(words[-1].pause or units.STOP, 0, frames)
    line.add(units.SILENCE, 0, frames)
    return line


def shorten(line: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """Durations `[U]` after cutting long silences, and the indices of the kept frames `[T']`. Shares out the tail."""
    ends = np.array(line.ends)
    starts = np.concatenate([[0], ends[:-1]])
    kept, durations = [], []
    count = len(ends)
    for u, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if u == 0:
            start = max(start, end - LEAD_FRAMES)
        if u == count - 2:
            end = min(end, start + TAIL_FRAMES)
        span = list(range(start, end))
        if line.ids[u] < units.FIRST_PHONE and len(span) > LONGEST_PAUSE:
            half = LONGEST_PAUSE // 2
            span = span[:half] + span[-half:]
        kept += span
        durations.append(len(span))
    closing = min(END_FRAMES, durations[-2])
    durations[-2] -= closing
    durations[-1] += closing
    return np.array(durations, np.int32), np.array(kept, np.int64)


class Worker:
    """Everything that is done to one recording; lives in each process."""

    def __init__(self, speech: Path, cache: Path, lexicon: dict[str, list[tuple[str, ...]]], gains: dict[str, float]):
        torch.set_num_threads(1)
        self.speech, self.cache, self.gains = speech, cache, gains
        self.aligner = align.Aligner(lexicon)
        self.teacher = speakers.SpeakerTeacher()

    def __call__(self, r: Recording) -> dict | str:
        """Features of a recording, or why it has none. Kept in the cache, so that an interrupted run goes on."""
        cached = self.cache / f"{Path(r.file).stem}.npz"
        try:
            if (known := cached_features(r, self.cache)) is not None:
                return known
            words = units.tokenize(r.text)
            wide = load(self.speech / r.corpus / r.file, RATE_HZ) * self.gains[r.speaker]
            narrow = load(self.speech / r.corpus / r.file, align.RATE_HZ)
            segments = self.aligner(narrow, [w.text for w in words])
            found = self.features(r, wide, narrow, segments, words)
            np.savez(partial := cached.with_suffix(".part.npz"), **{k: v for k, v in found.items() if k != "recording"})
            partial.rename(cached)
            return found
        except (RuntimeError, ValueError, OSError) as error:
            return f"{r.file}: {error}"

    def features(self, r: Recording, wide: np.ndarray, narrow: np.ndarray, segments: list, words: list) -> dict:
        mel = log_mel(torch.from_numpy(wide)[None])[0].numpy()
        line = timeline(segments, words, len(mel))
        durations, kept = shorten(line)
        ids = np.array(line.ids, np.int16)
        phones = [s for s in segments if s.phone]
        if (durations[ids >= units.FIRST_PHONE] < 1).any():
            raise ValueError("a phone without a frame")
        # A creaky or whispered end has no F0 for WORLD; the frames stay and count as unvoiced.
        return {
            "recording": r,
            "mel": mel[kept].astype(np.float16),
            "log_f0": pitch.log_f0(wide, len(mel))[kept],
            "units": ids,
            "flags": np.array(line.flags, np.int8),
            "frames": durations,
            "embedding": self.teacher.embed(narrow[int(phones[0].start_s * 16000) : int(phones[-1].end_s * 16000)]),
            "score": float(np.mean([s.score for s in phones])),
            "longest_s": max(s.end_s - s.start_s for s in phones),
        }


_worker: Worker | None = None


def start_worker(*arguments) -> None:
    global _worker
    _worker = Worker(*arguments)


def work(r: Recording) -> dict | str:
    assert _worker is not None
    return _worker(r)


def drop_bad(items: list[dict]) -> list[dict]:
    """Without the recordings whose alignment scores worst in their corpus, or that hold a phone of more than 0.8 s."""
    kept = []
    for corpus in CORPORA:
        mine = [x for x in items if x["recording"].corpus == corpus]
        if mine:
            worst = WORST_PER_MILLE.get(corpus, USUAL_WORST) / 1000
            limit = np.quantile([x["score"] for x in mine], worst)
            kept += [x for x in mine if x["score"] >= limit and x["longest_s"] <= 0.8]
    return kept


def add_prosody(items: list[dict]) -> dict[str, float]:
    """Adds pitch, voiced and energy per unit; returns each speaker's mean log-F0."""
    means: dict[str, tuple[float, float]] = {}
    for name in {x["recording"].speaker for x in items}:
        mine = [x for x in items if x["recording"].speaker == name]
        f0 = np.concatenate([x["log_f0"] for x in mine])
        energy = np.concatenate([pitch.log_energy(x["mel"].astype(np.float32)) for x in mine])
        middle = np.median(f0[f0 > 0])
        for x in mine:
            x["log_f0"] = np.where(np.abs(x["log_f0"] - middle) < OCTAVES_OFF, x["log_f0"], 0.0).astype(np.float32)
        f0 = np.concatenate([x["log_f0"] for x in mine])
        voiced = f0 > 0
        means[name] = float(f0[voiced].mean()), float(energy[voiced].mean())
    for x in items:
        f0_mean, energy_mean = means[x["recording"].speaker]
        voiced = (x["log_f0"] > 0).astype(np.float32)
        centred = np.where(voiced > 0, x["log_f0"] - f0_mean, 0.0)
        mean, mass = pitch.unit_means(centred, x["frames"], voiced)
        x["pitch"] = pitch.fill_gaps(mean, mass >= 2)
        x["voiced"] = mass / np.maximum(x["frames"], 1)
        energy = (pitch.log_energy(x["mel"].astype(np.float32)) - energy_mean) / 2.0
        level, mass = pitch.unit_means(energy, x["frames"], np.ones_like(energy))
        x["energy"] = pitch.fill_gaps(level, mass > 0)
    return {name: f0 for name, (f0, _) in means.items()}


def held_out(speech: Path) -> set[str]:
    return {row["file"] for row in split.ljspeech_held_out(speech)}


def vector_parts(x: dict, space: voice_space.VoiceSpace) -> np.ndarray:
    spectrum = voice_space.spectrum_statistics(x["mel"])
    return space.parts(x["embedding"], spectrum, *voice_space.pitch_statistics(x["log_f0"]))


def pack(items: list[dict], space: voice_space.VoiceSpace, folder: Path, speech: Path, gains: dict[str, float]) -> None:
    """Writes mel.npy `[sum T, 80]`, frames.npz, units.npz, voices.npz and index.json.

    Beside and renamed, so that those who have mapped the files of an earlier run keep what they have.
    """
    target, folder = folder, folder / "partial"
    folder.mkdir(parents=True, exist_ok=True)
    not_trained = held_out(speech)
    f0_means = add_prosody(items)
    names = sorted(f0_means)
    owner = np.array([names.index(x["recording"].speaker) for x in items])
    parts = np.stack([vector_parts(x, space) for x in items])
    usual = np.stack([parts[owner == i].mean(0) for i in range(len(names))])
    np.save(folder / "mel.npy", np.concatenate([x["mel"] for x in items]))
    np.savez(folder / "frames.npz", log_f0=np.concatenate([x["log_f0"] for x in items]))
    columns = {
        k: np.concatenate([x[k] for x in items]) for k in ("units", "flags", "frames", "pitch", "voiced", "energy")
    }
    columns["natural"] = np.concatenate([x.get("natural", x["frames"]) for x in items])
    np.savez(folder / "units.npz", **columns)
    np.savez(
        folder / "voices.npz",
        **space.as_dict(),
        speaker=voice_space.unit(usual),
        utterance=voice_space.unit(parts),
        owner=owner,
    )
    # Some of the speakers without text are among the others, where more is known of them.
    sexes = {x["recording"].speaker: "" for x in items} | {
        x["recording"].speaker: x["recording"].sex for x in items if x["recording"].sex
    }
    index = {
        "speakers": [{"name": n, "sex": sexes[n], "log_f0": f0_means[n], "gain": gains[n]} for n in names],
        "utterances": [
            {
                "corpus": (r := x["recording"]).corpus,
                "file": r.file,
                "speaker": names.index(r.speaker),
                "text": r.text,
                "frames": int(x["frames"].sum()),
                "units": len(x["units"]),
                "score": round(x["score"], 2),
                "train": split.is_training(r.corpus, r.file, not_trained),
                **({"bands": x["bands"]} if "bands" in x else {}),
            }
            for x in items
        ],
    }
    (folder / "index.json").write_text(json.dumps(index, indent=0), encoding="utf-8")
    for path in sorted(folder.iterdir()):
        path.rename(target / path.name)
    folder.rmdir()


def cached_features(r: Recording, cache: Path) -> dict | None:
    path = cache / f"{Path(r.file).stem}.npz"
    if not path.exists():
        return None
    with np.load(path) as file:
        return {"recording": r} | {k: file[k] if file[k].ndim else file[k].item() for k in file.files}


def from_cache(found: list[Recording], cache: Path) -> list[dict]:
    return [item for r in found if (item := cached_features(r, cache)) is not None]


def compute(found: list[Recording], options: argparse.Namespace, cache: Path, gains: dict[str, float]) -> list[dict]:
    """Features of all recordings, in `options.jobs` processes; says which ones failed and why."""
    lexicon = Lexicon(options.data / "text/cmudict.dict", options.data / "models/g2p_en/checkpoint20.npz")
    words = {w.text for r in found for w in units.tokenize(r.text)}
    pronunciations = {word: lexicon(word) for word in sorted(words)}
    arguments = (options.data / "speech", cache, pronunciations, gains)
    begin, items = time.time(), []
    with multiprocessing.get_context("spawn").Pool(options.jobs, start_worker, arguments) as pool:
        for number, result in enumerate(pool.imap(work, found, chunksize=4), 1):
            if isinstance(result, str):
                print("dropped", result, file=sys.stderr)
            else:
                items.append(result)
            if number % 100 == 0:
                print(f"{number}/{len(found)} {time.time() - begin:.0f} s", flush=True)
    return items


def fit_space(speech: Path, folder: Path, start: Path | None) -> voice_space.VoiceSpace:
    """The space of speaker vectors, fitted to 251 speakers of one recording each, or that of a finished file."""
    path = folder / "others.npz"
    if not path.exists():
        teacher, embeddings, spectra = speakers.SpeakerTeacher(), [], []
        for file in sorted((speech / split.UNTRANSCRIBED).glob("*.opus")):
            embeddings.append(teacher.embed(load(file, speakers.RATE_HZ)[: 8 * speakers.RATE_HZ]))
            mel = log_mel(torch.from_numpy(load(file, RATE_HZ))[None])[0].numpy()
            spectra.append(voice_space.spectrum_statistics(mel))
        np.savez(path, embeddings=np.stack(embeddings), spectra=np.stack(spectra))
    with np.load(path) as file:
        fitted = voice_space.fit(file["embeddings"], file["spectra"])
    return fitted if start is None else restore.space_of(start, fitted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--stride", type=int, default=1, help="every how many-th recording of LibriSpeech is used")
    parser.add_argument("--helper", action="store_true", help="only fill the cache, from the end: helps another run")
    parser.add_argument("--limit", type=int, default=0, help="only so many recordings of each corpus, for a trial")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--shifted", action="store_true", help="also speakers made of others (distill.speaker_data must have run)"
    )
    parser.add_argument("--start", type=Path, help="a finished .puni to go on from: its space of speaker vectors")
    parser.add_argument("--cached", action="store_true", help="pack what the cache holds, compute nothing more")
    options = parser.parse_args()
    torch.set_num_threads(1)
    speech = options.data / "speech"
    found = recordings(speech, options.work)
    if options.limit:
        found = [r for c in CORPORA for r in [r for r in found if r.corpus == c][: options.limit]]
    found = [r for i, r in enumerate(found) if r.corpus != "librispeech" or i % options.stride == 0]
    found = found[::-1] if options.helper else found
    cache = options.work / "prepared" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    gains = speaker_gains(found, speech, cache.parent / "gains.json")
    begin = time.time()
    items = from_cache(found, cache) if options.cached else compute(found, options, cache, gains)
    if options.helper:
        return
    kept = drop_bad(items)
    if options.shifted:
        training = [x for x in kept if split.is_training(x["recording"].corpus, x["recording"].file, held_out(speech))]
        kept += shifted.collect(training, options.work, lambda r: load(speech / r.corpus / r.file, RATE_HZ), gains)
    pack(kept, fit_space(speech, cache.parent, options.start), cache.parent, speech, gains)
    total = sum(int(x["frames"].sum()) for x in kept) * HOP_SAMPLES / RATE_HZ / 3600
    print(f"{len(kept)} of {len(found)} recordings, {total:.2f} h, {time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
