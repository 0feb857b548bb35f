"""Towers with state as streams: what a run leaves is what the next one takes."""

import numpy as np
import pocketuni_tools.writer as writer
import pytest
from pocketuni_tools.ir import Graph, Value

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

import pocketuni  # noqa: E402


def counter(batch: int | str = "batch") -> Graph:
    """total = before + x; y = total * 2; a second tower output shows what came in."""
    graph = Graph("sum")
    graph.add_input("x", "float32", (batch, 3))
    graph.add_input("before", "float32", (batch, 3))
    (total,) = graph.add_node("add", ["x", "before"], [Value("after", "float32", (batch, 3))])
    two = graph.add_constant("two", np.float32(2))
    (y,) = graph.add_node("mul", [total, two], [Value("y", "float32", (batch, 3))])
    graph.outputs = [y, total]
    graph.states = {"before": total}
    return graph


@pytest.fixture
def model(tmp_path):
    writer.write_model(tmp_path / "sum.puni", [counter()])
    with pocketuni.Model(tmp_path / "sum.puni", threads=1) as opened:
        yield opened


def test_a_stream_keeps_its_state_and_starts_anew(model):
    tower = model.towers["sum"]
    assert tower.states == {"before": "after"}
    stream, chunks = tower.stream(), np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    assert stream.inputs == ("x",)
    for _ in range(2):
        for step, chunk in enumerate(chunks):
            got = stream.run(chunk)
            assert got.keys() == {"y"}
            np.testing.assert_array_equal(got["y"], 2 * chunks[: step + 1].sum(0))
        stream.reset()
    np.testing.assert_array_equal(stream.run(x=chunks[2])["y"], 2 * chunks[2])


def test_streams_are_independent_of_each_other(model):
    first, second = (model.towers["sum"].stream() for _ in range(2))
    ones = np.ones((2, 3), np.float32)
    for step in range(1, 4):
        np.testing.assert_array_equal(first.run(ones)["y"], 2 * step * ones)
    np.testing.assert_array_equal(second.run(5 * ones)["y"], 10 * ones)


def test_the_sizes_of_a_stream_stay(model):
    stream = model.towers["sum"].stream()
    stream.run(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match="dimension 'batch' is 2, but 'x' gave 4|'batch' is 4, but"):
        stream.run(np.ones((4, 3), np.float32))
    np.testing.assert_array_equal(stream.run(np.ones((2, 3), np.float32))["y"], 4 * np.ones((2, 3)))
    stream.reset()
    assert stream.run(np.ones((4, 3), np.float32))["y"].shape == (4, 3)


def test_wrong_inputs_are_explained(model):
    stream = model.towers["sum"].stream()
    with pytest.raises(ValueError, match="input 'x' is missing"):
        stream.run()
    with pytest.raises(ValueError, match="takes 1 inputs besides its state"):
        stream.run(x=np.ones((1, 3), np.float32), before=np.ones((1, 3), np.float32))


def test_a_first_step_that_fails_leaves_no_trace(model):
    stream = model.towers["sum"].stream()
    with pytest.raises(ValueError, match="expected 3"):
        stream.run(np.ones((4, 2), np.float32))
    assert stream.run(np.ones((2, 3), np.float32))["y"].shape == (2, 3)


def test_such_a_tower_runs_as_a_whole_too(model):
    ones = np.ones((1, 3), np.float32)
    got = model.towers["sum"].run(x=ones, before=3 * ones)
    np.testing.assert_array_equal(got["after"], 4 * ones)


@pytest.mark.parametrize(
    "pairs,message",
    [
        ([(1, 1, 1)], "names tower 1, the file has 1"),
        ([(0, 2, 1)], "input 2 or output 1 is not one of tower 'sum'"),
        ([(0, 1, 7)], "input 1 or output 7 is not one of tower 'sum'"),
        ([(0, 1, 1), (0, 0, 1)], "is in two pairs"),
    ],
)
def test_pairs_that_cannot_be_are_refused(pairs, message, tmp_path, monkeypatch):
    data = np.array([len(pairs), *np.reshape(pairs, -1)], "<u4").tobytes()
    monkeypatch.setattr(writer, "encode_states", lambda towers: data)
    writer.write_model(tmp_path / "bad.puni", [counter()])
    with pytest.raises(pocketuni.ModelFileError, match=message):
        pocketuni.Model(tmp_path / "bad.puni")


def test_pairs_that_do_not_fit_are_refused(tmp_path):
    graph = Graph("main")
    graph.add_input("x", "float32", (1, 3))
    graph.add_input("before", "float32", (1, 4))
    graph.outputs = graph.add_node("neg", ["x"], [Value("after", "float32", (1, 3))])
    graph.states = {"before": "after"}
    writer.write_model(tmp_path / "bad.puni", [graph])
    with pytest.raises(pocketuni.ModelFileError, match="output 'after' does not fit input 'before'"):
        pocketuni.Model(tmp_path / "bad.puni")
    graph.states = {"before": "nothing"}
    with pytest.raises(ValueError, match="is not an input and an output"):
        writer.write_model(tmp_path / "bad.puni", [graph])


def test_a_cut_off_section_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "encode_states", lambda towers: np.array([9, 0, 1, 1], "<u4").tobytes())
    writer.write_model(tmp_path / "bad.puni", [counter()])
    with pytest.raises(pocketuni.ModelFileError, match="STAT"):
        pocketuni.Model(tmp_path / "bad.puni")
