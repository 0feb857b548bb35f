"""Every operator of the runtime, on every instruction set and several thread counts, against the NumPy evaluator.

The cases are in op_cases.py, product_cases.py, time_cases.py and picture_cases.py. Thread counts must agree bit for
bit; what is promised to be the same on every instruction set is compared so too.
"""

import re
from pathlib import Path

import numpy as np
import op_cases
import picture_cases
import product_cases
import pytest
import time_cases
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.ir import OPS, Graph, Value
from pocketuni_tools.writer import as_read, pack_constant, tensor_role, write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

FAMILIES = (
    op_cases.unary, op_cases.binary, op_cases.norms, op_cases.reductions, op_cases.layout,
    product_cases.linears, product_cases.experts, product_cases.tables, product_cases.matmuls,
    product_cases.attentions, product_cases.pools,
    time_cases.convolutions, time_cases.depthwise, time_cases.transposed, time_cases.spectral,
    picture_cases.pictures, picture_cases.channels_alone, picture_cases.pools, picture_cases.sampled,
    picture_cases.recurrent, picture_cases.largest,
)  # fmt: skip
CASES = [case for family in FAMILIES for case in family()]
THREADS = (1, 2, 5)

# op -> (relative, absolute); what is not here is exact. Sums are held to the size of what is summed.
TOLERANCES = {
    **dict.fromkeys("gelu silu mish".split(), (1e-6, 1e-6)),
    **dict.fromkeys("tanh sigmoid exp elu softplus sin cos log pow rsqrt".split(), (1e-6, 1e-36)),
    "erf": (0, 5e-7),
    **dict.fromkeys("hard_sigmoid hard_swish div".split(), (3e-7, 3e-7)),
    **dict.fromkeys("layer_norm rms_norm l2_normalize softmax log_softmax".split(), (3e-6, 3e-6)),
    **dict.fromkeys("reduce_sum reduce_mean reduce_prod pool".split(), (3e-6, 3e-6)),
    **dict.fromkeys("linear matmul attention conv1d depthwise_conv1d conv_transpose1d".split(), (1e-5, 5e-5)),
    **dict.fromkeys("conv2d depthwise_conv2d expert_linear".split(), (1e-5, 5e-5)),
    **dict.fromkeys("pool2d resample".split(), (3e-6, 3e-6)),
    **dict.fromkeys("gru lstm rnn".split(), (2e-5, 2e-5)),
    "istft": (1e-5, 2e-6),
    "mel_spectrogram": (1e-5, 2e-5),
}
# Operators whose float results depend on the instruction set only within the tolerance.
FREE = (
    {"attention", "gru", "lstm", "rnn", "layer_norm", "rms_norm", "softmax", "log_softmax"}
    | set(op_cases.UNARY)
    | {"pow"}
)


def run_everywhere(graph, inputs, precisions, path):
    """Outputs of the runtime, isa -> name -> array, after comparing the thread counts."""
    write_model(path, [graph], precisions=precisions)
    model, results = core.Model(str(path)), {}
    for isa in core.usable_isas():
        runs = [core.Session(model, graph.name, threads, isa).run(inputs) for threads in THREADS]
        for threads, run in zip(THREADS[1:], runs[1:], strict=True):
            for name, first in runs[0].items():
                assert first.tobytes() == run[name].tobytes(), f"{isa}: {threads} threads differ from one in {name}"
        results[isa] = runs[0]
    return results


def expected(graph, inputs, precisions):
    """The evaluator's outputs, with weights as the file stores them."""
    packed = {
        name: pack_constant(array, tensor_role(graph, name), precisions.get(name, "f32"))
        for name, array in graph.constants.items()
    }
    read = as_read(graph, packed)
    stored = {name: read[name].reshape(array.shape) for name, array in graph.constants.items()}
    quantized = {name for name, precision in precisions.items() if precision in ("int8", "int4")}
    return evaluate(graph, inputs, constants=stored, quantized=quantized)


def assert_close(got, want, op, where):
    relative, absolute = TOLERANCES.get(op, (0, 0))
    assert got.dtype == want.dtype and got.shape == want.shape, f"{where}: {got.dtype} {got.shape}"
    if want.dtype == np.float32 and (relative or absolute):
        np.testing.assert_allclose(got, want, relative, absolute, err_msg=where)
    else:
        np.testing.assert_array_equal(got, want, err_msg=where)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.op}-{case.note}" for case in CASES])
def test_operator(case, tmp_path):
    graph, inputs, precisions = case.graph()
    (want,) = expected(graph, inputs, precisions).values()
    results = run_everywhere(graph, inputs, precisions, tmp_path / "case.puni")
    for isa, outputs in results.items():
        assert_close(outputs["y"], want, case.op, isa)
        if case.op not in FREE and case.attributes.get("activation", "none") in ("none", "relu"):
            np.testing.assert_array_equal(outputs["y"], results["ref"]["y"], err_msg=f"{isa} against ref")


