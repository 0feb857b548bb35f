"""Towers of a Pocket TTS model (docs/pocket.md), made from its configuration and weights.

Layer scales, latent statistics and the `1 +` of modulations go into the weights they stand next to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .ir import Graph, Shape, Value
from .pocket_config import FLOW_TIMES, CodecTransformer, Config, Seanet
from .pocket_weights import Weights

ROWS = "rows"


class Builder:
    """A graph of rows [1, T, width] in the making. T is `rows`, or what a change of rate makes of it."""

    def __init__(self, name: str):
        self.graph = Graph(name)

    def input(self, name: str, width: int | None, dtype: str = "float32", rows: str | int = ROWS) -> str:
        shape = (1, rows) if width is None else (1, rows, width)
        return self.graph.add_input(name, dtype, shape)

    def keep(self, name: str, array: np.ndarray) -> str:
        return self.graph.add_constant(name, np.ascontiguousarray(array, np.float32))

    def emit(self, op: str, inputs: Sequence[str | None], width: int, **attributes: Any) -> str:
        """A node whose result has as many rows as its first operand."""
        return self.emit_rows(op, inputs, (1, self.graph.shape_of(inputs[0])[1], width), **attributes)

    def emit_rows(self, op: str, inputs: Sequence[str | None], dims: Shape, **attributes: Any) -> str:
        return self.graph.add_node(op, list(inputs), [Value(op, "float32", dims)], **attributes)[0]

    def linear(
        self,
        x: str,
        name: str,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        residual: str | None = None,
        activation: str = "none",
    ) -> str:
        inputs: list[str | None] = [x, self.keep(f"{name}.weight", weight)]
        if bias is not None or residual is not None:
            inputs.append(None if bias is None else self.keep(f"{name}.bias", bias))
        if residual is not None:
            inputs.append(residual)
        attributes = {} if activation == "none" else {"activation": activation}
        return self.emit("linear", inputs, len(weight), **attributes)

    def norm(self, x: str, name: str, gamma: np.ndarray | None, beta: np.ndarray | None, eps: float) -> str:
        width = self.graph.shape_of(x)[-1]
        inputs = [x] if gamma is None else [x, self.keep(f"{name}.gamma", gamma), self.keep(f"{name}.beta", beta)]
        return self.emit("layer_norm", inputs, width, eps=eps)

    def output(self, value: str, name: str) -> None:
        if value != name:
            self.graph.rename(value, name)
        self.graph.outputs.append(name)


def transformer(
    prefix: str, weights: Weights, key: str, layers: int, width: int, heads: tuple[int, int, int]
) -> list[Graph]:
    """A tower for what lies between two attentions: PREFIX.0 ends with the first layer's queries, keys and values,
    PREFIX.N is what follows the last attention. heads: width of queries, of keys, and of the feed-forward layer."""
    queries, keys, hidden = heads
    graphs = []
    for place in range(layers + 1):
        b = Builder(f"{prefix}.{place}")
        if place == 0:
            x = b.input("x", width)
        else:
            layer = f"{key}.layers.{place - 1}"
            attended, x = b.input("attended", queries), b.input("x", width)
            scales = [weights.optional(f"{layer}.layer_scale_{i}.scale", (width,)) for i in (1, 2)]
            out = weights.take(f"{layer}.self_attn.out_proj.weight", (width, queries))
            x = b.linear(attended, f"{layer}.out", scaled(out, scales[0]), residual=x)
            norm = b.norm(x, f"{layer}.norm2", *weights.norm(f"{layer}.norm2", width), eps=1e-5)
            up = weights.take(f"{layer}.linear1.weight", (hidden, width))
            down = weights.take(f"{layer}.linear2.weight", (width, hidden))
            wide = b.linear(norm, f"{layer}.up", up, activation="gelu_tanh")
            x = b.linear(wide, f"{layer}.down", scaled(down, scales[1]), residual=x)
            b.output(x, "y")
            x = "y"
        if place < layers:
            layer = f"{key}.layers.{place}"
            norm = b.norm(x, f"{layer}.norm1", *weights.norm(f"{layer}.norm1", width), eps=1e-5)
            weight = weights.take(f"{layer}.self_attn.in_proj.weight", (queries + 2 * keys, width))
            b.output(b.linear(norm, f"{layer}.qkv", weight), "qkv")
        graphs.append(b.graph)
    return graphs


def scaled(weight: np.ndarray, scale: np.ndarray | None) -> np.ndarray:
    return weight if scale is None else weight * scale[:, None]


# The language model.


def language_model(config: Config, weights: Weights) -> list[Graph]:
    lm = config.flow_lm
    t, table, latent = lm.transformer, lm.lookup_table, config.mimi.quantizer.dimension
    width, z = t.d_model, lm.z_dim or t.d_model

    text = Builder("lm.text")
    ids = text.input("ids", None, "int64")
    embedded = weights.take("flow_lm.conditioner.embed.weight", (table.n_bins + 1, table.rank or table.dim))
    x = text.emit("embedding", [ids, text.keep("lm.text.table", embedded)], embedded.shape[1])
    if table.rank is not None:
        x = text.linear(x, "lm.text", weights.take("flow_lm.conditioner.proj.weight", (width, table.rank)))
    text.output(x, "x")

    step = Builder("lm.latent")
    matrix = weights.take("flow_lm.input_linear.weight", (width, latent))
    step.output(step.linear(step.input("latent", latent), "lm.latent", matrix), "x")

    queries = t.attn_dim or width
    keys = queries // t.num_heads * (t.num_kv_heads or t.num_heads)
    hidden = t.dim_feedforward or width * t.hidden_scale
    layers = transformer("lm", weights, "flow_lm.transformer", t.num_layers, width, (queries, keys, hidden))

    out = Builder("lm.out")
    norm = out.norm(out.input("y", width), "lm.out", *weights.norm("flow_lm.out_norm", width), eps=1e-5)
    if lm.z_dim is not None:
        norm = out.linear(norm, "lm.z", weights.take("flow_lm.z_proj.weight", (z, width)))
    eos = weights.take("flow_lm.out_eos.weight", (1, z)), weights.take("flow_lm.out_eos.bias", (1,))
    out.output(out.linear(norm, "lm.eos", *eos), "eos")
    out.output(norm, "hidden")
    return [text.graph, step.graph, *layers, out.graph, *flow(config, weights, z, latent)]


def prompt(config: Config, weights: Weights) -> list[Graph]:
    """The projection of the encoder's latents, in models that can clone voices."""
    width, inner = config.flow_lm.transformer.d_model, config.mimi.inner_dim or config.mimi.seanet.dimension
    b = Builder("lm.prompt")
    matrix = weights.take("flow_lm.speaker_proj_weight", (width, inner))
    b.output(b.linear(b.input("latent", inner), "lm.prompt", matrix), "x")
    return [b.graph]


