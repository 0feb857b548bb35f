"""Judges the voice on the held-out LJSpeech sentences: recordings, predicted mels through HiFi-GAN and the student.

    python -m distill.evaluate_voice --work /work-data [--systems recording teacher student] [--count 35]

Writes audio, spectrograms and figures.json to WORK/acoustic/samples; `--predict` writes mels for the vocoder instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from . import hifigan, judges, mel, plots, restore, synthesis, train_pitch, units, vocoder
from .acoustic import Acoustic, synthesize_mel
from .data import Prepared, Utterance
from .prepare import load
from .shifted import find_frames

PICTURES = 3


def spoken_mel(
    model: Acoustic, data: Prepared, u: Utterance, forced: bool = False, vector: np.ndarray | None = None
) -> np.ndarray:
    """Mel `[T, 80]` of an utterance's units in its speaker's voice, or in that of `vector`.

    forced: with the recording's own durations and prosody, so that frames correspond.
    """
    ids, flags = (torch.from_numpy(x.astype(np.int64)) for x in (u.units, u.flags))
    speaker = torch.from_numpy(data.vectors[u.speaker] if vector is None else vector)
    durations = torch.from_numpy(u.frames.astype(np.int64)) if forced else None
    prosody = torch.from_numpy(u.prosody()) if forced else None
    return synthesize_mel(model, ids, flags, speaker, durations, prosody)[0].numpy()


def variance_errors(model: Acoustic, data: Prepared, chosen: list[Utterance]) -> dict[str, float]:
    """Predicted against recorded: phones' durations, F0 of voiced units, pauses that were made or left out wrongly."""
    frames, ratio, cents, pauses = [], [], [], []
    for u in chosen:
        ids, flags = (torch.from_numpy(x.astype(np.int64))[None] for x in (u.units, u.flags))
        vector = torch.from_numpy(data.vectors[u.speaker])[None]
        with torch.no_grad():
            _, heads = model.encoder(ids, flags, vector, torch.ones(1, ids.shape[1], 1))
        log_frames, pitch = heads[0, :, 0].numpy(), heads[0, :, 1].numpy()
        phone = u.units >= units.FIRST_PHONE
        frames.append(np.abs(np.exp(log_frames) - u.frames)[phone])
        ratio.append(np.exp(log_frames)[phone].sum() / u.frames[phone].sum())
        voiced = phone & (u.voiced > 0.5)
        cents.append(np.square(pitch - u.pitch)[voiced])
        inner = (u.units >= units.COMMA) & ~phone
        inner[-2:] = False
        pauses.append((np.exp(log_frames) >= 3.5)[inner] != (u.frames >= 4)[inner])
    return {
        "duration_error_frames": float(np.concatenate(frames).mean()),
        "length_ratio": float(np.mean(ratio)),
        "f0_error": float(np.sqrt(np.concatenate(cents).mean())),
        "pauses_wrong": float(np.concatenate(pauses).mean()),
    }


def judge_speech(texts: list[str], spoken: list[np.ndarray], data: Path) -> dict[str, float]:
    """Word error rate of pocketsphinx and the three opinions of DNSMOS."""
    opinion, recognizer = judges.Dnsmos(data), judges.Recognizer()
    opinions, wrong, total = [], 0, 0
    for text, audio in zip(texts, spoken, strict=True):
        opinions.append(opinion(audio))
        errors, words = judges.word_errors(text, recognizer(audio))
        wrong, total = wrong + errors, total + words
    return {name: float(np.mean([o[name] for o in opinions])) for name in judges.DNSMOS_FITS} | {
        "word_error": wrong / total
    }


