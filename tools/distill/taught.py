"""What the vocoder's teacher makes of predicted mels, for the student to learn from as if they were recordings.

    python -m distill.taught voice.puni --work WORK

A recording is never quite what was predicted, and a vocoder that learns from recordings makes averages of what they
could have been. What HiFi-GAN makes of a predicted mel belongs to that mel. WORK/taught becomes a work folder of its
own, as packed.py and source.py write them: the teacher's audio, its F0 and phase, and the mels that it was given.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import hifigan, packed, pitch, pronounce, source, split, synthesis, units

CORPUS = "taught"
SHORTEST, LONGEST = 30, 250  # letters of a sentence


def folder(work: Path) -> Path:
    return Path(work) / CORPUS


def sentences(data: Path, count: int, seed: int) -> list[str]:
    """Sentences of LJSpeech's text that are not those of the evaluation, in an order that `seed` gives."""

    def words_of(text: str) -> str:
        return " ".join(word.text for word in units.tokenize(text))

    kept_out = {words_of(row["text"]) for row in split.ljspeech_held_out(data / "speech")}
    chosen: list[str] = []
    lines = (data / "text/ljspeech_sentences.txt").read_text(encoding="utf-8").splitlines()
    for at in np.random.default_rng(seed).permutation(len(lines)):
        text = lines[at].strip()
        if len(chosen) == count:
            break
        if SHORTEST <= len(text) <= LONGEST and not re.search(r"\d", text) and words_of(text) not in kept_out:
            chosen.append(text)
    return chosen


def units_of(text: str, lexicon: pronounce.Lexicon) -> tuple[np.ndarray, np.ndarray]:
    """Units and flags of docs/voice.md, int64 `[U]` each."""
    ids, flags = [units.SILENCE], [0]
    words = units.tokenize(text)
    words[-1].pause = words[-1].pause or units.STOP
    for word in words:
        phones = lexicon(word.text)[0]
        ids += [units.PHONES[phone] for phone in phones]
        flags += [1] + [0] * (len(phones) - 1)
        if word.pause:
            ids.append(word.pause)
            flags.append(0)
    return np.array([*ids, units.SILENCE]), np.array([*flags, 0])


def teach(runtime: synthesis.Runtime, texts: list[str], voices: list[str], data: Path, work: Path) -> None:
    """Fills WORK/taught with the `texts`; the `voices` take turns."""
    teacher = hifigan.load_teacher(data / "models/hifigan_v2/generator_v2.pt")
    lexicon = pronounce.Lexicon(data / "text/cmudict.dict", data / "models/g2p_en/checkpoint20.npz")
    place = packed.folder(folder(work))
    told = folder(work) / "acoustic/predicted" / CORPUS
    for path in (place, told):
        path.mkdir(parents=True, exist_ok=True)
    entries: list[packed.Entry] = []
    start, log_f0, phase = 0, [], []
    with (place / "audio.i16").open("wb") as stream:
        for number, text in enumerate(tqdm(texts, mininterval=5, desc="teacher", unit="sentence")):
            log_mel = runtime.log_mel(*units_of(text, lexicon), voices[number % len(voices)])
            with torch.inference_mode():
                audio = teacher(torch.from_numpy(log_mel)[None])[0].numpy()
            np.save(told / f"{number}.npy", log_mel.astype(np.float16))
            stream.write(packed.to_int16(audio).tobytes())
            log_f0.append(pitch.log_f0(audio, len(log_mel)))
            phase.append(source.fundamental_phase(audio, runtime.f0_hz(log_mel), log_f0[-1] > 0))
            entries.append(packed.Entry(CORPUS, f"{number}.npy", start, len(audio), True))
            start += len(audio)
    np.concatenate(log_f0).astype(np.float32).tofile(place / "log_f0.f32")
    np.concatenate(phase).astype(np.float64).tofile(place / "phase.f64")
    np.save(place / "frames_done.npy", np.ones(len(entries), bool))
    partial = place / "index.part"
    partial.write_text(json.dumps([asdict(entry) for entry in entries], indent=0), encoding="utf-8")
    os.replace(partial, place / "index.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .puni whose mels and F0 are taken")
    parser.add_argument("--work", type=Path, default=packed.default_work(), help="folder for features and checkpoints")
    parser.add_argument("--data", type=Path, default=packed.default_data())
    parser.add_argument("--sentences", type=int, default=500, help="of LJSpeech's text, at random")
    parser.add_argument("--voices", nargs="+", default=["linda"], help="that take turns")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    texts = sentences(options.data, options.sentences, options.seed)
    teach(synthesis.Runtime(options.model), texts, options.voices, options.data, options.work)


if __name__ == "__main__":
    main()
