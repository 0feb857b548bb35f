"""The command line, each command in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from golden import make

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

TEXT = str(make.FOLDER / "text.puni")
ENCODINGS = str(make.FOLDER / "encodings.puni")
COMMAND = [sys.executable, "-m", "pocketuni"]
ELSEWHERE = tempfile.gettempdir()  # in the checkout, Python would find the package's sources before the installed one


def run(*arguments, stdin="", code=0, **environment):
    """Runs a command; gives its output and stderr. A fault is told in one line, without a traceback."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin if isinstance(stdin, bytes) else stdin.encode(),
        capture_output=True,
        timeout=60,
        cwd=ELSEWHERE,
        env={**os.environ, **environment},
    )
    out, errors = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}, expected {code}\n{out}{errors}"
    assert "Traceback" not in errors
    if code == 1 and not out:
        assert errors.startswith("pocketuni: ") and errors.count("\n") == 1, errors
    return out, errors


@pytest.fixture(scope="module")
def vectors():
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    return pocketuni.Model(TEXT).embed(["a model", "one file"])


def numbers(out):
    return np.array([line.split() for line in out.splitlines()], np.float32)


def test_embed_prints_one_vector_a_line(vectors):
    out, _ = run("embed", TEXT, "a model", "one file")
    assert numbers(out).tobytes() == vectors.tobytes(), "the digits give the same float32"


def test_embed_json(vectors):
    out, _ = run("embed", TEXT, "a model", "one file", "--json", "--threads", "1", "--isa", "ref")
    entries = json.loads(out)
    assert [entry["text"] for entry in entries] == ["a model", "one file"]
    np.testing.assert_allclose([entry["embedding"] for entry in entries], vectors, atol=1e-5)


def test_embed_reads_files_and_stdin(vectors, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"a model\r\none file\n")
    for arguments, stdin in ((["-f", lines], ""), (["-f", "-"], "a model\none file"), ([], "a model\none file\n")):
        out, _ = run("embed", TEXT, *arguments, stdin=stdin)
        assert numbers(out).tobytes() == vectors.tobytes()
    out, _ = run("embed", TEXT, stdin="a model\n\none file\n")
    assert len(numbers(out)) == 3, "an empty line is an empty text"
    assert run("embed", TEXT, stdin="") == ("", "")


def test_embed_npy(vectors, tmp_path):
    out, _ = run("embed", TEXT, "a model", "one file", "--npy", tmp_path / "out")
    assert out == ""
    np.testing.assert_array_equal(np.load(tmp_path / "out"), vectors)


