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
    name, *numbers = lines[0].split()
    assert (name, len(numbers)) == ("embedding", 32)
    got = np.array(numbers, np.float32)
    inputs = {"input_ids": [[2, 4, 5, 6, 3]], "attention_mask": [[1] * 5]}
    want = pocketuni.Model(path).towers["text"].run(**inputs)["embedding"]
    assert got.tobytes() == want[0].tobytes()


def test_numbers_of_any_size(run_tower, tmp_path):
    graph = Graph("count")
    x = graph.add_input("x", "int64", (1, "n"))
    (real,) = graph.add_node("cast", [x], [Value("real", "float32", (1, "n"))], to="float32")
    graph.outputs += graph.add_node("neg", [real], [Value("negative", "float32", (1, "n"))])
    graph.outputs += graph.add_node("cast", [x], [Value("whole", "int32", (1, "n"))], to="int32")
    write_model(tmp_path / "count.puni", [graph])
    code, lines, errors = run_tower(tmp_path / "count.puni", "count", "x=3,0,-2147483648")
    assert (code, lines) == (1, ["negative -3 -0 2.14748365e+09"])
    assert errors == "run_tower: not a float32 output: whole"
    many = "x=" + ",".join(["1"] * 40000)  # one argument may have 128 KiB
    code, lines, errors = run_tower(tmp_path / "count.puni", "count", many, many)
    assert (code, lines, errors) == (1, [], "run_tower: too many numbers for x")


@pytest.mark.parametrize(
    "arguments, text",
    [
        ([], "usage: run_tower"),
        (["missing.puni", "text"], "missing.puni: No such file or directory"),
        (["MODEL", "speech"], "has no tower 'speech'; it has: text"),
        (["MODEL", "text", "ids=1"], "has no input 'ids'; there are: input_ids, attention_mask"),
        (["MODEL", "text", "input_ids=1"], "input 'attention_mask' was not set"),
        (
            ["MODEL", "text", "input_ids=1,2", "attention_mask=1"],
            "dimension 'sequence' is 1, but 'input_ids' gave 2",
        ),
        (["MODEL", "text", "input_ids=999", "attention_mask=1"], "index 999 is outside its table of 21 rows"),
        (["MODEL", "text", "input_ids"], "not NAME=NUMBER"),
        (["MODEL", "text", "input_ids=one"], "not a number: one"),
        (["MODEL", "text", "input_ids="], "not a number:"),
        (["MODEL", "text", "input_ids=1,,2"], "not a number: ,2"),
    ],
)
def test_faults_are_told(run_tower, arguments, text):
    model = make.FOLDER / "text.puni"
    got_code, lines, errors = run_tower(*[model if argument == "MODEL" else argument for argument in arguments])
    assert (got_code, lines) == (1, [])
    assert text in errors
