"""Handlers of ONNX operators that compute: arithmetic, comparisons, activations, reductions, norms, products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .onnx_fold import axes_of
from .onnx_grid import single
from .onnx_sizes import Size, broadcast
from .onnx_walk import Call, Importer, Known, Operand, attributes_of, handles

UNARY = {
    "Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "Erf": "erf", "Exp": "exp", "Log": "log", "Sqrt": "sqrt",
    "Reciprocal": "reciprocal", "Sin": "sin", "Cos": "cos", "Floor": "floor", "Ceil": "ceil", "Round": "round",
    "Softplus": "softplus", "HardSwish": "hard_swish", "Mish": "mish", "Neg": "neg", "Abs": "abs",
}  # fmt: skip
ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
VARIADIC = {"Min": "minimum", "Max": "maximum", "Sum": "add", "Mean": "add"}
COMPARISONS = {
    "Equal": "equal", "Less": "less", "LessOrEqual": "less_equal", "Greater": "greater",
    "GreaterOrEqual": "greater_equal", "And": "and", "Or": "or",
}  # fmt: skip
PARAMETERS = {
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Elu": ("elu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
}


def join(b: Importer, op: str, *values: Operand, dtype: str | None = None, **attributes: Any) -> str:
    """An elementwise operator: operands are broadcast; the result has the first one's dtype unless `dtype` is given."""
    shape = broadcast(*(b.shape(value) for value in values))
    return b.emit(op, list(values), dtype or b.dtype(values[0]), shape, **attributes)


@handles(*UNARY)
def unary(b: Importer, call: Call) -> Operand:
    x, op = call[0], UNARY[call.op]
    if b.dtype(x) == "float32":
        return join(b, op, x)
    if op not in ("neg", "abs", "relu"):
        raise call.unsupported(b.dtype(x))
    negative = join(b, "sub", b.number(0, b.dtype(x)), x)
    other = {"neg": None, "abs": x, "relu": b.number(0, b.dtype(x))}[op]
    return negative if other is None else join(b, "maximum", x, negative if op == "abs" else other)


@handles(*PARAMETERS)
def parametric(b: Importer, call: Call) -> Operand:
    op, defaults = PARAMETERS[call.op]
    return join(b, op, call[0], **attributes_of(call, defaults))


@handles("Gelu")
def gelu(b: Importer, call: Call) -> Operand:
    return join(b, "gelu", call[0], approximate=int(call.get("approximate", "none") == "tanh"))


@handles("Selu", "Celu")
def scaled_elu(b: Importer, call: Call) -> Operand:
    alpha = call.get("alpha", 1.6732632 if call.op == "Selu" else 1.0)
    if call.op == "Selu":
        return join(b, "mul", join(b, "elu", call[0], alpha=alpha), b.number(call.get("gamma", 1.0507010)))
    return join(b, "mul", join(b, "elu", join(b, "div", call[0], b.number(alpha)), alpha=1.0), b.number(alpha))


@handles("PRelu")
def prelu(b: Importer, call: Call) -> Operand:
    x, zero, slope = call[0], b.number(0.0), b.numbers(call[1])
    if slope is not None and slope.size == 1 and slope.ndim <= b.rank(x):
        return join(b, "leaky_relu", x, alpha=float(slope.reshape(())))
    return join(b, "add", join(b, "maximum", x, zero), join(b, "mul", join(b, "minimum", x, zero), call[1]))


@handles("Softsign")
def softsign(b: Importer, call: Call) -> Operand:
    return join(b, "div", call[0], join(b, "add", join(b, "abs", call[0]), b.number(1.0)))


@handles("Clip")
def clip(b: Importer, call: Call) -> Operand:
    x, limits = call[0], {"min": call[1], "max": call[2]}
    if b.dtype(x) == "float32" and all(item is None or b.numbers(item) is not None for item in limits.values()):
        given = {key: float(item.array.reshape(())) for key, item in limits.items() if item is not None}
        return join(b, "clip", x, **given)
    for op, limit in zip(("maximum", "minimum"), limits.values(), strict=True):
        x = x if limit is None else join(b, op, x, limit)
    return x


@handles(*ARITHMETIC)
def arithmetic(b: Importer, call: Call) -> Operand:
    return join(b, ARITHMETIC[call.op], call[0], call[1])


@handles("Pow")
def power(b: Importer, call: Call) -> Operand:
    x, exponent = call[0], b.numbers(call[1])
    dtype = b.dtype(x)
    if exponent is not None and exponent.size == 1 and len(exponent.shape) <= b.rank(x):
        number = float(exponent.reshape(()))
        if number == 2:
            return join(b, "mul", x, x)
        special = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}.get(number)
        if special and dtype == "float32":
            return join(b, special, x)
    if dtype == "float32" or b.dtype(call[1]) == "float32":
        return b.cast(join(b, "pow", b.cast(x, "float32"), b.cast(call[1], "float32")), dtype)
    return join(b, "pow", x, b.cast(call[1], dtype))


