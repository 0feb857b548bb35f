"""Writes frontend.puni, the model of the text front end's tests: a small dictionary and a letter-to-sound tower whose
weights are random (what it says is nonsense, but it is made of phones). Run from the repository's root:

    PYTHONPATH=tools python tests/speech/make_frontend.py tests/speech/frontend.puni
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from distill.g2p_net import G2p
from distill.lexicon_blob import encode_lexicon
from distill.make_lexicon import EXTRA, g2p_graph, g2p_precisions, ids, read_cmudict
from pocketuni_tools.writer import write_model

WORDS = """
a AH0|and AH0 N D|apple AE1 P AH0 L|are AA1 R|box B AA1 K S|bus B AH1 S|cat K AE1 T|cats K AE1 T S|close K L OW1 S
cry K R AY1|day D EY1|dog D AO1 G|door D AO1 R|end EH1 N D|fifty F IH1 F T IY0|five F AY1 V|hello HH AH0 L OW1
hour AW1 ER0|is IH1 Z|it IH1 T|like L AY1 K|lives L IH1 V Z|make M EY1 K|no N OW1|nod N AA1 D|of AH1 V|one W AH1 N
open OW1 P AH0 N|percent P ER0 S EH1 N T|read R EH1 D|record R AH0 K AO1 R D|smith S M IH1 TH|so S OW1|stop S T AA1 P
that DH AE1 T|the DH AH0|they DH EY1|this DH IH1 S|three TH R IY1|to T UW1|two T UW1|walk W AO1 K|want W AA1 N T
was W AA1 Z|we W IY1|wish W IH1 SH|world W ER1 L D|yes Y EH1 S|you Y UW1|doctor D AA1 K T ER0|dollars D AA1 L ER0 Z
"""
KNOWN = "open door the so this hello world cat dog".split()


def words() -> dict[str, tuple[int, ...]]:
    """The dictionary: common words, and the project's own."""
    entries = [entry.split(None, 1) for line in WORDS.split("\n") for entry in line.split("|") if entry]
    return {word: found[0] for word, found in read_cmudict(EXTRA).items()} | {word: ids(text) for word, text in entries}


def tower_net() -> G2p:
    """A network of random weights from NumPy, whose stream of random numbers is the same everywhere."""
    net, random = G2p(width=16, hidden=32, blocks=2, kernel=5).eval(), np.random.default_rng(5)
    with torch.no_grad():
        for name, parameter in sorted(net.named_parameters()):
            spread = 1.0 if name.startswith("out") else 0.4
            parameter.copy_(torch.from_numpy(random.standard_normal(parameter.shape) * spread))
    return net


def main() -> None:
    graph = g2p_graph(tower_net())
    blobs = {"lexicon.en": encode_lexicon(words(), KNOWN)}
    write_model(Path(sys.argv[1]), [graph], precisions=g2p_precisions(graph), blobs=blobs)


if __name__ == "__main__":
    main()
