"""The ONNX importer against ONNX Runtime: single operators by opset, exported encoders, broken and hostile files."""

import sys

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx_cases import CASES, Case  # noqa: E402
from pocketuni_tools.convert import convert  # noqa: E402
from pocketuni_tools.evaluate import evaluate  # noqa: E402
from pocketuni_tools.import_onnx import import_onnx  # noqa: E402
from pocketuni_tools.import_onnx_file import import_onnx_file  # noqa: E402
from pocketuni_tools.ir import UnsupportedOp  # noqa: E402
from pocketuni_tools.onnx_sizes import Size, Undecided, broadcast, compute, settle, sizes_array  # noqa: E402
from pocketuni_tools.report import text  # noqa: E402
from pocketuni_tools.writer import write_model  # noqa: E402

try:
    from pocketuni import _core as core
except ImportError:  # the evaluator alone is compared then
    core = None


def reference(model, arrays):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it would round to int8
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, arrays), strict=True))


def runtime(graph, arrays, folder):
    write_model(folder / "model.puni", [graph])
    return core.Session(core.Model(str(folder / "model.puni")), graph.name, 1).run(arrays)


def assert_same(model, graph, arrays, folder, tolerance=2e-5):
    want = reference(model, arrays)
    results = [evaluate(graph, arrays)] + ([runtime(graph, arrays, folder)] if core else [])
    for got in results:
        assert list(got) == list(want)
        for name, array in want.items():
            assert got[name].shape == array.shape, name
            np.testing.assert_allclose(got[name], array, tolerance, tolerance, err_msg=name)


VERSIONS = [(case, opset) for case in CASES for opset in case.opsets]


@pytest.mark.parametrize("case,opset", VERSIONS, ids=[f"{case.name}-{opset}" for case, opset in VERSIONS])
def test_operator(case, opset, tmp_path):
    model = case.model(opset)
    assert_same(model, import_onnx(model), case.arrays(), tmp_path)


def test_masks_and_lookups_of_exporters_become_views():
    body = """s = Shape(m) b = Gather(s, zero) t = Gather(s, one) rb = Range(zero, b, one) rt = Range(zero, t, one)
        ib = Unsqueeze(rb, tail) f = Reshape(m, flat) st = Mul(ib, t) ix = Add(st, rt) g = Gather(f, ix)
        ge = GreaterOrEqual(rt, zero) c = Cast<to=9>(g) k = And(ge, c) y = Where(k, open, low)"""
    constants = {"zero": np.array(0), "one": np.array(1), "tail": np.array([1]), "flat": np.array([-1])}
    constants |= {"open": np.float32(0), "low": np.float32(-1e9)}
    case = Case("lookup", "m:i[n,t]", body, constants, high=2)
    graph = import_onnx(case.model(17))
    assert [node.op for node in graph.nodes] == ["cast", "where"]
    want = reference(case.model(17), case.arrays())
    np.testing.assert_array_equal(evaluate(graph, case.arrays())["y"], want["y"])


def test_names_dims_and_dtypes_of_inputs_and_outputs():
    case = Case("names", "x:f[n,4] m:j[n,k]", "z = Cast<to=1>(m) r = ReduceMean<axes=[1]>(z) y = Add(x, r)")
    graph = import_onnx(case.model(17), name="text")
    assert graph.name == "text" and graph.inputs == ["x", "m"] and graph.outputs == ["y"]
    assert graph.values["x"].shape == ("n", 4) and graph.values["m"].dtype == "int32"
    assert graph.values["y"].shape == ("n", 4) and graph.named_dims() == ["n", "k"]


def test_half_precision_computes_in_float32(tmp_path):
    half = Case("half", "x:f[n,4]", "h = Cast<to=10>(x) m = MatMul(h, w) y = Cast<to=1>(m)",
                {"w": np.eye(4, 3).astype(np.float16)}).model(17)  # fmt: skip
    graph = import_onnx(half)
    assert [node.op for node in graph.nodes] == ["linear"]
    assert all(array.dtype == np.float32 for array in graph.constants.values())