@handles(*VARIADIC)
def variadic(b: Importer, call: Call) -> Operand:
    total = call[0]
    for other in call.inputs[1:]:
        total = join(b, VARIADIC[call.op], total, other)
    if call.op == "Mean":
        total = join(b, "div", total, b.number(float(len(call.inputs))))
    return total


@handles(*COMPARISONS)
def compare(b: Importer, call: Call) -> Operand:
    """What is the same for all inputs (positions are not negative; masks that leave everything) becomes a constant."""
    x, y, op = call[0], call[1], COMPARISONS[call.op]
    shape = broadcast(b.shape(x), b.shape(y))
    limit, grid = single(y), b.grid(x)
    if op == "greater_equal" and limit is not None and grid is not None and not isinstance(x, Known):
        if limit.constant is not None and grid.never_below(limit.constant):
            return b.expand(Known(np.ones([1] * len(shape), bool)), shape)
    for one, other in ((x, y), (y, x)):
        if op in ("and", "or") and b.uniform(one) is (op == "and"):
            return b.expand(other, shape)
    return join(b, op, x, y, dtype="bool")


@handles("Not")
def not_(b: Importer, call: Call) -> Operand:
    return join(b, "not", call[0])


@handles("Xor")
def xor(b: Importer, call: Call) -> Operand:
    return join(b, "not", join(b, "equal", call[0], call[1], dtype="bool"))


@handles("IsNaN")
def is_nan(b: Importer, call: Call) -> Operand:
    return join(b, "not", join(b, "equal", call[0], call[0], dtype="bool"))


@handles("IsInf")
def is_inf(b: Importer, call: Call) -> Operand:
    signs = bool(call.get("detect_negative", 1)), bool(call.get("detect_positive", 1))
    if signs == (False, False):
        return b.expand(Known(np.zeros([1] * b.rank(call[0]), bool)), b.shape(call[0]))
    x = join(b, "abs", call[0]) if all(signs) else call[0]
    return join(b, "equal", x, b.number(math.inf if signs[1] else -math.inf), dtype="bool")


@handles("Where")
def where(b: Importer, call: Call) -> Operand:
    condition, yes, no = b.cast(call[0], "bool"), call[1], call[2]
    if guards_nan(b, condition, yes, no):
        return no
    if (known := b.uniform(condition)) is not None:
        chosen = yes if known else no
        return b.expand(chosen, broadcast(*(b.shape(value) for value in (condition, yes, no))))
    return join(b, "where", condition, yes, no, dtype=b.dtype(yes))


def guards_nan(b: Importer, condition: Operand, yes: Operand, no: Operand) -> bool:
    """softmax(x) with 0 in the place of NaN, which is how exporters treat rows that are masked as a whole. Here such a
    row is 0 at once."""
    inverse, maker = b.producer(condition), b.producer(no)
    if inverse is None or maker is None or (inverse.op, maker.op) != ("not", "softmax"):
        return False
    same = b.producer(inverse.inputs[0])
    return same is not None and same.op == "equal" and same.inputs == [no, no] and b.uniform(yes) == 0


# Reductions and norms.


def axis_in(rank: int, axis: int) -> int:
    if not -rank <= axis < max(rank, 1):
        raise ValueError(f"axis {axis} is outside of a tensor of rank {rank}")
    return axis % rank if rank else 0


def axis_of(b: Importer, x: Operand, axis: int) -> int:
    return axis_in(b.rank(x), axis)


def axes_in(rank: int, axes: list[int]) -> list[int]:
    chosen = [axis_in(rank, axis) for axis in axes]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"the axes {axes} name one twice")
    return chosen


def given_axes(b: Importer, call: Call) -> list[int] | None:
    """Those of the attribute or of the second input."""
    if call[1] is not None and b.numbers(call[1]) is None:
        raise call.unsupported("axes that depend on inputs")
    return axes_of(call, [None, b.numbers(call[1])])


def reduce(b: Importer, op: str, x: Operand, axes: list[int], keep: bool = True) -> str:
    """A reduction in float32; sums and extremes of integers are exact up to 2^24."""
    shape, dtype = b.shape(x), b.dtype(x)
    chosen = axes_in(len(shape), axes)
    kept = [Size(1) if axis in chosen else item for axis, item in enumerate(shape) if keep or axis not in chosen]
    out = b.emit(op, [b.cast(x, "float32")], "float32", kept, axes=chosen, keepdims=int(keep))
    if dtype == "bool":  # of nothing the largest is -inf: false
        return join(b, "greater", out, b.number(0.0), dtype="bool")
    return b.cast(out, dtype)


