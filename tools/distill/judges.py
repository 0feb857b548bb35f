"""Judges of synthetic speech: DNSMOS, word error rate of a recognizer, mel-cepstral and log-spectral distance.

`python -m distill.judges MODEL --pitch PITCH` judges copy synthesis of the held-out recordings: the recordings
themselves, the teacher's resynthesis, and the student's with F0 as tracked in the recording and as read off the mel;
with `--puni FILE` also what the runtime makes of the same mel.
"""

from __future__ import annotations

import argparse
import json
import re
from math import gcd
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import torch
from scipy.fft import dct
from scipy.signal import resample_poly
from tqdm import tqdm

from . import hifigan, mel, packed, plots, split, synthesis, train_pitch, vocoder

JUDGE_RATE_HZ = 16000
DNSMOS_SAMPLES = 144160  # 9.01 s
# Raw outputs -> scale of opinions, the constants published with the model (Reddy et al. 2022).
DNSMOS_FITS = {
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}
CEPSTRA = 13


def to_judge_rate(audio: np.ndarray, rate_hz: int = mel.RATE_HZ) -> np.ndarray:
    common = gcd(rate_hz, JUDGE_RATE_HZ)
    return resample_poly(audio, JUDGE_RATE_HZ // common, rate_hz // common).astype(np.float32)


class Dnsmos:
    """P.835 opinions of speech quality, 1 to 5: of the signal, of the background, overall."""

    def __init__(self, data: Path, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = str(data / "models/dnsmos/sig_bak_ovr.onnx")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, audio: np.ndarray) -> dict[str, float]:
        """Means over windows of 9.01 s, one every second, of `audio` at 22,050 Hz; short audio is repeated."""
        speech = to_judge_rate(audio)
        if len(speech) < DNSMOS_SAMPLES:
            speech = np.tile(speech, -(-DNSMOS_SAMPLES // len(speech)))[:DNSMOS_SAMPLES]
        starts = range(0, len(speech) - DNSMOS_SAMPLES + 1, JUDGE_RATE_HZ)
        windows = np.stack([speech[start : start + DNSMOS_SAMPLES] for start in starts])
        raw = np.concatenate([self.session.run(None, {self.input: window[None]})[0] for window in windows]).mean(0)
        return {
            name: float(np.polyval(fit, value)) for (name, fit), value in zip(DNSMOS_FITS.items(), raw, strict=True)
        }


class Recognizer:
    """pocketsphinx with its English model, as a judge of intelligibility."""

    def __init__(self):
        import pocketsphinx

        self.decoder = pocketsphinx.Decoder(samprate=float(JUDGE_RATE_HZ), loglevel="FATAL")

    def __call__(self, audio: np.ndarray) -> str:
        """The words heard in `audio` at 22,050 Hz."""
        speech = to_judge_rate(audio)
        self.decoder.start_utt()
        self.decoder.process_raw(packed.to_int16(speech).tobytes(), full_utt=True)
        self.decoder.end_utt()
        heard = self.decoder.hyp()
        return heard.hypstr if heard else ""


def words_of(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " ")).split()


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """Substitutions, deletions and insertions together, and the number of words that were said."""
    expected, got = words_of(said), words_of(heard)
    row = np.arange(len(got) + 1)
    for count, word in enumerate(expected, 1):
        previous, row = row, np.empty_like(row)
        row[0] = count
        for i, other in enumerate(got, 1):
            row[i] = min(previous[i - 1] + (word != other), previous[i] + 1, row[i - 1] + 1)
    return int(row[-1]), len(expected)


def log_mel_of(audio: np.ndarray) -> np.ndarray:
    return mel.log_mel(torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None])[0].numpy()


def mel_cepstral_distortion(ours: np.ndarray, theirs: np.ndarray) -> float:
    """In dB, between aligned log-mels `[T, 80]`: cepstra 1 to 13, orthonormal, so that 0 (loudness) does not count."""
    # log|H| = sum of c_k cos(k w) has the orthonormal transform c_k sqrt(N / 2).
    difference = dct(ours - theirs, axis=1, norm="ortho")[:, 1 : CEPSTRA + 1] / np.sqrt(mel.MELS)
    return float(10.0 / np.log(10.0) * np.sqrt(2.0 * 2.0 * (difference**2).sum(axis=1)).mean())


def log_spectral_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """In dB, between aligned audio: root mean square over 513 bins, mean over frames that are not silent."""

    def decibels(audio: np.ndarray) -> np.ndarray:
        bins = mel.spectrum(torch.from_numpy(np.ascontiguousarray(audio, np.float32))[None])[0].numpy()
        return 10.0 * np.log10(np.abs(bins) ** 2 + 1e-5)

    a, b = decibels(ours), decibels(theirs)
    level = b.max(axis=1)
    loud = level > level.max() - 50.0
    return float(np.sqrt(((a - b) ** 2).mean(axis=1))[loud].mean())


def judge(
    said: list[str], spoken: list[np.ndarray], reference: list[np.ndarray], data: Path, words: bool = True
) -> dict[str, float]:
    """All figures of one system: `spoken` against the recordings `reference` of the sentences `said`."""
    opinion, recognizer = Dnsmos(data), Recognizer() if words else None
    opinions, errors, counts, cepstral, spectral = [], 0, 0, [], []
    for text, audio, recording in zip(said, spoken, reference, strict=True):
        opinions.append(opinion(audio))
        if recognizer:
            wrong, total = word_errors(text, recognizer(audio))
            errors, counts = errors + wrong, counts + total
        length = min(len(audio), len(recording)) // mel.HOP_SAMPLES * mel.HOP_SAMPLES
        cepstral.append(mel_cepstral_distortion(log_mel_of(audio[:length]), log_mel_of(recording[:length])))
        spectral.append(log_spectral_distance(audio[:length], recording[:length]))
    result = {name: float(np.mean([o[name] for o in opinions])) for name in DNSMOS_FITS}
    if counts:
        result["word_error"] = errors / counts
    return result | {"mcd_db": float(np.mean(cepstral)), "lsd_db": float(np.mean(spectral))}


def teacher_says(data: Path, audio: np.ndarray) -> np.ndarray:
    teacher = hifigan.load_teacher(data / "models/hifigan_v2/generator_v2.pt")
    with torch.inference_mode():
        return teacher(torch.from_numpy(log_mel_of(audio))[None])[0].numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="vocoder.pt of a run")
    parser.add_argument("--pitch", type=Path, help="pitch.pt, for the system `reading`")
    parser.add_argument("--puni", type=Path, help="model file with both towers, for the system `runtime`")
    parser.add_argument("--data", type=Path, default=packed.default_data())
    parser.add_argument("--count", type=int, default=split.LJSPEECH_HELD_OUT, help="how many of the held-out sentences")
    parser.add_argument("--systems", nargs="+", default=["recording", "teacher", "student", "reading", "runtime"])
    parser.add_argument("--no-words", action="store_true", help="leave out the recognizer, which is slow")
    parser.add_argument("--out", type=Path, help="folder for audio, spectrograms and figures.json")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = split.ljspeech_held_out(arguments.data / "speech")[: arguments.count]
    recordings = [packed.load_audio(arguments.data / "speech/ljspeech" / row["file"]) for row in rows]
    student = vocoder.load(arguments.model)
    reader = train_pitch.load(arguments.pitch) if arguments.pitch else None
    systems = {
        "recording": lambda audio: audio,
        "teacher": lambda audio: teacher_says(arguments.data, audio),
        "student": lambda audio: synthesis.speak(student, log_mel_of(audio), synthesis.tracked_f0(audio)),
        "reading": lambda audio: synthesis.speak(student, log_mel_of(audio), reader.read(log_mel_of(audio))),
    }
    if arguments.puni:
        runtime = synthesis.Runtime(arguments.puni)
        systems["runtime"] = lambda audio: runtime.speak(log_mel_of(audio))
    absent = {"reading": reader is None, "runtime": arguments.puni is None}
    arguments.systems = [name for name in arguments.systems if not absent.get(name)]
    figures = {}
    for name in arguments.systems:
        spoken = [systems[name](audio) for audio in tqdm(recordings, desc=name, leave=False)]
        said = [row["text"] for row in rows]
        figures[name] = judge(said, spoken, recordings, arguments.data, not arguments.no_words)
        print(name, json.dumps({key: round(value, 3) for key, value in figures[name].items()}), flush=True)
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            for row, audio in zip(rows[:4], spoken, strict=False):
                soundfile.write(arguments.out / f"{Path(row['file']).stem}-{name}.wav", audio, mel.RATE_HZ)
            pair = {name: log_mel_of(spoken[0]), "recording": log_mel_of(recordings[0])}
            plots.spectrograms(pair, arguments.out / f"{name}.png")
    if arguments.out:
        (arguments.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
