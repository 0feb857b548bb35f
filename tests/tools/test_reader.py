"""Model files read back and written again."""

from pathlib import Path

import pytest
from pocketuni_tools.reader import read_model
from pocketuni_tools.writer import write_model

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.puni"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_is_written_again_holds_the_same(path, tmp_path):
    first = read_model(path)
    write_model(tmp_path / "copy.puni", first.towers, meta=first.meta, blobs=first.blobs, packed=first.packed)
    again = read_model(tmp_path / "copy.puni")
    assert again.meta == first.meta and again.blobs == first.blobs
    for graph, other in zip(first.towers, again.towers, strict=True):
        assert (graph.nodes, graph.values, graph.inputs, graph.outputs) == (
            other.nodes,
            other.values,
            other.inputs,
            other.outputs,
        )
        for name in graph.constants:
            assert again.packed[name] == first.packed[name]
