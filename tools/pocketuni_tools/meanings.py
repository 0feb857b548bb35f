"""What every operator of docs/format.md means, in the plainest form.

Each operator is one function of its operands and attributes in `MEANINGS`. Dimensions in attributes are numbers by
then, -1 where the operator computes one. Absent operands are None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
FLOAT = np.float32
MEANINGS: dict[str, Callable[..., Array]] = {}


def meaning(*names: str):
    def register(function):
        for name in names:
            MEANINGS[name] = function
        return function

    return register


# Functions of one tensor.

# erfc(x) = t exp(p(t) - x^2) with t = 2 / (2 + x): p is so smooth that a polynomial through 15 Chebyshev nodes is exact
# to ten digits. Behind x = 26 the value is below the smallest double.
_ERFC_END = 26.0
_erfc_exponent = np.polynomial.chebyshev.Chebyshev.interpolate(
    np.vectorize(lambda t: math.log(math.erfc(2 / t - 2) / t) + (2 / t - 2) ** 2), 14, (2 / (2 + _ERFC_END), 1.0)
).convert(kind=np.polynomial.Polynomial, domain=(-1.0, 1.0), window=(-1.0, 1.0))


def erfc(x: Array) -> Array:
    """float64, of any shape, in blocks that stay in the cache; relative error below 1e-9."""
    flat = np.asarray(x, np.float64).reshape(-1)
    out = np.empty_like(flat)
    for begin in range(0, len(flat), 8192):
        part = flat[begin : begin + 8192]
        size = np.minimum(np.abs(part), _ERFC_END)
        t = 2 / (2 + size)
        exponent = np.full_like(t, _erfc_exponent.coef[-1])
        for coefficient in _erfc_exponent.coef[-2::-1]:
            exponent *= t
            exponent += coefficient
        exponent -= size * size
        value = t * np.exp(exponent)
        out[begin : begin + 8192] = np.where(part < 0, 2 - value, value)
    return out.reshape(np.shape(x))


def gated(x: Array, gate: Array) -> Array:
    """x * gate, where a closed gate also stops infinities."""
    return np.where(gate == 0, FLOAT(0), x * gate).astype(FLOAT, copy=False)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softplus(x: Array) -> Array:
    return np.logaddexp(x, FLOAT(0))


@meaning("gelu")
def gelu(x: Array, approximate: int = 0) -> Array:
    if approximate:
        return gated(x, sigmoid(FLOAT(2 * math.sqrt(2 / math.pi)) * (x + FLOAT(0.044715) * x * x * x)))
    return gated(x, (0.5 * erfc(x.astype(np.float64) * -math.sqrt(0.5))).astype(FLOAT))


@meaning("clip")
def clip(x: Array, min: float = -math.inf, max: float = math.inf) -> Array:
    return np.where(x < FLOAT(min), FLOAT(min), np.where(x > FLOAT(max), FLOAT(max), x))


@meaning("elu")
def elu(x: Array, alpha: float) -> Array:
    return np.where(x < 0, FLOAT(alpha) * np.expm1(x), x)


@meaning("leaky_relu")
def leaky_relu(x: Array, alpha: float) -> Array:
    return np.where(x < 0, FLOAT(alpha) * x, x)


@meaning("hard_sigmoid")
def hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return clip(FLOAT(alpha) * x + FLOAT(beta), 0, 1)


MEANINGS |= {
    "relu": lambda x: np.maximum(x, FLOAT(0)),
    "silu": lambda x: gated(x, sigmoid(x)),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "erf": lambda x: (1 - erfc(x)).astype(FLOAT),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "neg": np.negative,
    "abs": np.abs,
    "reciprocal": lambda x: 1 / x,
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,  # half to even
    "softplus": softplus,
    "hard_swish": lambda x: gated(x, hard_sigmoid(x, 1 / 6, 0.5)),
    "mish": lambda x: gated(x, np.tanh(softplus(x))),
    "not": np.logical_not,
}


@meaning("cast")
def cast(x: Array, to: str) -> Array:
    """To integers: towards zero; what does not fit becomes the nearest integer that does, NaN 0."""
    if x.dtype != FLOAT or not to.startswith("int"):
        return x.astype(to)
    limits = np.iinfo(to)
    inside = (x > limits.min) & (x < FLOAT(limits.max))
    whole = np.where(inside, x, 0).astype(to)
    return np.where(inside | np.isnan(x), whole, np.where(x > 0, limits.max, limits.min)).astype(to)


# Functions of several tensors.


@meaning("div")
def div(a: Array, b: Array) -> Array:
    if a.dtype == FLOAT:
        return a / b
    divisor = np.where(b == 0, 1, b).astype(b.dtype)
    quotient, rest = np.floor_divide(a, divisor), np.remainder(a, divisor)
    quotient += ((rest != 0) & ((a < 0) != (divisor < 0))).astype(a.dtype)  # towards zero
    return np.where(b == 0, 0, quotient).astype(a.dtype)


@meaning("pow")
def power(a: Array, b: Array) -> Array:
    if a.dtype == FLOAT:
        return np.power(a, b)
    whole = np.power(a, np.maximum(b, 0))
    inverse = np.where(np.abs(a) == 1, np.where(b % 2 == 0, 1, a), 0)
    return np.where(b < 0, inverse, whole).astype(a.dtype)


MEANINGS |= {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "where": np.where,
}


@meaning("matmul")
def matmul(a: Array, b: Array, transpose_b: int = 0, scale: float = 1.0) -> Array:
    product = np.matmul(a, b.swapaxes(-1, -2) if transpose_b else b)
    return product if scale == 1 else product * FLOAT(scale)


def round_rows(x: Array, exact: bool = False) -> tuple[Array, Array]:
    """[.., K] -> whole numbers in -127..127 [.., K] and scales [.., 1], both float32: the runtime's activations. A row
    with a number that is not finite has the scale NaN, a row of next to nothing 0. exact: what is rounded to a whole
    number was not rounded to float32 before."""
    peak = np.abs(x).max(axis=-1, keepdims=True, initial=0)
    small, finite = peak < FLOAT(1e-30), np.isfinite(peak)
    inverse = np.where(small | ~finite, FLOAT(0), FLOAT(127) / peak)
    scale = np.where(finite, np.where(small, FLOAT(0), peak / FLOAT(127)), FLOAT(np.nan))
    scaled = np.multiply(np.where(finite, x, FLOAT(0)), inverse, dtype=np.float64 if exact else FLOAT)
    return np.rint(scaled).astype(FLOAT), scale


@meaning("linear")
def linear(
    x: Array,
    w: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    activation: str = "none",
    quantized: bool = False,
) -> Array:
    if quantized:
        rows, scale = round_rows(x)
        y = np.matmul(rows, w.T) * scale
    else:
        y = np.matmul(x, w.T)
    return finish(y, bias, residual, activation)


def finish(y: Array, bias: Array | None, residual: Array | None, activation: str) -> Array:
    """What follows a product: act(y + bias) + residual."""
    if bias is not None:
        y = y + bias
    if activation == "gelu_tanh":
        y = gelu(y, approximate=1)
    elif activation != "none":
        y = MEANINGS[activation](y)
    return y if residual is None else y + residual


@meaning("embedding")
def embedding(ids: Array, table: Array) -> Array:
    if ids.size and not 0 <= ids.min() <= ids.max() < len(table):
        raise ValueError(f"an index in {ids.min()}..{ids.max()} is outside its table of {len(table)} rows")
    return table[ids]


@meaning("attention")
def attention(
    *operands: Array | None,
    heads: int,
    kv_heads: int | None = None,
    scale: float = 0.0,
    causal: int = 0,
    packed: int = 0,
    int8: int = 0,
) -> Array:
    """q [B, Tq, H d], k and v [B, Tk, G d] (or one packed [B, T, (H + 2 G) d]), mask -> [B, Tq, H d].

    int8: rows of q, k and v are rounded as a runtime may do; the rounding of its weights to 8 bits is left out.
    """
    groups = kv_heads or heads
    if packed:
        width = operands[0].shape[2] // (heads + 2 * groups)
        operands = (*np.split(operands[0], [heads * width, (heads + groups) * width], axis=2), *operands[1:])
    (q, k, v), mask = operands[:3], operands[3] if len(operands) > 3 else None
    batch, rows, keys, width = len(q), q.shape[1], k.shape[1], q.shape[2] // heads
    q = q.reshape(batch, rows, groups, heads // groups, width).transpose(0, 2, 3, 1, 4)
    k, v = (x.reshape(batch, keys, groups, 1, width).transpose(0, 2, 3, 1, 4) for x in (k, v))
    if int8:
        q, k, v = (np.multiply(*round_rows(x)) for x in (q, k, v))
    bias = np.zeros((1, 1, 1, 1, keys), FLOAT)
    if mask is not None:
        scores = mask if mask.dtype == FLOAT else np.where(mask != 0, FLOAT(0), FLOAT(-np.inf))
        scores = scores[:, None, None] if scores.ndim == 2 else scores
        of_heads = (groups, heads // groups) if scores.shape[1] == heads else (1, 1)
        bias = scores.reshape(len(scores), *of_heads, *scores.shape[2:])
    bias = np.broadcast_to(bias, (*bias.shape[:3], rows, keys))
    factor = FLOAT(scale or 1 / math.sqrt(max(width, 1)))

    def attend(first: int, last: int, seen: int) -> Array:
        scores = np.matmul(q[..., first:last, :], k[..., :seen, :].swapaxes(-1, -2)) * factor
        return np.matmul(softmax(scores + bias[..., first:last, :seen]), v[..., :seen, :])

    if causal:  # row i sees the keys 0 .. i + Tk - Tq
        out = [attend(i, i + 1, min(max(i + 1 + keys - rows, 0), keys)) for i in range(rows)]
        context = np.concatenate(out, axis=3) if out else q
    else:
        context = attend(0, rows, keys)
    return context.transpose(0, 3, 1, 2, 4).reshape(batch, rows, heads * width)


# Normalizations and reductions.


@meaning("layer_norm")
def layer_norm(x: Array, gamma: Array | None = None, beta: Array | None = None, *, eps: float) -> Array:
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=-1, keepdims=True)
    wide /= np.sqrt((wide * wide).mean(axis=-1, keepdims=True) + eps)
    y = wide.astype(FLOAT) if gamma is None else wide.astype(FLOAT) * gamma
    return y if beta is None else y + beta


@meaning("rms_norm")
def rms_norm(x: Array, gamma: Array | None = None, *, eps: float) -> Array:
    square = np.square(x, dtype=np.float64).mean(axis=-1, keepdims=True)
    y = (x / np.sqrt(square + eps)).astype(FLOAT)
    return y if gamma is None else y * gamma


@meaning("l2_normalize")
def l2_normalize(x: Array, eps: float = 1e-12) -> Array:
    norm = np.sqrt(np.square(x).sum(axis=-1, keepdims=True))
    return x / np.maximum(norm, FLOAT(eps))


@meaning("softmax")
def softmax(x: Array, axis: int = -1) -> Array:
    """Where everything is -inf (or nothing is there) the result is 0, not NaN."""
    peak = x.max(axis=axis, keepdims=True, initial=-np.inf)
    weights = np.exp(x - np.where(peak == -np.inf, FLOAT(0), peak))
    total = weights.sum(axis=axis, keepdims=True)
    return weights / np.where(total == 0, FLOAT(1), total)


@meaning("log_softmax")
def log_softmax(x: Array, axis: int = -1) -> Array:
    moved = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return moved - np.log(np.exp(moved).sum(axis=axis, keepdims=True))


def reduction(function: Callable[..., Array], dtype: Any = None, **options: Any) -> Callable[..., Array]:
    def reduce(x: Array, axes: Sequence[int], keepdims: int = 0) -> Array:
        wide = x if dtype is None else x.astype(dtype)
        return np.asarray(function(wide, axis=tuple(axes), keepdims=bool(keepdims), **options), FLOAT)

    return reduce


def mean(x: Array, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Of nothing: NaN, without NumPy's warning."""
    return x.sum(axis=axis, keepdims=keepdims) / math.prod(x.shape[place] for place in axis)