def flow(config: Config, weights: Weights, z: int, latent: int) -> list[Graph]:
    """The net that turns noise into a latent, given the hidden row; and the embedding of its times."""
    settings = config.flow_lm.flow
    width, times, key = settings.dim, FLOW_TIMES[settings.type], "flow_lm.flow_net"
    b = Builder("lm.flow")
    hidden, noise = b.input("hidden", z, rows=1), b.input("x", latent, rows=1)
    time = b.input("time", width, rows=1) if times else None
    x = b.linear(noise, "flow.in", *weights.linear(f"{key}.input_proj", width, latent))
    y = b.linear(hidden, "flow.condition", *weights.linear(f"{key}.cond_embed", width, z), residual=time)
    y = b.emit("silu", [y], width)
    blocks = [f"{key}.res_blocks.{i}" for i in range(settings.depth)]
    modulations = [weights.linear(f"{block}.adaLN_modulation.1", 3 * width, width) for block in blocks]
    modulations.append(weights.linear(f"{key}.final_layer.adaLN_modulation.1", 2 * width, width))
    for _, bias in modulations:
        bias[width : 2 * width] += 1  # the scale's `1 +`
    stacked = [np.concatenate(part) for part in zip(*modulations, strict=True)]
    all_modulations = b.linear(y, "flow.modulation", *stacked)

    def modulation(place: int) -> str:
        ends = {"axes": [2], "starts": [place * width], "ends": [(place + 1) * width], "steps": [1]}
        return b.emit("slice", [all_modulations], width, **ends)

    def modulated(value: str, place: int) -> str:
        product = b.emit("mul", [value, modulation(place + 1)], width)
        return b.emit("add", [product, modulation(place)], width)

    for i, block in enumerate(blocks):
        norm = weights.norm(f"{block}.in_ln", width)
        inputs = [x, b.keep(f"flow.{i}.gamma", norm[0]), b.keep(f"flow.{i}.beta", norm[1])]
        h = modulated(b.emit("layer_norm", inputs, width, eps=1e-6), 3 * i)
        first = weights.linear(f"{block}.mlp.0", width, width)
        h = b.linear(h, f"flow.{i}.up", *first, activation="silu")
        h = b.linear(h, f"flow.{i}.down", *weights.linear(f"{block}.mlp.2", width, width))
        gated = b.emit("mul", [h, modulation(3 * i + 2)], width)
        x = b.emit("add", [x, gated], width)
    h = modulated(b.emit("layer_norm", [x], width, eps=1e-6), 3 * len(blocks))
    last = weights.linear(f"{key}.final_layer.linear", latent, width)
    b.output(b.linear(h, "flow.out", *last), "flow")
    return [b.graph, *([time_embedding(weights, key, width, times)] if times else [])]


