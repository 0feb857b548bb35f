"""A small voice model with the towers of docs/voice.md. Its weights are random, so it babbles; but what it says has
words, pauses and a pitch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from distill.lexicon_blob import encode_lexicon
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

UNITS, SPEAKER, MELS, BINS = 75, 192, 80, 513
LETTERS, PHONES = 27, 69
HIDDEN, WIDTH, FEATURES = 8, 12, 16
FRAMES_PER_UNIT = 5.0
VOICES = ("ada", "bert")


class Tower:
    """Adds layers with random weights; methods take and return names of values."""

    def __init__(self, name: str, seed: int):
        self.graph = Graph(name)
        self.random = np.random.default_rng(seed)

    def constant(self, name: str, array: np.ndarray) -> str:
        return self.graph.add_constant(f"{self.graph.name}.{name}", np.asarray(array, np.float32))

    def weights(self, name: str, *shape: int) -> str:
        return self.constant(name, self.random.standard_normal(shape) / np.sqrt(shape[-1]))

    def add(self, op: str, inputs: list[str], name: str, shape: tuple, **attributes) -> str:
        return self.graph.add_node(op, inputs, [Value(name, "float32", shape)], **attributes)[0]

    def linear(self, x: str, name: str, width: int, bias: np.ndarray | None = None, **attributes) -> str:
        shape = self.graph.shape_of(x)
        operands = [x, self.weights(f"{name}.weight", width, shape[-1])]
        if bias is not None:
            operands.append(self.constant(f"{name}.bias", bias))
        return self.add("linear", operands, name, (*shape[:-1], width), **attributes)

    def depthwise(self, x: str, name: str, taps: int) -> str:
        shape = self.graph.shape_of(x)
        weight = self.weights(f"{name}.weight", taps, shape[-1])
        return self.add("depthwise_conv1d", [x, weight], name, shape, pad_left=taps // 2, pad_right=taps // 2)

    def part(self, x: str, name: str, start: int, end: int) -> str:
        shape = (*self.graph.shape_of(x)[:-1], end - start)
        return self.add("slice", [x], name, shape, axes=[2], starts=[start], ends=[end], steps=[1])

    def column(self, x: str, name: str, index: int) -> None:
        """An output [1, rows] made of one column."""
        part = self.part(x, f"{name}_column", index, index + 1)
        rows = self.graph.shape_of(x)[1]
        self.graph.outputs.append(self.add("squeeze", [part], name, (1, rows), axes=[2]))

    def output(self, x: str, name: str) -> None:
        self.graph.rename(x, name)
        self.graph.outputs.append(name)


def letters_tower() -> Graph:
    """Letter i becomes phone i: enough for every word to sound."""
    tower = Tower("g2p", 0)
    letters = tower.graph.add_input("letters", "int64", (1, "T"))
    table = tower.constant("letters", np.eye(LETTERS + 1))
    weight = np.zeros((2, PHONES + 1, LETTERS + 1), np.float32)
    weight[:, 0, :] = 0.5
    for letter in range(1, LETTERS + 1):
        # Vowels are phones 25 and following, in threes of stress 0, 1, 2; the others stand before.
        vowel = "aeiouy".find("abcdefghijklmnopqrstuvwxyz'"[letter - 1])
        weight[0, 25 + 3 * vowel if vowel >= 0 else 1 + letter % 24, letter] = 1.0
    x = tower.add("embedding", [letters, table], "x", (1, "T", LETTERS + 1))
    flat = tower.constant("scores", weight.reshape(-1, LETTERS + 1))
    tower.output(tower.add("linear", [x, flat], "y", (1, "T", 2 * (PHONES + 1))), "scores")
    return tower.graph


def encoder(frames_per_unit: float) -> Graph:
    tower = Tower("voice.encoder", 1)
    graph = tower.graph
    units, flags = graph.add_input("units", "int64", (1, "U")), graph.add_input("flags", "int64", (1, "U"))
    speaker = graph.add_input("speaker", "float32", (1, SPEAKER))
    x = tower.add("embedding", [units, tower.weights("units", UNITS, HIDDEN)], "unit", (1, "U", HIDDEN))
    y = tower.add("embedding", [flags, tower.weights("flags", 2, HIDDEN)], "flag", (1, "U", HIDDEN))
    x = tower.add("add", [x, y], "sum", (1, "U", HIDDEN))
    x = tower.add("add", [x, tower.linear(speaker, "speaker_in", HIDDEN)], "spoken", (1, "U", HIDDEN))
    hidden = tower.depthwise(x, "hidden_in", 3)
    heads = tower.linear(hidden, "heads", 4, bias=np.array([np.log(frames_per_unit), 0, 1, 0]))
    tower.output(hidden, "hidden")
    for index, name in enumerate(("log_frames", "pitch", "voiced", "energy")):
        tower.column(heads, name, index)
    return graph


def decoder() -> Graph:
    tower = Tower("voice.decoder", 2)
    graph = tower.graph
    # Not in the order of the contract: the synthesizer goes by names.
    speaker = graph.add_input("speaker", "float32", (1, SPEAKER))
    place = graph.add_input("place", "float32", (1, "T", 3))
    hidden = graph.add_input("hidden", "float32", (1, "T", HIDDEN))
    prosody = graph.add_input("prosody", "float32", (1, "T", 3))
    x = tower.add("concat", [hidden, place, prosody], "x", (1, "T", HIDDEN + 6), axis=2)
    x = tower.linear(x, "enter", WIDTH, activation="silu")
    x = tower.add("add", [x, tower.linear(speaker, "speaker_in", WIDTH)], "spoken", (1, "T", WIDTH))
    x = tower.depthwise(x, "near", 7)
    x = tower.depthwise(x, "far", 7)
    tower.output(tower.linear(x, "leave", MELS, bias=np.full(MELS, -5.0)), "mel")
    return graph


def pitch() -> Graph:
    tower = Tower("voice.pitch", 3)
    mel = tower.graph.add_input("mel", "float32", (1, "T", MELS))
    x = tower.linear(mel, "enter", 4, activation="tanh")
    x = tower.depthwise(x, "near", 5)
    x = tower.linear(x, "leave", 1, bias=np.array([np.log(140.0)]))
    tower.column(x, "log_f0", 0)
    return tower.graph


def vocoder() -> Graph:
    """Gains for pulses and noise in each bin."""
    tower = Tower("voice.vocoder", 4)
    mel = tower.graph.add_input("mel", "float32", (1, "T", MELS))
    source = tower.graph.add_input("source", "float32", (1, "T", 4 * BINS))
    x = tower.linear(mel, "enter", WIDTH, activation="tanh")
    x = tower.depthwise(x, "near", 3)
    gains = tower.linear(x, "gains", 4 * BINS, activation="sigmoid")
    shaped = tower.add("mul", [gains, source], "shaped", (1, "T", 4 * BINS))
    pulses, noise = tower.part(shaped, "pulses", 0, 2 * BINS), tower.part(shaped, "noise", 2 * BINS, 4 * BINS)
    both = tower.add("add", [pulses, noise], "both", (1, "T", 2 * BINS))
    quiet = tower.constant("quiet", np.array([0.05]))
    tower.output(tower.add("mul", [both, quiet], "quieter", (1, "T", 2 * BINS)), "spectrum")
    return tower.graph


def speaker() -> Graph:
    """Features whose statistics differ between sounds of different spectra."""
    tower = Tower("voice.speaker", 5)
    mel = tower.graph.add_input("mel", "float32", (1, "T", MELS))
    x = tower.linear(mel, "enter", WIDTH, activation="tanh")
    x = tower.depthwise(x, "near", 5)
    tower.output(tower.linear(x, "leave", FEATURES), "features")
    return tower.graph


def usual_stats() -> np.ndarray:
    """What `speaker` makes of an even spectrum: around it, vectors point everywhere, as trained ones do."""
    weights = speaker().constants
    x = np.tanh(weights["voice.speaker.enter.weight"] @ np.full(MELS, -4.0)) * weights["voice.speaker.near.weight"].sum(
        0
    )
    return np.concatenate([weights["voice.speaker.leave.weight"] @ x, np.full(FEATURES, 0.3)])


def speaker_head() -> Graph:
    tower = Tower("voice.speaker_head", 6)
    stats = tower.graph.add_input("stats", "float32", (1, 2 * FEATURES))
    usual = tower.constant("usual", usual_stats())
    x = tower.add("sub", [stats, usual], "unusual", (1, 2 * FEATURES))
    x = tower.linear(x, "leave", SPEAKER)
    tower.output(tower.add("l2_normalize", [x], "unit", (1, SPEAKER)), "speaker")
    return tower.graph


def activity() -> Graph:
    """Whatever is not faint is speech: the mean of the mel against a limit, over three frames."""
    tower = Tower("voice.activity", 7)
    mel = tower.graph.add_input("mel", "float32", (1, "T", MELS))
    weights = [tower.constant("mean", np.full((1, MELS), 1 / MELS)), tower.constant("limit", np.array([8.0]))]
    x = tower.add("linear", [mel, *weights], "loudness", (1, "T", 1))
    smooth = tower.constant("smooth", np.full((3, 1), 1 / 3))
    x = tower.add("depthwise_conv1d", [x, smooth], "smoothed", (1, "T", 1), pad_left=1, pad_right=1)
    tower.column(x, "speech", 0)
    return tower.graph


def cloning_towers() -> list[Graph]:
    return [speaker(), speaker_head(), activity()]


def towers(frames_per_unit: float = FRAMES_PER_UNIT) -> list[Graph]:
    return [letters_tower(), encoder(frames_per_unit), decoder(), pitch(), vocoder()]


def voice_vector(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(SPEAKER)
    return (vector / np.linalg.norm(vector)).astype("<f4")


def linear_weights(graphs: list[Graph]) -> list[str]:
    """Names of the weights of linear layers, but for those of `g2p`, whose few numbers are chosen."""
    nodes = [node for graph in graphs if graph.name != "g2p" for node in graph.nodes]
    return sorted({node.inputs[1] for node in nodes if node.op == "linear"})


def write(path: Path, graphs: list[Graph] | None = None, precision: str = "f32", **more_blobs: bytes) -> Path:
    """The model; with other towers than the usual ones, another precision of the linear layers, or further blobs,
    where they are given."""
    graphs = [*towers(), *cloning_towers()] if graphs is None else graphs
    precisions = {name: precision for name in linear_weights(graphs)}
    blobs = {"lexicon.en": encode_lexicon({}, [])}
    blobs |= {f"voice/{name}": voice_vector(index).tobytes() for index, name in enumerate(VOICES)}
    meta = {"name": "babble", "licence": "Apache-2.0", "voices": {"ada": {"sex": "female"}}}
    write_model(path, graphs, precisions=precisions, meta=meta, blobs=blobs | more_blobs)
    return path


if __name__ == "__main__":
    print(json.dumps({"written": str(write(Path(sys.argv[1])))}))
