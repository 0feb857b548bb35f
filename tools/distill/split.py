"""Which recordings are kept out of training. Every trainer and judge asks here."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

LJSPEECH_HELD_OUT = 35
UNTRANSCRIBED = "librispeech-voices"


def transcripts(speech: Path, corpus: str) -> list[dict[str, str]]:
    """Rows of a corpus's transcripts.tsv (`file`, `text`, ...), sorted by file. Raises OSError where it is absent."""
    path = Path(speech) / corpus / "transcripts.tsv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    return sorted(rows, key=lambda row: row["file"])


def pseudo_transcripts(work: Path) -> list[dict[str, str]]:
    """Rows (`file`, `text`) of what transcribe.py heard in the corpus that has no text; empty where it has not run."""
    path = Path(work) / "prepared" / f"{UNTRANSCRIBED}.tsv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def ljspeech_held_out(speech: Path) -> list[dict[str, str]]:
    """The evaluation set: of LJSpeech's sorted rows, the first 35 whose index i satisfies i % 8 == 3."""
    return transcripts(speech, "ljspeech")[3::8][:LJSPEECH_HELD_OUT]


def librispeech_validation(file: str) -> bool:
    """Whether an utterance of LibriSpeech belongs to the 2 % for validation: by a hash of its name."""
    return zlib.crc32(file.encode()) % 50 == 0


def is_training(corpus: str, file: str, held_out: set[str]) -> bool:
    """Whether a file may be trained on. `held_out` holds the file names of `ljspeech_held_out`."""
    if corpus == "librispeech-unseen":
        return False
    if corpus == "ljspeech":
        return file not in held_out
    return not (corpus == "librispeech" and librispeech_validation(file))
