"""Mixtures of experts, from PyTorch and ONNX: they become products with the chosen experts' weights alone."""

import time

import numpy as np
import pytest
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.fuse import fuse
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

import pocketuni  # noqa: E402

EXPERTS, WIDTH, HIDDEN = 6, 40, 56  # no multiples of 16: weights are filled up
_random = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return np.asarray(_random.normal(size=shape) / shape[-1] ** 0.5, np.float32)


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


# PyTorch.


def torch_mixture(top: int, hidden_size: int):
    """Weights of the chosen experts are looked up, as models that can be exported spell it (gpt-fast, for one)."""
    torch = pytest.importorskip("torch", reason="the package torch is not installed")

    class Mixture(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = torch.nn.Linear(WIDTH, EXPERTS)
            self.up, self.side = (
                torch.nn.Parameter(torch.tensor(normal(EXPERTS, hidden_size, WIDTH))) for _ in range(2)
            )
            self.down = torch.nn.Parameter(torch.tensor(normal(EXPERTS, WIDTH, hidden_size)))

        def forward(self, x):
            weights, chosen = torch.topk(torch.softmax(self.gate(x), -1), top, dim=-1)
            weights = weights / weights.sum(-1, keepdim=True)
            hidden = torch.nn.functional.silu(torch.einsum("ti,taoi->tao", x, self.up[chosen]))
            hidden = hidden * torch.einsum("ti,taoi->tao", x, self.side[chosen])
            return torch.einsum("tai,ta->ti", torch.einsum("tao,taio->tai", hidden, self.down[chosen]), weights)

    return torch, Mixture().eval()


@pytest.mark.parametrize("top,hidden_size", [(1, 64), (2, 64), (2, HIDDEN)])
def test_a_torch_mixture_becomes_products_with_chosen_experts(top, hidden_size, tmp_path):
    torch, module = torch_mixture(top, hidden_size)
    from pocketuni_tools.import_torch import import_torch

    graph = fuse(import_torch(module, {"x": torch.zeros(3, WIDTH)}, {"x": {0: "rows"}}))
    assert ops(graph).count("expert_linear") == 3 and "gather" not in ops(graph)
    assert "silu" not in ops(graph) or hidden_size % 16  # it goes into the product, where nothing is cut off in between
    write_model(tmp_path / "mixture.puni", [graph])
    with pocketuni.Model(tmp_path / "mixture.puni", threads=2) as model:
        for rows in (1, 9, 70):
            x = normal(rows, WIDTH) * 6
            with torch.no_grad():
                want = module(torch.tensor(x)).numpy()
            got = next(iter(model.towers["main"].run(x=x).values()))
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)


def test_torch_topk_of_any_axis_and_either_end():
    torch = pytest.importorskip("torch", reason="the package torch is not installed")
    from pocketuni_tools.import_torch import import_torch

    class Both(torch.nn.Module):
        def forward(self, x):
            values, places = torch.topk(x, 2, dim=1, largest=False)
            return values, places, torch.topk(x, 3).values

    x = torch.tensor(normal(2, 5, 4))
    graph = fuse(import_torch(Both().eval(), {"x": x}, {}))
    for got, want in zip(evaluate(graph, {"x": x.numpy()}).values(), Both()(x), strict=True):
        np.testing.assert_array_equal(got, want.numpy())


# ONNX.


def onnx_model(nodes, inputs, outputs, initializers):
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "mixture", given, made, constants)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return onnx, helper.make_model(graph, opset_imports=domains, ir_version=9)


def assert_as_onnx_runtime(model, feed, path, experts: int):
    ort = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
    from pocketuni_tools.import_onnx import import_onnx

    graph = fuse(import_onnx(model))
    assert ops(graph).count("expert_linear") == experts and "gather" not in ops(graph)
    want = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[0]
    write_model(path, [graph])
    with pocketuni.Model(path, threads=2) as opened:
        got = next(iter(opened.towers["main"].run(**feed).values()))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "identity"])
@pytest.mark.parametrize("top,normalize", [(1, 0), (2, 0), (2, 1)])
def test_onnx_runtimes_mixture(activation, top, normalize, tmp_path):
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    from onnx import helper

    weights = {"w1": normal(EXPERTS, HIDDEN, WIDTH), "b1": normal(EXPERTS, HIDDEN),
               "w2": normal(EXPERTS, WIDTH, HIDDEN), "b2": normal(EXPERTS, WIDTH)}  # fmt: skip
    node = helper.make_node("MoE", ["x", "scores", *weights], ["y"], domain="com.microsoft", k=top,
                            activation_type=activation, normalize_routing_weights=normalize)  # fmt: skip
    _, model = onnx_model([node], {"x": ["rows", WIDTH], "scores": ["rows", EXPERTS]}, ["y"], weights)
    feed = {"x": normal(9, WIDTH) * 6, "scores": normal(9, EXPERTS) * 6}
    assert_as_onnx_runtime(model, feed, tmp_path / "mixture.puni", 2)


