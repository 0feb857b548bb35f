"""Every pass keeps what the graph computes and leaves the fused operators."""

from collections import Counter

import numpy as np
import pytest
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.fuse import fuse
from pocketuni_tools.ir import Graph, Value

RANDOM = np.random.default_rng(7)


def normal(*shape, scale=1.0):
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


class Builder:
    """Writes a graph one operator at a time; shapes come from the evaluator's own rules for the sizes at hand."""

    def __init__(self, **inputs):
        """inputs: name -> (dtype, shape with names of dimensions)."""
        self.graph = Graph("main")
        for name, (dtype, shape) in inputs.items():
            self.graph.add_input(name, dtype, shape)

    def constant(self, array, name="c"):
        return self.graph.add_constant(name, np.asarray(array))

    def number(self, value):
        return self.constant(np.array(value, np.float32))

    def op(self, op, *operands, shape, dtype="float32", name="v", **attributes):
        if op in ("reshape", "expand"):
            attributes["shape"] = list(shape)
        names = [self.number(item) if isinstance(item, float) else item for item in operands]
        return self.graph.add_node(op, names, [Value(name, dtype, tuple(shape))], **attributes)[0]

    def done(self, *outputs):
        self.graph.outputs = list(outputs)
        self.graph.check()
        return self.graph


def check(graph, inputs, expected, tolerance=2e-5):
    """Fuses, compares with the graph as it was, and with the operators expected (a Counter or a list)."""
    before = evaluate(graph, inputs)
    outputs = list(graph.outputs)
    fuse(graph)
    assert graph.outputs == outputs
    after = evaluate(graph, inputs)
    for name in outputs:
        np.testing.assert_allclose(after[name], before[name], rtol=tolerance, atol=tolerance)
    assert Counter(node.op for node in graph.nodes) == Counter(expected)
    return graph


def x_input(width=32):
    return {"x": ("float32", ("batch", "time", width))}


def x_array(width=32):
    return {"x": normal(2, 5, width)}


# Products.


@pytest.mark.parametrize("transposed", [0, 1])
def test_product_bias_scale_activation_and_residual_become_one_linear(transposed):
    b = Builder(**x_input())
    shape = ("batch", "time", 32)
    w = b.constant(normal(32, 32, scale=0.2), "w")
    y = b.op("matmul", "x", w, shape=shape, transpose_b=transposed, scale=0.5)
    y = b.op("add", b.constant(normal(32), "bias"), y, shape=shape)
    y = b.op("mul", y, 3.0, shape=shape)
    y = b.op("silu", y, shape=shape)
    y = b.op("add", "x", y, shape=shape, name="out")
    graph = check(b.done(y), x_array(), ["linear"])
    (node,) = graph.nodes
    assert node.attributes["activation"] == "silu" and len(node.inputs) == 4
    assert set(graph.constants) == {"w", "bias"}


def test_what_others_read_is_not_fused_away():
    b = Builder(**x_input())
    shape = ("batch", "time", 32)
    w = b.constant(normal(32, 32, scale=0.2), "w")
    y = b.op("linear", "x", w, shape=shape, name="y")
    z = b.op("relu", y, shape=shape, name="z")
    doubled = b.op("mul", y, 2.0, shape=shape, name="doubled")
    graph = check(b.done(y, z, doubled), x_array(), ["linear", "relu", "mul"])
    assert graph.constants["w"].shape == (32, 32)


def test_shared_weight_stays_one_constant():
    b = Builder(**x_input())
    shape = ("batch", "time", 32)
    w = b.constant(normal(32, 32, scale=0.2), "w")
    y = b.op("matmul", "x", w, shape=shape)
    y = b.op("relu", y, shape=shape)
    y = b.op("matmul", y, w, shape=shape)
    graph = check(b.done(y), x_array(), ["linear", "linear"])
    assert list(graph.constants) == ["w"]


def test_residual_that_is_broadcast_stays_an_addition():
    b = Builder(x=("float32", ("batch", "time", 32)), r=("float32", ("batch", 1, 32)))
    shape = ("batch", "time", 32)
    y = b.op("linear", "x", b.constant(normal(32, 32), "w"), shape=shape)
    y = b.op("add", y, "r", shape=shape)
    check(b.done(y), {**x_array(), "r": normal(2, 1, 32)}, ["linear", "add"], 1e-4)


# Functions.