def time_embedding(weights: Weights, key: str, width: int, times: int) -> Graph:
    """`lm.time`: the mean of the embeddings of the flow's times."""
    b = Builder("lm.time")
    embedded = []
    for place in range(times):
        name = f"{key}.time_embed.{place}"
        t = b.input(("start", "end")[place], 1, rows=1)
        freqs = weights.free(f"{name}.freqs")
        half = len(freqs)
        angles = b.emit("mul", [t, b.keep(f"time.{place}.freqs", freqs.reshape(1, 1, half))], half)
        waves = [b.emit(op, [angles], half) for op in ("cos", "sin")]
        x = b.emit("concat", waves, 2 * half, axis=2)
        first = weights.linear(f"{name}.mlp.0", width, 2 * half)
        x = b.linear(x, f"time.{place}.up", *first, activation="silu")
        x = b.linear(x, f"time.{place}.down", *weights.linear(f"{name}.mlp.2", width, width))
        embedded.append(unbiased_norm(b, x, weights.take(f"{name}.mlp.3.alpha", (width,)) / times, f"time.{place}"))
    total = embedded[0] if times == 1 else b.emit("add", embedded, width)
    b.output(total, "time")
    return b.graph


def unbiased_norm(b: Builder, x: str, gamma: np.ndarray, name: str) -> str:
    """x gamma / sqrt(1e-5 + variance), the variance with n - 1 in its denominator; x keeps its mean."""
    width = len(gamma)
    mean = b.emit("reduce_mean", [x], 1, axes=[2], keepdims=1)
    centred = b.emit("sub", [x, mean], width)
    square = b.emit("mul", [centred, centred], width)
    total = b.emit("reduce_sum", [square], 1, axes=[2], keepdims=1)
    share = b.emit("mul", [total, b.keep(f"{name}.share", np.full((1, 1, 1), 1 / (width - 1)))], 1)
    offset = b.emit("add", [share, b.keep(f"{name}.eps", np.full((1, 1, 1), 1e-5))], 1)
    inverse = b.emit("rsqrt", [offset], 1)
    product = b.emit("mul", [x, inverse], width)
    return b.emit("mul", [product, b.keep(f"{name}.gamma", gamma.reshape(1, 1, width))], width)


# The codec.


def codec_layers(prefix: str, weights: Weights, key: str, settings: CodecTransformer) -> list[Graph]:
    widths = (settings.d_model, settings.d_model, settings.dim_feedforward)
    return transformer(prefix, weights, f"{key}.transformer", settings.num_layers, settings.d_model, widths)


