"""Runs compact models on a CPU.

model = pocketuni.Model("minilm.puni", threads=2)
vectors = model.embed(["A sentence.", "Another one."])              # (2, 384) float32
result = model.towers["text"].run(input_ids=ids, attention_mask=mask)
"""

from ._core import ModelFileError, __version__
from .model import Model, TensorSpec, Tower
from .speech import Audio, SpeechStream, Word

__all__ = ["Audio", "Model", "ModelFileError", "SpeechStream", "TensorSpec", "Tower", "Word", "__version__"]
