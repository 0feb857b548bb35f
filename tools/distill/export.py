"""Exports the trained students as one `.puni` file with the towers of docs/voice.md and named voices.

python -m distill.export --work /work-data --out voice.puni
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.fuse import fuse
from pocketuni_tools.import_torch import import_torch
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.simplify import simplify
from pocketuni_tools.writer import write_model
from torch import Tensor, nn

from . import mel, train_pitch, vocoder
from .acoustic import KERNEL, SPEAKER, Acoustic, Block, Depthwise, Stack, load_acoustic
from .data import Prepared

LICENCES = {"ljspeech": "public domain", "vctk-p239": "CC BY 4.0", "librispeech": "CC BY 4.0"}
SOURCES = {
    "ljspeech": "LJSpeech 1.1",
    "vctk-p239": "VCTK, speaker p239",
    "librispeech": "LibriSpeech train-clean-5, speaker {}",
}
ACCENTS = {"vctk-p239": "British"}
# Voices by name -> speaker in the training data.
DEFAULT_VOICE = "linda"
VOICES = {DEFAULT_VOICE: "lj"}
PROVENANCE = {
    "method": "tools/distill: forced alignment, convolutional acoustic model, excitation vocoder",
    "data": "LJSpeech 1.1 (public domain); LibriSpeech train-clean-5 and VCTK p239 (CC BY 4.0)",
    "teachers": "GE2E of Resemblyzer (Apache-2.0) for speaker vectors; pocketsphinx en-us (BSD) and WORLD for labels",
}


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().numpy()


class Builder:
    """Adds layers to a graph; every method takes and returns names of values. `precisions` collects what to round."""

    def __init__(self, name: str, rows: str):
        self.graph = Graph(name)
        self.rows = rows  # the name of the time dimension
        self.precisions: dict[str, str] = {}

    def input(self, name: str, dtype: str, *shape: int | str) -> str:
        return self.graph.add_input(name, dtype, shape)

    def constant(self, name: str, values: np.ndarray, precision: str = "f32") -> str:
        name = self.graph.add_constant(f"{self.graph.name}.{name}", np.ascontiguousarray(values, np.float32))
        self.precisions[name] = precision
        return name

    def emit(self, op: str, inputs: list[str | None], name: str, shape: tuple, **attributes: object) -> str:
        return self.graph.add_node(op, inputs, [Value(name, "float32", shape)], **attributes)[0]

    def linear(
        self,
        x: str,
        name: str,
        weight: np.ndarray,
        bias: np.ndarray,
        precision: str = "int8",
        residual: str | None = None,
        activation: str = "none",
    ) -> str:
        rows = self.graph.shape_of(x)[:-1]
        operands: list[str | None] = [x, self.constant(f"{name}.weight", weight, precision)]
        operands += [self.constant(f"{name}.bias", bias), *([residual] if residual else [])]
        return self.emit("linear", operands, name, (*rows, len(bias)), activation=activation)

    def module(self, x: str, name: str, layer: nn.Linear, **options: object) -> str:
        return self.linear(x, name, array(layer.weight), array(layer.bias), **options)  # type: ignore[arg-type]

    def norm(self, x: str, name: str, layer: nn.LayerNorm) -> str:
        scale, shift = (self.constant(f"{name}.{part}", array(getattr(layer, part))) for part in ("weight", "bias"))
        return self.emit("layer_norm", [x, scale, shift], name, self.graph.shape_of(x), eps=layer.eps)

    def depthwise(self, x: str, name: str, layer: Depthwise) -> str:
        weight = self.constant(f"{name}.weight", array(layer.weight), "f16")
        bias = self.constant(f"{name}.bias", array(layer.bias))
        half = KERNEL // 2
        shape = self.graph.shape_of(x)
        return self.emit("depthwise_conv1d", [x, weight, bias], name, shape, pad_left=half, pad_right=half)

    def block(self, x: str, name: str, layer: Block, code: str) -> str:
        shape = self.graph.shape_of(x)
        weight, bias = array(layer.film.weight), array(layer.film.bias)
        width = len(bias) // 2
        scale = self.linear(code, f"{name}.scale", weight[:width], bias[:width] + 1.0)
        shift = self.linear(code, f"{name}.shift", weight[width:], bias[width:])
        y = self.norm(self.depthwise(x, f"{name}.depthwise", layer.depthwise), f"{name}.norm", layer.norm)
        y = self.emit("mul", [y, scale], f"{name}.scaled", shape)
        y = self.emit("add", [y, shift], f"{name}.shifted", shape)
        y = self.module(y, f"{name}.widen", layer.widen, activation="gelu_tanh")
        return self.module(y, f"{name}.narrow", layer.narrow, residual=x)

    def stack(self, x: str, name: str, layer: Stack, speaker: str) -> str:
        weight = array(layer.speaker.weight) * SPEAKER**0.5
        bias = array(layer.speaker.bias)
        code = self.linear(speaker, f"{name}.speaker", weight, bias, precision="f16", activation="silu")
        for i, block in enumerate(layer.blocks):
            x = self.block(x, f"{name}.{i}", block, code)  # type: ignore[arg-type]
        return x

    def speaker(self) -> str:
        """The input `speaker` `[1, 192]`, as `[1, 1, 192]`."""
        name = self.input("speaker", "float32", 1, SPEAKER)
        return self.emit("unsqueeze", [name], "speaker_row", (1, 1, SPEAKER), axes=[1])

    def embedding(self, ids: str, name: str, layer: nn.Embedding) -> str:
        table = self.constant(f"{name}.weight", array(layer.weight), "f16")
        return self.emit("embedding", [ids, table], name, (1, self.rows, layer.embedding_dim))

    def output(self, value: str, name: str) -> None:
        self.graph.rename(value, name)
        self.graph.outputs.append(name)


def encoder_graph(model: Acoustic) -> Builder:
    b, m = Builder("voice.encoder", "units"), model.encoder
    ids, flags = b.input("units", "int64", 1, "units"), b.input("flags", "int64", 1, "units")
    speaker = b.speaker()
    width = m.unit.embedding_dim
    x = b.emit("add", [b.embedding(ids, "unit", m.unit), b.embedding(flags, "flag", m.flag)], "x", (1, "units", width))
    hidden = b.norm(b.stack(x, "stack", m.stack, speaker), "norm", m.norm)
    y = b.norm(b.stack(hidden, "variance", m.variance, speaker), "variance_norm", m.variance_norm)
    heads = b.module(y, "heads", m.heads, precision="f16")
    b.output(hidden, "hidden")
    for i, name in enumerate(("log_frames", "pitch", "voiced", "energy")):
        shape = (1, "units", 1)
        part = b.emit("slice", [heads], f"{name}_column", shape, axes=[2], starts=[i], ends=[i + 1], steps=[1])
        b.output(b.emit("squeeze", [part], f"{name}_row", (1, "units"), axes=[2]), name)
    return b


def decoder_graph(model: Acoustic) -> Builder:
    b, m = Builder("voice.decoder", "frames"), model.decoder
    hidden = b.input("hidden", "float32", 1, "frames", m.enter.in_features)
    place, prosody = (b.input(name, "float32", 1, "frames", 3) for name in ("place", "prosody"))
    speaker = b.speaker()
    condition = b.emit("concat", [place, prosody], "condition_in", (1, "frames", 6), axis=2)
    condition = b.module(condition, "condition", m.condition, precision="f16", activation="silu")
    x = b.module(hidden, "enter", m.enter)
    x = b.module(condition, "condition_out", m.condition_out, precision="f16", residual=x)
    x = b.norm(b.stack(x, "stack", m.stack, speaker), "norm", m.norm)
    deviation, mean = array(m.deviation), array(m.mean)
    weight, bias = array(m.leave.weight) * deviation[:, None], array(m.leave.bias) * deviation + mean
    b.output(b.linear(x, "leave", weight, bias, precision="f16"), "mel")
    return b


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Root mean square of the difference over that of the deviation from the mean."""
    return float(np.sqrt(np.mean((ours - theirs) ** 2)) / (np.std(theirs) + 1e-12))