def projected(b: Builder, x: str, weights: Weights, name: str, shape: tuple[int, int]) -> str:
    """x times a matrix that only models with another width there have."""
    if shape[0] == shape[1]:
        return x
    return b.linear(x, name, weights.take(name, shape))


def conv(
    b: Builder,
    x: str,
    weights: Weights,
    key: str,
    sizes: tuple[int, int, int],
    stride: int = 1,
    dilation: int = 1,
    residual: str | None = None,
) -> str:
    """A causal convolution; sizes: outputs, channels, taps. One tap is a product of rows."""
    outputs, channels, taps = sizes
    weight, bias = weights.take(f"{key}.weight", sizes), weights.take(f"{key}.bias", (outputs,))
    name = key.removeprefix("mimi.")
    if taps == stride == 1:
        return b.linear(x, name, weight[:, :, 0], bias, residual)
    matrix = b.keep(f"{name}.weight", weight.transpose(0, 2, 1).reshape(outputs, -1))
    window = {"taps": taps, "stride": stride, "dilation": dilation, "pad_left": (taps - 1) * dilation + 1 - stride}
    inputs = [x, matrix, b.keep(f"{name}.bias", bias)] + ([residual] if residual else [])
    if stride == 1:
        return b.emit("conv1d", inputs, outputs, **window)
    return b.emit_rows("conv1d", inputs, (1, None, outputs), **window)


def elu(b: Builder, x: str) -> str:
    return b.emit("elu", [x], b.graph.shape_of(x)[-1], alpha=1.0)


def residual_block(b: Builder, x: str, weights: Weights, key: str, width: int, settings: Seanet, layer: int) -> str:
    hidden = width // settings.compress
    y = conv(
        b,
        elu(b, x),
        weights,
        f"{key}.block.1.conv",
        (hidden, width, settings.residual_kernel_size),
        dilation=settings.dilation_base**layer,
    )
    return conv(b, elu(b, y), weights, f"{key}.block.3.conv", (width, hidden, 1), residual=x)


