"""Small ONNX graphs for test_import_onnx.py, in the text syntax of onnx.parser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.parser
from onnx import helper, numpy_helper

DIMS = {"n": 3, "t": 5, "k": 2}
TYPES = {"f": ("float", np.float32), "i": ("int64", np.int64), "j": ("int32", np.int32), "b": ("bool", bool)}


@dataclass
class Case:
    """inputs: `x:f[n,4] i:i[n,t]`. body: nodes of the text syntax; y is the output. constants: name -> array."""

    name: str
    inputs: str
    body: str
    constants: dict[str, object] = field(default_factory=dict)
    opsets: tuple[int, ...] = (17,)
    high: int = 3  # integers are below this

    def arrays(self) -> dict[str, np.ndarray]:
        random, arrays = np.random.default_rng(5), {}
        for name, kind, dims in re.findall(r"(\w+):(\w)\[([^\]]*)\]", self.inputs):
            shape = [DIMS.get(dim) or int(dim) for dim in dims.split(",") if dim]
            whole = random.integers(0, 2 if kind == "b" else self.high, shape)
            arrays[name] = np.asarray(random.normal(size=shape) if kind == "f" else whole, TYPES[kind][1])
        return arrays

    def model(self, opset: int, output: int = onnx.TensorProto.FLOAT) -> onnx.ModelProto:
        specs = re.findall(r"(\w+):(\w)\[([^\]]*)\]", self.inputs)
        inputs = ", ".join(f"{TYPES[kind][0]}{f'[{dims}]' if dims else ''} {name}" for name, kind, dims in specs)
        graph = onnx.parser.parse_graph(f"g ({inputs}) => (float[n] y) {{ {self.body} }}")
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info("y", output, None))
        for name, value in self.constants.items():
            array = np.asarray(value)
            array = array.astype(np.float32) if array.dtype == np.float64 else array
            graph.initializer.append(numpy_helper.from_array(array, name))
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, ir_version=8, opset_imports=opsets)


_random = np.random.default_rng(9)


def w(*shape: int) -> np.ndarray:
    return np.asarray(_random.normal(size=shape), np.float32)


ALL = (11, 13, 17, 18, 21)
UNARY = "Relu Tanh Sigmoid Erf Exp Neg Abs Sin Cos Floor Ceil Round Softplus HardSwish Softsign Elu LeakyRelu Selu Celu"

CASES = [
    *(Case(op, "x:f[n,4]", f"y = {op}(x)", opsets=(14, 21)) for op in UNARY.split()),
    *(Case(op, "x:f[n,4]", f"a = Abs(x) y = {op}(a)") for op in "Log Sqrt Reciprocal".split()),
    Case("Mish", "x:f[n,4]", "y = Mish(x)", opsets=(18,)),
    Case("HardSigmoid", "x:f[n,4]", "y = HardSigmoid<alpha=0.3, beta=0.4>(x)"),
    Case("Gelu", "x:f[n,4]", 'a = Gelu(x) b = Gelu<approximate="tanh">(x) y = Add(a, b)', opsets=(20, 21)),
    Case("PRelu", "x:f[n,4]", "y = PRelu(x, s)", {"s": w(4)}),
    Case("Clip", "x:f[n,4]", "a = Clip(x, low, high) b = Clip(x, , high) y = Add(a, b)",
         {"low": -0.5, "high": 0.25}, ALL),
    Case("Clip-value", "x:f[n,4] l:f[]", "y = Clip(x, l)"),
    *(Case(op, "x:f[n,1,4] z:f[t,1]", f"y = {op}(x, z)", opsets=ALL) for op in "Add Sub Mul Div".split()),
    *(Case(op, "x:f[n,4] z:f[4]", f"y = {op}(x, z, x)") for op in "Min Max Sum Mean".split()),
    *(Case(f"{op}-ints", "x:i[n,4] z:i[4]", f"a = {op}(x, z) y = Cast<to=1>(a)")
      for op in "Add Sub Mul Min Max".split()),
    *(Case(f"Pow-{e}", "x:f[n,4]", "a = Abs(x) y = Pow(a, e)", {"e": e}) for e in (2.0, 0.5, -0.5, 3.0, -1.0)),
    Case("Pow-int-exponent", "x:f[n,4]", "y = Pow(x, e)", {"e": np.array(2)}),
    *(Case(op, "x:i[n,4] z:i[4]", f"a = {op}(x, z) y = Cast<to=1>(a)", opsets=(13, 17))
      for op in "Equal Less LessOrEqual Greater GreaterOrEqual".split()),
    *(Case(op, "x:b[n,4] z:b[4]", f"a = {op}(x, z) c = Not(a) y = Cast<to=1>(c)") for op in "And Or Xor".split()),
    Case("Where", "c:b[n,1] x:f[n,4]", "y = Where(c, x, z)", {"z": np.float32(-np.inf)}),
    Case("IsNaN", "x:f[n,4]", "r = Sqrt(x) c = IsNaN(r) y = Where(c, x, r)"),
    Case("Softmax-11", "x:f[n,4,5]", "a = Softmax<axis=1>(x) b = Softmax<axis=-1>(x) y = Add(a, b)", opsets=ALL),
    Case("LogSoftmax", "x:f[n,4,5]", "y = LogSoftmax<axis=1>(x)", opsets=ALL),
    *(Case(f"{op}-attribute", "x:f[n,4,5]", f"y = {op}<axes=[1,-1], keepdims=0>(x)", opsets=(11, 17))
      for op in "ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare".split()),
    *(Case(f"{op}-input", "x:f[n,4,5]", f"y = {op}(x, axes)", {"axes": np.array([1])}, (18, 21))
      for op in "ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL2".split()),
    Case("ReduceSum-all", "x:f[n,4]", "y = ReduceSum(x)", opsets=ALL),
    Case("ReduceSum-ints", "x:i[n,t]", "a = ReduceSum<keepdims=0>(x, axes) y = Cast<to=1>(a)", {"axes": np.array([1])}),
    Case("LayerNormalization", "x:f[n,t,8]", "y = LayerNormalization<epsilon=1e-6>(x, g, b)", {"g": w(8), "b": w(8)}),
    Case("LayerNormalization-two", "x:f[n,3,8]", "y = LayerNormalization<axis=-2>(x, g)", {"g": w(3, 8)}),
    Case("BatchNormalization", "x:f[n,4,t]", "y = BatchNormalization(x, g, b, m, v)",
         {"g": w(4), "b": w(4), "m": w(4), "v": w(4) ** 2 + 0.1}),
    Case("MatMul-constant", "x:f[n,t,8]", "y = MatMul(x, w)", {"w": w(8, 5)}),
    Case("MatMul-vector", "x:f[n,8]", "y = MatMul(x, w)", {"w": w(8)}),
    Case("MatMul-left", "x:f[8,n]", "y = MatMul(w, x)", {"w": w(5, 8)}),
    Case("MatMul-values", "x:f[n,2,t,8] z:f[2,8,t]", "y = MatMul(x, z)"),
    Case("MatMul-dot", "x:f[8] z:f[8]", "y = MatMul(x, z)"),
    Case("Gemm", "x:f[n,8]", "y = Gemm<alpha=0.5, beta=2.0, transB=1>(x, w, b)", {"w": w(5, 8), "b": w(5)}, ALL),
    Case("Gemm-plain", "x:f[n,8]", "y = Gemm(x, w)", {"w": w(8, 5)}),
    Case("Gemm-scalar-bias", "x:f[n,8]", "y = Gemm(x, w, b)", {"w": w(8, 5), "b": w(1)}),
    Case("Gemm-values", "x:f[8,n] z:f[t,8] c:f[t]", "y = Gemm<alpha=0.5, transA=1, transB=1>(x, z, c)"),
    *(Case(f"Einsum-{e}", "x:f[n,2,t,8] z:f[n,2,k,8]", f'y = Einsum<equation="{e}">(x, z)')
      for e in ("bhqd,bhkd->bhqk", "bhqd,bhkd -> bqhk")),
    Case("Einsum-constant", "x:f[n,t,8]", 'y = Einsum<equation="btd,dhe->bthe">(x, w)', {"w": w(8, 2, 3)}),
    Case("Conv-patches", "x:f[n,3,8,12]",
         "y = Conv<kernel_shape=[4,4], strides=[4,4]>(x, w, b)", {"w": w(6, 3, 4, 4), "b": w(6)}),
    *(Case(f"Conv-time-{flags}", "x:f[n,4,11]", f"y = Conv<{flags}>(x, w, b)", {"w": w(6, 4 // groups, 3), "b": w(6)})
      for groups, flags in ((1, "pads=[1,1]"), (1, "pads=[2,0], dilations=[2], strides=[2]"), (2, "group=2"),
                            (1, 'auto_pad="SAME_UPPER", strides=[2]'), (1, 'auto_pad="SAME_LOWER", strides=[1]'))),
    Case("Conv-depthwise", "x:f[n,4,11]", "y = Conv<group=4, pads=[1,1]>(x, w)", {"w": w(4, 1, 3)}),
    Case("Conv-dynamic", "x:f[n,4,t]", "a = Conv<pads=[1,1]>(x, w) c = Relu(a) y = Conv(c, w)", {"w": w(4, 4, 3)}),
    *(Case(f"Conv-pictures-{flags}", "x:f[n,4,t,9]", f"y = Conv<{flags}>(x, w, b)",
           {"w": w(6, 4 // g, 3, 2), "b": w(6)})
      for g, flags in ((1, "pads=[1,0,1,1]"), (2, "group=2, dilations=[1,3]"), (1, "pads=[2,2,0,0], strides=[1,2]"))),
    Case("Conv-pictures-strided", "x:f[n,4,9,9]", "y = Conv<strides=[2,3], pads=[0,1,1,0]>(x, w)",
         {"w": w(6, 4, 3, 3)}),
    Case("Conv-pictures-depthwise", "x:f[n,4,t,9]", "a = Conv<group=4, pads=[1,1,1,1]>(x, w) y = Relu(a)",
         {"w": w(4, 1, 3, 3)}),
    Case("Conv-batch-norm", "x:f[n,3,t,9]", """a = Conv<pads=[1,1,1,1]>(x, w) c = BatchNormalization(a, g, b, m, v)
         d = Relu(c) e = Conv(d, u) f = Add(e, d) y = Relu(f)""",
         {"w": w(4, 3, 3, 3), "u": w(4, 4, 1, 1), "g": w(4), "b": w(4), "m": w(4), "v": w(4) ** 2 + 0.1}),
    *(Case(f"ConvTranspose-{flags}", "x:f[n,4,t,5]", f"y = ConvTranspose<{flags}>(x, w, b)",
           {"w": w(4, 3, 3, 4), "b": w(3)})
      for flags in ("strides=[1,1]", "strides=[1,2], pads=[0,1,2,1]", "dilations=[2,1], pads=[3,0,3,0]")),
    Case("ConvTranspose-groups", "x:f[n,4,6]", "y = ConvTranspose<strides=[3], group=2, output_padding=[1]>(x, w)",
         {"w": w(4, 3, 5)}),
    Case("Pool-pictures", "x:f[n,3,t,8]", """a = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)
         b = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a) y = Add(a, b)"""),
    Case("Pool-time", "x:f[n,3,11]", """y =
         AveragePool<kernel_shape=[4], strides=[3], pads=[1,2], count_include_pad=1>(x)"""),
    Case("Resize-repeated", "x:f[n,3,t,4]", """y = Resize<mode="nearest",
         coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , s)""",
         {"s": np.float32([1, 1, 2, 3])}),
    *(Case(f"Resize-dynamic-{mode}-{at}", "x:f[n,2,t,k]",
           f'y = Resize<mode="{mode}", coordinate_transformation_mode="{at}">(x, , s)', {"s": np.float32([1, 1, 2, 3])})
      for mode in ("linear", "cubic", "nearest") for at in ("half_pixel", "asymmetric", "pytorch_half_pixel")),
    Case("Resize-linear", "x:f[n,3,5,4]", 'y = Resize<mode="linear">(x, , s)', {"s": np.float32([1, 1, 2.5, 0.5])}),
    Case("Pad-reflect", "x:f[n,3,t]", 'y = Pad<mode="reflect">(x, p)', {"p": np.array([0, 0, 2, 0, 0, 1])}),
    *(Case(f"{op}-{flags}", "x:f[t,n,4] h:f[2,n,3]", f"""a, b{more} =
         {op}<hidden_size=3, direction="bidirectional"{flags}>(x, w, r, b0, , h)
         c = ReduceSum(a, one) y = Add(c, b{last})""",
         {"w": w(2, 3 * g, 4), "r": w(2, 3 * g, 3), "b0": w(2, 6 * g), "one": np.array([0, 1])})
      for op, g, flags, more, last in (("GRU", 3, "", "", ""), ("GRU", 3, ", linear_before_reset=1", "", ""),
                                       ("LSTM", 4, "", ", d", ""), ("RNN", 1, "", "", ""))),
    Case("PRelu-channels", "x:f[n,3,t,4]", "a = Conv(x, u) y = PRelu(a, s)", {"s": w(3, 1, 1), "u": w(3, 3, 1, 1)}),
    Case("ScatterND", "x:f[3,4] u:f[2,4]", "y = ScatterND(x, i, u)", {"i": np.array([[2], [0]])}),
    Case("constant-output", "x:f[n,4]", "y = Add(u, u)", {"u": w(4)}),
    Case("ArgMax", "x:f[n,4]", "a = ArgMax<axis=1>(x) y = Cast<to=1>(a)"),
    Case("QuantizeLinear", "x:f[n,4]", "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)",
         {"s": np.float32(0.05), "z": np.array(3, np.uint8)}),
    Case("GlobalAveragePool", "x:f[n,3,4,t]", "a = GlobalAveragePool(x) c = GlobalMaxPool(x) y = Add(a, c)"),
    Case("Pad", "x:f[n,3,t]", "a = Pad(x, q, v) y = Pad(a, p)",
         {"p": np.array([0, 1, 0, 0, 0, 2]), "q": np.array([0, 0, 0, 0, 2, 0]), "v": np.float32(1.5)}),
    Case("Conv-pointwise", "x:f[n,3,t]", "y = Conv<kernel_shape=[1]>(x, w)", {"w": w(6, 3, 1)}),
    Case("Reshape-batch", "x:f[n,t,8]", "y = Reshape(x, s)", {"s": np.array([0, 0, 2, 4])}, ALL),
    Case("Reshape-open", "x:f[n,4,6]", "y = Reshape(x, s)", {"s": np.array([0, -1])}),
    Case("Reshape-sizes", "x:f[n,t,8]", """s = Shape(x) b = Gather(s, zero) t = Gather(s, one)
         bt = Mul(b, t) bt1 = Unsqueeze(bt, first) sh = Concat<axis=0>(bt1, eight) y = Reshape(x, sh)""",
         {"zero": np.array(0), "one": np.array(1), "first": np.array([0]), "eight": np.array([8])}),
    Case("Reshape-back", "x:f[n,t,8]", """s = Shape(x) f = Reshape(x, minus8) g = Relu(f) y = Reshape(g, s)""",
         {"minus8": np.array([-1, 8])}),
    *(Case(f"Flatten-{axis}", "x:f[n,3,4]", f"y = Flatten<axis={axis}>(x)") for axis in (0, 1, 2, -1)),
    Case("Squeeze-attribute", "x:f[n,1,4]", "a = Squeeze<axes=[1]>(x) y = Unsqueeze<axes=[0, 3]>(a)", opsets=(11,)),
    Case("Squeeze-input", "x:f[n,1,4]", "a = Squeeze(x, one) y = Unsqueeze(a, ends)",
         {"one": np.array([1]), "ends": np.array([0, -1])}, (13, 21)),
    Case("Transpose", "x:f[n,t,4]", "a = Transpose(x) y = Transpose<perm=[0,2,1]>(a)"),
    Case("Expand", "x:f[n,1] z:f[n,t]", "s = Shape(z) y = Expand(x, s)"),
    Case("Expand-where-minus", "x:f[n,1] z:f[n,t]", """s = Shape(z) c = Equal(s, m)
         o = ConstantOfShape<value = int64[1] {1}>(two) r = Where(c, o, s) y = Expand(x, r)""",
         {"m": np.array(-1), "two": np.array([2])}),
    Case("Concat", "x:f[n,4] z:f[n,2]", "a = Concat<axis=1>(x, z) b = Concat<axis=0>(a, a) y = Concat<axis=-1>(b, b)"),
    Case("Concat-token", "x:f[n,t,4]", """s = Shape<start=0, end=1>(x) sh = Concat<axis=0>(s, one, four)
         c = Expand(token, sh) y = Concat<axis=1>(c, x)""",
         {"one": np.array([1]), "four": np.array([4]), "token": w(1, 1, 4)}),
    Case("Split-equal", "x:f[n,6]", "a, b, c = Split<axis=1>(x) d = Add(a, c) y = Mul(d, b)", opsets=(11, 17)),
    Case("Split-attribute", "x:f[n,6]", "a, b = Split<axis=-1, split=[4, 2]>(x) y = Concat<axis=1>(b, a)",
         opsets=(11,)),
    Case("Split-count", "x:f[n,7]", "a, b = Split<axis=1, num_outputs=2>(x) y = Concat<axis=1>(b, a)", opsets=(18, 21)),
    Case("Split-input", "x:f[n,6]", "a, b = Split<axis=1>(x, s) y = Concat<axis=1>(b, a)", {"s": np.array([1, 5])}),
    Case("Slice", "x:f[n,9,4]", "y = Slice(x, s, e, a, k)",
         {"s": np.array([1, -3]), "e": np.array([-1, 1 << 40]), "a": np.array([1, 2]), "k": np.array([2, 1])}, ALL),
    Case("Slice-reversed", "x:f[n,4]", "y = Slice(x, s, e, a, k)",
         {"s": np.array([-1]), "e": np.array([-(1 << 63)]), "a": np.array([1]), "k": np.array([-1])}),
    Case("Slice-positions", "x:f[n,t]", """l = Shape<start=1>(x) p = Slice(table, z, l, one) y = Add(x, p)""",
         {"table": w(1, 40), "z": np.array([0]), "one": np.array([1])}),
    Case("Slice-last", "x:f[n,t,4]", "y = Slice(x, s, e, a)",
         {"s": np.array([-1]), "e": np.array([1 << 62]), "a": np.array([1])}),
    *(Case(f"Gather-{index}", "x:f[n,6,4]", "y = Gather<axis=1>(x, i)", {"i": np.array(index)})
      for index in (0, 2, -1)),
    Case("Gather-first-token", "x:f[n,t,4]", "y = Gather<axis=1>(x, i)", {"i": np.array(0)}),
    Case("Gather-last-token", "x:f[n,t,4]", "y = Gather<axis=1>(x, i)", {"i": np.array(-1)}),
    Case("Gather-table", "i:i[n,t]", "y = Gather(w, i)", {"w": w(3, 8)}),
    Case("Gather-values", "x:f[4,n] i:j[t]", "y = Gather(x, i)"),
    Case("GatherElements", "i:i[n,t]", "a = GatherElements<axis=1>(z, i) y = Cast<to=1>(a)",
         {"z": np.full((4, 8), 7)}),
    Case("Size", "x:f[n,t]", "s = Size(x) f = Cast<to=1>(s) y = Div(x, f)"),
    Case("Shape-number", "x:f[n,t]", """s = Shape(x) g = Gather(s, one) f = Cast<to=1>(g) r = Sqrt(f) y = Mul(x, r)""",
         {"one": np.array(1)}),
    Case("Range", "x:f[n,t]", """s = Shape(x) l = Gather(s, one) r = Range(two, l, one) k = Range(zero, l, two)
         f = Cast<to=1>(k) m = ReduceSum(f) y = Mul(x, m)""",
         {"zero": np.array(0), "one": np.array(1), "two": np.array(2)}),
    Case("ConstantOfShape", "x:f[n,t]", "s = Shape(x) c = ConstantOfShape<value = float[1] {2.5}>(s) y = Add(x, c)"),
    Case("Cast", "x:f[n,4]", "a = Cast<to=7>(x) b = Cast<to=9>(a) c = Cast<to=6>(b) y = CastLike(c, x)", opsets=(17,)),
    Case("Identity", "x:f[n,4]", "a = Identity(x) y = Dropout(a)"),
    Case("Tile", "x:f[n,1,4]", "y = Tile(x, r)", {"r": np.array([1, 3, 2])}),
    Case("Trilu", "x:f[n,t,t]", "a = Trilu(x) b = Trilu<upper=0>(x, k) y = Sub(a, b)", {"k": np.array(-1)}),
    Case("CumSum", "x:f[n,t]", "a = CumSum(x, one) b = CumSum<exclusive=1, reverse=1>(x, zero) y = Add(a, b)",
         {"zero": np.array(0), "one": np.array(1)}),
    Case("CumSum-positions", "m:i[n,t]", """c = CumSum(m, one) p = Mul(c, m) q = Add(p, one) y = Gather(w, q)""",
         {"one": np.array(1), "w": w(12, 4)}, high=2),
    Case("DequantizeLinear", "x:f[n,4]", "q = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, q)",
         {"w": _random.integers(-9, 9, (4, 3)).astype(np.int8), "s": w(3), "z": np.array([1, -2, 0], np.int8)}),
    Case("If", "x:f[n,4]", """c = Greater(a, b) y = If(c) <then_branch = g1 () => (float[n,4] t1) { t1 = Relu(x) },
         else_branch = g2 () => (float[n,4] t2) { t2 = Neg(x) }>""", {"a": np.float32(1), "b": np.float32(2)}),
    Case("folds", "x:f[n,4]", "a = Add(u, v) b = Transpose(a) c = MatMul(u, b) y = MatMul(x, c)",
         {"u": w(4, 4), "v": w(4, 4)}),
    Case("mask", "m:i[n,t] x:f[n,2,t,t]", """u = Unsqueeze(m, axes) f = Cast<to=1>(u) i = Sub(one, f) a = Mul(i, low)
         s = Add(x, a) y = Softmax<axis=-1>(s)""",
         {"axes": np.array([1, 2]), "one": np.float32(1), "low": np.float32(-1e4)}, high=2),
    Case("BiasGelu", "x:f[n,4]", """a = com.microsoft.BiasGelu(x, b) c = com.microsoft.Gelu(a)
         y = com.microsoft.FastGelu(c, b)""", {"b": w(4)}),
    Case("QuickGelu", "x:f[n,4]", "y = com.microsoft.QuickGelu<alpha=1.702>(x)"),
    Case("FusedMatMul", "x:f[n,t,8] z:f[n,t,8]", "y = com.microsoft.FusedMatMul<alpha=0.5, transB=1>(x, z)"),
    Case("SkipLayerNormalization", "x:f[n,t,8] z:f[n,t,8]",
         "y = com.microsoft.SkipLayerNormalization<epsilon=1e-5>(x, z, g, b, c)", {"g": w(8), "b": w(8), "c": w(8)}),
    Case("EmbedLayerNormalization", "i:j[n,t] s:j[n,t]",
         "y, l = com.microsoft.EmbedLayerNormalization<epsilon=1e-5>(i, s, a, p, e, g, b)",
         {"a": w(3, 8), "p": w(9, 8), "e": w(3, 8), "g": w(8), "b": w(8)}),
    Case("Attention", "x:f[n,5,8] m:j[n,5]", "k = Max(m, first) y = com.microsoft.Attention<num_heads=2>(x, w, b, k)",
         {"w": w(8, 24), "b": w(24), "first": np.array([1, 0, 0, 0, 0], np.int32)}, high=2),
    Case("MultiHeadAttention", "q:f[n,t,8] k:f[n,k,8] v:f[n,k,8]",
         "y = com.microsoft.MultiHeadAttention<num_heads=2>(q, k, v, b)", {"b": w(24)}),
]  # fmt: skip
