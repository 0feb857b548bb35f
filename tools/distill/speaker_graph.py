"""The towers `voice.speaker`, `voice.speaker_head` and `voice.activity` as graphs, from the trained students."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pocketuni_tools.source import Feed, Outputs, Tower

from .acoustic import SPEAKER
from .acoustic_graph import Builder, array
from .activity import ActivityTower, load_activity
from .disturbances import disturb
from .mel import MELS
from .speaker_corpus import SPEECH, Corpus, CropSampler
from .speaker_tower import (
    MEL_CENTRE,
    MEL_SCALE,
    SMALLEST_VARIANCE,
    Block,
    Depthwise,
    Enter,
    SpeakerTower,
    load_speaker,
    statistics,
)

CALIBRATION, CHECKS = 24, 12  # crops
FRAMES = 344  # 4 s
NO_LIMIT = -3e38


class TowerBuilder(Builder):
    """`Builder` with the layers of these students."""

    def enter(self, log_mel: str, layer: Enter) -> str:
        centre = self.constant("centre", np.array([MEL_CENTRE]))
        x = self.emit("sub", [log_mel, centre], "centred", self.graph.shape_of(log_mel))
        operands = [x, self.constant("enter.weight", array(layer.linear.weight) * MEL_SCALE, "f16")]
        operands.append(self.constant("enter.bias", array(layer.linear.bias)))
        half, width = layer.taps // 2, layer.linear.out_features
        shape = (1, self.rows, width)
        return self.emit("conv1d", operands, "enter", shape, taps=layer.taps, pad_left=half, pad_right=half)

    def window(self, x: str, name: str, layer: Depthwise) -> str:
        operands = [x, self.constant(f"{name}.weight", array(layer.weight), "f16")]
        operands.append(self.constant(f"{name}.bias", array(layer.bias)))
        sides = {"pad_left": layer.left, "pad_right": layer.right, "dilation": layer.dilation}
        return self.emit("depthwise_conv1d", operands, name, self.graph.shape_of(x), **sides)

    def trunk(self, log_mel: str, model: SpeakerTower | ActivityTower) -> str:
        x = self.norm(self.enter(log_mel, model.enter), "enter_norm", model.enter_norm)
        for i, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            y = self.norm(self.window(x, f"{i}.depthwise", block.depthwise), f"{i}.norm", block.norm)
            y = self.module(y, f"{i}.widen", block.widen, activation="gelu_tanh")
            x = self.module(y, f"{i}.narrow", block.narrow, residual=x)
        return self.norm(x, "norm", model.norm)


def speaker_graph(model: SpeakerTower) -> TowerBuilder:
    b = TowerBuilder("voice.speaker", "frames")
    log_mel = b.input("mel", "float32", 1, "frames", MELS)
    b.output(b.module(b.trunk(log_mel, model), "leave", model.leave), "features")
    return b


def head_graph(model: SpeakerTower) -> TowerBuilder:
    """The lower limit of the deviations is in here, so that whoever pools needs none."""
    b = TowerBuilder("voice.speaker_head", "rows")
    width = model.shape.features
    stats = b.input("stats", "float32", 1, 2 * width)
    limits = np.where(np.arange(2 * width) < width, NO_LIMIT, SMALLEST_VARIANCE**0.5)
    x = b.emit("maximum", [stats, b.constant("limits", limits)], "limited", (1, 2 * width))
    weight, bias = (array(x) for x in model.head.folded())
    x = b.linear(x, "linear", weight, bias, precision="f16")
    b.output(b.emit("l2_normalize", [x], "unit", (1, SPEAKER), eps=1e-12), "speaker")
    return b


def activity_graph(model: ActivityTower) -> TowerBuilder:
    b = TowerBuilder("voice.activity", "frames")
    x = b.trunk(b.input("mel", "float32", 1, "frames", MELS), model)
    x = b.module(x, "leave", model.leave, precision="f32")
    b.output(b.emit("squeeze", [x], "logit", (1, "frames"), axes=[2]), "speech")
    return b


def crops_of(corpus: Corpus, count: int, seed: int, held_out: bool) -> list[tuple[Feed, torch.Tensor]]:
    """Inputs `mel`, every second one disturbed, and the masks of speech `[1, T]`."""
    random = np.random.default_rng(seed)
    if held_out:
        corpus.training = corpus.held_out
    sampler, found = CropSampler(corpus, random), []
    for i in range(count):
        crops = sampler.crops(1, FRAMES)
        mask = (crops.speech > SPEECH).float()
        heard = disturb(crops.log_mel, mask, sampler.noise(1, FRAMES), random) if i % 2 else crops.log_mel
        found.append(({"mel": heard.numpy()}, mask))
    return found


def speaker_towers(work: Path) -> list[tuple[Tower, dict[str, str]]]:
    """The three towers with calibration inputs, checks and references, and the precision of each of their constants.

    Raises OSError where distill.train_speaker or distill.train_activity has not run.
    """
    folder = Path(work) / "speaker"
    model, gate = load_speaker(folder / "speaker.pt"), load_activity(folder / "activity.pt")
    seen = crops_of(Corpus(work), CALIBRATION, 3, held_out=False)
    unseen = crops_of(Corpus(work), CHECKS, 4, held_out=True)

    @torch.inference_mode()
    def features(feed: Feed) -> Outputs:
        return {"features": model.features(torch.from_numpy(feed["mel"])).numpy()}

    @torch.inference_mode()
    def speaker(feed: Feed) -> Outputs:
        return {"speaker": model.speaker(torch.from_numpy(feed["stats"])).numpy()}

    @torch.inference_mode()
    def speech(feed: Feed) -> Outputs:
        return {"speech": gate(torch.from_numpy(feed["mel"])).numpy()}

    def stats(feed: Feed, mask: torch.Tensor) -> Feed:
        return {"stats": statistics(torch.from_numpy(features(feed)["features"]), mask).numpy()}

    mels, checks = [feed for feed, _ in seen], [feed for feed, _ in unseen]
    pooled, pooled_checks = [stats(*pair) for pair in seen], [stats(*pair) for pair in unseen]
    built = [speaker_graph(model), head_graph(model), activity_graph(gate)]
    towers = [
        Tower(built[0].graph, mels, checks, features),
        Tower(built[1].graph, pooled, pooled_checks, speaker),
        Tower(built[2].graph, mels, checks, speech),
    ]
    return [(tower, b.precisions) for tower, b in zip(towers, built, strict=True)]
