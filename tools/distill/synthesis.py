"""From mel and F0 to audio, as csrc/speech does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from . import istft, mel, pitch, source, vocoder
from .acoustic import places, round_durations


def speak(model: vocoder.Vocoder, log_mel: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
    """Audio float32 `[256 T]` from `log_mel` `[T, 80]` and F0 `[T]` in Hz, positive everywhere."""
    if len(log_mel) != len(f0_hz) or len(f0_hz) < 2:
        raise ValueError(f"expected mel and F0 of one length, 2 or more, got {len(log_mel)} and {len(f0_hz)} frames")
    noise = source.hashed_noise(0, len(log_mel) * mel.HOP_SAMPLES)[None]
    with torch.inference_mode():
        phase = source.integrate(torch.from_numpy(np.asarray(f0_hz, np.float32))[None])
        frames = model(torch.from_numpy(np.asarray(log_mel, np.float32))[None], source.excitation(phase, noise))
        return istft.inverse(frames)[0].numpy()


class Runtime:
    """The towers of a model file (None: the package's), as the runtime computes them."""

    def __init__(self, path: Path | None):
        import pocketuni

        self.model = pocketuni.Model(path, threads=1)
        self.towers = self.model.towers

    def log_mel(self, ids: np.ndarray, flags: np.ndarray, voice: str) -> np.ndarray:
        """`[T, 80]` of units `[U]` in a named voice."""
        speaker = np.frombuffer(self.model.blob(f"voice/{voice}"), "<f4")[None]
        told = self.towers["voice.encoder"].run(units=ids[None], flags=flags[None], speaker=speaker)
        durations = round_durations(torch.from_numpy(told["log_frames"][0]), torch.from_numpy(ids))
        owner, place = places(durations)
        voiced = 1.0 / (1.0 + np.exp(-told["voiced"][0]))
        prosody = np.stack([told["pitch"][0], voiced, told["energy"][0]], axis=1)[owner.numpy()]
        hidden = np.ascontiguousarray(told["hidden"][:, owner.numpy()])
        return self.towers["voice.decoder"].run(
            hidden=hidden, place=place.numpy()[None], prosody=prosody[None], speaker=speaker
        )["mel"][0]

    def f0_hz(self, log_mel: np.ndarray) -> np.ndarray:
        """F0 in Hz, `[T]`, that the pulses have, of `log_mel` `[T, 80]`."""
        return np.exp(self.towers["voice.pitch"].run(mel=np.ascontiguousarray(log_mel[None], np.float32))["log_f0"][0])

    def speak(self, log_mel: np.ndarray) -> np.ndarray:
        """Audio float32 `[256 T]` from `log_mel` `[T, 80]` alone."""
        mels = np.ascontiguousarray(log_mel[None], np.float32)
        noise = source.hashed_noise(0, len(log_mel) * mel.HOP_SAMPLES)[None]
        excitation = source.excitation(source.integrate(torch.from_numpy(self.f0_hz(log_mel))[None]), noise)
        frames = self.towers["voice.vocoder"].run(mel=mels, source=excitation.numpy())["spectrum"]
        return istft.inverse(torch.from_numpy(frames))[0].numpy()


def tracked_f0(audio: np.ndarray) -> np.ndarray:
    """F0 in Hz, `[floor(N / 256)]`, of a recording, interpolated where it is unvoiced."""
    return source.filled(pitch.log_f0(audio, len(audio) // mel.HOP_SAMPLES))