def test_embed_faults(vectors, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert "latin.txt: not UTF-8 (byte 0xe9 at 3)" in run("embed", TEXT, "-f", tmp_path / "latin.txt", code=1)[1]
    assert "standard input: not UTF-8" in run("embed", TEXT, stdin=b"\xff", code=1)[1]
    assert "nowhere.txt: No such file or directory" in run("embed", TEXT, "-f", "nowhere.txt", code=1)[1]
    assert "nowhere.puni: No such file or directory" in run("embed", "nowhere.puni", "a", code=1)[1]
    assert "none of the model's towers embeds text" in run("embed", ENCODINGS, "a", code=1)[1]
    assert "No such file or directory" in run("embed", TEXT, "a", "--npy", tmp_path / "no/out.npy", code=1)[1]
    assert "the instruction set 'mmx' cannot be used" in run("embed", TEXT, "a", "--isa", "mmx", code=1)[1]
    assert "give texts or -f FILE, not both" in run("embed", TEXT, "a", "-f", "-", code=2)[1]
    assert "not allowed with argument" in run("embed", TEXT, "a", "--json", "--npy", "x", code=2)[1]
    assert "65 is not 1 to 64" in run("embed", TEXT, "a", "--threads", "65", code=2)[1]
    assert "invalid number value: 'two'" in run("embed", TEXT, "a", "--threads", "two", code=2)[1]


def test_inspect():
    out, _ = run("inspect", TEXT)
    assert f"{TEXT}: words, 8.6 kB" in out
    assert "licence: Apache-2.0" in out and "source: tests/golden/make.py" in out
    assert "tokenizer.json" in out and "tower text: 7 operators" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["input", "input_ids", "int64", "[batch,", "sequence]"] in rows
    assert ["output", "embedding", "float32", "[batch,", "32]"] in rows
    assert ["qkv.weight", "linear", "gemm_i8", "[96,", "32]", "3456"] in rows
    assert "attention(qkv, attention_mask) -> attended" not in out
    out, _ = run("inspect", TEXT, "--nodes")
    assert "2 attention(qkv, attention_mask) -> attended heads=4 packed=1" in out
    assert "3 linear(attended, out.weight, -, embedded) -> residual" in out


def test_inspect_json():
    info = json.loads(run("inspect", TEXT, "--json")[0])
    assert info["name"] == "words" and info["blobs"]["LICENCE"] == 11
    assert info["file_size"] == os.path.getsize(TEXT)
    layers = {layer["name"]: layer for layer in info["towers"]["text"]["layers"]}
    assert layers["out.weight"]["encoding"] == "gemm_i4" and layers["out.weight"]["dims"] == [32, 32]
    assert layers["embeddings"] | {"bytes": 0} == {
        "name": "embeddings", "node": "embedding:embedded", "op": "embedding", "encoding": "rows_i4",
        "dims": [21, 32], "bytes": 0,
    }  # fmt: skip
    assert "nodes" not in info["towers"]["text"] and "faults" not in info
    assert len(json.loads(run("inspect", TEXT, "--json", "--nodes")[0])["towers"]["text"]["nodes"]) == 7


def test_inspect_shows_the_report_of_the_conversion(tmp_path):
    golden = make.text()
    outputs = {"embedding": {"max_abs_error": 0.000123456789, "cosine": 0.999}}
    precisions = [{"name": "out.weight", "dims": [32, 32]}]
    golden.meta["report"] = {
        "outputs": outputs,
        "precisions": precisions,
        "notes": [],
        "layers": [{"name": "out.weight"}],
    }
    golden.write(tmp_path / "report.puni")
    out, _ = run("inspect", tmp_path / "report.puni")
    assert "report:\n  outputs:\n    embedding:\n      max_abs_error: 0.000123457\n      cosine: 0.999\n" in out
    assert "  precisions:\n    - name out.weight, dims [32, 32]\n  notes: []\n" in out
    assert "layers" not in out, "the tower's weights say it already"


def test_inspect_verify(tmp_path):
    assert "verified: the hashes of all weights match" in run("inspect", TEXT, "--verify")[0]
    damaged = bytearray(open(TEXT, "rb").read())
    damaged[-200] ^= 1
    path = tmp_path / "damaged.puni"
    path.write_bytes(damaged)
    assert run("inspect", path)[1] == ""
    errors = run("inspect", path, "--verify", code=1)[1]
    assert errors.splitlines() == [
        f"pocketuni: {path}: section DATA: the hash does not match, the file is damaged",
        f"pocketuni: {path}: tensor 'out.weight': the hash does not match",
    ]
    faults = json.loads(run("inspect", path, "--verify", "--json", code=1)[0])["faults"]
    assert len(faults) == 2 and "'out.weight'" in faults[1]
    path.write_bytes(damaged[:700])
    assert f"pocketuni: {path}: the header says" in run("inspect", path, code=1)[1]


def test_bench():
    out, _ = run("bench", TEXT, "--rounds", "3", "--shape", "batch=2", "--shape", "sequence=7")
    assert "tower text: input_ids [2, 7], attention_mask [2, 7]; " in out and "median" in out and "p95" in out
    out, _ = run("bench", ENCODINGS, "--rounds", "2", "--json", "--threads", "1", "--isa", "ref")
    results = json.loads(out)["results"]
    assert [result["tower"] for result in results] == ["matrices", "tables", "plain"]
    for result in results:
        assert 0 < result["min_ms"] <= result["median_ms"] <= result["p95_ms"]
        assert (result["isa"], result["threads"], result["rounds"]) == ("ref", 1, 2)
    assert results[1]["inputs"] == {"ids": [1, 128]}
    out, _ = run("bench", ENCODINGS, "--tower", "tables", "--rounds", "1", "--json")
    assert [result["tower"] for result in json.loads(out)["results"]] == ["tables"]


def test_bench_profile():
    out, _ = run("bench", TEXT, "--rounds", "3", "--profile")
    assert "operator" in out and "slowest" in out and "attention:attended" in out
    (result,) = json.loads(run("bench", TEXT, "--rounds", "3", "--profile", "--json")[0])["results"]
    shares = [entry["share"] for entry in result["profile"]]
    assert len(shares) == 7 and abs(sum(shares) - 1) < 1e-9


def test_bench_faults():
    assert "no tower 'speech'; there are: text" in run("bench", TEXT, "--tower", "speech", code=1)[1]
    assert "no dimension 'time' to give a size; it has: batch, sequence" in run(
        "bench", TEXT, "--shape", "time=3", code=1
    )[1]  # fmt: skip
    assert "'sequence' is not NAME=NUMBER" in run("bench", TEXT, "--shape", "sequence", code=2)[1]
    assert "0 is not 1 to" in run("bench", TEXT, "--rounds", "0", code=2)[1]


def test_doctor():
    out, errors = run("doctor")
    assert errors == ""
    for isa in pocketuni._core.usable_isas():
        assert isa in out
    assert pocketuni.__version__ in out and "default model" in out and "tokenizers" in out
    found = json.loads(run("doctor", "--json")[0])
    assert found["isa"] == pocketuni._core.default_isa()
    assert found["usable_cpus"] == pocketuni._core.usable_cpus()
    assert found["version"] == pocketuni.__version__


def test_doctor_tells_of_a_wrong_environment():
    out, _ = run("doctor", POCKETUNI_ISA="mmx")
    assert "PROBLEM: POCKETUNI_ISA=mmx is not usable here" in out
    assert "POCKETUNI_ISA=mmx is not usable here; usable: ref" in run("bench", TEXT, code=1, POCKETUNI_ISA="mmx")[1]


def test_help_and_version():
    assert run("--version")[0] == f"pocketuni {pocketuni.__version__}\n"
    out, _ = run("--help")
    for command in ("embed", "inspect", "bench", "doctor", "convert"):
        assert command in out
    for command in ("embed", "inspect", "bench"):
        assert f"pocketuni {command} minilm.puni" in run(command, "--help")[0], "help shows examples"
    assert "COMMAND" in run(code=2)[1]
    assert "invalid choice: 'fly'" in run("fly", code=2)[1]


HIDE = """
import sys
for name in {names!r}:
    sys.modules[name] = None
from pocketuni.cli import main
sys.exit(main({arguments!r}))
"""


def run_without(names, *arguments):
    """Runs the command line where some packages cannot be imported."""
    code = HIDE.format(names=names, arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ELSEWHERE)
    return done.returncode, done.stderr


def test_missing_packages_are_named(tmp_path):
    source, target = tmp_path / "x.onnx", tmp_path / "x.puni"
    source.write_bytes(b"")
    code, errors = run_without(["torch", "onnx"], "convert", "onnx", str(source), "-o", str(target))
    assert code == 1 and errors.count("\n") == 1 and "pip install 'pocketuni[tools]'" in errors
    code, errors = run_without(["tokenizers"], "embed", TEXT, "a")
    assert code == 1 and errors == (
        "pocketuni: embedding text with this model needs the library tokenizers: pip install 'pocketuni[text]'\n"
    )


def test_a_closed_pipe_is_no_error():
    with subprocess.Popen(
        [*COMMAND, "embed", TEXT, *["a model"] * 3000], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ELSEWHERE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(60) == 1
    assert errors == b""


def test_ctrl_c_is_quiet():
    with subprocess.Popen(
        [*COMMAND, "bench", TEXT, "--rounds", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ELSEWHERE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:
        process.stdout.readline()  # the CPU's name comes first: it is at work
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b""), out
