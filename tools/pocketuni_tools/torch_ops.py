"""Handlers of PyTorch operators that compute: arithmetic, comparisons, reductions, norms, products, attention."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch

from .torch_shapes import axis_of, iota_axis
from .torch_walk import Importer, dtype_name, handles

Node = torch.fx.Node
Args = SimpleNamespace

UNARY = {
    name: name
    for name in "relu silu tanh sigmoid erf exp log sqrt rsqrt neg abs reciprocal sin cos floor ceil mish".split()
} | {"hardswish": "hard_swish", "round": "round"}
ARITHMETIC = {"add": "add", "sub": "sub", "mul": "mul", "maximum": "maximum", "minimum": "minimum"}
COMPARISONS = {"eq": "equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
LOGIC = {"logical_and": "and", "bitwise_and": "and", "__and__": "and"} | {
    "logical_or": "or",
    "bitwise_or": "or",
    "__or__": "or",
}


def short_name(node: Node) -> str:
    return node.target._schema.name.removeprefix("aten::")


@handles(*UNARY)
def unary(b: Importer, node: Node, a: Args) -> str:
    if getattr(a, "decimals", 0):
        raise b.unsupported("decimals")
    name, dtype = UNARY[short_name(node)], b.dtype(node)
    # Integers become floats first where PyTorch does so (exp, sqrt, ...): the result's dtype says it.
    x = b.operand(a.self, dtype)
    if dtype == "float32" or name not in ("neg", "abs", "relu"):
        return b.like(name, [x], node)
    zero = b.operand(0, dtype)
    if name == "relu":
        return b.like("maximum", [x, zero], node)
    negative = b.like("sub", [zero, x], node)
    return negative if name == "neg" else b.like("maximum", [x, negative], node)


@handles("gelu")
def gelu(b: Importer, node: Node, a: Args) -> str:
    return b.like("gelu", [b.operand(a.self)], node, approximate=int(a.approximate == "tanh"))


@handles("leaky_relu")
def leaky_relu(b: Importer, node: Node, a: Args) -> str:
    return b.like("leaky_relu", [b.operand(a.self)], node, alpha=float(a.negative_slope))


@handles("elu")
def elu(b: Importer, node: Node, a: Args) -> str:
    if a.scale != 1 or a.input_scale != 1:
        raise b.unsupported("a scale")
    return b.like("elu", [b.operand(a.self)], node, alpha=float(a.alpha))


@handles("hardsigmoid")
def hardsigmoid(b: Importer, node: Node, a: Args) -> str:
    return b.like("hard_sigmoid", [b.operand(a.self)], node, alpha=1 / 6, beta=0.5)


@handles("softplus")
def softplus(b: Importer, node: Node, a: Args) -> str:
    if a.beta != 1:
        raise b.unsupported("beta other than 1")
    return b.like("softplus", [b.operand(a.self)], node)


@handles("logical_not", "bitwise_not")
def not_(b: Importer, node: Node, a: Args) -> str:
    if b.dtype(node) != "bool":
        raise b.unsupported("integers")
    return b.like("not", [b.operand(a.self, "bool")], node)


@handles(*ARITHMETIC, "rsub", "max", "min")
def arithmetic(b: Importer, node: Node, a: Args) -> Any:
    name = short_name(node)
    if name in ("max", "min"):
        if not hasattr(a, "other"):
            return extreme(b, node, a)
        name = {"max": "maximum", "min": "minimum"}[name]
    dtype = b.dtype(node)
    left, right = (a.other, a.self) if name == "rsub" else (a.self, a.other)
    name = "sub" if name == "rsub" else name
    x, y = b.operand(left, dtype), b.operand(right, dtype)
    if (alpha := getattr(a, "alpha", 1)) != 1:  # it scales the right side, of rsub too
        y = b.emit("mul", [y, b.operand(alpha, dtype)], dtype, b.graph.shape_of(y))
    # `arange + 0` and `x * 1` would hide what reads them from the simplifications.
    neutral = {"add": 0, "sub": 0, "mul": 1}.get(name)
    if neutral is not None and isinstance(right, (int, float)) and right == neutral:
        return x
    if dtype == "bool":
        if name not in ("add", "mul"):
            raise b.unsupported("bool")
        name = {"add": "or", "mul": "and"}[name]
    return b.like(ARITHMETIC.get(name, name), [x, y], node)


@handles("div", "true_divide")
def div(b: Importer, node: Node, a: Args) -> str:
    mode, dtype = getattr(a, "rounding_mode", None), b.dtype(node)
    if mode is None or dtype == "float32":
        out = b.like("div", [b.operand(a.self, "float32"), b.operand(a.other, "float32")], node)
        if mode == "trunc":
            raise b.unsupported("rounding_mode='trunc' on floats")
        return b.like("floor", [out], node) if mode == "floor" else out
    if mode == "floor":
        raise b.unsupported("rounding_mode='floor' on integers")
    return b.like("div", [b.operand(a.self, dtype), b.operand(a.other, dtype)], node)


@handles("pow")
def power(b: Importer, node: Node, a: Args) -> str:
    exponent = a.exponent
    if isinstance(exponent, (int, float)):
        x = b.operand(a.self, b.dtype(node))
        if exponent == 2:
            return b.like("mul", [x, x], node)
        if special := {0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}.get(exponent):
            return b.like(special, [x], node)
        if exponent == 1:
            return x
    return b.like("pow", [b.operand(a.self, b.dtype(node)), b.operand(exponent, b.dtype(node))], node)


def common_dtype(b: Importer, left: Any, right: Any) -> str:
    """The dtype in which PyTorch compares two operands."""
    example = [item.meta["val"] if isinstance(item, Node) else item for item in (left, right)]
    return dtype_name(torch.result_type(*example))


@handles(*COMPARISONS, "ne")
def compare(b: Importer, node: Node, a: Args) -> Any:
    name = short_name(node)
    # Hugging Face bounds a mask by `arange >= 0`, which always holds.
    if name == "ge" and isinstance(a.other, (int, float)) and a.other <= 0 and iota_axis(b, a.self) is not None:
        return b.expand(b.operand(torch.ones([1] * len(b.shape(node)), dtype=torch.bool)), b.shape(node))
    dtype = common_dtype(b, a.self, a.other)
    operands = [b.operand(a.self, dtype), b.operand(a.other, dtype)]
    if name == "ne" and dtype == "bool" and isinstance(a.other, (bool, int)) and not a.other:
        return operands[0]
    if name != "ne":
        return b.like(COMPARISONS[name], operands, node)
    return b.like("not", [b.like("equal", operands, node)], node)


@handles(*LOGIC)
def logic(b: Importer, node: Node, a: Args) -> str:
    if b.dtype(node) != "bool":
        raise b.unsupported("integers")
    op = LOGIC[short_name(node)]
    sides = [b.operand(a.self, "bool"), b.operand(a.other, "bool")]
    # A side that is one known truth leaves the other as it is, or is the result itself. A mask stays small this way.
    for side, other in (sides, sides[::-1]):
        known = side
        while (maker := b.producer(known)) is not None and maker.op in ("expand", "reshape"):
            known = maker.inputs[0]
        array = b.graph.constants.get(known)
        if array is not None and array.size and (array == array.flat[0]).all():
            keeps = bool(array.flat[0]) == (op == "and")
            return b.expand(other if keeps else side, b.shape(node))
    return b.like(op, sides, node)


@handles("where")
def where(b: Importer, node: Node, a: Args) -> str:
    if not hasattr(a, "self"):
        raise b.unsupported("one operand")
    dtype = b.dtype(node)
    return b.like("where", [b.operand(a.condition, "bool"), b.operand(a.self, dtype), b.operand(a.other, dtype)], node)


@handles("masked_fill")
def masked_fill(b: Importer, node: Node, a: Args) -> str:
    dtype = b.dtype(node)
    return b.like("where", [b.operand(a.mask, "bool"), b.operand(a.value, dtype), b.operand(a.self, dtype)], node)


@handles("clamp", "clamp_min", "clamp_max", "hardtanh", "clip")
def clamp(b: Importer, node: Node, a: Args) -> str:
    low = getattr(a, "min_val", getattr(a, "min", None))
    high = getattr(a, "max_val", getattr(a, "max", None))
    x, dtype = b.operand(a.self, b.dtype(node)), b.dtype(node)
    if dtype == "float32" and not any(isinstance(limit, Node) for limit in (low, high)):
        limits = {key: float(limit) for key, limit in (("min", low), ("max", high)) if limit is not None}
        return b.like("clip", [x], node, **limits)
    for op, limit in (("maximum", low), ("minimum", high)):
        if limit is not None:
            x = b.like(op, [x, b.operand(limit, dtype)], node)
    return x


# Reductions.

REDUCTIONS = {"sum": "sum", "mean": "mean", "amax": "max", "amin": "min", "prod": "prod", "any": "max", "all": "min"}


def reduce(b: Importer, node: Node, x: str, kind: str, dim: Any, keepdim: bool, dtype: str, shape: tuple) -> str:
    rank = len(b.graph.shape_of(x))
    dims = [dim] if isinstance(dim, int) else list(dim or range(rank))
    if rank == 0:
        return x
    axes = sorted(axis_of(axis, rank) for axis in dims)
    return b.emit(f"reduce_{kind}", [x], dtype, shape, axes=axes, keepdims=int(bool(keepdim)))


@handles(*REDUCTIONS)
def reduction(b: Importer, node: Node, a: Args) -> str:
    name, dtype = short_name(node), b.dtype(node)
    # Truths are counted in integers: whether bool itself can be reduced is not promised by the operators.
    inner = "int64" if dtype == "bool" else dtype
    x = b.operand(a.self, "bool" if dtype == "bool" else None)
    out = reduce(
        b,
        node,
        b.cast(x, inner),
        REDUCTIONS[name],
        getattr(a, "dim", None),
        getattr(a, "keepdim", False),
        inner,
        b.shape(node),
    )
    return b.cast(out, dtype)


def extreme(b: Importer, node: Node, a: Args) -> Any:
    """`max` and `min` of one tensor: over all of it, or over a dimension with the places, which nothing may read."""
    name = short_name(node)
    if not hasattr(a, "dim"):
        return reduce(b, node, b.operand(a.self), name, None, False, b.dtype(node), ())
    for user in node.users:
        if user.args[1] == 1 and user.users:
            raise b.unsupported("the indices used")
    shape = tuple(b.dim(size) for size in node.meta["val"][0].shape)
    x = b.operand(a.self)
    return [reduce(b, node, x, name, a.dim, a.keepdim, b.graph.dtype_of(x), shape), None]


@handles("linalg_vector_norm")
def vector_norm(b: Importer, node: Node, a: Args) -> str:
    if a.ord != 2:
        raise b.unsupported(f"ord={a.ord}")
    x = b.operand(a.self, "float32")
    square = b.emit("mul", [x, x], "float32", b.graph.shape_of(x))
    return b.like("sqrt", [reduce(b, node, square, "sum", a.dim, a.keepdim, "float32", b.shape(node))], node)


@handles("cumsum")
def cumsum(b: Importer, node: Node, a: Args) -> str:
    """Along the last axis: a product with a triangle of ones, exact for whole numbers below 2^24."""
    shape = b.shape(node)
    size = shape[-1] if shape else None
    if size is None or axis_of(a.dim, len(shape)) != len(shape) - 1:
        raise b.unsupported("another axis than the last, or a computed size")
    row = b.emit("iota", [], "int64", (size,), shape=[size])
    lower = b.emit("less_equal", [b.reshape(row, (size, 1)), b.reshape(row, (1, size))], "bool", (size, size))
    x = b.operand(a.self, "float32")
    if len(shape) == 1:
        x = b.reshape(x, (1, size))
    inner = (1, size) if len(shape) == 1 else shape
    return b.cast(b.reshape(b.emit("matmul", [x, b.cast(lower, "float32")], "float32", inner), shape), b.dtype(node))


# Normalization.


@handles("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(b: Importer, node: Node, a: Args) -> str:
    return b.like(short_name(node).lstrip("_"), [b.operand(a.self, "float32")], node, axis=a.dim)


def normalize(b: Importer, node: Node, op: str, a: Args, weights: list[Any], eps: float) -> str:
    x = b.operand(getattr(a, "input", None))
    shape, count = b.graph.shape_of(x), len(a.normalized_shape)
    operands = [b.operand(item) if item is not None else None for item in weights]
    if count != 1:  # several trailing dimensions are normalized as one
        width = math.prod(a.normalized_shape)
        x = b.reshape(x, (*shape[:-count], width))
        operands = [b.reshape(item, (width,)) if item is not None else None for item in operands]
    while operands and operands[-1] is None:
        operands.pop()
    return b.reshape(b.emit(op, [x, *operands], "float32", b.graph.shape_of(x), eps=float(eps)), shape)


@handles("layer_norm", "native_layer_norm")
def layer_norm(b: Importer, node: Node, a: Args) -> Any:
    out = normalize(b, node, "layer_norm", a, [a.weight, a.bias], a.eps)
    return [out, None, None] if short_name(node) == "native_layer_norm" else out


@handles("rms_norm")
def rms_norm(b: Importer, node: Node, a: Args) -> str:
    eps = torch.finfo(torch.float32).eps if a.eps is None else a.eps
    return normalize(b, node, "rms_norm", a, [a.weight], eps)


# Products.


@handles("linear")
def linear(b: Importer, node: Node, a: Args) -> str:
    weight = b.constant(a.weight)
    if weight is None:
        product = b.like("matmul", [b.operand(a.input), b.operand(a.weight)], node, transpose_b=1)
        return product if a.bias is None else b.like("add", [product, b.operand(a.bias)], node)
    bias = [] if a.bias is None else [b.operand(a.bias)]
    return b.like("linear", [b.operand(a.input, "float32"), b.operand(a.weight, role="gemm"), *bias], node)


def product(b: Importer, node: Node, left: Any, right: Any, bias: Any = None) -> str:
    weight = b.constant(right)
    x = b.operand(left, "float32")
    if weight is not None and weight.dim() == 2:
        # One transposed copy for each constant, so that a shared matrix is stored once.
        if id(weight) not in b.transposed:
            b.transposed[id(weight)] = weight.t().contiguous()
            b.keep(b.transposed[id(weight)], b.name_of(weight))
        extra = [] if bias is None else [b.operand(bias)]
        return b.like("linear", [x, b.operand(b.transposed[id(weight)], role="gemm"), *extra], node)
    y, flag = b.operand(right, "float32"), {}
    if len(b.graph.shape_of(x)) < 2 or len(b.graph.shape_of(y)) < 2:
        raise b.unsupported("a vector as operand")
    maker = b.producer(y)
    if maker is not None and maker.op == "transpose":
        perm = maker.attributes["perm"]
        if perm == [*range(len(perm) - 2), len(perm) - 1, len(perm) - 2]:
            y, flag = maker.inputs[0], {"transpose_b": 1}
    out = b.like("matmul", [x, y], node, **flag)
    return out if bias is None else b.like("add", [out, b.operand(bias)], node)


@handles("mm", "bmm", "matmul")
def matmul(b: Importer, node: Node, a: Args) -> str:
    return product(b, node, a.self, getattr(a, "mat2", getattr(a, "other", None)))


@handles("addmm")
def addmm(b: Importer, node: Node, a: Args) -> str:
    if a.beta != 1 or a.alpha != 1:
        raise b.unsupported("alpha or beta")
    # `linear` takes a bias of one dimension; anything else is added behind the product.
    vector = len(a.self.meta["val"].shape) == 1 and b.constant(a.self) is not None
    out = product(b, node, a.mat1, a.mat2, a.self if vector else None)
    return out if vector else b.like("add", [out, b.operand(a.self)], node)


@handles("scaled_dot_product_attention")
def attention(b: Importer, node: Node, a: Args) -> str:
    """[B, H, T, d] in PyTorch, [B, T, H d] here. The transposes cancel against those that models write around it."""
    if a.dropout_p:
        raise b.unsupported("dropout")
    if any(len(item.meta["val"].shape) != 4 for item in (a.query, a.key, a.value)):
        raise b.unsupported("operands that are not [batch, heads, tokens, width]")
    shapes = [b.graph.shape_of(b.operand(item)) for item in (a.query, a.key, a.value)]
    (batch, heads, tokens, width), groups = shapes[0], shapes[1][1]
    if not isinstance(heads, int) or not isinstance(width, int) or shapes[2][3] != width or shapes[1][0] != batch:
        raise b.unsupported(f"shapes {shapes}")
    if groups != heads and not a.enable_gqa:
        raise b.unsupported(f"{groups} heads of keys for {heads} of queries")
    operands: list[str | None] = []
    for item, (rows, count, length, _) in zip((a.query, a.key, a.value), shapes, strict=True):
        last = b.transpose(b.operand(item, "float32"), [0, 2, 1, 3])
        operands.append(b.reshape(last, (rows, length, count * width)))
    if a.attn_mask is not None:
        operands.append(attention_mask(b, a.attn_mask, shapes[1][2]))
    scale = 1 / math.sqrt(width) if a.scale is None else float(b.get(a.scale))
    flags = {"heads": heads, "kv_heads": groups, "scale": scale, "causal": int(a.is_causal)}
    out = b.emit("attention", operands, "float32", (batch, tokens, heads * width), **flags)
    return b.transpose(b.reshape(out, (batch, tokens, heads, width)), [0, 2, 1, 3])


def attention_mask(b: Importer, argument: Any, keys: Any) -> str:
    """A mask with four dimensions, not broadcast further than it has to be: two would mean [batch, keys] here."""
    mask = b.operand(argument)
    shape = b.graph.shape_of(mask)
    mask = b.reshape(mask, (1,) * (4 - len(shape)) + tuple(shape))
    maker = b.producer(mask)
    if maker is not None and maker.op == "expand":
        narrow = b.graph.shape_of(maker.inputs[0])
        if len(narrow) == 4 and narrow[3] == keys:
            return maker.inputs[0]
    if b.graph.shape_of(mask)[3] != keys:
        mask = b.expand(mask, (*b.graph.shape_of(mask)[:3], keys))
    return mask
