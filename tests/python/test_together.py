"""Several towers at once: a shared backbone runs once, towers that share nothing run beside each other."""

import threading
import time

import numpy as np
import pytest
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.pack import pack_main
from pocketuni_tools.writer import write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

import pocketuni  # noqa: E402

WIDTH, LAYERS = 384, 6
_random = np.random.default_rng(11)
ENCODER = [np.asarray(_random.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5, np.float32) for _ in range(LAYERS)]


def encoder(graph: Graph, weights, batch="batch") -> str:
    """Layers over rows of `x`, named as this graph names them."""
    value = "x"
    for layer, array in enumerate(weights):
        weight = graph.add_constant(f"{graph.name}.w{layer}", array)
        out = Value(f"{graph.name}.h{layer}", "float32", (batch, WIDTH))
        (value,) = graph.add_node("linear", [value, weight], [out], activation="relu")
    return value


def model_with_head(path, name: str, outputs: int, weights=ENCODER, before=False) -> None:
    """An encoder and a head of its own; with `before`, another input comes first, so that dimensions are numbered in
    another order."""
    graph = Graph("main")
    if before:
        graph.add_input("other", "float32", ("rows", outputs))
    graph.add_input("x", "float32", ("batch", WIDTH))
    head = np.random.default_rng(outputs).normal(size=(outputs, WIDTH)).astype(np.float32)
    value = encoder(graph, weights)
    (lines,) = graph.add_node("reshape", [value], [Value("lines", "float32", ("batch", 2, WIDTH // 2))],
                              shape=["batch", 2, WIDTH // 2])  # fmt: skip
    (value,) = graph.add_node("reshape", [lines], [Value("flat", "float32", ("batch", WIDTH))],
                              shape=["batch", WIDTH])  # fmt: skip
    weight = graph.add_constant("head", head)
    graph.outputs = graph.add_node("linear", [value, weight], [Value("y", "float32", ("batch", outputs))])
    if before:
        (z,) = graph.add_node("neg", ["other"], [Value("z", "float32", ("rows", outputs))])
        graph.outputs = [*graph.outputs, z]
    write_model(path, [graph], precisions={f"main.w{layer}": "int8" for layer in range(LAYERS)})


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Two models over one encoder and one over another, packed into a file: path, and sizes of the parts."""
    folder = tmp_path_factory.mktemp("together")
    other = [np.asarray(array[::-1], np.float32) for array in ENCODER]
    model_with_head(folder / "labels.puni", "labels", 10)
    model_with_head(folder / "vector.puni", "vector", 64, before=True)
    model_with_head(folder / "apart.puni", "apart", 10, weights=other)
    paths = {name: folder / f"{name}.puni" for name in ("labels", "vector", "apart")}
    assert pack_main([*map(str, paths.values()), "-o", str(folder / "all.puni")]) == 0
    assert pack_main([str(paths["labels"]), str(paths["vector"]), "-o", str(folder / "two.puni")]) == 0
    return folder


def given(rows: int = 40) -> dict:
    x = np.random.default_rng(rows).normal(size=(rows, WIDTH)).astype(np.float32)
    return {"labels": {"x": x}, "vector": {"other": np.ones((3, 64), np.float32), "x": x.copy()}, "apart": {"x": x}}


def assert_equal_runs(model, inputs):
    got = model.run_many(inputs)
    assert list(got) == list(inputs)
    for name, arrays in inputs.items():
        want = model.towers[name].run(**arrays)
        assert got[name].keys() == want.keys()
        for output in want:
            np.testing.assert_array_equal(got[name][output], want[output])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_are_those_of_each_tower(packed, threads):
    with pocketuni.Model(packed / "all.puni", threads=threads) as model:
        inputs = given()
        for _ in range(10):  # both ways are tried, then one is chosen
            assert_equal_runs(model, inputs)
        for rows in (1, 0, 300):
            assert_equal_runs(model, given(rows))
        for names in (["vector", "labels"], ["apart"], ["labels", "apart"]):
            assert_equal_runs(model, {name: inputs[name] for name in names})
        different = {**inputs, "labels": {"x": inputs["labels"]["x"] + 1}}
        assert_equal_runs(model, different)
    assert pocketuni.Model(packed / "all.puni").run_many({}) == {}


def runs_of_encoder(model, inputs) -> list[int]:
    """Per tower, how many layers of the encoder one call computes for it."""
    together = model._together.of(model._core, tuple(inputs))
    together.set_profiling(True)
    model.run_many(inputs)
    counts = [sum(entry["runs"] for entry in tower if ".h" in entry["name"]) for tower in together.profile()]
    together.set_profiling(False)
    return counts


def test_a_shared_encoder_runs_once(packed):
    with pocketuni.Model(packed / "all.puni", threads=1) as model:
        inputs = given()
        assert runs_of_encoder(model, inputs) == [LAYERS, 0, LAYERS]
        inputs["vector"]["x"] = inputs["vector"]["x"] + 1  # other inputs: nothing is shared
        assert runs_of_encoder(model, inputs) == [LAYERS, LAYERS, LAYERS]


def test_a_pack_is_as_large_as_its_parts_without_what_they_share(packed):
    with pocketuni.Model(packed / "two.puni") as model, pocketuni.Model(packed / "labels.puni") as one:
        shared = sum(tensor["size"] for tensor in one.tensors() if ".w" in tensor["name"])
        weights = [tensor["name"] for tensor in model.tensors() if ".w" in tensor["name"]]
    assert len(weights) == LAYERS
    sizes = [(packed / f"{name}.puni").stat().st_size for name in ("labels", "vector", "two")]
    assert sizes[2] == pytest.approx(sizes[0] + sizes[1] - shared, rel=0.01)


def seconds(function, rounds=5) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def test_running_both_costs_one_run_of_the_encoder(packed):
    """Measured side by side, the best of several rounds each; other programs may take the CPU, so there are tries."""
    with pocketuni.Model(packed / "two.puni", threads=1) as model:
        inputs = {name: arrays for name, arrays in given(256).items() if name != "apart"}
        for attempt in range(6):
            together = seconds(lambda: model.run_many(inputs))
            alone = seconds(lambda: model.towers["vector"].run(**inputs["vector"]))
            if together < 1.35 * alone:
                return
            time.sleep(0.2 * attempt)
    pytest.fail(f"both towers take {together * 1e3:.1f} ms, one alone {alone * 1e3:.1f} ms")


def resident_kb() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_an_unused_tower_costs_no_memory(tmp_path):
    small, large = Graph("small"), Graph("large")
    for graph, width in ((small, 64), (large, 4096)):
        graph.add_input("x", "float32", ("batch", width))
        weight = graph.add_constant(f"{graph.name}.w", np.ones((width, width), np.float32))
        graph.outputs = graph.add_node("linear", ["x", weight], [Value("y", "float32", ("batch", width))])
    write_model(tmp_path / "both.puni", [small, large])  # 64 MB of weights that nobody asks for
    before = resident_kb()
    with pocketuni.Model(tmp_path / "both.puni", threads=1) as model:
        model.run_many({"small": {"x": np.ones((1, 64), np.float32)}})
        assert resident_kb() - before < 4096
        model.towers["large"].run(x=np.ones((1, 4096), np.float32))
        assert resident_kb() - before > 60000  # the weights, mapped: the measure sees them


def test_what_is_wrong_is_explained(packed):
    model = pocketuni.Model(packed / "all.puni", threads=2)
    inputs = given(2)
    with pytest.raises(ValueError, match="no tower 'nobody'; it has: labels, vector, apart"):
        model.run_many({"nobody": {}})
    with pytest.raises(ValueError, match="tower 'labels': input 'x' is missing"):
        model.run_many({"labels": {}})
    with pytest.raises(ValueError, match="tower 'labels' takes 1 inputs, got 2"):
        model.run_many({"labels": {**inputs["labels"], "y": 1}})
    with pytest.raises(ValueError, match="tower 'labels', input 'x': dimension 1 is 5, expected 384"):
        model.run_many({**inputs, "labels": {"x": np.ones((1, 5), np.float32)}})
    for wrong in (3, {"labels": 3}, ["labels"]):
        with pytest.raises(TypeError, match="run_many takes a dict"):
            model.run_many(wrong)
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.run_many(inputs)


def test_threads_may_share_a_model(packed):
    faults = []
    with pocketuni.Model(packed / "all.puni", threads=2) as model:
        wanted = {rows: model.run_many(given(rows)) for rows in (1, 7)}

        def work(rows):
            for _ in range(20):
                got = model.run_many(given(rows))
                if any((got[name]["y"] != wanted[rows][name]["y"]).any() for name in got):
                    faults.append(rows)

        workers = [threading.Thread(target=work, args=(rows,)) for rows in (1, 7, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not faults