def test_every_operator_is_covered():
    registry = (Path(__file__).parents[2] / "csrc/ops/registry.cc").read_text()
    registered = re.findall(r'^    \{"(\w+)", make_', registry, re.M)
    assert len(registered) > 50
    assert {case.op for case in CASES} == set(registered) == set(OPS)


def test_case_names_are_unique():
    names = [f"{case.op}-{case.note}" for case in CASES]
    assert len(names) == len(set(names))


def random_graph(seed: int) -> tuple[Graph, dict[str, np.ndarray]]:
    """Thirty nodes that read whatever was written before them, through views as well; a third of it are outputs."""
    random = np.random.default_rng(seed)
    graph, shape = Graph("main"), ("batch", 6, 4)
    pool = [graph.add_input("a", "float32", shape), graph.add_input("b", "float32", shape)]
    for _ in range(30):
        first, second = (pool[i] for i in random.integers(0, len(pool), 2))
        kind = random.integers(0, 4)
        if kind == 0:
            (out,) = graph.add_node("maximum", [first, second], [Value("v", "float32", shape)])
        elif kind == 1:
            (out,) = graph.add_node("sub", [first, second], [Value("v", "float32", shape)])
        elif kind == 2:
            (flat,) = graph.add_node("reshape", [first], [Value("v", "float32", ("batch", 24))], shape=["batch", 24])
            (out,) = graph.add_node("reshape", [flat], [Value("v", "float32", shape)], shape=["batch", 6, 4])
        else:
            (turned,) = graph.add_node("transpose", [first], [Value("v", "float32", ("batch", 4, 6))], perm=[0, 2, 1])
            (out,) = graph.add_node("reshape", [turned], [Value("v", "float32", shape)], shape=["batch", 6, 4])
        pool.append(out)
    graph.outputs = [name for name in pool[2:] if random.random() < 0.33] or pool[-1:]
    return graph, {name: np.asarray(random.normal(size=(3, 6, 4)), np.float32) for name in graph.inputs}


@pytest.mark.parametrize("seed", range(12))
def test_values_share_memory_only_when_they_are_dead(seed, tmp_path):
    graph, inputs = random_graph(seed)
    want = evaluate(graph, inputs)
    for isa, outputs in run_everywhere(graph, inputs, {}, tmp_path / "graph.puni").items():
        assert outputs.keys() == want.keys()
        for name in want:
            np.testing.assert_array_equal(outputs[name], want[name], err_msg=f"{isa} {name}")


def test_a_session_follows_the_sizes_of_its_inputs(tmp_path):
    graph, _ = random_graph(3)
    write_model(tmp_path / "graph.puni", [graph])
    session = core.Session(core.Model(str(tmp_path / "graph.puni")), "main", 2)
    random = np.random.default_rng(1)
    for batch in [1, 5, 0, 2, 5, 1, 7, 3, 9, 4, 11, 8, 1]:  # more sizes than plans are kept
        inputs = {name: np.asarray(random.normal(size=(batch, 6, 4)), np.float32) for name in graph.inputs}
        got, want = session.run(inputs), evaluate(graph, inputs)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


@pytest.mark.parametrize("op,bad", [("embedding", 6), ("embedding", -1), ("gather", 6), ("gather", -7)])
def test_an_index_outside_of_its_table_is_an_error_in_both(op, bad, tmp_path):
    table, ids = np.zeros((6, 4), np.float32), np.array([0, bad])
    graph, inputs, _ = op_cases.Case(op, "outside", [ids, op_cases.Fixed(table)] if op == "embedding" else
                                     [op_cases.Fixed(table), ids]).graph()  # fmt: skip
    write_model(tmp_path / "case.puni", [graph])
    session = core.Session(core.Model(str(tmp_path / "case.puni")), "main", 1)
    with pytest.raises(ValueError, match=f"index {bad}.*outside"):
        session.run(inputs)
    with pytest.raises(ValueError, match=f"node '{op}:y'"):
        evaluate(graph, inputs)


def test_an_index_outside_of_a_dimension_is_refused(tmp_path):
    graph = Graph("main")
    graph.add_input("x", "float32", ("batch", "rows", 3))
    indices = graph.add_constant("indices", np.full((4, 1), 2, np.int32))
    weights = graph.add_constant("weights", np.ones((4, 1), np.float32))
    graph.outputs = graph.add_node(
        "resample", ["x", indices, weights], [Value("y", "float32", ("batch", 4, 3))], axis=1
    )
    write_model(tmp_path / "model.puni", [graph])
    session = core.Session(core.Model(str(tmp_path / "model.puni")), "main", 1)
    assert session.run({"x": np.ones((2, 3, 3), np.float32)})["y"].shape == (2, 4, 3)
    for rows in (0, 2):
        with pytest.raises(ValueError, match=f"index 2 is outside a dimension of {rows}"):
            session.run({"x": np.ones((2, rows, 3), np.float32)})
