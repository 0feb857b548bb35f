"""One-operator graphs for test_against_evaluator.py: at least one for every operator, chosen to lean on its edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pocketuni_tools.ir import Graph, Shape, Value

TO_END = 1 << 62
NAN, INF = np.nan, np.inf
# Small enough that no result is a denormal number, which the runtime flushes to zero.
SPECIAL = [0.0, -0.0, NAN, INF, -INF, 1e-3, -1e-3, 0.5, 1.5, 2.5, -0.5, -1.5, 87.5, -85.0, 1e4, -1e4, 1.0, -1.0, 3.0]


@dataclass
class Fixed:
    """An operand that is a constant of the model, in a precision of the writer."""

    array: np.ndarray
    precision: str = "f32"


@dataclass
class Case:
    """A node to test. Arrays among the operands are inputs, of the shape in `shapes` where one is given (with names of
    dimensions). `extra` are inputs that only give named dimensions a size."""

    op: str
    note: str
    operands: list[np.ndarray | Fixed | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    shapes: dict[int, Shape] = field(default_factory=dict)
    extra: dict[str, tuple[np.ndarray, Shape]] = field(default_factory=dict)

    def graph(self) -> tuple[Graph, dict[str, np.ndarray], dict[str, str]]:
        """The graph of the node, its inputs, and the precisions of its constants."""
        graph, inputs, precisions, operands = Graph("main"), {}, {}, []
        for place, operand in enumerate(self.operands):
            if isinstance(operand, Fixed):
                name = graph.add_constant(f"constant{place}", operand.array)
                precisions[name] = operand.precision
            elif operand is not None:
                name = graph.add_input(f"x{place}", str(operand.dtype), self.shapes.get(place, operand.shape))
                inputs[name] = operand
            operands.append(None if operand is None else name)
        for name, (array, shape) in self.extra.items():
            inputs[graph.add_input(name, str(array.dtype), shape)] = array
        dtype, rank = self.result()
        graph.outputs = graph.add_node(self.op, operands, [Value("y", dtype, (None,) * rank)], **self.attributes)
        return graph, inputs, precisions

    def result(self) -> tuple[str, int]:
        """dtype and rank of the result, in the terms of docs/format.md."""
        arrays = [operand.array if isinstance(operand, Fixed) else operand for operand in self.operands]
        dtypes = [str(array.dtype) for array in arrays if array is not None]
        ranks = [array.ndim for array in arrays if array is not None]
        if self.op in COMPARISONS:
            return "bool", max(ranks)
        if self.op == "iota":
            return "int64", 1
        if self.op == "argmax":
            return "int64", ranks[0] - (0 if self.attributes.get("keepdims") else 1)
        if self.op == "topk":
            return "float32" if self.attributes["result"] == "values" else "int64", ranks[0]
        if self.op == "expert_linear":
            return "float32", ranks[2] + 1
        if self.op == "cast":
            return self.attributes["to"], ranks[0]
        if self.op.startswith("reduce_"):
            return "float32", ranks[0] - (0 if self.attributes.get("keepdims") else len(self.attributes["axes"]))
        extra = {"unsqueeze": 1, "squeeze": -1}.get(self.op, 0) * len(self.attributes.get("axes", []))
        rank = {
            "embedding": ranks[0] + 1 if ranks else 0,
            "gather": ranks[0] + ranks[-1] - 1 if ranks else 0,
            "pool": 2,
            "reshape": len(self.attributes.get("shape", [])),
            "expand": max([len(self.attributes.get("shape", [])), *ranks]),
            "where": max(ranks),
            "linear": ranks[0],
            "attention": 3,
            "mel_spectrogram": 3,
            "resample": ranks[0] if ranks else 0,
        }.get(self.op, max(ranks) + extra)
        return {"where": dtypes[-1], "embedding": "float32"}.get(self.op, dtypes[0]), rank


COMPARISONS = "equal less less_equal greater greater_equal and or".split()
ARITHMETIC = "add sub mul div pow minimum maximum".split()
UNARY = (
    "relu gelu silu tanh sigmoid erf exp log sqrt rsqrt neg abs reciprocal sin cos floor ceil round softplus elu "
    "leaky_relu hard_sigmoid hard_swish mish clip"
).split()
_random = np.random.default_rng(7)


def floats(*shape: int, special: bool = False) -> np.ndarray:
    """Normal numbers; with `special`, NaN, infinities, zeros and large numbers among them."""
    x = np.asarray(_random.normal(size=shape) * 2, np.float32)
    if special:
        x.reshape(-1)[: len(SPECIAL)] = SPECIAL[: x.size]
    return x


def integers(*shape: int, low: int = -9, high: int = 10, dtype: str = "int64") -> np.ndarray:
    return np.asarray(_random.integers(low, high, shape), dtype)


def bools(*shape: int) -> np.ndarray:
    return np.asarray(_random.random(shape) < 0.6)


def unary() -> Iterator[Case]:
    options = {
        "leaky_relu": [{"alpha": 0.1}],
        "elu": [{"alpha": 1.3}],
        "hard_sigmoid": [{"alpha": 0.2, "beta": 0.4}],
        "gelu": [{}, {"approximate": 1}],
        "clip": [{}, {"min": -0.5}, {"max": 1.5}, {"min": 0.0, "max": 6.0}],
    }
    for op in UNARY:
        for number, attributes in enumerate(options.get(op, [{}])):
            yield Case(op, f"special-{number}", [floats(3, 5, 17, special=True)], attributes)
        yield Case(op, "long", [floats(3, 20000)], attributes)
        yield Case(op, "scalar", [floats()], attributes)
        yield Case(op, "empty", [floats(0, 7)], attributes, {0: ("batch", 7)})
    yield Case("not", "bool", [bools(3, 5)])
    yield Case("not", "empty", [bools(0)])


def binary() -> Iterator[Case]:
    for op in ARITHMETIC + COMPARISONS:
        yield Case(op, "special", [floats(4, 19, special=True), floats(4, 19, special=True)[::-1].copy()])
        yield Case(op, "broadcast", [floats(2, 1, 5), floats(3, 1)], shapes={0: ("batch", 1, 5)})
        yield Case(op, "column", [floats(6, 33), floats(6, 1)])
        yield Case(op, "long-number", [floats(3, 20000), Fixed(floats())])
        yield Case(op, "number-array", [Fixed(np.float32(2.5)), floats(5, 3)])
        yield Case(op, "scalars", [floats(), floats()])
        yield Case(op, "empty", [floats(0, 3), floats(3)], shapes={0: ("batch", 3)})
        for dtype in ("int32", "int64"):
            yield Case(op, dtype, [integers(4, 7, dtype=dtype), integers(7, low=-2, high=5, dtype=dtype)])
        yield Case(op, "half", [floats(4, 6), Fixed(floats(6), "f16")])
        if op in COMPARISONS:
            yield Case(op, "bool", [bools(3, 1), bools(4)])
    extremes = np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max, -7, 7, 0])
    yield Case("add", "wraps", [extremes, np.full(5, 2)])
    yield Case("mul", "wraps-int32", [np.array([1 << 30, -5], np.int32), np.array([6, 1 << 30], np.int32)])
    yield Case("div", "extremes", [extremes, np.array([-1, -1, 2, -2, 0])])
    yield Case("pow", "negative-exponents", [np.array([1, -1, 2, -1, 0]), np.array([-3, -3, -1, -2, -1])])
    values = (floats(2, 3, 4), integers(2, 3, 4), integers(2, 3, 4, dtype="int32"), bools(2, 3, 4))
    for x in values:
        yield Case("where", f"{x.dtype}", [bools(3, 1), x, x[:1, :, ::-1].copy()])
    yield Case("where", "numbers", [bools(2, 5), Fixed(np.float32(NAN)), Fixed(floats(1))])
    yield Case("where", "broadcast-values", [bools(1), floats(4, 1), floats(1, 3)])
    yield Case("where", "empty", [bools(0, 1), floats(3), floats(0, 3)], shapes={0: ("n", 1), 2: ("n", 3)})


def norms() -> Iterator[Case]:
    for width in (1, 7, 40, 384):
        x, gamma, beta = floats(3, 5, width), Fixed(floats(width)), Fixed(floats(width), "f16")
        yield Case("layer_norm", f"{width}", [x, gamma, beta], {"eps": 1e-5})
        yield Case("layer_norm", f"plain-{width}", [x], {"eps": 1e-12})
        yield Case("layer_norm", f"shift-{width}", [x + 10, None, beta], {"eps": 1e-3})
        yield Case("rms_norm", f"{width}", [x, gamma], {"eps": 1e-6})
        yield Case("rms_norm", f"plain-{width}", [x], {"eps": 1e-6})
        yield Case("l2_normalize", f"{width}", [x])
    for op, attributes in (("layer_norm", {"eps": 1e-5}), ("rms_norm", {"eps": 1e-5}), ("l2_normalize", {"eps": 1e-6})):
        x = floats(4, 20)
        x[0, 3], x[1], x[2, 19] = NAN, 0, INF
        yield Case(op, "special", [x], attributes)
        yield Case(op, "empty", [floats(0, 20)], attributes, {0: ("batch", 20)})
        yield Case(op, "many-rows", [floats(300, 96)], attributes)
    for op in ("softmax", "log_softmax"):
        for axis in (-1, 0, 1, -2):
            yield Case(op, f"axis{axis}", [floats(3, 5, 70)], {"axis": axis})
        yield Case(op, "default", [floats(700, 40)])
        yield Case(op, "empty", [floats(0, 4)], shapes={0: ("batch", 4)})
        x = floats(6, 18) * 30
        x[0, 3], x[1, 5], x[2, 17] = NAN, -INF, INF
        yield Case(op, "special", [x])
    yield Case("softmax", "all-masked", [np.full((2, 17), -INF, np.float32)])


def reductions() -> Iterator[Case]:
    for op in "reduce_sum reduce_mean reduce_max reduce_min reduce_prod".split():
        for axes in ([-1], [0], [1], [0, 2], [-1, -2], [0, 1, 2], []):
            keep = {"keepdims": 1} if len(axes) == 1 else {}
            yield Case(op, f"axes{axes}", [floats(3, 4, 21)], {"axes": axes, **keep})
        for axes in ([1, 3], [0, 2], [0, 1, 3]):
            yield Case(op, f"parts{axes}", [floats(2, 5, 3, 20)], {"axes": axes})
        yield Case(op, "wide", [floats(2, 40, 300) / 9], {"axes": [1]})
        x = floats(4, 18)
        x[0, 3], x[1, 5], x[2, 17] = NAN, -INF, INF
        for axis in (0, 1):
            yield Case(op, f"special{axis}", [x], {"axes": [axis]})
        yield Case(op, "of-nothing", [floats(3, 0)], {"axes": [1]}, {0: (3, "n")})
        yield Case(op, "rows-of-nothing", [floats(0, 3)], {"axes": [0]}, {0: ("n", 3)})
        yield Case(op, "empty", [floats(0, 3)], {"axes": [1]}, {0: ("n", 3)})
        yield Case(op, "named", [floats(2, 9, 5)], {"axes": [1], "keepdims": 1}, {0: ("batch", "time", 5)})


def layout() -> Iterator[Case]:
    x, batched = floats(2, 3, 4), {0: ("batch", 3, 4)}
    for y in (x, integers(2, 3, 4), integers(2, 3, 4, dtype="int32"), bools(2, 3, 4)):
        yield Case("reshape", f"{y.dtype}", [y], {"shape": [4, 6]})
        yield Case("transpose", f"{y.dtype}", [y], {"perm": [2, 0, 1]})
        yield Case("expand", f"{y.dtype}", [y], {"shape": [5, 2, 3, 4]})
        yield Case("concat", f"{y.dtype}", [y, Fixed(y), y[:, :1].copy()], {"axis": 1})
        ranges = {"axes": [2, 0], "starts": [1, 1], "ends": [4, 2], "steps": [2, 1]}
        yield Case("slice", f"{y.dtype}", [y], ranges)
        yield Case("gather", f"{y.dtype}", [y, integers(5, low=-4, high=4)], {"axis": -1})
    yield Case("reshape", "inferred", [x], {"shape": [3, -1]})
    yield Case("reshape", "named", [x], {"shape": ["batch", None]}, batched)
    yield Case("reshape", "empty", [floats(0, 3, 4)], {"shape": ["batch", None]}, batched)
    yield Case("reshape", "to-scalar", [floats(1, 1)], {"shape": []})
    for axes in ([0], [-1], [0, -1], [1, 2]):
        yield Case("unsqueeze", f"{axes}", [floats(2, 3)], {"axes": axes})
    for axes in ([0], [-1], [0, -1]):
        yield Case("squeeze", f"{axes}", [floats(1, 3, 1)], {"axes": axes})
    yield Case("transpose", "batch", [floats(2, 5, 3, 8)], {"perm": [0, 2, 1, 3]}, {0: ("batch", "time", 3, 8)})
    for planes in (floats(2, 3, 5, 7), integers(2, 3, 4, 1), bools(2, 3, 3, 3)):
        yield Case("transpose", f"planes-{planes.dtype}", [planes], {"perm": [0, 2, 3, 1]})
    yield Case("transpose", "scalar", [floats()], {"perm": []})
    yield Case("transpose", "empty", [floats(0, 3, 4)], {"perm": [1, 2, 0]}, batched)
    named = {"mask": (bools(5), ("time",))}
    yield Case("expand", "named", [floats(2, 1)], {"shape": ["batch", "time"]}, {0: ("batch", 1)}, named)
    yield Case("expand", "narrower", [floats(3, 4)], {"shape": [1, 1]})
    yield Case("concat", "axis-1", [floats(2, 1), floats(2, 5)], {"axis": -1})
    yield Case("concat", "one", [floats(2, 1)], {"axis": 0})
    yield Case("concat", "empty-part", [floats(0, 3), floats(2, 3)], {"axis": 0}, {0: ("n", 3)})
    for note, start, end, step in (
        ("to-end", 2, TO_END, 1), ("clamped", 1, 99, 3), ("empty", 50, 60, 1), ("reversed", 4, 2, 1),
        ("named-end", 1, "n", 2), ("named-start", "n", TO_END, 1),
    ):  # fmt: skip
        ranges = {"axes": [-2], "starts": [start], "ends": [end], "steps": [step]}
        yield Case("slice", note, [floats(2, 9, 3)], ranges, extra={"length": (floats(4), ("n",))})
    yield Case("gather", "scalar", [x, np.array(1)], {"axis": 1})
    yield Case("gather", "default", [Fixed(floats(6, 4)), integers(2, 3, low=0, high=6, dtype="int32")])
    yield Case("gather", "no-index", [x, integers(0)], {"axis": 1}, {1: ("n",)})
    yield Case("iota", "fixed", [], {"shape": [5]})
    yield Case("iota", "named", [], {"shape": ["n"]}, extra={"length": (floats(4), ("n",))})
    yield Case("iota", "empty", [], {"shape": ["n"]}, extra={"length": (floats(0), ("n",))})
    beyond = np.array([*SPECIAL, 3e9, -3e9, 1e19, -1e19, 2147483647.0, 0.99, -0.99], np.float32)
    wide = np.array([0, 1, -1, 1 << 40, (1 << 31) + 5, 16777217])
    for to in ("float32", "int32", "int64", "bool"):
        for y in (beyond, wide, integers(6, dtype="int32"), bools(6)):
            yield Case("cast", f"{y.dtype}-{to}", [y], {"to": to})
