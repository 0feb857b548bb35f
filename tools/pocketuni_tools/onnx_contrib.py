"""Handlers of the operators that ONNX Runtime's optimizer writes (domain com.microsoft)."""

from __future__ import annotations

import numpy as np

from .onnx_ops import join, layer_norm, norm_row
from .onnx_products import heads_scale, linear
from .onnx_sizes import Size
from .onnx_walk import Call, Importer, Known, Operand, handles


def with_bias(b: Importer, x: Operand, bias: Operand | None) -> Operand:
    return x if bias is None else join(b, "add", x, bias)


@handles("com.microsoft::Gelu", "com.microsoft::BiasGelu")
def bias_gelu(b: Importer, call: Call) -> Operand:
    return join(b, "gelu", with_bias(b, call[0], call[1]))


@handles("com.microsoft::FastGelu")
def fast_gelu(b: Importer, call: Call) -> Operand:
    return join(b, "gelu", with_bias(b, call[0], call[1]), approximate=1)


@handles("com.microsoft::QuickGelu")
def quick_gelu(b: Importer, call: Call) -> Operand:
    gate = join(b, "mul", call[0], b.number(call.get("alpha", 1.702)))
    return join(b, "mul", call[0], join(b, "sigmoid", gate))


@handles("com.microsoft::SkipLayerNormalization")
def skip_layer_normalization(b: Importer, call: Call) -> list[Operand | None]:
    """input, skip, gamma, beta, bias -> normalized, (mean), (inverse deviation), (sum)."""
    total = with_bias(b, join(b, "add", call[0], call[1]), call[4])
    if any(call.node.output[1:3]):
        raise call.unsupported("statistics as results")
    return [layer_norm(b, total, call[2], call[3], call.get("epsilon", 1e-12)), None, None, total]


@handles("com.microsoft::SkipSimplifiedLayerNormalization")
def skip_rms_normalization(b: Importer, call: Call) -> list[Operand | None]:
    """input, skip, gamma, bias -> normalized, (mean), (inverse deviation), (sum)."""
    total = with_bias(b, join(b, "add", call[0], call[1]), call[3])
    if any(call.node.output[1:3]):
        raise call.unsupported("statistics as results")
    row = norm_row(b, call[2], b.shape(total)[-1:])
    out = b.emit("rms_norm", [total, row], "float32", b.shape(total), eps=float(call.get("epsilon", 1e-12)))
    return [out, None, None, total]


@handles("com.microsoft::EmbedLayerNormalization")
def embed_layer_normalization(b: Importer, call: Call) -> list[Operand | None]:
    """ids, segments, tables of words, positions and segments, gamma, beta, mask, position ids -> normalized, (lengths),
    (sum)."""
    ids, segments, word, position, segment, gamma, beta = (call[place] for place in range(7))
    if call.node.output[1:2] not in ([], [""]) and call[7] is not None:
        raise call.unsupported("the lengths of a mask as a result")

    def look_up(indices: Operand, table: Operand) -> Operand:
        if b.numbers(table) is None:
            raise call.unsupported("a table that is not constant")
        shape = (*b.shape(indices), Size(table.array.shape[1]))
        return b.emit("embedding", [indices, b.operand(table, "rows")], "float32", shape)

    places = call[8]
    if places is None:
        length = b.shape(ids)[1]
        if length.dim is None:
            raise call.unsupported(f"the length {length}")
        places = b.emit("iota", [], "int64", (length,), shape=[length.dim])
    total = join(b, "add", look_up(ids, word), look_up(places, position))
    if segments is not None:
        total = join(b, "add", total, look_up(segments, segment))
    out = layer_norm(b, total, gamma, beta, call.get("epsilon", 1e-12))
    return [out, Known(np.zeros(0, np.int32)), total]


def attention_mask(b: Importer, call: Call, mask: Operand | None) -> list[Operand]:
    """The mask of keys [batch, keys], nonzero where a key is attended."""
    if mask is None:
        return []
    if b.rank(mask) != 2:
        raise call.unsupported(f"a mask of rank {b.rank(mask)}")
    return [mask]


@handles("com.microsoft::Attention")
def attention(b: Importer, call: Call) -> Operand:
    """input [batch, time, width], weight [width, 3 width], bias, mask -> [batch, time, width]."""
    if any(call[place] is not None for place in (4, 5, 6)) or call.get("do_rotary", 0) or call.get("qkv_hidden_sizes"):
        raise call.unsupported("a past, a bias of scores, rotary positions or widths of its own")
    if b.numbers(call[1]) is None or call[1].array.ndim != 2:
        raise call.unsupported("weights that are not one constant")
    heads, mask = call.get("num_heads", 1), attention_mask(b, call, call[3])
    qkv = linear(b, call[0], call[1], True, call[2])
    width = Size(call[1].array.shape[1] // 3)
    options = {"heads": heads, "scale": heads_scale(call, width, heads), "packed": 1}
    options["causal"] = int(call.get("unidirectional", 0))
    return b.emit("attention", [qkv, *mask], "float32", (*b.shape(qkv)[:-1], width), **options)


@handles("com.microsoft::MultiHeadAttention")
def multi_head_attention(b: Importer, call: Call) -> Operand:
    """query, key, value [batch, time, width], bias [3 width], mask of keys, bias of scores -> [batch, time, width]."""
    if any(b.rank(value) != 3 for value in call.inputs[:3]) or any(call[place] is not None for place in (6, 7)):
        raise call.unsupported("packed operands or a past")
    parts, heads = call.inputs[:3], call.get("num_heads", 1)
    if call[3] is not None:
        if b.numbers(call[3]) is None:
            raise call.unsupported("a bias that is not constant")
        rows = np.split(call[3].array, 3)
        parts = [join(b, "add", part, Known(row, call[3].name)) for part, row in zip(parts, rows, strict=True)]
    mask = attention_mask(b, call, call[4])
    if mask and call[5] is not None:
        raise call.unsupported("both a mask and a bias of scores")
    options = {"heads": heads, "scale": heads_scale(call, b.shape(parts[0])[2], heads)}
    options["causal"] = int(call.get("unidirectional", 0))
    operands = [*parts, *(mask or ([] if call[5] is None else [call[5]]))]
    return b.emit("attention", operands, "float32", b.shape(parts[0]), **options)
