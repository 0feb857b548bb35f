"""The towers `voice.encoder` and `voice.decoder` as graphs, built layer by layer from the trained student."""

from __future__ import annotations

import numpy as np
from pocketuni_tools.ir import Graph, Value
from torch import Tensor, nn

from . import voice_space
from .acoustic import KERNEL, PITCH_SCALE, SPEAKER, Acoustic, Block, Depthwise, Stack

VARIANCES = ("log_frames", "pitch", "voiced", "energy")


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
        """The parts of the vector in the input `speaker` `[1, 192]`, as `[1, 1, 192]`."""
        shape = (1, 1, SPEAKER)
        row = self.emit("unsqueeze", [self.input("speaker", "float32", 1, SPEAKER)], "speaker_row", shape, axes=[1])
        least = self.constant("least_constant", np.array([voice_space.LEAST_CONSTANT]))
        length = self.emit("maximum", [self.column(row, SPEAKER - 1, "constant"), least], "divisor", (1, 1, 1))
        factor = self.constant("usual_constant", np.array([voice_space.CONSTANT]))
        return self.emit("mul", [row, self.emit("div", [factor, length], "factor", (1, 1, 1))], "parts", shape)

    def column(self, x: str, at: int, name: str) -> str:
        """Of `[1, 1, C]` the number at a place, `[1, 1, 1]`."""
        return self.emit("slice", [x], name, (1, 1, 1), axes=[2], starts=[at], ends=[at + 1], steps=[1])

    def voice_pitch(self, parts: str) -> str:
        """The voice's mean pitch, `[1, 1, 1]`."""
        told = self.column(parts, voice_space.PITCH_AT, "voice_pitch_told")
        return self.emit("mul", [told, self.constant("pitch_scale", np.array([PITCH_SCALE]))], "voice_pitch", (1, 1, 1))

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
    voice = b.voice_pitch(speaker)
    b.output(hidden, "hidden")
    for i, name in enumerate(VARIANCES):
        shape = (1, "units", 1)
        part = b.emit("slice", [heads], f"{name}_column", shape, axes=[2], starts=[i], ends=[i + 1], steps=[1])
        if name == "pitch":
            part = b.emit("add", [part, voice], "pitch_from_centre", shape)
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
    mel = b.linear(x, "leave", weight, bias, precision="f16")
    weight = array(m.tint.weight) * deviation[:, None] * SPEAKER**0.5
    tint = b.linear(speaker, "tint", weight, np.zeros(len(deviation)), precision="f16")
    b.output(b.emit("add", [mel, tint], "tinted", b.graph.shape_of(mel)), "mel")
    return b
