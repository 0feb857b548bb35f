"""Model files read back: a copy is equal byte for byte, and what is no model is refused by name."""

from pathlib import Path

import pytest
from pocketuni_tools.reader import read_model
from pocketuni_tools.writer import write_model

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.puni"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_copy_is_equal(path, tmp_path):
    stored = read_model(path)
    write_model(tmp_path / "copy.puni", stored.graphs, meta=stored.meta, blobs=stored.blobs, packed=stored.packed)
    assert (tmp_path / "copy.puni").read_bytes() == path.read_bytes()


def test_graphs_keep_their_rules():
    for path in GOLDEN:
        for graph in read_model(path).graphs:
            graph.check()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: b"GGUF" + data[4:], "not a .puni file"),
        (lambda data: data[:8] + b"\x09\x00" + data[10:], "format version 9"),
        (lambda data: data[:400] + bytes([data[400] ^ 1]) + data[401:], "hash is wrong"),
        (lambda data: data[:30], "unpack_from requires"),
        (lambda data: b"", "not a .puni file"),
    ],
)
def test_other_bytes_are_refused(tmp_path, change, message):
    path = tmp_path / "bad.puni"
    path.write_bytes(change((Path(__file__).parents[1] / "golden/minimal.puni").read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
