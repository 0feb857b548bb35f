"""The towers that make a voice of a recording: speaker_graph.py's, with the vectors of voice_space.py.

`voice.speaker` gives, beside the trained features, the mel itself; so that its mean and deviation come out of the same
running sums, and `voice.speaker_head` puts them into the vector as they are. F0 is read off the statistics by a linear
map that is fitted here, to what the pitch reader finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pocketuni_tools.source import Feed, Outputs, Tower
from torch import Tensor

from . import train_pitch, voice_space
from .acoustic_graph import array
from .activity import load_activity
from .mel import MELS
from .speaker_corpus import SPEECH, Corpus, Recording
from .speaker_graph import CALIBRATION, CHECKS, NO_LIMIT, TowerBuilder, activity_graph, crops_of
from .speaker_tower import MEL_CENTRE, MEL_SCALE, SMALLEST_VARIANCE, SpeakerTower, load_speaker, statistics
from .voice_space import TEACHER, VoiceSpace

# The decoder has learned to trust vectors only so far, because in training they have errors: voices of recordings are
# given further from the middle than they are.
TEACHER_STRETCH, SPECTRUM_STRETCH = 1.3, 1.2
FITTED_ON, FITTED_FRAMES = 500, 500  # recordings, and frames of each at most
RIDGE = 30.0


@dataclass
class VoiceMaker:
    """Features of frames and the vector of their statistics, as the two towers compute them."""

    model: SpeakerTower
    space: VoiceSpace
    pitch: tuple[np.ndarray, np.ndarray]  # from statistics `[2 (features + 80)]`: weight `[2, ...]`, bias `[2]`

    def features(self, log_mel: Tensor) -> Tensor:
        """Log-mel `[B, T, 80]` -> `[B, T, features + 80]`."""
        return torch.cat([self.model.features(log_mel), (log_mel - MEL_CENTRE) * MEL_SCALE], dim=2)

    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """The linear map from statistics to all parts but GE2E's: weight `[64, ...]`, bias `[64]`."""
        width = self.model.shape.features
        axes = SPECTRUM_STRETCH * voice_space.SPECTRUM_SHARE * self.space.spectrum_axes
        level = (np.eye(MELS) - 1 / MELS) / MEL_SCALE
        weight = np.zeros((len(axes), 2 * (width + MELS)))
        weight[:, width : width + MELS] = axes[:, :MELS] @ level
        weight[:, 2 * width + MELS :] = axes[:, MELS:] / MEL_SCALE
        bias = -axes @ self.space.spectrum_mean
        constant = np.zeros((1, weight.shape[1]))
        return (
            np.concatenate([weight, self.pitch[0], constant]),
            np.concatenate([bias, self.pitch[1], [voice_space.CONSTANT]]),
        )

    def speaker(self, stats: Tensor) -> Tensor:
        """Statistics `[B, 2 (features + 80)]` -> vectors `[B, 192]`."""
        normalize = torch.nn.functional.normalize
        width = self.model.shape.features
        own = torch.cat([stats[:, :width], stats[:, width + MELS : 2 * width + MELS]], dim=1)
        weight, bias = (torch.from_numpy(x.astype(np.float32)) for x in self.told())
        teacher = TEACHER_STRETCH * normalize(self.model.speaker(own)[:, :TEACHER])
        return normalize(torch.cat([teacher, stats @ weight.T + bias], dim=1))


def pitch_parts(read: train_pitch.PitchReader, r: Recording, frames: slice, mask: Tensor) -> np.ndarray:
    """What the two numbers on F0 ought to be, `[2]`."""
    log_f0 = read.read(r.clean[frames].astype(np.float32))
    mean, spread = voice_space.pitch_statistics(np.log(log_f0) * mask[0].numpy())
    numbers = [
        (mean - voice_space.CENTRE_LOG_F0) / voice_space.DEVIATION_LOG_F0,
        (spread - voice_space.USUAL_SPREAD) / voice_space.USUAL_SPREAD,
    ]
    return voice_space.PITCH_SHARE * np.array(numbers)


@torch.inference_mode()
def fit_pitch(maker: VoiceMaker, corpus: Corpus, read: train_pitch.PitchReader) -> tuple[np.ndarray, np.ndarray]:
    """The ridge regression of F0 on statistics, over clean recordings of many voices."""
    random = np.random.default_rng(5)
    rows, wanted = [], []
    for i in random.permutation(len(corpus.training))[:FITTED_ON]:
        r, frames = corpus.training[i], slice(0, FITTED_FRAMES)
        mask = torch.from_numpy((r.speech[frames] > SPEECH).astype(np.float32))[None]
        if mask.sum() < 100:
            continue
        mel = torch.from_numpy(r.clean[frames].astype(np.float32))[None]
        rows.append(statistics(maker.features(mel), mask)[0].numpy())
        wanted.append(pitch_parts(read, r, frames, mask))
    x, y = np.stack(rows), np.stack(wanted)
    scale = x.std(0) + 1e-3
    z = (x - x.mean(0)) / scale
    solution = np.linalg.solve(z.T @ z + RIDGE * np.eye(z.shape[1]), z.T @ (y - y.mean(0))).T / scale
    left = (y - y.mean(0)) - (x - x.mean(0)) @ solution.T
    error = left.std(0) / voice_space.PITCH_SHARE * voice_space.DEVIATION_LOG_F0
    print(f"F0 off statistics: {100 * error[0]:.1f} % off on {len(x)} recordings", flush=True)
    return solution, y.mean(0) - solution @ x.mean(0)


