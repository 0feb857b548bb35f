"""The example in docs/format.md is the file that the writer writes and the reader reads."""

import re
from pathlib import Path

import numpy as np
import pytest
from golden import make

PAGE = (Path(__file__).parents[2] / "docs/format.md").read_text(encoding="utf-8")
LINE = re.compile(r"([0-9a-f]{4})  (?:00 x (\d+)|((?:[0-9a-f]{2} ?)+?))(?:  .*)?")


def listing():
    """(offset, bytes) of each line of the example."""
    block = PAGE.split("\n## An example\n")[1].split("```")[1]
    for line in block.splitlines():
        if not line or line.startswith("-- "):
            continue
        match = LINE.fullmatch(line)
        assert match, f"not a line of the listing: {line!r}"
        offset, zeros, digits = match.groups()
        yield int(offset, 16), bytes(int(zeros)) if zeros else bytes.fromhex(digits)


@pytest.fixture(scope="module")
def page_bytes():
    data = b""
    for offset, part in listing():
        assert offset == len(data), f"{offset:#06x} follows {len(data):#06x}"
        data += part
    return data


def test_the_writer_gives_the_bytes_of_the_page(page_bytes, tmp_path):
    make.minimal().write(tmp_path / "minimal.puni")
    assert (tmp_path / "minimal.puni").read_bytes() == page_bytes
    assert (make.FOLDER / "minimal.puni").read_bytes() == page_bytes


def test_the_reader_reads_the_bytes_of_the_page(page_bytes, tmp_path):
    core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")
    path = tmp_path / "page.puni"
    path.write_bytes(page_bytes)
    model = core.Model(str(path))
    assert model.verify_weights() == []
    assert model.inputs("twice") == [("x", "float32", ("n",))]
    result = core.Session(model, "twice").run({"x": np.array([-1, 0.5, 3], np.float32)})
    np.testing.assert_array_equal(result["y"], np.array([0, 1, 6], np.float32))


def test_every_operator_on_the_page_is_in_the_writer_and_back():
    ir = pytest.importorskip("pocketuni_tools.ir")
    rows = PAGE.split("\n## Operators\n")[1].split("\n## ")[0]
    named = set()
    for row in re.findall(r"^\| (`[^|]*) \|", rows, re.M):
        named.update(re.findall(r"\w+", row.replace("`", " ")))
    assert named == ir.OPS.keys()
