"""Runs compact models on a CPU.

model = pocketuni.Model("minilm.puni", threads=2)
vectors = model.embed(["A sentence.", "Another one."])              # (2, 384) float32
result = model.towers["text"].run(input_ids=ids, attention_mask=mask)
"""

from ._core import ModelFileError, __version__
from .model import Model, TensorSpec, Tower
from .perception import Label
from .sound_stream import SoundStream
from .speech import Audio, SpeechStream, Word
from .voice import ENOUGH_CONFIDENCE, Level, Voice, VoiceBuilder, VoiceWarning

__all__ = [
    "ENOUGH_CONFIDENCE",
    "Audio",
    "Label",
    "Level",
    "Model",
    "ModelFileError",
    "SoundStream",
    "SpeechStream",
    "TensorSpec",
    "Tower",
    "Voice",
    "VoiceBuilder",
    "VoiceWarning",
    "Word",
    "__version__",
]
