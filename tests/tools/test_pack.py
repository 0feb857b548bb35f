"""Files read back as they were written; towers of several files in one, and out of it again."""

import numpy as np
import pytest
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.pack import merge, pack_main, pick, unpack_main
from pocketuni_tools.reader import read_model
from pocketuni_tools.writer import write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

import pocketuni  # noqa: E402

_random = np.random.default_rng(3)
SHARED = np.asarray(_random.normal(size=(64, 64)), np.float32)


def tower(name: str, head: int, state: bool = False) -> Graph:
    """x @ shared.T @ a head of its own; with `state`, what came before is added."""
    graph = Graph(name)
    graph.add_input("x", "float32", ("batch", 64))
    backbone = graph.add_constant("backbone", SHARED)
    own = graph.add_constant("head", np.full((8, 64), head, np.float32))
    (y,) = graph.add_node("linear", ["x", backbone], [Value("inner", "float32", ("batch", 64))], activation="relu")
    (y,) = graph.add_node("linear", [y, own], [Value("y", "float32", ("batch", 8))])
    graph.outputs = [y]
    if state:
        graph.add_input("before", "float32", ("batch", 8))
        graph.outputs = [*graph.add_node("add", [y, "before"], [Value("sum", "float32", ("batch", 8))]), y]
        graph.states = {"before": "sum"}
    return graph


@pytest.fixture
def files(tmp_path):
    for name, head, state in (("first", 1, False), ("second", 2, True)):
        meta = {"name": name, "licence": "MIT", "towers": {"main": {"labels": [name]}}}
        write_model(tmp_path / f"{name}.puni", [tower("main", head, state)], precisions={"backbone": "int8"}, meta=meta,
                    blobs={f"{name}.txt": name.encode()})  # fmt: skip
    return tmp_path


def run(path, name, **arrays):
    with pocketuni.Model(path, threads=1) as model:
        return model.towers[name].run(**arrays)


def test_a_file_reads_back_as_it_was_written(files):
    contents = read_model(files / "second.puni")
    write_model(files / "again.puni", contents.towers, meta=contents.meta, blobs=contents.blobs, packed=contents.packed)
    assert (files / "again.puni").read_bytes() == (files / "second.puni").read_bytes()


def test_packed_towers_share_what_is_equal(files):
    assert pack_main([str(files / "first.puni"), str(files / "second.puni"), "-o", str(files / "all.puni")]) == 0
    first, second, both = (files / f"{name}.puni" for name in ("first", "second", "all"))
    shared = len(read_model(first).packed["backbone"].data)
    assert both.stat().st_size < first.stat().st_size + second.stat().st_size - shared + 1024
    x, before = np.asarray(_random.normal(size=(3, 64)), np.float32), np.ones((3, 8), np.float32)
    np.testing.assert_array_equal(run(both, "first", x=x)["y"], run(first, "main", x=x)["y"])
    got, want = run(both, "second", x=x, before=before), run(second, "main", x=x, before=before)
    np.testing.assert_array_equal(got["sum"], want["sum"])
    with pocketuni.Model(both) as model:
        assert model.towers["second"].states == {"before": "sum"}
        assert model.meta["towers"]["first"]["labels"] == ["first"]
        assert model.blob("second.txt") == b"second"


def test_an_unpacked_tower_is_what_it_was(files):
    pack_main([str(files / "first.puni"), str(files / "second.puni"), "-o", str(files / "all.puni")])
    assert unpack_main([str(files / "all.puni"), "first", "-o", str(files / "one.puni")]) == 0
    x = np.asarray(_random.normal(size=(2, 64)), np.float32)
    np.testing.assert_array_equal(
        run(files / "one.puni", "first", x=x)["y"], run(files / "first.puni", "main", x=x)["y"]
    )
    assert (files / "one.puni").stat().st_size < (files / "all.puni").stat().st_size


def test_what_cannot_be_packed_is_explained(files, capsys):
    first = read_model(files / "first.puni")
    with pytest.raises(ValueError, match="two towers are called 'same'"):
        merge([("same", first), ("same", read_model(files / "second.puni"))])
    with pytest.raises(ValueError, match="no tower 'third'; towers are first"):
        pick(merge([("first", read_model(files / "first.puni"))]), ["third"])
    assert pack_main([str(files / "absent.puni"), "-o", str(files / "x.puni")]) == 1
    assert "absent.puni" in capsys.readouterr().err


def test_broken_files_are_refused(files):
    data = (files / "first.puni").read_bytes()
    for bad in (b"", data[:100], data[:-1], b"x" + data[1:], data[:400] + bytes([data[400] ^ 1]) + data[401:]):
        (files / "bad.puni").write_bytes(bad)
        with pytest.raises(ValueError, match="bad.puni"):
            read_model(files / "bad.puni")
