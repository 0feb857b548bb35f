"""Runs compact models on a CPU.

model = pocketuni.Model("minilm.puni", threads=2)
vectors = model.embed(["A sentence.", "Another one."])              # (2, 384) float32
result = model.towers["text"].run(input_ids=ids, attention_mask=mask)
"""

from ._core import ModelFileError, __version__
from .model import Model, TensorSpec, Tower

__all__ = ["Model", "ModelFileError", "TensorSpec", "Tower", "__version__"]
