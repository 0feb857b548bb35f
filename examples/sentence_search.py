"""The lines of a text that say most nearly the same: python examples/sentence_search.py MODEL.puni TEXT "QUERY"

MODEL: a sentence encoder (pocketuni convert sentence-transformers ...)."""

import sys
from pathlib import Path

import numpy as np

import pocketuni


def main(model: str, text: str, query: str) -> None:
    lines = [line for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip()]
    with pocketuni.Model(model) as opened:
        similarity = opened.embed(lines) @ opened.embed(query)[0]
    for place in np.argsort(-similarity)[:3]:
        print(f"{similarity[place]:.3f}  {lines[place]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