# Exported encoders.


def export(module, arguments, names, axes, path, dynamo, opset):
    torch = pytest.importorskip("torch")
    options = {"input_names": names, "output_names": ["out"], "opset_version": opset}
    if dynamo:
        pytest.importorskip("onnxscript")
        dims = {name: torch.export.Dim(name, min=2, max=64) for item in axes.values() for name in item.values()}
        shapes = {key: {axis: dims[name] for axis, name in item.items()} for key, item in axes.items()}
        torch.onnx.export(module, arguments, str(path), dynamo=True, dynamic_shapes=shapes, verbose=False, **options)
    else:
        torch.onnx.export(module, arguments, str(path), dynamo=False, dynamic_axes=axes, **options)
    return onnx.load(path)


def bert(attention):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=300, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=40, attn_implementation=attention,
    )  # fmt: skip

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = transformers.BertModel(config, add_pooling_layer=False)

        def forward(self, input_ids, attention_mask):
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean)

    return Encoder().eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo,opset,attention", [(False, 14, "eager"), (False, 17, "sdpa"), (True, 18, "sdpa")])
def test_text_encoder(dynamo, opset, attention, tmp_path):
    torch = pytest.importorskip("torch")
    ids, mask = torch.randint(0, 300, (2, 9)), torch.ones(2, 9, dtype=torch.int64)
    names, axes = ["input_ids", "attention_mask"], {0: "batch", 1: "sequence"}
    path = tmp_path / "text.onnx"
    model = export(bert(attention), (ids, mask), names, dict.fromkeys(names, axes), path, dynamo, opset)
    graph, random = import_onnx(path), np.random.default_rng(0)
    assert graph.named_dims() == ["batch", "sequence"]
    assert not {"gather", "reduce_max", "iota"} & {node.op for node in graph.nodes}  # the mask is a view of the input
    for batch, length in ((1, 1), (3, 17), (2, 40)):
        lengths = random.integers(1, length + 1, (batch, 1))
        arrays = {"input_ids": random.integers(0, 300, (batch, length))}
        arrays["attention_mask"] = (np.arange(length) < lengths).astype(np.int64)
        assert_same(model, graph, arrays, tmp_path, tolerance=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo,opset", [(False, 14), (True, 18)])
def test_vision_encoder(dynamo, opset, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8
    )

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.vit = transformers.ViTModel(config, add_pooling_layer=False)

        def forward(self, pixel_values):
            return self.vit(pixel_values).last_hidden_state

    path, pixels = tmp_path / "vision.onnx", torch.randn(2, 3, 32, 32)
    axes = {"pixel_values": {0: "batch"}}
    model = export(Encoder().eval(), (pixels,), ["pixel_values"], axes, path, dynamo, opset)
    graph = import_onnx(path)
    assert "linear" in {node.op for node in graph.nodes} and graph.named_dims() == ["batch"]
    arrays = {"pixel_values": np.asarray(np.random.default_rng(0).normal(size=(3, 3, 32, 32)), np.float32)}
    assert_same(model, graph, arrays, tmp_path, tolerance=1e-4)


# What is refused, and how.


def simple(body, inputs="x:f[n,4]", opset=17, **constants):
    return Case("simple", inputs, body, constants).model(opset)


@pytest.mark.parametrize(
    "body,words",
    [
        ("a = Relu(x) y = Det(a)", ["Det", "'y'", "node 2 of 2"]),
        ("y = com.microsoft.NGramRepeatBlock(x)", ["com.microsoft::NGramRepeatBlock", "node 1 of 1"]),
        ("s = NonZero(x) y = Cast<to=1>(s)", ["NonZero", "'s'", "node 1 of 2"]),
        ("i = Cast<to=7>(x) y = Reshape(x, i)", ["Reshape with a shape that depends on the contents", "node 2 of 2"]),
        ("a = Slice(x, s, e) y = Relu(a)", ["Slice with the bounds", "n"]),
        ('y = Einsum<equation="ij->ji">(x)', ["Einsum with the equation", "node 1 of 1"]),
        ("t = Cast<to=6>(x) y, z = TopK(t, s)", ["TopK with integers", "node 2 of 2"]),
    ],
)
def test_unsupported_operators_are_named(body, words):
    with pytest.raises(UnsupportedOp) as caught:
        import_onnx(simple(body, s=np.array([1]), e=np.array([-1])))
    assert all(word in str(caught.value) for word in words), caught.value


def test_convolutions_over_volumes_are_named():
    model = simple("y = Conv<pads=[1,1,1,1,1,1]>(x, w)", "x:f[n,3,8,8,8]", w=np.zeros((4, 3, 3, 3, 3)))
    with pytest.raises(UnsupportedOp, match=r"Conv with a kernel of 3 spatial.*node 'y', node 1 of 1"):
        import_onnx(model)


@pytest.mark.parametrize(
    "body,message",
    [
        ("y = Add(x, missing)", "reads 'missing'"),
        ("y = Add(x, row)", "node 1 of 1: sizes 4 and 5 do not broadcast"),
        ("y = MatMul(x, square)", "a last dimension of 4 meets a matrix of 3 rows"),
        ("y = Softmax<axis=5>(x)", "axis 5 is outside"),
        ("y = Reshape(x, five)", "does not reshape"),
        ('y = Resize<nearest_mode="up">(x, , twice)', "nearest_mode 'up' is not known"),
        ("a = ReduceSum<keepdims=0>(x) y = Trilu(a)", "an operand of 0 dimensions"),
        ("y = ReduceSum(x, both)", r"the axes \[1, -1\] name one twice"),
        ("y = Unsqueeze(x, same)", r"the axes \[0, 0\] name one twice"),
        ("y = Unsqueeze(x, far)", "axis 7 is outside of a tensor of rank 3"),
        ("a = ReduceSum(x, first) y = Squeeze(a, same)", r"the axes \[0, 0\] name one twice"),
    ],
)
def test_broken_graphs_are_explained(body, message):
    constants = {"row": np.zeros(5), "square": np.zeros((3, 3)), "five": np.array([5, 5]), "twice": [1, 2.0]}
    axes = {"both": [1, -1], "same": [0, 0], "far": [7], "first": [0]}
    constants |= {name: np.array(numbers) for name, numbers in axes.items()}
    inputs = "x:f[2,4]" if "five" in body or "twice" in body else "x:f[n,4]"
    with pytest.raises(ValueError, match=message):
        import_onnx(simple(body, inputs, **constants))


def test_a_graph_without_nodes_returns_its_input():
    model = simple("y = Relu(x)", "x:f[n,4]")
    del model.graph.node[:]
    model.graph.output[0].name = "x"
    graph = import_onnx(model)
    x = np.asarray(np.random.default_rng(0).normal(size=(2, 4)), np.float32)
    (y,) = evaluate(graph, {"x": x}).values()
    assert (y == x).all()


@pytest.mark.parametrize(
    "body, constants",
    [
        ('y = Pad<mode="reflect">(x, p)', {"p": np.array([0, 0, 2, 0, 0, 1])}),
        ("y = Slice(x, e, s, a, k)", {"s": [0], "e": [-1], "a": [2], "k": [-1]}),
        ('y = Resize<mode="linear">(x, , s)', {"s": np.float32([1, 1, 0.001])}),
    ],
    ids=["Pad", "Slice", "Resize"],
)
def test_tables_as_large_as_a_dimension_says_are_not_made(body, constants):
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    with pytest.raises(UnsupportedOp, match="a table of [0-9]+ elements"):
        import_onnx(simple(body, f"x:f[1,3,{2**31 - 1}]", **arrays))


def test_strides_and_sizes_beyond_reason_are_refused(tmp_path):
    with pytest.raises(UnsupportedOp, match="a table of 1[0-9]{12} elements"):
        import_onnx(simple("y = Resize(x, , s)", "x:f[1,3,t]", s=np.float32([1, 1, 1e11])))
    body = "y = ConvTranspose<strides=[1048576]>(x, w)"
    with pytest.raises(UnsupportedOp, match="strides of"):
        import_onnx(simple(body, "x:f[n,4,6]", w=np.ones((4, 3, 5))))
    body = "y = ConvTranspose<strides=[1099511627776,-3]>(x, w)"  # whose product is small
    with pytest.raises(ValueError, match="strides .1099511627776, -3."):
        import_onnx(simple(body, "x:f[n,4,6,6]", w=np.ones((4, 3, 5, 5))))
    graph = import_onnx(simple("y = Concat<axis=1>(x, x, x)", f"x:f[n,{2**62}]"))
    with pytest.raises(ValueError, match="y: the size 13835058055282163712 is outside"):
        write_model(tmp_path / "large.puni", [graph])


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "model.onnx"
    for data in (b"not a protobuf at all", b"", simple("y = Relu(x)").SerializeToString()[:-20]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="model.onnx"):
            import_onnx(path)
    with pytest.raises(OSError):
        import_onnx(tmp_path / "absent.onnx")
    for version in (6, 40):
        with pytest.raises(ValueError, match=f"uses opset {version}, expected 7 to 21"):
            import_onnx(simple("y = Relu(x)", opset=version))


def test_old_models_are_raised():
    graph = import_onnx(
        simple('y = Upsample<mode="nearest">(x, s)', "x:f[2,3,4,5]", opset=9, s=np.float32([1, 1, 2, 2]))
    )
    x = np.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), np.float32)
    (y,) = evaluate(graph, {"x": x}).values()
    np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(2, 3))


