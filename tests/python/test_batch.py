"""Batches that run in parts: the same bits as each element alone, and graphs that mix elements stay whole."""

import numpy as np
import pytest
from golden import make
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

WIDTH, WORDS = 192, 50
SHAPE = ("batch", "time", WIDTH)


def node(graph, op, operands, name, shape=SHAPE, **attributes):
    return graph.add_node(op, operands, [Value(name, "float32", shape)], **attributes)[0]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Embedding, products in three precisions, masked attention, norm, pooling: two outputs."""
    graph = Graph("encoder")
    ids, mask = (graph.add_input(name, "int64", ("batch", "time")) for name in ("ids", "mask"))
    table = graph.add_constant("table", make.numbers(0, WORDS, WIDTH))
    x, precisions = node(graph, "embedding", [ids, table], "x"), {}
    for layer, precision in enumerate(("int8", "int4", "f32")):
        weight = graph.add_constant(f"weight{layer}", make.numbers(layer, WIDTH, WIDTH) / 8)
        precisions[weight] = precision
        x = node(graph, "linear", [x, weight], f"h{layer}", activation="gelu")
    x = node(graph, "attention", [x, x, x, mask], "mixed", heads=4)
    x = node(graph, "layer_norm", [x], "rows", eps=1e-5)
    graph.outputs = [x, node(graph, "pool", [x, mask], "pooled", ("batch", WIDTH), mode="mean")]
    path = tmp_path_factory.mktemp("batch") / "encoder.puni"
    write_model(path, [graph], precisions=precisions)
    return path


def feed(batch, time):
    generator = np.random.default_rng(batch)
    ids = generator.integers(0, WORDS, (batch, time))
    return {"ids": ids, "mask": (np.arange(time) < generator.integers(1, time + 1, (batch, 1))).astype(np.int64)}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch, time", [(2, 500), (7, 130), (13, 96), (40, 9), (300, 1)])
def test_a_batch_gives_what_its_elements_give_alone(encoder, threads, batch, time):
    tower = pocketuni.Model(encoder, threads=threads).towers["encoder"]
    inputs = feed(batch, time)
    whole = tower.run(**inputs)
    for i in range(0, batch, 1 + batch // 13):
        alone = tower.run(**{name: array[i : i + 1] for name, array in inputs.items()})
        for name in ("rows", "pooled"):
            assert whole[name][i : i + 1].tobytes() == alone[name].tobytes(), (name, i)


def test_memory_is_that_of_the_parts(encoder):
    """64 sequences take less memory than all of their activations at once (25 MB each)."""
    tower = pocketuni.Model(encoder, threads=1).towers["encoder"]
    inputs = feed(64, 512)
    result_bytes = sum(array.nbytes for array in tower.run(**inputs).values())
    resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096  # noqa: E731, SIM115
    tower = pocketuni.Model(encoder, threads=1).towers["encoder"]
    before = resident()
    results = tower.run(**inputs)
    assert resident() - before < 2 * result_bytes + 12e6
    assert results["rows"].shape == (64, 512, WIDTH)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fault_in_one_part_is_the_runs_fault(encoder, threads):
    tower = pocketuni.Model(encoder, threads=threads).towers["encoder"]
    inputs = feed(12, 128)
    want = tower.run(**inputs)["pooled"].tobytes()
    wrong = dict(inputs, ids=inputs["ids"].copy())
    wrong["ids"][7, 3] = WORDS
    with pytest.raises(ValueError, match="outside its table of 50"):
        tower.run(**wrong)
    assert tower.run(**inputs)["pooled"].tobytes() == want


def mixed_by_a_sum(graph, x):
    total = node(graph, "reduce_sum", [x], "total", (1, "time", WIDTH), axes=[0], keepdims=True)
    return node(graph, "add", [x, total], "y")


def mixed_by_softmax(graph, x):
    return node(graph, "softmax", [x], "y", axis=0)


def mixed_by_order(graph, x):
    turned = node(graph, "transpose", [x], "turned", ("time", "batch", WIDTH), perm=[1, 0, 2])
    weight = graph.add_constant("weight", make.numbers(1, WIDTH, WIDTH) / 8)
    turned = node(graph, "linear", [turned, weight], "turned2", ("time", "batch", WIDTH))
    return node(graph, "attention", [turned, turned, turned], "y", ("time", "batch", WIDTH), heads=2)


def mixed_by_place(graph, x):
    return node(graph, "concat", [x, x], "y", ("rows", "time", WIDTH), axis=0)


@pytest.mark.parametrize("mix", [mixed_by_a_sum, mixed_by_softmax, mixed_by_order, mixed_by_place])
def test_graphs_that_mix_elements_run_whole(mix, tmp_path):
    graph = Graph("mixer")
    x = graph.add_input("x", "float32", SHAPE)
    graph.outputs = [mix(graph, x)]
    for value in graph.values.values():
        value.shape = tuple(None if dim == "rows" else dim for dim in value.shape)
    path = tmp_path / "mixer.puni"
    write_model(path, [graph])
    inputs = {"x": make.numbers(5, 9, 140, WIDTH)}
    got = pocketuni.Model(path, threads=2).towers["mixer"].run(**inputs)["y"]
    np.testing.assert_allclose(got, evaluate(graph, inputs)["y"], rtol=2e-4, atol=2e-4)
