"""Writes down what a recognizer hears in recordings that come without text: 251 speakers of one utterance each.

    python -m distill.transcribe --work WORK

Every fourth word is wrong or so. Aligned with the audio, such a text still says which sounds were made, and how a
speaker who is heard nowhere else sounds. prepare.py takes WORK/prepared/librispeech-voices.tsv where it exists, and
drops the recordings that fit their text worst.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
from functools import cache
from pathlib import Path
from typing import Any

from .align import RATE_HZ
from .packed import default_data, to_int16
from .prepare import load
from .split import UNTRANSCRIBED, pseudo_transcripts

FILLERS = ("<", "[", "++")
LEAST_WORDS_S = 1.0  # a second; fewer mean that the recognizer was lost


def hear(path: Path) -> tuple[str, str]:
    """A file's name and its words in capitals, as LibriSpeech has them; none where too little was heard."""
    audio = load(path, RATE_HZ)
    decoder = recognizer()
    decoder.start_utt()
    decoder.process_raw(to_int16(audio).tobytes(), full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp().hypstr.split() if decoder.hyp() else []
    words = [word.partition("(")[0] for word in heard if not word.startswith(FILLERS)]
    enough = len(words) >= LEAST_WORDS_S * len(audio) / RATE_HZ
    return path.name, " ".join(words).upper() if enough else ""


@cache
def recognizer() -> Any:
    """pocketsphinx, 3.5 times as fast as it comes and hardly worse: one pass, narrow beams, every second frame."""
    from pocketsphinx import Decoder

    fast = {"fwdflat": False, "bestpath": False, "maxhmmpf": 3000, "maxwpf": 8, "topn": 2, "ds": 2}
    return Decoder(samprate=float(RATE_HZ), loglevel="FATAL", **fast)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    paths = sorted((options.data / "speech" / UNTRANSCRIBED).glob("*.opus"))
    known = {row["file"]: row["text"] for row in pseudo_transcripts(options.work)}
    out = options.work / "prepared" / f"{UNTRANSCRIBED}.tsv"
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        writer.writerow(["file", "text"])
        writer.writerows(known.items())
        todo = [path for path in paths if path.name not in known]
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            for number, row in enumerate(pool.imap(hear, todo), 1):
                writer.writerow(row)
                stream.flush()
                print(f"{number}/{len(todo)} {row[0]}: {row[1]}", flush=True)


if __name__ == "__main__":
    main()
