"""One-operator graphs of what multiplies, looks up or pools: more sizes, encodings and masks than op_cases.py has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from op_cases import INF, NAN, Case, Fixed, bools, floats, integers

ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid")


def linears() -> Iterator[Case]:
    # Rows, inputs, outputs: partial panels and groups; enough rows, then enough outputs, for every way to share work.
    sizes = [(1, 1, 1), (5, 3, 16), (2, 33, 17), (7, 100, 50), (130, 64, 40), (4, 128, 650)]
    for precision in ("f32", "f16", "int8", "int4"):
        for number, (rows, k, n) in enumerate(sizes):
            w, bias = Fixed(floats(n, k), precision), Fixed(floats(n))
            activation = ACTIVATIONS[number % len(ACTIVATIONS)]
            yield Case("linear", f"{precision}-{rows}-{k}-{n}", [floats(rows, k), w])
            operands = [floats(rows, k), w, bias, floats(rows, n)]
            yield Case("linear", f"{precision}-{rows}-{k}-{n}-{activation}", operands, {"activation": activation})
        w = Fixed(floats(20, 70), precision)
        x = floats(6, 70)
        x[0, 3], x[1], x[2, 69], x[3] = NAN, 0, INF, 1e-35
        yield Case("linear", f"{precision}-special", [x, w])
        yield Case("linear", f"{precision}-vector", [floats(70), w])
        yield Case("linear", f"{precision}-images", [floats(2, 3, 4, 70), w, None, floats(2, 3, 4, 20)])
        yield Case("linear", f"{precision}-empty", [floats(0, 70), w], shapes={0: ("batch", 70)})
    for activation in ACTIVATIONS:
        operands = [floats(3, 32) / 4, Fixed(floats(20, 32)), Fixed(floats(20), "f16")]
        yield Case("linear", f"{activation}", operands, {"activation": activation})


def experts() -> Iterator[Case]:
    for k in (0, 1, 2, 9):
        for result in ("values", "indices"):
            yield Case("topk", f"{k}-{result}", [floats(4, 3, 9)], {"k": k, "result": result})
    x = np.round(floats(6, 12))
    x[0, 3] = x[1, 2] = x[1, 5] = NAN
    x[2], x[3, 4], x[4, 6] = 0, INF, -INF
    for result in ("values", "indices"):
        yield Case("topk", f"equal-{result}", [x], {"k": 7, "result": result})
        yield Case("topk", f"empty-{result}", [floats(0, 4)], {"k": 2, "result": result}, {0: ("batch", 4)})
    # Experts, rows, choices, inputs, outputs of each: one row, more experts than rows, all rows for one expert.
    sizes = [(4, 1, 1, 7, 16), (3, 11, 2, 33, 32), (8, 2, 2, 64, 160), (2, 70, 1, 40, 48)]
    for precision in ("f32", "f16", "int8", "int4"):
        for number, (count, rows, choices, k, n) in enumerate(sizes):
            w, bias = Fixed(floats(count * n, k), precision), Fixed(floats(count * n))
            chosen = integers(rows, choices, low=0, high=count)
            note = f"{precision}-{count}-{rows}-{choices}"
            yield Case("expert_linear", note, [floats(rows, k), w, chosen], {"experts": count})
            options = {"experts": count, "activation": ACTIVATIONS[1 + number]}
            yield Case("expert_linear", f"{note}-own", [floats(rows, choices, k), w, chosen, bias], options)
        w, one = Fixed(floats(64, 20), precision), np.zeros((5, 2), np.int32)
        yield Case("expert_linear", f"{precision}-one", [floats(5, 20), w, one], {"experts": 4})
        yield Case("expert_linear", f"{precision}-deep", [floats(2, 3, 20), w, integers(2, 3, 2, low=0, high=4)],
                   {"experts": 4})  # fmt: skip
        yield Case("expert_linear", f"{precision}-empty", [floats(0, 20), w, integers(0, 2, low=0, high=4)],
                   {"experts": 4}, {0: ("batch", 20), 2: ("batch", 2)})  # fmt: skip


def tables() -> Iterator[Case]:
    for precision in ("f32", "f16", "int8", "int4"):
        table = Fixed(floats(50, 96), precision)
        yield Case("embedding", f"{precision}", [integers(3, 7, low=0, high=50), table], shapes={0: ("batch", "time")})
        yield Case("embedding", f"{precision}-int32", [integers(200, low=0, high=50, dtype="int32"), table])
        yield Case("embedding", f"{precision}-one", [np.array(49), table])
        yield Case("embedding", f"{precision}-empty", [integers(0, 7), table], shapes={0: ("batch", 7)})
    yield Case("embedding", "int8-odd-width", [integers(9, low=0, high=5), Fixed(floats(5, 7), "int8")])


def matmuls() -> Iterator[Case]:
    for b, flags in ((floats(3, 6, 9), {}), (floats(3, 9, 6), {"transpose_b": 1})):
        note = "transposed" if flags else "plain"
        yield Case("matmul", f"{note}", [floats(3, 5, 6), b], flags)
        yield Case("matmul", f"{note}-scaled", [floats(3, 5, 6), b], {**flags, "scale": 0.25})
        yield Case("matmul", f"{note}-broadcast", [floats(2, 1, 5, 6), b], flags, {0: ("batch", 1, 5, 6)})
        yield Case("matmul", f"{note}-constant", [floats(5, 6), Fixed(b)], flags)
    yield Case("matmul", "matrix", [floats(4, 7, 33), floats(33, 50)])
    yield Case("matmul", "row", [floats(1, 20), floats(20, 1)])
    yield Case("matmul", "tall", [floats(2, 90, 40), floats(2, 40, 70)])
    yield Case("matmul", "empty", [floats(0, 5, 6), floats(6, 3)], shapes={0: ("batch", 5, 6)})
    yield Case("matmul", "nothing-to-add", [floats(2, 5, 0), floats(0, 3)], shapes={0: (2, 5, "k"), 1: ("k", 3)})
    x = floats(3, 8)
    x[0, 2], x[1, 3] = NAN, INF
    yield Case("matmul", "special", [x, floats(8, 5)])


def attentions() -> Iterator[Case]:
    q, k, v = floats(2, 6, 48), floats(2, 9, 48), floats(2, 9, 48)
    base = {"heads": 4}
    yield Case("attention", "plain", [q, k, v], base)
    yield Case("attention", "scale", [q, k, v], {**base, "scale": 0.1})
    yield Case("attention", "causal", [q, q, q], {**base, "causal": 1})
    yield Case("attention", "causal-longer-keys", [q, k, v], {**base, "causal": 1})
    yield Case("attention", "causal-fewer-keys", [k, q, q], {**base, "causal": 1})
    yield Case("attention", "grouped", [q, k[..., :24].copy(), v[..., :24].copy()], {**base, "kv_heads": 2})
    yield Case("attention", "one-group", [q, k[..., :12].copy(), v[..., :12].copy()], {**base, "kv_heads": 1})
    for shape in ((2, 9), (1, 1, 1, 9), (2, 1, 1, 9), (2, 4, 6, 9), (1, 4, 1, 9), (2, 1, 6, 9), (1, 1, 6, 9)):
        note = "x".join(map(str, shape))
        keep = bools(*shape)
        keep[..., 0] = True
        yield Case("attention", f"mask-bool-{note}", [q, k, v, keep], base)
        yield Case("attention", f"mask-float-{note}", [q, k, v, floats(*shape)], base)
        yield Case("attention", f"mask-int-{note}", [q, k, v, keep.astype(np.int64)], base)
    hidden = np.ones((2, 9), bool)
    hidden[1] = False
    yield Case("attention", "all-masked", [q, k, v, hidden], base)
    yield Case("attention", "all-masked-float", [q, k, v, np.where(hidden, 0, -INF).astype(np.float32)], base)
    lowest = np.where(bools(2, 1, 1, 9), 0, np.finfo(np.float32).min).astype(np.float32)
    yield Case("attention", "mask-lowest", [q, k, v, lowest], base)
    yield Case("attention", "mask-int32", [q, k, v, np.ones((2, 9), np.int32)], base)
    yield Case("attention", "mask-constant", [q, k, v, Fixed(floats(1, 4, 1, 9), "f16")], base)
    yield Case("attention", "mask-causal", [q, q, q, bools(2, 6)], {**base, "causal": 1})
    packed = floats(3, 7, 3 * 48)
    yield Case("attention", "packed", [packed], {**base, "packed": 1})
    shapes = {0: ("batch", "time", 144), 1: ("batch", "time")}
    yield Case("attention", "packed-mask", [packed, bools(3, 7)], {**base, "packed": 1}, shapes)
    yield Case("attention", "packed-causal", [packed], {**base, "packed": 1, "causal": 1})
    yield Case("attention", "packed-grouped", [floats(2, 7, 8 * 10)], {**base, "kv_heads": 2, "packed": 1})
    long = floats(1, 150, 32)
    yield Case("attention", "one-long-head", [long, long, long], {"heads": 1})
    yield Case("attention", "one-long-head-causal", [long, long, long], {"heads": 1, "causal": 1})
    yield Case("attention", "one-long-head-mask", [long, long, long, floats(1, 1, 150, 150)], {"heads": 1})
    yield Case("attention", "empty", [floats(0, 5, 16)] * 3, {"heads": 2}, dict.fromkeys(range(3), ("batch", 5, 16)))
    yield Case("attention", "no-keys", [floats(2, 3, 16), floats(2, 0, 16), floats(2, 0, 16)], {"heads": 2},
               {1: (2, "keys", 16), 2: (2, "keys", 16)})  # fmt: skip
    broken = k.copy()
    broken[0, 4, 5], broken[1, 8, 40] = NAN, INF
    yield Case("attention", "special-keys", [q, broken, v], base)
    yield Case("attention", "special-values", [q, k, broken], base)
    yield Case("attention", "special-values-causal", [broken, broken, broken], {**base, "causal": 1})


def pools() -> Iterator[Case]:
    x = floats(3, 6, 20)
    masks = {"none": None, "bool": bools(3, 6), "int64": bools(3, 6).astype(np.int64)}
    masks |= {"int32": bools(3, 6).astype(np.int32), "float": bools(3, 6).astype(np.float32)}
    masks["nothing"] = np.zeros((3, 6), bool)
    for mode in ("mean", "cls", "max", "last"):
        for note, mask in masks.items():
            yield Case("pool", f"{mode}-{note}", [x] if mask is None else [x, mask], {"mode": mode})
        broken = x.copy()
        broken[0, 2, 3], broken[1, 0, 0] = NAN, -INF
        yield Case("pool", f"{mode}-special", [broken], {"mode": mode})
        yield Case("pool", f"{mode}-empty", [floats(0, 6, 20)], {"mode": mode}, {0: ("batch", 6, 20)})
        yield Case("pool", f"{mode}-no-time", [floats(2, 0, 20)], {"mode": mode}, {0: (2, "time", 20)})