def by_phases(weight: np.ndarray, stride: int) -> np.ndarray:
    """[C, N, taps] -> [stride N, M C]: docs/format.md, `conv_transpose1d`."""
    channels, outputs, taps = weight.shape
    count = -(-taps // stride)
    filled = np.pad(weight, ((0, 0), (0, 0), (0, count * stride - taps)))
    phases = filled.reshape(channels, outputs, count, stride)[:, :, ::-1]
    return phases.transpose(3, 1, 2, 0).reshape(stride * outputs, count * channels)


def decoder(config: Config, weights: Weights) -> list[Graph]:
    """Latents to samples: rows of the codec, its transformer, and the convolutions up to the rate of samples."""
    mimi = config.mimi
    settings, layers = mimi.decoder_seanet or mimi.seanet, mimi.decoder_transformer or mimi.transformer
    width = settings.dimension
    matrix = weights.take("mimi.quantizer.output_proj.weight", (width, mimi.quantizer.dimension, 1))[:, :, 0]
    std, mean = (weights.take(f"flow_lm.emb_{part}", (mimi.quantizer.dimension,)) for part in ("std", "mean"))
    frame = Builder("mimi.frame")
    frame.output(
        frame.linear(frame.input("latent", mimi.quantizer.dimension), "frame", matrix * std, matrix @ mean), "frame"
    )
    graphs = [frame.graph, upsample(weights, mimi.steps, width, layers)]
    graphs += codec_layers("mimi.decoder", weights, "mimi.decoder_transformer", layers)

    b = Builder("mimi.samples")
    x = b.input("x", layers.d_model)
    x = projected(b, x, weights, "mimi.decoder_transformer.output_projs.0.weight", (width, layers.d_model))
    channels = settings.n_filters * 2 ** len(settings.ratios)
    key, place = "mimi.decoder.model", 0
    x = conv(b, x, weights, f"{key}.0.conv", (channels, width, settings.kernel_size))
    for ratio in settings.ratios:
        place += 2
        name = f"{key}.{place}.convtr"
        weight = weights.take(f"{name}.weight", (channels, channels // 2, 2 * ratio))
        kept = b.keep(f"{name.removeprefix('mimi.')}.weight", by_phases(weight, ratio))
        bias = b.keep(f"{name.removeprefix('mimi.')}.bias", weights.take(f"{name}.bias", (channels // 2,)))
        window = {"taps": 2 * ratio, "stride": ratio, "cut_right": ratio}
        channels //= 2
        x = b.emit_rows("conv_transpose1d", [elu(b, x), kept, bias], (1, None, channels), **window)
        for layer in range(settings.n_residual_layers):
            place += 1
            x = residual_block(b, x, weights, f"{key}.{place}", channels, settings, layer)
    place += 2
    x = conv(b, elu(b, x), weights, f"{key}.{place}.conv", (1, settings.n_filters, settings.last_kernel_size))
    b.output(x, "samples")
    return [*graphs, b.graph]


def upsample(weights: Weights, steps: int, width: int, layers: CodecTransformer) -> Graph:
    """Each frame becomes `steps` rows: per channel, a weight for the frame and one for the frame before."""
    b = Builder("mimi.upsample")
    now, before = b.input("now", width), b.input("before", width)
    if steps == 1:
        x = b.emit("mul", [now, b.keep("upsample.one", np.ones((1, 1, width)))], width)
    else:
        weight = weights.take("mimi.upsample.convtr.convtr.weight", (width, 1, 2 * steps))[:, 0].T
        parts = []
        for value, part in ((now, weight[:steps]), (before, weight[steps:])):
            each = b.emit_rows("unsqueeze", [value], (1, ROWS, 1, width), axes=[2])
            factor = b.keep("upsample.weight", part.reshape(1, 1, steps, width))
            parts.append(b.emit_rows("mul", [each, factor], (1, ROWS, steps, width)))
        x = b.emit_rows("add", parts, (1, ROWS, steps, width))
        x = b.emit_rows("reshape", [x], (1, None, width), shape=[1, None, width])
    name = "mimi.decoder_transformer.input_proj.weight"
    b.output(projected(b, x, weights, name, (layers.d_model, width)), "x")
    return b.graph


def encoder(config: Config, weights: Weights) -> list[Graph]:
    """Samples to the latents of a voice prompt."""
    mimi, settings, layers = config.mimi, config.mimi.seanet, config.mimi.transformer
    b = Builder("mimi.rows")
    channels, key, place = settings.n_filters, "mimi.encoder.model", 0
    x = conv(b, b.input("samples", 1), weights, f"{key}.0.conv", (channels, 1, settings.kernel_size))
    for ratio in reversed(settings.ratios):
        for layer in range(settings.n_residual_layers):
            place += 1
            x = residual_block(b, x, weights, f"{key}.{place}", channels, settings, layer)
        place += 2
        x = conv(b, elu(b, x), weights, f"{key}.{place}.conv", (2 * channels, channels, 2 * ratio), stride=ratio)
        channels *= 2
    place += 2
    x = conv(b, elu(b, x), weights, f"{key}.{place}.conv", (settings.dimension, channels, settings.last_kernel_size))
    name = "mimi.encoder_transformer.input_proj.weight"
    b.output(projected(b, x, weights, name, (layers.d_model, settings.dimension)), "x")
    graphs = [b.graph, *codec_layers("mimi.encoder", weights, "mimi.encoder_transformer", layers)]

    inner = mimi.inner_dim or settings.dimension
    down = Builder("mimi.latent")
    y = down.input("x", layers.d_model)
    name = "mimi.encoder_transformer.output_projs.0.weight"
    y = projected(down, y, weights, name, (settings.dimension, layers.d_model))
    if mimi.steps > 1:
        weight = weights.take("mimi.downsample.conv.conv.weight", (inner, settings.dimension, 2 * mimi.steps))
        matrix = down.keep("downsample.weight", weight.transpose(0, 2, 1).reshape(inner, -1))
        window = {"taps": 2 * mimi.steps, "stride": mimi.steps}
        y = down.emit_rows("conv1d", [y, matrix], (1, None, inner), **window)
    down.output(y, "latent")
    return [*graphs, down.graph]
