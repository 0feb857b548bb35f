"""Writes speaking.puni, the small voice model of the tests of streams and faults: all towers, with random weights from
NumPy, those of linear layers in int8. Run from the repository's root:

    PYTHONPATH=tools:tests python tests/speech/make_speaking.py tests/speech/speaking.puni
"""

from __future__ import annotations

import sys
from pathlib import Path

from speech import tiny_voice

if __name__ == "__main__":
    tiny_voice.write(Path(sys.argv[1]), precision="int8")
