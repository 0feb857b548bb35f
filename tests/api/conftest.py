"""The installed C library: built once, installed into a folder of this test run."""

import ctypes
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, **options):
    """Runs a command; its output is the failure's text."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def cmake():
    """Runs cmake; skips the test where there is none."""
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake: pip install cmake ninja")
    return lambda *arguments: run("cmake", *arguments)


@pytest.fixture(scope="session")
def installed(cmake, tmp_path_factory):
    """Prefix with `cmake --install` of the library. POCKETUNI_BUILD_DIR names a build folder to use; without it, the
    library is built in build/api."""
    prefix = tmp_path_factory.mktemp("prefix")
    build = Path(os.environ.get("POCKETUNI_BUILD_DIR", ROOT / "build/api"))
    build.mkdir(parents=True, exist_ok=True)
    with (build / "tests.lock").open("w") as lock:  # tests may run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if "POCKETUNI_BUILD_DIR" not in os.environ:
            cmake("-S", ROOT, "-B", build, "-DCMAKE_BUILD_TYPE=Release")
        cmake("--build", build, "--target", "pocketuni")
        cmake("--install", build, "--prefix", prefix)
    return prefix


@pytest.fixture
def model(lib, tiny):
    """A handle of the model that `tiny` is the path of, opened by the tests' own `lib`."""
    handle = ctypes.c_void_p()
    assert lib.pu_model_open(bytes(tiny), ctypes.byref(handle)) == 0
    yield handle
    lib.pu_model_close(handle)
