"""What a model makes of vectors is made up for in the head that gives them."""

import numpy as np
import pytest

for package in ("torch", "scipy", "soundfile", "tqdm"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import compensate, voice_space  # noqa: E402
from pocketuni_tools.ir import Graph, Value  # noqa: E402
from pocketuni_tools.pack import write  # noqa: E402
from pocketuni_tools.reader import read_model  # noqa: E402
from pocketuni_tools.writer import write_model  # noqa: E402

import pocketuni  # noqa: E402

SIZE, TEACHER, TOLD = voice_space.SIZE, voice_space.TEACHER, compensate.TOLD


@pytest.fixture
def file(tmp_path):
    """A head that only divides what it is given by its length."""
    graph = Graph(compensate.HEAD)
    graph.add_input("stats", "float32", (1, SIZE))
    zero = graph.add_constant("zero", np.zeros(1, np.float32))
    parts = graph.add_node("add", ["stats", zero], [Value("parts", "float32", (1, SIZE))])
    graph.outputs = graph.add_node("l2_normalize", parts, [Value("speaker", "float32", (1, SIZE))], eps=1e-12)
    write_model(tmp_path / "voice.puni", [graph], precisions={}, meta={"name": "test", "licence": "none"})
    return tmp_path / "voice.puni"


def head(path, parts):
    tower = pocketuni.Model(path, threads=1).towers[compensate.HEAD]
    return tower.run(stats=parts[None].astype(np.float32))["speaker"][0]


def test_the_head_adds_what_the_map_tells_and_can_be_had_without(file, tmp_path):
    random = np.random.default_rng(0)
    weight, bias, parts = (
        0.05 * random.standard_normal((TEACHER, TOLD)),
        random.standard_normal(TEACHER),
        random.random(SIZE),
    )
    wanted = parts.copy()
    wanted[:TEACHER] += weight @ parts[:TOLD] + bias
    write(tmp_path / "better.puni", compensate.compensated(read_model(file), weight, bias))
    np.testing.assert_allclose(head(tmp_path / "better.puni", parts), wanted / np.linalg.norm(wanted), atol=1e-6)
    again = compensate.compensated(compensate.without(read_model(tmp_path / "better.puni")), 0 * weight, 0 * bias)
    assert sum(node.op == "linear" for node in again.towers[0].nodes) == 1
    write(tmp_path / "plain.puni", compensate.without(again))
    assert (tmp_path / "plain.puni").read_bytes() == file.read_bytes()
    np.testing.assert_allclose(head(tmp_path / "plain.puni", parts), parts / np.linalg.norm(parts), atol=1e-6)


def test_a_file_without_a_head_is_refused(tmp_path):
    graph = Graph("other")
    graph.add_input("x", "float32", (1, 4))
    graph.outputs = graph.add_node("relu", ["x"], [Value("y", "float32", (1, 4))])
    write_model(tmp_path / "other.puni", [graph], precisions={}, meta={"name": "test", "licence": "none"})
    with pytest.raises(ValueError, match="expected a tower 'voice.speaker_head'"):
        compensate.without(read_model(tmp_path / "other.puni"))


def test_the_map_is_found_again_and_noise_is_not_explained():
    random = np.random.default_rng(1)
    told = random.standard_normal((400, SIZE))
    weight, bias = 0.3 * random.standard_normal((TEACHER, TOLD)), random.standard_normal(TEACHER)
    missing = told[:, :TOLD] @ weight.T + bias
    found, offset = compensate.fit(told, missing)
    np.testing.assert_allclose(found, weight, atol=0.05)
    np.testing.assert_allclose(offset, bias, atol=0.1)
    assert compensate.explained(told, missing) > 0.99
    assert compensate.explained(told, random.standard_normal((400, TEACHER))) < 0