def check(model: Acoustic, towers: Mapping[str, Builder], speaker: np.ndarray) -> dict[str, float]:
    """Relative errors of the graphs against torch, on random units, in float32."""
    random = np.random.default_rng(0)
    ids = random.integers(6, 75, (1, 30))
    flags = random.integers(0, 2, (1, 30))
    vector = torch.from_numpy(speaker)[None]
    with torch.no_grad():
        hidden, heads = model.encoder(torch.from_numpy(ids), torch.from_numpy(flags), vector, torch.ones(1, 30, 1))
        found = evaluate(towers["voice.encoder"].graph, {"units": ids, "flags": flags, "speaker": vector.numpy()})
        errors = {"hidden": relative_error(found["hidden"], hidden.numpy())}
        for i, name in enumerate(("log_frames", "pitch", "voiced", "energy")):
            errors[name] = relative_error(found[name], heads[..., i].numpy())
        place = torch.from_numpy(random.random((1, 30, 3)).astype(np.float32))
        prosody = torch.from_numpy(random.standard_normal((1, 30, 3)).astype(np.float32))
        made = model.decoder(hidden, place, prosody, vector, torch.ones(1, 30, 1))
        inputs = {"hidden": hidden, "place": place, "prosody": prosody, "speaker": vector}
        found = evaluate(towers["voice.decoder"].graph, {name: value.numpy() for name, value in inputs.items()})
        errors["mel"] = relative_error(found["mel"], made.numpy())
    if bad := {name: error for name, error in errors.items() if not error < 1e-3}:
        raise ValueError(f"the exported graphs differ from the model: {bad}; expected below 0.001")
    return errors