def speaker_graph(maker: VoiceMaker) -> TowerBuilder:
    b, model = TowerBuilder("voice.speaker", "frames"), maker.model
    log_mel = b.input("mel", "float32", 1, "frames", MELS)
    own = b.module(b.trunk(log_mel, model), "leave", model.leave)
    scaled = b.emit("mul", ["centred", b.constant("scale", np.array([MEL_SCALE]))], "scaled", (1, "frames", MELS))
    width = model.shape.features + MELS
    b.output(b.emit("concat", [own, scaled], "joined", (1, "frames", width), axis=2), "features")
    return b


def head_graph(maker: VoiceMaker) -> TowerBuilder:
    b, head = TowerBuilder("voice.speaker_head", "rows"), maker.model.head
    width, own = maker.model.shape.features + MELS, maker.model.shape.features
    stats = b.input("stats", "float32", 1, 2 * width)
    limits = np.where(np.arange(2 * width) < width, NO_LIMIT, SMALLEST_VARIANCE**0.5)
    x = b.emit("maximum", [stats, b.constant("limits", limits)], "limited", (1, 2 * width))
    matrix, bias = (array(x) for x in head.folded())
    weight = np.zeros((TEACHER, 2 * width), np.float32)
    weight[:, :own], weight[:, width : width + own] = matrix[:TEACHER, :own], matrix[:TEACHER, own:]
    y = b.linear(x, "teacher", weight, bias[:TEACHER], precision="f16")
    y = b.emit("l2_normalize", [y], "teacher_unit", (1, TEACHER), eps=1e-12)
    y = b.emit("mul", [y, b.constant("stretch", np.array([TEACHER_STRETCH]))], "stretched", (1, TEACHER))
    weight, bias = maker.told()
    told = b.linear(x, "told", weight, bias, precision="f32")
    y = b.emit("concat", [y, told], "parts", (1, voice_space.SIZE), axis=1)
    b.output(b.emit("l2_normalize", [y], "unit", (1, voice_space.SIZE), eps=1e-12), "speaker")
    return b


def voice_maker(work: Path) -> VoiceMaker:
    """From the checkpoints. Raises OSError where distill.train_speaker or distill.train_pitch has not run."""
    model = load_speaker(Path(work) / "speaker/speaker.pt")
    columns = 2 * (model.shape.features + MELS)
    maker = VoiceMaker(model, voice_space.load(work), (np.zeros((2, columns)), np.zeros(2)))
    maker.pitch = fit_pitch(maker, Corpus(work), train_pitch.load(Path(work) / "vocoder/pitch.pt"))
    return maker


def towers(work: Path) -> list[tuple[Tower, dict[str, str]]]:
    """`voice.speaker`, `voice.speaker_head` and `voice.activity`, as export.py wants towers."""
    maker, gate = voice_maker(work), load_activity(Path(work) / "speaker/activity.pt")
    seen = crops_of(Corpus(work), CALIBRATION, 3, held_out=False)
    unseen = crops_of(Corpus(work), CHECKS, 4, held_out=True)

    @torch.inference_mode()
    def features(feed: Feed) -> Outputs:
        return {"features": maker.features(torch.from_numpy(feed["mel"])).numpy()}

    @torch.inference_mode()
    def speaker(feed: Feed) -> Outputs:
        return {"speaker": maker.speaker(torch.from_numpy(feed["stats"])).numpy()}

    @torch.inference_mode()
    def speech(feed: Feed) -> Outputs:
        return {"speech": gate(torch.from_numpy(feed["mel"])).numpy()}

    def stats(feed: Feed, mask: Tensor) -> Feed:
        return {"stats": statistics(torch.from_numpy(features(feed)["features"]), mask).numpy()}

    mels, checks = [feed for feed, _ in seen], [feed for feed, _ in unseen]
    pooled, pooled_checks = [stats(*pair) for pair in seen], [stats(*pair) for pair in unseen]
    built = [speaker_graph(maker), head_graph(maker), activity_graph(gate)]
    found = [
        Tower(built[0].graph, mels, checks, features),
        Tower(built[1].graph, pooled, pooled_checks, speaker),
        Tower(built[2].graph, mels, checks, speech),
    ]
    return [(tower, b.precisions) for tower, b in zip(found, built, strict=True)]
