"""Every node test of onnx of every operator that is claimed, and the table of docs/onnx.md."""

import re

import pytest

pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("pocketuni._core", reason="the extension module is not built")

import onnx  # noqa: E402
import onnx_node_tests as node_tests  # noqa: E402


@pytest.fixture(scope="module")
def found():
    return node_tests.results()


def test_no_result_is_wrong(found):
    wrong = {f"{op} {name}": text for op, result in found.items() for name, text in result.wrong.items()}
    assert not wrong, "\n".join(f"{name}: {text}" for name, text in wrong.items())


def test_enough_operators_pass_all_of_their_tests(found):
    assert sum(result.claimed for result in found.values()) >= node_tests.CLAIMED_LEAST


def test_the_page_tells_what_was_found(found):
    text = node_tests.TABLE.read_text()
    if f"With onnx {onnx.__version__}," in text:
        assert text == node_tests.written(text, found), "run python tests/tools/onnx_node_tests.py"
    else:  # another version brings other tests: what the page claims must hold all the same
        claimed = re.findall(r"^\| `(\w+)` \| \d+ \| \|$", text, re.M)
        assert len(claimed) >= node_tests.CLAIMED_LEAST
        assert [op for op in claimed if op in found and not found[op].claimed] == []