@handles(*(f"Reduce{name}" for name in "Sum Mean Max Min Prod L1 L2 SumSquare".split()))
def reduction(b: Importer, call: Call) -> Operand:
    x, kind, keep = call[0], call.op.removeprefix("Reduce"), bool(call.get("keepdims", 1))
    axes = given_axes(b, call)
    if not axes:
        if call.get("noop_with_empty_axes", 0):
            return x
        axes = list(range(b.rank(x)))
    if kind == "Mean" and b.dtype(x) != "float32":
        raise call.unsupported("integers")
    if kind in ("L2", "SumSquare"):
        x = join(b, "mul", x, x)
    if kind == "L1":
        x = join(b, "abs", x)
    simple = {"L1": "sum", "L2": "sum", "SumSquare": "sum"}.get(kind, kind.lower())
    out = reduce(b, f"reduce_{simple}", x, axes, keep)
    return join(b, "sqrt", out) if kind == "L2" else out


@handles("LpNormalization")
def lp_normalization(b: Importer, call: Call) -> Operand:
    """What is zero as a whole stays zero."""
    x, axes = call[0], [call.get("axis", -1)]
    if call.get("p", 2) == 1:
        norm = reduce(b, "reduce_sum", join(b, "abs", x), axes)
    else:
        norm = join(b, "sqrt", reduce(b, "reduce_sum", join(b, "mul", x, x), axes))
    return join(b, "div", x, join(b, "maximum", norm, b.number(1e-30)))


@handles("Softmax", "LogSoftmax")
def softmax(b: Importer, call: Call) -> Operand:
    """Before opset 13 all dimensions from the axis on are one distribution."""
    x, op = call[0], {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[call.op]
    axis = axis_of(b, x, call.get("axis", -1 if call.version >= 13 else 1))
    if call.version >= 13 or axis == b.rank(x) - 1:
        return join(b, op, x, axis=axis)
    return b.reshape(join(b, op, b.flat(x, axis), axis=axis), b.shape(x))


def norm_row(b: Importer, value: Operand | None, width: tuple[Size, ...]) -> Operand | None:
    """A scale or shift as one row: constants are broadcast to the dimensions that are normalized."""
    if value is None or b.numbers(value) is None:
        return None if value is None else b.flat(value, 0)
    array = np.broadcast_to(value.array, [item.constant for item in width]).reshape(-1)
    return value if array.shape == value.array.shape else Known(array.copy(), value.name)


def layer_norm(b: Importer, x: Operand, gamma: Operand | None, beta: Operand | None, eps: float, axis: int = -1) -> str:
    axis = axis_of(b, x, axis)
    shape = b.shape(x)
    rows = [norm_row(b, item, shape[axis:]) for item in (gamma, beta)]
    while rows and rows[-1] is None:
        rows.pop()
    flat = b.flat(x, axis)
    return b.reshape(b.emit("layer_norm", [flat, *rows], "float32", b.shape(flat), eps=float(eps)), shape)


@handles("LayerNormalization")
def layer_normalization(b: Importer, call: Call) -> list[Operand]:
    """The result, and where they are wanted the mean and the inverse deviation."""
    x, eps = call[0], call.get("epsilon", 1e-5)
    results: list[Operand] = [layer_norm(b, x, call[1], call[2], eps, call.get("axis", -1))]
    if call.outputs > 1:
        axes = list(range(axis_of(b, x, call.get("axis", -1)), b.rank(x)))
        mean = reduce(b, "reduce_mean", x, axes)
        centred = join(b, "sub", x, mean)
        variance = reduce(b, "reduce_mean", join(b, "mul", centred, centred), axes)
        results += [mean, join(b, "rsqrt", join(b, "add", variance, b.number(float(eps))))]
    return results


@handles("RMSNormalization", "SimplifiedLayerNormalization")
def rms_normalization(b: Importer, call: Call) -> Operand:
    x, axis = call[0], axis_of(b, call[0], call.get("axis", -1))
    row, flat = norm_row(b, call[1], b.shape(x)[axis:]), b.flat(x, axis)
    out = b.emit("rms_norm", [flat, row], "float32", b.shape(flat), eps=float(call.get("epsilon", 1e-5)))
    return b.reshape(out, b.shape(x))


@handles("BatchNormalization")
def batch_normalization(b: Importer, call: Call) -> Operand:
    if call.get("training_mode", 0) or any(b.numbers(item) is None for item in call.inputs[1:]):
        raise call.unsupported("statistics that are not constants")
    scale, bias, mean, variance = (item.array.astype(np.float64) for item in call.inputs[1:])
    factor = scale / np.sqrt(variance + call.get("epsilon", 1e-5))
    shift, shape = bias - mean * factor, (-1, *[1] * (b.rank(call[0]) - 2))
    factor, shift = (Known(row.astype(np.float32).reshape(shape), call.name) for row in (factor, shift))
    return join(b, "add", join(b, "mul", call[0], factor), shift)