def imported(name: str, module: nn.Module, inputs: dict[str, Tensor], output: str) -> tuple[Graph, dict[str, str]]:
    """A tower through torch.export, and its precisions: int8 in the blocks, float16 in the first and last layers."""
    dynamic = {key: {1: "frames"} for key in inputs}
    with torch.no_grad():
        expected = module(**inputs).numpy()
    graph = import_torch(module, inputs, dynamic, name)
    simplify(graph)
    graph = fuse(graph)
    graph.rename(graph.outputs[0], output)
    found = evaluate(graph, {key: value.numpy() for key, value in inputs.items()})[output]
    if not (error := relative_error(found, expected)) < 1e-3:
        raise ValueError(f"the exported tower {name} differs from its model by {error:.3g}; expected below 0.001")
    precisions = {}
    for node in graph.nodes:
        if node.op in ("linear", "conv1d", "depthwise_conv1d") and node.inputs[1] in graph.constants:
            inner = node.op == "linear" and "blocks" in node.inputs[1]
            precisions[node.inputs[1]] = "int8" if inner else "f16"
    return graph, precisions


def choose_voices(data: Prepared) -> tuple[dict[str, bytes], dict[str, dict]]:
    """The blobs `voice/NAME` and what META says about each voice."""
    blobs, meta = {}, {}
    corpora = {u.info["speaker"]: u.info["corpus"] for u in data.utterances}
    for name, speaker in VOICES.items():
        index = next((i for i, s in enumerate(data.speakers) if s["name"] == speaker), None)
        if index is None:
            raise ValueError(
                f"voice {name!r}: speaker {speaker!r} is not in the prepared data; run prepare.py on all of it"
            )
        corpus = corpora[index]
        blobs[f"voice/{name}"] = data.vectors[index].astype("<f4").tobytes()
        meta[name] = {
            "sex": {"F": "female", "M": "male"}[data.speakers[index]["sex"]],
            "accent": ACCENTS.get(corpus, "American"),
            "source": SOURCES[corpus].format(speaker),
            "licence": LICENCES[corpus],
            "f0_hz": round(float(np.exp(data.speakers[index]["log_f0"])), 1),
        }
    return blobs, meta


def export(work: Path, acoustic: Path, spectrum: Path, pitch: Path, out: Path) -> dict[str, float]:
    """Writes the model file; returns the relative errors of the graphs against torch."""
    data = Prepared(work)
    blobs, voices = choose_voices(data)
    model = load_acoustic(acoustic)
    built = {b.graph.name: b for b in (encoder_graph(model), decoder_graph(model))}
    errors = check(model, built, data.vectors[0])
    example = torch.randn(1, 12, mel.MELS) - 5.0
    source = torch.randn(1, 12, 4 * mel.BINS)
    others = [
        imported("voice.pitch", train_pitch.load(pitch), {"log_mel": example}, "log_f0"),
        imported("voice.vocoder", vocoder.load(spectrum), {"log_mel": example, "source": source}, "spectrum"),
    ]
    for graph, _ in others:
        graph.rename("log_mel", "mel")
    precisions = {name: p for b in built.values() for name, p in b.precisions.items()}
    for _, chosen in others:
        precisions |= chosen
    meta = {
        "name": "pocketuni voice",
        "licence": "Apache-2.0; the recordings behind it: see provenance and voices",
        "provenance": PROVENANCE,
        "default_voice": DEFAULT_VOICE,
        "voices": voices,
        "rate_hz": mel.RATE_HZ,
        "hop_samples": mel.HOP_SAMPLES,
    }
    towers = [b.graph for b in built.values()] + [graph for graph, _ in others]
    write_model(out, towers, precisions=precisions, meta=meta, blobs=blobs)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--acoustic", type=Path, help="default: WORK/acoustic/checkpoint.pt")
    parser.add_argument("--vocoder", type=Path, help="default: WORK/vocoder/student/vocoder.pt")
    parser.add_argument("--pitch", type=Path, help="default: WORK/vocoder/pitch.pt")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    errors = export(
        options.work,
        options.acoustic or options.work / "acoustic/checkpoint.pt",
        options.vocoder or options.work / "vocoder/student/vocoder.pt",
        options.pitch or options.work / "vocoder/pitch.pt",
        options.out,
    )
    print(json.dumps({"bytes": options.out.stat().st_size, "errors": errors}, indent=1))


if __name__ == "__main__":
    main()
