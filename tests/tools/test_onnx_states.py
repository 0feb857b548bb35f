"""State of ONNX models: pairs found by name and told, and samples carried from one chunk to the next."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx: pip install '.[tools]'")

from onnx_cases import Case  # noqa: E402
from pocketuni_tools.evaluate import evaluate  # noqa: E402
from pocketuni_tools.import_onnx import import_onnx  # noqa: E402
from pocketuni_tools.ir import Graph, Value  # noqa: E402
from pocketuni_tools.onnx_states import read_numbers, read_pairs, set_states  # noqa: E402


def graph_of(inputs, outputs, shape=("batch", 4)):
    """A graph that returns every input under a new name."""
    graph = Graph("main")
    for name in inputs:
        graph.add_input(name, "float32", shape)
    for name, other in zip(inputs, outputs, strict=True):
        graph.outputs += graph.add_node("neg", [name], [Value(other, "float32", shape)])
    return graph


@pytest.mark.parametrize(
    "name,other",
    [("state", "stateN"), ("conv_cache", "conv_cache_out"), ("h", "hn"), ("h0", "hn"), ("cache_in", "cache_out"),
     ("past_key_values.0.key", "present.0.key"), ("past.value", "present.value"), ("hidden", "new_hidden"),
     ("prev_frame", "next_frame"), ("input_state", "output_state")],
)  # fmt: skip
def test_names_say_what_belongs_together(name, other):
    graph = graph_of(["x", name], ["y", other])
    set_states(graph, None)
    assert graph.states == {name: other}


@pytest.mark.parametrize("inputs,outputs", [(["x", "a"], ["y", "b"]), (["state"], ["state_out"])])
def test_what_is_not_evident_is_left_alone(inputs, outputs):
    graph = graph_of(inputs, outputs)
    set_states(graph, None)
    assert graph.states == {}


def test_shapes_that_do_not_fit_are_no_pair():
    graph = graph_of(["x", "state"], ["y", "other"])
    graph.outputs += graph.add_node("reduce_sum", ["state"], [Value("state_out", "float32", ("batch",))], axes=[1])
    set_states(graph, None)
    assert graph.states == {}
    with pytest.raises(ValueError, match="cannot become"):
        set_states(graph, {"state": "state_out"})


@pytest.mark.parametrize(
    "pairs,message",
    [
        ({"z": "b"}, "inputs are x, a; outputs are y, b"),
        ({"a": "z"}, "inputs are x, a; outputs are y, b"),
        ({"a": "b", "x": "b"}, "one output cannot become two inputs"),
        ({"a": "b", "x": "y"}, "one must be given"),
    ],
)
def test_pairs_that_cannot_be_are_explained(pairs, message):
    with pytest.raises(ValueError, match=message):
        set_states(graph_of(["x", "a"], ["y", "b"]), pairs)


def test_what_is_told_on_the_command_line():
    assert read_pairs("a=b, c=d") == {"a": "b", "c": "d"} and read_pairs("none") == {}
    numbers = read_numbers(["sr=16000", "v=1,2.5"])
    assert numbers["sr"] == 16000 and numbers["v"].tolist() == [1, 2.5]
    for text in ("a", "a=", "=b", "a=b,a=c"):
        with pytest.raises(ValueError, match="INPUT=OUTPUT"):
            read_pairs(text)
    for text in ("a", "a=b", "=1"):
        with pytest.raises(ValueError, match="NAME=NUMBER"):
            read_numbers([text])


def test_samples_are_carried_to_the_next_chunk():
    model = Case("carried", "x:f[1,6]", "y = Neg(x)").model(17)
    graph = import_onnx(model, carried="x=2+4")
    assert graph.values["x"].shape == (1, 4) and graph.values["x.before"].shape == (1, 2)
    chunk, before = np.arange(4, dtype=np.float32)[None], np.array([[8, 9]], np.float32)
    out = evaluate(graph, {"x": chunk, "x.before": before})
    np.testing.assert_array_equal(out["y"], -np.array([[8, 9, 0, 1, 2, 3]], np.float32))
    np.testing.assert_array_equal(out["x.after"], [[2, 3]])


@pytest.mark.parametrize("text", ["x", "x=2", "q=2+4", "x=0+4", "x=2+"])
def test_what_cannot_be_carried_is_explained(text):
    with pytest.raises(ValueError, match="INPUT=BEFORE"):
        import_onnx(Case("carried", "x:f[1,6]", "y = Neg(x)").model(17), carried=text)
