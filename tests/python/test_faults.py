"""Files and folders that fail: cut while they are mapped, full disks, folders without permission."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

from golden import make  # noqa: E402
from pocketuni_tools.ir import Graph, Value  # noqa: E402
from pocketuni_tools.writer import write_model  # noqa: E402

MODEL = Path(__file__).parents[1] / "speech/speaking.puni"
INPUTS = {"input_ids": [[2, 4, 5, 6, 3]], "attention_mask": [[1] * 5]}


def model_writer(path):
    graph = Graph("table")
    ids = graph.add_input("ids", "int64", ("n",))
    table = graph.add_constant("table", make.numbers(1, 4000, 64))
    graph.outputs = graph.add_node("embedding", [ids, table], [Value("rows", "float32", ("n", 64))])
    write_model(path, [graph])


def voice_writer(path):
    pocketuni.Model(MODEL).voice("ada").save(path)


def audio_writer(path):
    pocketuni.Audio(np.zeros(200_000, np.float32)).save(path)


def plot_writer(path):
    pytest.importorskip("matplotlib")
    pocketuni.Model(MODEL).say("Hello world.").plot(path)


WRITERS = {"model.puni": model_writer, "me.voice": voice_writer, "speech.wav": audio_writer, "speech.png": plot_writer}


@pytest.fixture(params=WRITERS)
def saved(request):
    """The name of a file, and what writes it."""
    if request.param.endswith(".wav"):
        pytest.importorskip("wave")
    return request.param, WRITERS[request.param]


def test_files_appear_with_their_contents(saved, tmp_path):
    name, write = saved
    write(tmp_path / name)
    assert [item.name for item in tmp_path.iterdir()] == [name] and (tmp_path / name).stat().st_size > 500


def test_a_limit_of_file_size_leaves_no_half_file(saved, tmp_path):
    """The system refuses what goes beyond 300 bytes; what was there before stays."""
    name, write = saved
    (tmp_path / name).write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(OSError) as caught:
            write(tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG or "File too large" in str(caught.value)
    assert [item.name for item in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == b"before"


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for a few pages, and nothing left of it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", folder], capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount a small disk")
    try:
        (folder / "filler").write_bytes(bytes(12 * 1024))
        try:
            with open(folder / "rest", "wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        except OSError as error:
            assert error.errno == errno.ENOSPC
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_no_half_file(saved, small_disk):
    name, write = saved
    before = sorted(item.name for item in small_disk.iterdir())
    with pytest.raises(OSError) as caught:
        write(small_disk / name)
    assert caught.value.errno == errno.ENOSPC and "No space left on device" in str(caught.value)
    assert sorted(item.name for item in small_disk.iterdir()) == before


def test_speech_that_meets_a_full_disk_leaves_no_half_file(small_disk):
    """From the command line, where chunks are written while they are computed."""
    command = [sys.executable, "-m", "pocketuni", "say", "A longer text. " * 30]
    command += ["--model", str(MODEL), "-o", str(small_disk / "speech.wav")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=small_disk.parent)
    assert done.returncode != 0 and "No space left on device" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(small_disk.glob("*speech*"))


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_folder_without_permission(saved, tmp_path):
    name, _ = saved
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    program = f"""
        import sys
        sys.path[:0] = {[path for path in sys.path if path]!r}
        from python import test_faults
        try:
            test_faults.WRITERS[{name!r}]({str(folder / name)!r})
        except PermissionError as error:
            print("PermissionError", error.filename or error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    if os.geteuid() == 0:
        for parent in (tmp_path, *tmp_path.parents):  # others may look into the tests' folders
            parent.chmod(parent.stat().st_mode | 0o055) if parent != Path("/") else None
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    environment = {**os.environ, "MPLCONFIGDIR": "/tmp"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, cwd="/")
    assert done.stdout.startswith("PermissionError") and name in done.stdout, done.stdout + done.stderr
    assert not list(folder.iterdir())


def test_a_file_cut_while_it_is_mapped(tmp_path):
    """The next run is an error that says so; a file that is replaced by renaming is not touched by it."""
    path = tmp_path / "text.puni"
    shutil.copy(make.FOLDER / "text.puni", path)
    model = pocketuni.Model(path)
    want = model.towers["text"].run(**INPUTS)["embedding"].tobytes()
    shutil.copy(make.FOLDER / "minimal.puni", tmp_path / "other.puni")
    os.replace(tmp_path / "other.puni", path)
    assert model.towers["text"].run(**INPUTS)["embedding"].tobytes() == want
    shutil.copy(make.FOLDER / "text.puni", tmp_path / "again.puni")
    os.replace(tmp_path / "again.puni", path)
    model = pocketuni.Model(path)
    model.towers["text"].run(**INPUTS)
    os.truncate(path, 4096)
    with pytest.raises(OSError, match=r"text.puni: the file was cut from \d+ to 4096 bytes while it was open"):
        model.towers["text"].run(**INPUTS)
    with pytest.raises(OSError, match="was cut"):
        model._open_core().verify_weights()


def test_speech_over_a_file_cut_while_it_is_mapped(tmp_path):
    path = tmp_path / "voice.puni"
    shutil.copy(MODEL, path)
    stream = pocketuni.Model(path).stream("One sentence here. Another one there. " * 20, chunk_frames=4)
    next(stream)
    os.truncate(path, 70_000)
    with pytest.raises(OSError, match="was cut"):
        for _ in range(1000):
            next(stream)