@pytest.mark.parametrize("kind", ["rows", "choices", "transposed", "einsum"])
def test_products_with_gathered_weights(kind, tmp_path):
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    from onnx import helper

    table = normal(EXPERTS, WIDTH, HIDDEN)
    table = np.ascontiguousarray(table.swapaxes(1, 2)) if kind in ("transposed", "einsum") else table
    shape = ["rows", 2, 1, WIDTH] if kind == "choices" else ["rows", 1, 1, WIDTH]
    shape = ["rows", WIDTH] if kind == "einsum" else shape
    nodes = [
        helper.make_node("TopK", ["scores", "k"], ["values", "chosen"], axis=-1),
        helper.make_node("Gather", ["table", "chosen"], ["looked_up"]),
    ]
    if kind == "einsum":
        nodes.append(helper.make_node("Einsum", ["x", "looked_up"], ["y"], equation="ri,rcoi->rco"))
    elif kind == "transposed":
        nodes.append(helper.make_node("Transpose", ["looked_up"], ["turned"], perm=[0, 1, 3, 2]))
        nodes.append(helper.make_node("MatMul", ["x", "turned"], ["y"]))
    else:
        nodes.append(helper.make_node("MatMul", ["x", "looked_up"], ["y"]))
    inputs = {"x": shape, "scores": ["rows", EXPERTS]}
    _, model = onnx_model(nodes, inputs, ["y"], {"table": table, "k": np.array([2])})
    feed = {"x": normal(*[7 if size == "rows" else size for size in shape]), "scores": normal(7, EXPERTS)}
    assert_as_onnx_runtime(model, feed, tmp_path / "chosen.puni", 1)


# The runtime.


def expert_model(path, experts: int, table: np.ndarray, precision: str = "f32"):
    graph = Graph("main")
    graph.add_input("x", "float32", ("rows", table.shape[1]))
    graph.add_input("choice", "int64", ("rows", 1))
    weight, outputs = graph.add_constant("table", table), len(table) // experts
    shape = ("rows", 1, outputs)
    graph.outputs = graph.add_node("expert_linear", ["x", weight, "choice"], [Value("y", "float32", shape)],
                                   experts=experts)  # fmt: skip
    write_model(path, [graph], precisions={weight: precision})
    return pocketuni.Model(path, threads=1)


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_only_chosen_experts_cost_time(precision, tmp_path):
    """One row with one of 64 experts, against one expert in all; others may take the CPU, so there are tries."""
    few, many = normal(256, 256), normal(64 * 256, 256)
    x, choice = normal(1, 256), np.array([[0]])
    with (
        expert_model(tmp_path / "one.puni", 1, few, precision) as one,
        expert_model(tmp_path / "many.puni", 64, many, precision) as some,
    ):
        for _ in range(20):
            best = [1e9, 1e9]
            for _ in range(20):
                for place, model in enumerate((one, some)):
                    start = time.perf_counter()
                    model.towers["main"].run(x=x, choice=choice)
                    best[place] = min(best[place], time.perf_counter() - start)
            if best[1] < 2 * best[0]:
                return
    pytest.fail(f"one of 64 experts takes {best[1] * 1e6:.0f} us, the only one {best[0] * 1e6:.0f} us")


def test_a_choice_that_is_no_expert_is_refused(tmp_path):
    with expert_model(tmp_path / "some.puni", 4, normal(64, 20)) as model:
        tower = model.towers["main"]
        for wrong in (-1, 4, 1 << 40):
            with pytest.raises(ValueError, match=f"the choice {wrong} is not one of 4 experts"):
                tower.run(x=normal(2, 20), choice=np.array([[0], [wrong]]))
        with pytest.raises(ValueError, match="expected|gave"):
            tower.run(x=normal(2, 20), choice=np.array([[0]]))


@pytest.mark.parametrize(
    "experts,shape,message",
    [(3, (64, 20), "3 experts do not divide 64 outputs"), (8, (64, 20), "8 experts do not divide"),
     (0, (64, 20), "0 experts"), (-4, (64, 20), "-4 experts")],
)  # fmt: skip
def test_broken_files_are_refused(experts, shape, message, tmp_path):
    graph = Graph("main")
    graph.add_input("x", "float32", ("rows", 20))
    graph.add_input("choice", "int64", ("rows", 1))
    weight = graph.add_constant("table", normal(*shape))
    graph.outputs = graph.add_node("expert_linear", ["x", weight, "choice"], [Value("y", "float32", ("rows", 1, 16))],
                                   experts=experts)  # fmt: skip
    write_model(tmp_path / "bad.puni", [graph])
    with pytest.raises(pocketuni.ModelFileError, match=message):
        pocketuni.Model(tmp_path / "bad.puni")