def test_inputs_may_be_fixed():
    model = simple("y = Mul(x, z)", "x:f[n,4] z:f[]")
    graph = import_onnx(model, fixed={"z": np.array(2.5)})
    assert graph.inputs == ["x"]
    (y,) = evaluate(graph, {"x": np.ones((2, 4), np.float32)}).values()
    np.testing.assert_array_equal(y, np.full((2, 4), 2.5))
    with pytest.raises(ValueError, match="no input 'q' to give a value to; inputs: x, z"):
        import_onnx(model, fixed={"q": np.array(1)})


@pytest.mark.parametrize("absent", [(), ("onnxruntime",)])
def test_fixed_inputs_reach_the_reference_in_their_own_type(absent, tmp_path, monkeypatch):
    """With ONNX Runtime, and without it by ONNX's own evaluator, which compares no floats with integers."""
    for package in absent:
        monkeypatch.setitem(sys.modules, package, None)
    model = simple("e = Equal(r, sixteen)\ny = Where(e, x, zero)", "x:f[n,4], r:i[]", sixteen=[16], zero=[0.0])
    onnx.save(model, tmp_path / "model.onnx")
    source = import_onnx_file(tmp_path / "model.onnx", fixed={"r": np.array(16.0)})
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(next(iter(source.towers[0].reference({"x": x}).values())), x)