def gelu_erf(b, x, shape, halves_first):
    inner = b.op("erf", b.op("div", x, 2.0**0.5, shape=shape), shape=shape)
    inner = b.op("add", inner, 1.0, shape=shape)
    if halves_first:
        return b.op("mul", b.op("mul", x, 0.5, shape=shape), inner, shape=shape)
    return b.op("mul", b.op("mul", x, inner, shape=shape), 0.5, shape=shape)


def gelu_tanh(b, x, shape):
    cube = b.op("pow", x, 3.0, shape=shape)
    inner = b.op("add", x, b.op("mul", cube, 0.044715, shape=shape), shape=shape)
    inner = b.op("tanh", b.op("mul", inner, float(np.sqrt(2 / np.pi)), shape=shape), shape=shape)
    inner = b.op("add", 1.0, inner, shape=shape)
    return b.op("mul", b.op("mul", 0.5, x, shape=shape), inner, shape=shape)


def silu(b, x, shape):
    return b.op("mul", x, b.op("sigmoid", x, shape=shape), shape=shape)


def mish(b, x, shape):
    return b.op("mul", x, b.op("tanh", b.op("softplus", x, shape=shape), shape=shape), shape=shape)


def hard_swish(b, x, shape):
    inner = b.op("clip", b.op("add", x, 3.0, shape=shape), shape=shape, min=0.0, max=6.0)
    return b.op("div", b.op("mul", x, inner, shape=shape), 6.0, shape=shape)


@pytest.mark.parametrize(
    "write, op, attributes",
    [
        (lambda b, x, s: gelu_erf(b, x, s, True), "gelu", {"approximate": 0}),
        (lambda b, x, s: gelu_erf(b, x, s, False), "gelu", {"approximate": 0}),
        (gelu_tanh, "gelu", {"approximate": 1}),
        (silu, "silu", {}),
        (mish, "mish", {}),
        (hard_swish, "hard_swish", {}),
    ],
)
def test_spelled_out_function_is_recognized(write, op, attributes):
    b = Builder(**x_input())
    graph = check(b.done(write(b, "x", ("batch", "time", 32))), x_array(), [op])
    assert graph.nodes[0].attributes == attributes


def test_function_that_is_almost_gelu_is_left_alone():
    b = Builder(**x_input())
    shape = ("batch", "time", 32)
    inner = b.op("sigmoid", b.op("mul", "x", 1.702, shape=shape), shape=shape)
    y = b.op("mul", "x", inner, shape=shape)
    check(b.done(y), x_array(), ["mul", "sigmoid", "mul"])


# Norms.


@pytest.mark.parametrize("root", ["div", "rsqrt", "reciprocal", "pow"])
@pytest.mark.parametrize("centered", [True, False])
def test_spelled_out_norm_is_recognized(root, centered):
    b = Builder(**x_input())
    shape, one = ("batch", "time", 32), ("batch", "time", 1)
    x = "x"
    if centered:
        mean = b.op("reduce_mean", "x", shape=one, axes=[-1], keepdims=1)
        x = b.op("sub", "x", mean, shape=shape)
    square = b.op("mul", x, x, shape=shape) if root == "div" else b.op("pow", x, 2.0, shape=shape)
    variance = b.op("add", b.op("reduce_mean", square, shape=one, axes=[2], keepdims=1), 1e-5, shape=one)
    if root == "div":
        y = b.op("div", x, b.op("sqrt", variance, shape=one), shape=shape)
    else:
        inverse = {
            "rsqrt": lambda: b.op("rsqrt", variance, shape=one),
            "reciprocal": lambda: b.op("reciprocal", b.op("sqrt", variance, shape=one), shape=one),
            "pow": lambda: b.op("pow", variance, -0.5, shape=one),
        }[root]()
        y = b.op("mul", x, inverse, shape=shape)
    y = b.op("mul", b.constant(normal(32), "gamma"), y, shape=shape)
    if centered:
        y = b.op("add", y, b.constant(normal(1, 1, 32), "beta"), shape=shape)
    graph = check(b.done(y), x_array(), ["layer_norm" if centered else "rms_norm"])
    assert graph.nodes[0].attributes["eps"] == pytest.approx(1e-5)


