"""Speaker vectors: GE2E embeddings (Resemblyzer's weights) through a fixed map to 192 floats of unit length.

The map is the principal axes of the embeddings of many speakers around their mean, so that distances between voices
survive it, and it is stored with the model: a new voice is GE2E of a recording through the same map.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

RATE_HZ = 16000
HOP_SAMPLES, WINDOW_SAMPLES, MELS = 160, 400, 40
WINDOW_FRAMES, STEP_FRAMES = 160, 80
MOST_WINDOWS = 6  # 5.6 s: more of one recording moves its embedding little
EMBEDDING, VECTOR = 256, 192
LEVEL_DBFS = -30.0


class SpeakerTeacher(nn.Module):
    """GE2E (Wan et al. 2018): three LSTM layers, the last state projected, rectified, unit length."""

    def __init__(self, path: Path | None = None):
        super().__init__()
        self.lstm = nn.LSTM(MELS, EMBEDDING, 3, batch_first=True)
        self.linear = nn.Linear(EMBEDDING, EMBEDDING)
        state = torch.load(path or find_weights(), map_location="cpu", weights_only=True)["model_state"]
        self.load_state_dict({name: state[name] for name in self.state_dict()})
        self.eval().requires_grad_(False)

    def forward(self, mel: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(mel)
        return nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)

    @torch.no_grad()
    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Embedding `[256]` of speech at 16 kHz: the normalized mean over up to 6 windows of 1.6 s."""
        import librosa

        rms = np.sqrt(np.mean(np.square(audio)) + 1e-12)
        audio = audio * max(1.0, 10 ** (LEVEL_DBFS / 20) / rms)
        mel = librosa.feature.melspectrogram(
            y=audio, sr=RATE_HZ, n_fft=WINDOW_SAMPLES, hop_length=HOP_SAMPLES, n_mels=MELS
        ).T.astype(np.float32)
        mel = np.pad(mel, ((0, max(0, WINDOW_FRAMES - len(mel))), (0, 0)))
        starts = range(0, len(mel) - WINDOW_FRAMES + 1, STEP_FRAMES)
        windows = np.stack([mel[s : s + WINDOW_FRAMES] for s in starts[:MOST_WINDOWS]])
        mean = self(torch.from_numpy(windows)).mean(0).numpy()
        return mean / np.linalg.norm(mean)


def find_weights() -> Path:
    """Raises FileNotFoundError, saying what to install."""
    spec = importlib.util.find_spec("resemblyzer")
    path = Path(spec.origin).parent / "pretrained.pt" if spec and spec.origin else None
    if path is None or not path.exists():
        raise FileNotFoundError("the GE2E weights of Resemblyzer: not found; `pip install --no-deps Resemblyzer`")
    return path


def fit_projection(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings `[N, 256]` -> (mean `[256]`, rows `[192, 256]`, orthonormal, by falling variance)."""
    mean = embeddings.mean(0)
    _, _, axes = np.linalg.svd(embeddings - mean, full_matrices=True)
    return mean.astype(np.float32), axes[:VECTOR].astype(np.float32)


def project(embeddings: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Embeddings `[..., 256]` -> speaker vectors `[..., 192]` of unit length."""
    vectors = (embeddings - mean) @ axes.T
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
