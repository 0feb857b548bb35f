"""The towers `voice.pitch` and `voice.vocoder` as graphs, and a file of just the two.

`python -m distill.export_vocoder` writes WORK/vocoder/vocoder.puni: pointwise layers in int8, the rest in fp16 or fp32,
and prints how far the runtime's arithmetic takes the spectrum from the trained network's.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from pocketuni_tools.convert import convert
from pocketuni_tools.import_torch import import_torch
from pocketuni_tools.ir import Graph
from pocketuni_tools.source import Feed, Source, Tower
from torch import Tensor, nn

from . import mel, packed, source, split, synthesis, train_pitch, vocoder

CALIBRATION_SENTENCES = 6
EXAMPLE_FRAMES = 24


def folded(model: nn.Module) -> nn.Module:
    """A copy whose layer scales have gone into the products before them."""
    model = copy.deepcopy(model).eval()
    for block in model.trunk.blocks:
        with torch.no_grad():
            block.reduce.weight.mul_(block.scale[:, None])
            block.reduce.bias.mul_(block.scale)
            block.scale.fill_(1.0)
    return model


class Named(nn.Module):
    """Gives a network's result and inputs the names of docs/voice.md."""

    def __init__(self, model: nn.Module, output: str):
        super().__init__()
        self.model, self.output = model, output


class PitchTower(Named):
    def forward(self, mel: Tensor) -> dict[str, Tensor]:
        return {self.output: self.model(mel)}


class VocoderTower(Named):
    def forward(self, mel: Tensor, source: Tensor) -> dict[str, Tensor]:
        return {self.output: self.model(mel, source)}


def drop_unit_scales(graph: Graph) -> None:
    """Removes products with the layer scales that `folded` has made ones."""
    ones = {name for name, array in graph.constants.items() if array.ndim and np.all(array == 1.0)}
    for node in list(graph.nodes):
        if node.op == "mul" and ones.intersection(node.inputs):
            (kept,) = [operand for operand in node.inputs if operand not in ones]
            graph.nodes.remove(node)
            graph.replace_uses(node.outputs[0], kept)
    graph.prune()


def pitch_graph(model: train_pitch.PitchReader) -> Graph:
    example = {"mel": torch.zeros(1, EXAMPLE_FRAMES, mel.MELS)}
    graph = import_torch(PitchTower(folded(model), "log_f0").eval(), example, {"mel": {1: "T"}}, "voice.pitch")
    drop_unit_scales(graph)
    return graph


def vocoder_graph(model: vocoder.Vocoder) -> Graph:
    example = {
        "mel": torch.zeros(1, EXAMPLE_FRAMES, mel.MELS),
        "source": torch.zeros(1, EXAMPLE_FRAMES, 4 * mel.BINS),
    }
    dynamic = {"mel": {1: "T"}, "source": {1: "T"}}
    graph = import_torch(VocoderTower(folded(model), "spectrum").eval(), example, dynamic, "voice.vocoder")
    drop_unit_scales(graph)
    return graph


def feeds_of(data: Path, rows: list[dict[str, str]]) -> list[Feed]:
    """The vocoder's inputs for sentences of LJSpeech."""
    feeds = []
    for row in rows:
        audio = packed.load_audio(data / "speech/ljspeech" / row["file"])
        log_mel = mel.log_mel(torch.from_numpy(audio)[None])
        phase = source.integrate(torch.from_numpy(synthesis.tracked_f0(audio))[None])
        noise = source.hashed_noise(0, log_mel.shape[1] * mel.HOP_SAMPLES)[None]
        feeds.append({"mel": log_mel.numpy(), "source": source.excitation(phase, noise).numpy()})
    return feeds


def towers(
    pitch: train_pitch.PitchReader, student: vocoder.Vocoder, feeds: list[Feed], checks: list[Feed]
) -> list[Tower]:
    """Both towers with calibration inputs, for this file or that of a whole voice."""

    def mels(some: list[Feed]) -> list[Feed]:
        return [{"mel": feed["mel"]} for feed in some]

    def read_pitch(feed: Feed) -> Feed:
        with torch.inference_mode():
            return {"log_f0": pitch(torch.from_numpy(feed["mel"])).numpy()}

    def vocode(feed: Feed) -> Feed:
        with torch.inference_mode():
            return {"spectrum": student(torch.from_numpy(feed["mel"]), torch.from_numpy(feed["source"])).numpy()}

    return [
        Tower(pitch_graph(pitch), mels(feeds), mels(checks), read_pitch),
        Tower(vocoder_graph(student), feeds, checks, vocode),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=packed.default_work(), help="folder of the checkpoints")
    parser.add_argument("--data", type=Path, default=packed.default_data())
    parser.add_argument("--name", default="student", help="folder of the vocoder's run within WORK/vocoder")
    parser.add_argument("--weights", default="int8", help="precision of the pointwise layers, as in pocketuni_tools")
    arguments = parser.parse_args()
    folder = packed.folder(arguments.work)
    student = vocoder.load(folder / arguments.name / "vocoder.pt")
    pitch = train_pitch.load(folder / "pitch.pt")
    held_out = split.ljspeech_held_out(arguments.data / "speech")
    others = [row for row in split.transcripts(arguments.data / "speech", "ljspeech") if row not in held_out]
    feeds = feeds_of(arguments.data, others[:CALIBRATION_SENTENCES])
    checks = feeds_of(arguments.data, held_out[:1])
    meta = {"name": "vocoder", "licence": "Apache-2.0"}
    report = convert(
        Source("vocoder", towers(pitch, student, feeds, checks), meta), folder / "vocoder.puni", arguments.weights
    )
    print(f"{report['file_bytes'] / 1e6:.2f} MB")
    for name, figures in report["outputs"].items():
        print(name, figures)


if __name__ == "__main__":
    main()