def test_norm_over_another_axis_is_left_alone():
    b = Builder(x=("float32", (2, 5, 32)))
    square = b.op("mul", "x", "x", shape=(2, 5, 32))
    mean = b.op("add", b.op("reduce_mean", square, shape=(2, 1, 32), axes=[1], keepdims=1), 1e-5, shape=(2, 1, 32))
    y = b.op("div", "x", b.op("sqrt", mean, shape=(2, 1, 32)), shape=(2, 5, 32))
    check(b.done(y), x_array(), ["mul", "reduce_mean", "add", "sqrt", "div"])


@pytest.mark.parametrize("bound", ["clip", "maximum"])
def test_division_by_the_length_is_recognized(bound):
    b = Builder(x=("float32", ("batch", 32)))
    one = ("batch", 1)
    total = b.op("reduce_sum", b.op("mul", "x", "x", shape=("batch", 32)), shape=one, axes=[1], keepdims=1)
    length = b.op("sqrt", total, shape=one)
    if bound == "clip":
        length = b.op("clip", length, shape=one, min=1e-12)
    else:
        length = b.op("maximum", length, 1e-12, shape=one)
    wide = b.op("expand", length, shape=("batch", 32))
    y = b.op("div", "x", wide, shape=("batch", 32))
    check(b.done(y), {"x": normal(3, 32)}, ["l2_normalize"])


@pytest.mark.parametrize("broadcast, bound", [(False, "clip"), (True, "maximum"), (True, None)])
def test_mean_over_kept_tokens_becomes_pool(broadcast, bound):
    b = Builder(**x_input(), mask=("int64", ("batch", "time")))
    shape, one = ("batch", "time", 32), ("batch", "time", 1)
    keep = b.op("unsqueeze", "mask", shape=one, dtype="int64", axes=[2])
    keep = b.op("cast", keep, shape=one, to="float32")
    width = 1
    if broadcast:
        keep, width = b.op("expand", keep, shape=shape), 32
    total = b.op("reduce_sum", b.op("mul", "x", keep, shape=shape), shape=("batch", 32), axes=[1])
    count = b.op("reduce_sum", keep, shape=("batch", width), axes=[1])
    if bound == "clip":
        count = b.op("clip", count, shape=("batch", width), min=1e-9)
    elif bound == "maximum":
        count = b.op("maximum", 1e-9, count, shape=("batch", width))
    y = b.op("div", total, count, shape=("batch", 32))
    graph = check(b.done(y), {**x_array(), **mask_array()}, ["pool"])
    assert graph.nodes[0].inputs == ["x", "mask"]


def test_weighted_mean_is_not_taken_for_a_mask():
    b = Builder(**x_input(), weights=("float32", ("batch", "time", 1)))
    total = b.op("mul", "x", "weights", shape=("batch", "time", 32))
    total = b.op("reduce_sum", total, shape=("batch", 32), axes=[1])
    count = b.op("reduce_sum", "weights", shape=("batch", 1), axes=[1])
    y = b.op("div", total, count, shape=("batch", 32))
    inputs = {**x_array(), "weights": np.abs(normal(2, 5, 1)) + 1}
    check(b.done(y), inputs, ["mul", "reduce_sum", "reduce_sum", "div"])


# Attention.