def test_what_the_evaluator_cannot_run_is_converted_and_not_compared(tmp_path, monkeypatch):
    """ONNX's own knows none of ONNX Runtime's operators."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    onnx.save(simple("y = com.microsoft.QuickGelu<alpha=1.702>(x)"), tmp_path / "model.onnx")
    report = convert(import_onnx_file(tmp_path / "model.onnx"), tmp_path / "model.puni", "fp32")
    assert "main: not compared" in text(report) and (tmp_path / "model.puni").exists()


def test_too_many_dimensions_and_texts_are_refused():
    inputs = " ".join(f"x{i}:f[k,{chr(97 + i)}{i}]".replace("[k,", "[1,") for i in range(17))
    with pytest.raises(ValueError, match="more than 16"):
        import_onnx(Case("many", inputs, "y = Relu(x0)").model(17))
    model = simple("y = Relu(x)")
    model.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"a"]))
    with pytest.raises(ValueError, match="'words' holds texts"):
        import_onnx(model)


def external(folder, location, **entries):
    """A model whose matrix lies in another file."""
    model = simple("y = MatMul(x, w)", w=np.zeros((4, 3), np.float32))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def test_external_data_is_read_from_the_folder_of_the_model(tmp_path):
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    (tmp_path / "weights.bin").write_bytes(bytes(16) + weights.tobytes())
    graph = import_onnx(external(tmp_path, "weights.bin", offset=16, length=48))
    np.testing.assert_array_equal(next(iter(graph.constants.values())), weights.T)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "", "link.bin", "sub/../../secret.bin", "."])
def test_external_data_outside_of_the_folder_is_refused(location, tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ValueError, match="outside of the model's folder"):
        import_onnx(external(folder, location))


WRONG_ENTRIES = [{"offset": 8}, {"length": 47}, {"offset": -1}, {"offset": "x"}, {"length": 1 << 60}]


@pytest.mark.parametrize("entries", WRONG_ENTRIES)
def test_external_data_that_does_not_fit_is_refused(entries, tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    with pytest.raises(ValueError, match="constant 'w'"):
        import_onnx(external(tmp_path, "weights.bin", **entries))
    model = onnx.load(external(tmp_path, "weights.bin"), load_external_data=False)
    with pytest.raises(ValueError, match="give the path"):
        import_onnx(model)


def test_constants_that_lie_about_their_size_are_refused():
    model = simple("y = Add(x, w)", w=np.zeros(4, np.float32))
    model.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(ValueError, match="constant 'w' is broken"):
        import_onnx(model)
    model = simple("c = ConstantOfShape(s) y = Add(x, c)", s=np.array([1 << 20, 1 << 20, 1, 4]))
    graph = import_onnx(model)  # it stays a broadcast instead of filling memory
    assert sum(array.nbytes for array in graph.constants.values()) < 100


@pytest.mark.filterwarnings("ignore:overflow|invalid value:RuntimeWarning")
def test_damaged_models_give_errors_and_nothing_else():
    random, refused = np.random.default_rng(1), 0
    models = [case.model(case.opsets[-1]).SerializeToString() for case in CASES]
    for _ in range(1500):
        data = bytearray(models[random.integers(len(models))])
        for place in random.integers(0, len(data), random.integers(1, 4)):
            data[place] = random.choice([0, 1, 127, 255, data[place] ^ 1])
        model = onnx.ModelProto()
        try:
            model.ParseFromString(bytes(data))
        except Exception:  # not even a message: `test_files_that_are_no_models` has those
            continue
        try:
            import_onnx(model)
        except ValueError as error:
            refused += bool(str(error))
    assert refused > 50


# Sizes.


def test_arithmetic_on_sizes():
    n, t = Size("n"), Size("t")
    assert n * t * 8 // (t * 4) == n * 2
    assert (n + t) * (n - t) == n * n - t * t
    assert (n * 2 + 2).dim is None and (n + 1 - 1).dim == "n" and (n - n).dim == 0
    assert n // 2 == n // 2 and n // 2 != n // 3 and (n // 2).dim is None
    assert broadcast((n, Size(1)), (t,)) == (n, t)
    assert broadcast((n,), (Size(4),)) == (Size(4),)
    with pytest.raises(ValueError):
        broadcast((Size(3),), (Size(4),))


def test_comparisons_of_sizes_are_decided_only_where_they_hold_always():
    n = Size("n")
    assert not compute("Equal", sizes_array([n]), np.array([-1])).any()
    assert compute("Greater", sizes_array([n + 1]), sizes_array([n])).all()
    with pytest.raises(Undecided):
        compute("Equal", sizes_array([n]), np.array([1]))
    assert settle(sizes_array([n - n + 2])).dtype == np.int64
    assert numpy_helper.from_array(settle(sizes_array([3]))).dims == [1]
