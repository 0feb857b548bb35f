"""examples/run_tower.c, built as a stranger would: find_package(pocketuni) on an installed prefix."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from golden import make
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run_tower(cmake, installed, tmp_path_factory):
    """Runs the example; gives its exit code, output lines and stderr."""
    build = tmp_path_factory.mktemp("consumer")
    source = ROOT / "tests/api/consumer"
    cmake("-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={installed}", f"-DEXAMPLE={ROOT}/examples/run_tower.c")
    cmake("--build", build)

    def run(*arguments):
        command = [str(build / "run_tower"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout.splitlines(), done.stderr.strip()

    return run


def test_results_equal_those_of_python(run_tower):
    path = make.FOLDER / "text.puni"
    code, lines, errors = run_tower(path, "text", "input_ids=2,4,5,6,3", "attention_mask=1,1,1,1,1")
    assert (code, errors, len(lines)) == (0, "", 1)
    assert lines[0].startswith("embedding [1, 32] ")
    got = np.array(lines[0].split("] ")[1].split(), np.float32)
    inputs = {"input_ids": [[2, 4, 5, 6, 3]], "attention_mask": [[1] * 5]}
    want = pocketuni.Model(path).towers["text"].run(**inputs)["embedding"]
    assert got.tobytes() == want[0].tobytes()


def test_other_dtypes_are_printed(run_tower, tmp_path):
    graph = Graph("count")
    x = graph.add_input("x", "int64", (1, "n"))
    for dtype in ("int32", "bool"):
        graph.outputs += graph.add_node("cast", [x], [Value(f"as_{dtype}", dtype, (1, "n"))], to=dtype)
    (real,) = graph.add_node("cast", [x], [Value("real", "float32", (1, "n"))], to="float32")
    graph.outputs += graph.add_node("neg", [real], [Value("negative", "float32", (1, "n"))])
    write_model(tmp_path / "count.puni", [graph])
    code, lines, _ = run_tower(tmp_path / "count.puni", "count", "x=3,0,-2")
    assert code == 0
    assert lines == ["as_int32 [1, 3] 3 0 -2", "as_bool [1, 3] 1 0 1", "negative [1, 3] -3 -0 2"]


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        ([], 2, "usage: run_tower"),
        (["missing.puni", "text"], 1, "missing.puni: No such file or directory"),
        (["MODEL", "speech"], 1, "has no tower 'speech'; it has: text"),
        (["MODEL", "text", "ids=1"], 1, "has no input 'ids'; there are: input_ids, attention_mask"),
        (["MODEL", "text", "input_ids=1"], 1, "input 'attention_mask' was not set"),
        (
            ["MODEL", "text", "input_ids=1,2", "attention_mask=1"],
            1,
            "dimension 'sequence' is 1, but 'input_ids' gave 2",
        ),
        (["MODEL", "text", "input_ids=999", "attention_mask=1"], 1, "index 999 is outside its table of 21 rows"),
        (["MODEL", "text", "input_ids"], 2, "not NAME=NUMBER"),
        (["MODEL", "text", "input_ids=one"], 2, "not a number: one"),
    ],
)
def test_faults_are_told(run_tower, arguments, code, text):
    model = make.FOLDER / "text.puni"
    got_code, lines, errors = run_tower(*[model if argument == "MODEL" else argument for argument in arguments])
    assert (got_code, lines) == (code, [])
    assert text in errors