MEANINGS |= {
    "reduce_sum": reduction(np.sum, np.float64),
    "reduce_mean": reduction(mean, np.float64),
    "reduce_prod": reduction(np.prod),
    "reduce_max": reduction(np.max, initial=-np.inf),
    "reduce_min": reduction(np.min, initial=np.inf),
}


@meaning("pool")
def pool(x: Array, mask: Array | None = None, *, mode: str) -> Array:
    """One row of [B, T, D] per sequence, of the positions that the mask keeps (`cls`: the first in any case)."""
    out = np.zeros((x.shape[0], x.shape[2]), FLOAT)
    for row, sequence in enumerate(x):
        kept = sequence if mask is None or mode == "cls" else sequence[mask[row] != 0]
        if len(kept):
            pick = {
                "mean": lambda s: s.mean(0),
                "max": lambda s: s.max(0),
                "cls": lambda s: s[0],
                "last": lambda s: s[-1],
            }
            out[row] = pick[mode](kept)
    return out


# Shapes.


@meaning("reshape")
def reshape(x: Array, shape: Sequence[int]) -> Array:
    known = math.prod(size for size in shape if size != -1)
    return x.reshape([(x.size // known if known else 0) if size == -1 else size for size in shape])


@meaning("squeeze")
def squeeze(x: Array, axes: Sequence[int]) -> Array:
    return np.squeeze(x, axis=tuple(axes))


@meaning("unsqueeze")
def unsqueeze(x: Array, axes: Sequence[int]) -> Array:
    return np.expand_dims(x, tuple(axes))


@meaning("expand")
def expand(x: Array, shape: Sequence[int]) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))


@meaning("slice")
def slice_(x: Array, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], steps: Sequence[int]) -> Array:
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


MEANINGS |= {
    "transpose": lambda x, perm: np.transpose(x, perm),
    "concat": lambda *parts, axis: np.concatenate(parts, axis=axis),
    "gather": lambda x, indices, axis=0: np.take(x, indices, axis=axis),
    "iota": lambda shape: np.arange(shape[0], dtype=np.int64),
}
