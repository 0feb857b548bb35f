"""Writes cloning.puni, the model of the tests of voices from recordings: the towers that make one, with random weights
from NumPy, and two stored voices. Run from the repository's root:

    PYTHONPATH=tools:tests python tests/speech/make_cloning.py tests/speech/cloning.puni
"""

from __future__ import annotations

import sys
from pathlib import Path

from speech import tiny_voice

if __name__ == "__main__":
    tiny_voice.write(Path(sys.argv[1]), tiny_voice.cloning_towers())