def make_systems(options: argparse.Namespace, data: Prepared, model: Acoustic) -> dict[str, Callable]:
    """Name -> function from an utterance to its audio at 22,050 Hz."""
    systems: dict[str, Callable] = {
        "recording": lambda u: load(options.data / "speech" / u.info["corpus"] / u.info["file"], mel.RATE_HZ)
    }
    if any(name.startswith("teacher") for name in options.systems):
        teacher = hifigan.load_teacher(options.data / "models/hifigan_v2/generator_v2.pt")

        def by_teacher(log_mel: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return teacher(torch.from_numpy(log_mel)[None])[0].numpy()

        systems["teacher"] = lambda u: by_teacher(spoken_mel(model, data, u))
        systems["teacher-forced"] = lambda u: by_teacher(spoken_mel(model, data, u, forced=True))
    if "student" in options.systems:
        folder = options.work / "vocoder"
        student, reader = (
            vocoder.load(options.vocoder or folder / "student/vocoder.pt"),
            train_pitch.load(folder / "pitch.pt"),
        )

        def by_student(log_mel: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                f0_hz = torch.exp(reader(torch.from_numpy(log_mel)[None]))[0].numpy()
            return synthesis.speak(student, log_mel, f0_hz)

        systems["student"] = lambda u: by_student(spoken_mel(model, data, u))
    return systems


def evaluate(options: argparse.Namespace, data: Prepared, model: Acoustic) -> dict[str, dict[str, float]]:
    chosen = data.select("ljspeech", False)[: options.count]
    figures = {"variance": variance_errors(model, data, chosen)}
    print("variance", json.dumps({k: round(v, 3) for k, v in figures["variance"].items()}), flush=True)
    out = options.work / "acoustic" / "samples"
    out.mkdir(parents=True, exist_ok=True)
    systems = make_systems(options, data, model)
    for name in options.systems:
        spoken = [systems[name](u) for u in chosen]
        for u, audio in zip(chosen[:8], spoken, strict=False):
            soundfile.write(out / f"{Path(u.info['file']).stem}-{name}.wav", audio, mel.RATE_HZ)
        figures[name] = judge_speech([u.info["text"] for u in chosen], spoken, options.data)
        print(name, json.dumps({k: round(v, 3) for k, v in figures[name].items()}), flush=True)
    for u in chosen[:PICTURES]:
        pictures = {
            "recording": np.asarray(u.mel, np.float32),
            "predicted, recorded prosody": spoken_mel(model, data, u, forced=True),
            "predicted": spoken_mel(model, data, u),
        }
        plots.spectrograms(pictures, out / f"{Path(u.info['file']).stem}.png")
    (out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def predict(options: argparse.Namespace, data: Prepared, model: Acoustic) -> None:
    """Mels with recorded durations and prosody of all training recordings: what the vocoder is fine-tuned on.

    WORK/acoustic/predicted/CORPUS/FILE.npy, float16 `[T, 80]`, frame by frame and in level as the recording; silences
    that prepare.py cut away hold the recording's own mel.
    """
    for corpus in options.corpora:
        folder = options.work / "acoustic" / "predicted" / corpus
        folder.mkdir(parents=True, exist_ok=True)
        for u in data.select(corpus, True)[: options.most]:
            gain = data.speakers[u.speaker]["gain"]
            audio = load(options.data / "speech" / corpus / u.info["file"], mel.RATE_HZ)
            whole = mel.log_mel(torch.from_numpy(audio * gain)[None])[0].numpy()
            try:
                at = find_frames(np.asarray(u.mel, np.float32), whole)
            except IndexError:
                raise ValueError(f"{u.info['file']}: the prepared mel is not the recording's; prepare again") from None
            whole[at] = spoken_mel(model, data, u, forced=True)
            whole = np.maximum(whole - np.log(gain), np.log(mel.FLOOR)).astype(np.float16)
            path = folder / f"{Path(u.info['file']).stem}.npy"
            with path.with_suffix(".part").open("wb") as stream:
                np.save(stream, whole)
            path.with_suffix(".part").rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--acoustic", type=Path, help="checkpoint or .puni; default: WORK/acoustic/checkpoint.pt")
    parser.add_argument("--vocoder", type=Path, help="default: WORK/vocoder/student/vocoder.pt")
    parser.add_argument("--count", type=int, default=35)
    choices = ["recording", "teacher", "teacher-forced", "student"]
    parser.add_argument("--systems", nargs="+", default=["recording", "teacher", "student"], choices=choices)
    parser.add_argument(
        "--predict", action="store_true", help="write mels for the vocoder's fine-tuning, judge nothing"
    )
    parser.add_argument("--corpora", nargs="+", default=["ljspeech"], help="of --predict")
    parser.add_argument("--most", type=int, help="of --predict: so many recordings of each corpus")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Prepared(options.work)
    model = restore.student_of(options.acoustic or options.work / "acoustic/checkpoint.pt", data)
    (predict if options.predict else evaluate)(options, data, model)


if __name__ == "__main__":
    main()