def heads_of(b, x, count, shape, perm=(0, 2, 1, 3)):
    """[B, T, H d] -> [B, H, T, d], or as `perm` says."""
    batch, time, width = shape
    split = (batch, time, count, width // count)
    y = b.op("reshape", x, shape=split)
    return b.op("transpose", y, shape=[split[axis] for axis in perm], perm=list(perm))


def projected(b, x, width, shape):
    y = b.op("matmul", x, b.constant(normal(32, width, scale=0.2), "w"), shape=(*shape[:2], width))
    return b.op("add", y, b.constant(normal(width), "bias"), shape=(*shape[:2], width))


def additive_mask(b, mask, kind):
    """The spellings of "ignore where the mask is 0", [batch, 1, 1, time]."""
    shape = ("batch", 1, 1, "time")
    wide = b.op("unsqueeze", mask, shape=shape, dtype="int64", axes=[1, 2])
    if kind == "product":
        as_float = b.op("cast", wide, shape=shape, to="float32")
        return b.op("mul", b.op("sub", 1.0, as_float, shape=shape), -1e4, shape=shape)
    truth = b.op("cast", wide, shape=shape, dtype="bool", to="bool")
    lowest = float(np.finfo(np.float32).min)
    if kind == "where":
        return b.op("where", truth, 0.0, lowest, shape=shape)
    return b.op("where", b.op("not", truth, shape=shape, dtype="bool"), lowest, 0.0, shape=shape)


def spelled_attention(b, heads, groups, scale_at, mask):
    shape, width = ("batch", "time", 32), 32 // heads
    q = heads_of(b, projected(b, "x", 32, shape), heads, shape)
    narrow = ("batch", "time", width * groups)
    k = heads_of(b, projected(b, "x", width * groups, shape), groups, narrow)
    v = heads_of(b, projected(b, "x", width * groups, shape), groups, narrow)
    if groups != heads:  # repeat_kv
        full = ("batch", heads, "time", width)
        for_each = ("batch", groups, heads // groups, "time", width)
        one = ("batch", groups, 1, "time", width)
        k, v = (
            b.op("reshape", b.op("expand", b.op("reshape", item, shape=one), shape=for_each), shape=full)
            for item in (k, v)
        )
    scores_shape, q_shape = ("batch", heads, "time", "time"), ("batch", heads, "time", width)
    k = b.op("transpose", k, shape=("batch", heads, width, "time"), perm=[0, 1, 3, 2])
    if scale_at == "query":
        q = b.op("div", q, float(np.sqrt(width)), shape=q_shape)
    scores = b.op("matmul", q, k, shape=scores_shape)
    if scale_at == "scores":
        scores = b.op("mul", scores, float(1 / np.sqrt(width)), shape=scores_shape)
    if mask is not None:
        scores = b.op("add", scores, mask, shape=scores_shape)
    y = b.op("matmul", b.op("softmax", scores, shape=scores_shape, axis=-1), v, shape=q_shape)
    y = b.op("transpose", y, shape=("batch", "time", heads, width), perm=[0, 2, 1, 3])
    return b.op("reshape", y, shape=shape)


def mask_array():
    return {"mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int64)}


@pytest.mark.parametrize("heads, groups", [(4, 4), (4, 2)])
@pytest.mark.parametrize("scale_at", ["query", "scores"])
@pytest.mark.parametrize("mask", ["product", "where", "where not"])
def test_spelled_out_attention_becomes_one_packed_operator(heads, groups, scale_at, mask):
    b = Builder(**x_input(), mask=("int64", ("batch", "time")))
    y = spelled_attention(b, heads, groups, scale_at, additive_mask(b, "mask", mask))
    inputs = {**x_array(), **mask_array()}
    graph = check(b.done(y), inputs, ["linear", "attention"])
    assert graph.nodes[-1].inputs[1] == "mask"
    attention = graph.nodes[-1]
    assert attention.attributes["packed"] == 1 and attention.attributes["kv_heads"] == groups
    assert attention.attributes["scale"] == pytest.approx((32 // heads) ** -0.5)


def test_learned_bias_stays_an_additive_mask():
    b = Builder(**x_input(), bias=("float32", (1, 4, "time", "time")))
    y = spelled_attention(b, 4, 4, "scores", "bias")
    graph = check(b.done(y), {**x_array(), "bias": normal(1, 4, 5, 5)}, ["linear", "attention"])
    assert graph.nodes[-1].inputs[1] == "bias"


def test_cross_attention_keeps_its_three_products():
    b = Builder(**x_input(), memory=("float32", ("batch", "source", 32)))
    shape, source = ("batch", "time", 32), ("batch", "source", 32)
    q = heads_of(b, projected(b, "x", 32, shape), 4, shape)
    k = heads_of(b, projected(b, "memory", 32, source), 4, source, (0, 2, 3, 1))
    v = heads_of(b, projected(b, "memory", 32, source), 4, source)
    scores_shape = ("batch", 4, "time", "source")
    scores = b.op("matmul", q, k, shape=scores_shape, scale=8**-0.5)
    y = b.op("matmul", b.op("softmax", scores, shape=scores_shape), v, shape=("batch", 4, "time", 8))
    y = b.op("transpose", y, shape=("batch", "time", 4, 8), perm=[0, 2, 1, 3])
    y = b.op("reshape", y, shape=shape)
    inputs = {**x_array(), "memory": normal(2, 7, 32)}
    check(b.done(y), inputs, ["linear", "linear", "linear", "attention"])


def test_fully_masked_row_becomes_zeros():
    b = Builder(**x_input(), mask=("int64", ("batch", "time")))
    y = spelled_attention(b, 4, 4, "scores", additive_mask(b, "mask", "product"))
    graph = fuse(b.done(y))
    mask = np.array([[0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], np.int64)
    out = evaluate(graph, {**x_array(), "mask": mask})[y]
    assert not out[0].any() and out[1].any()


# Embeddings and leftovers.


def test_constant_row_goes_into_the_smallest_table():
    b = Builder(ids=("int64", ("batch", "time")))
    shape = ("batch", "time", 32)
    words = b.op("embedding", "ids", b.constant(normal(50, 32), "words"), shape=shape)
    zeros = b.op(
        "slice",
        b.constant(np.zeros((1, 20), np.int64)),
        shape=(1, "time"),
        dtype="int64",
        axes=[1],
        starts=[0],
        ends=["time"],
        steps=[1],
    )
    zeros = b.op("expand", zeros, shape=("batch", "time"), dtype="int64")
    types = b.op("embedding", zeros, b.constant(normal(2, 32), "types"), shape=shape)
    y = b.op("add", words, types, shape=shape)
    place = b.constant(np.arange(20)[None], "places")
    place = b.op("slice", place, shape=(1, "time"), dtype="int64", axes=[1], starts=[0], ends=["time"], steps=[1])
    places = b.op("embedding", place, b.constant(normal(20, 32), "positions"), shape=(1, "time", 32))
    y = b.op("add", y, places, shape=shape)
    words_before = b.graph.constants["words"].copy()
    ids = RANDOM.integers(0, 50, (2, 5))
    graph = check(b.done(y), {"ids": ids}, ["embedding", "slice", "embedding", "add"])
    np.testing.assert_array_equal(graph.constants["words"], words_before)
    assert "types" not in graph.constants


def test_views_casts_and_repeats_leave_nothing_behind():
    b = Builder(**x_input())
    shape = ("batch", "time", 32)
    y = b.op("reshape", "x", shape=("batch", "time", 4, 8))
    y = b.op("transpose", y, shape=("batch", 4, "time", 8), perm=[0, 2, 1, 3])
    y = b.op("transpose", y, shape=("batch", "time", 4, 8), perm=[0, 2, 1, 3])
    y = b.op("reshape", y, shape=shape)
    y = b.op("cast", y, shape=shape, to="float32")
    y = b.op("mul", y, 1.0, shape=shape)
    first, second = (b.op("exp", y, shape=shape) for _ in range(2))
    out = b.op("add", first, second, shape=shape)
    check(b.done(out), x_array(), ["exp", "add"])


def test_transpose_between_joined_dimensions_is_one_transpose():
    b = Builder(x=("float32", ("batch", 4, "time", 8)))
    y = b.op("reshape", "x", shape=(None, "time", 8))
    y = b.op("transpose", y, shape=(None, 8, "time"), perm=[0, 2, 1])
    y = b.op("reshape", y, shape=("batch", 4, 8, "time"))
    graph = check(b.done(y), {"x": normal(2, 4, 5, 8)}, ["transpose"])
    assert graph.nodes[0].attributes["perm"] == [0, 1, 3, 2]


def test_transpose_of_other_joined_dimensions_is_left_alone():
    b = Builder(x=("float32", (6, 4, 5, 8)))
    y = b.op("reshape", "x", shape=(24, 8, 5))
    y = b.op("transpose", y, shape=(24, 5, 8), perm=[0, 2, 1])
    y = b.op("reshape", y, shape=(6, 4, 8, 5))
    check(b.done(y), {"x": normal(6, 4, 5, 8)}, ["reshape", "transpose", "reshape"])


def test_output_that_is_only_a_view_keeps_its_name():
    b = Builder(**x_input())
    shape = ("batch", "time", 32)
    y = b.op("exp", "x", shape=shape, name="inner")
    out = b.op("mul", y, 1.0, shape=shape, name="result")
    graph = check(b.done(out), x_array(), ["exp"])
    assert graph.outputs == ["result"]


def test_constant_expressions_are_folded():
    b = Builder(**x_input())
    shape = ("batch", "time", 32)
    row = b.op("sqrt", b.constant(np.abs(normal(32)), "row"), shape=(32,))
    y = b.op("mul", "x", b.op("add", row, 1.0, shape=(32,)), shape=shape)
    check(b.done(y), x_array(), ["mul"])
