"""Voices through the C interface: examples/clone.c built as a stranger would, and the calls with what is wrong."""

import ctypes
import subprocess
from ctypes import byref, c_char_p, c_double, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import pytest
from api.interface import FORMAT, INVALID_ARGUMENT, IO, OK, Info, library
from golden import make

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
pytest.importorskip("torch", reason="the lexicon of the test voice needs pocketuni's training tools")
from speech import tiny_voice  # noqa: E402

ROOT = Path(__file__).parents[2]
RATE = 16000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_voice.write(tmp_path_factory.mktemp("voice") / "tiny.puni")


@pytest.fixture(scope="module")
def samples():
    """Six seconds of pulses in syllables, 16 bits."""
    times = np.arange(6 * RATE) / RATE
    pulses = sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 25))
    return np.round(6000 * pulses * np.sin(2 * np.pi * 2 * times) ** 2).astype(np.int16)


@pytest.fixture(scope="module")
def lib(installed):
    return library(installed)


@pytest.fixture
def builder(lib, model):
    handle = c_void_p()
    assert lib.pu_voice_builder_create(model, RATE, 0, None, byref(handle)) == OK, lib.pu_last_error()
    yield handle
    lib.pu_voice_builder_free(handle)


@pytest.fixture
def voice(lib, builder, samples):
    assert lib.pu_voice_builder_feed_int16(builder, samples.ctypes.data, len(samples)) == OK
    handle = c_void_p()
    assert lib.pu_voice_builder_voice(builder, byref(handle)) == OK, lib.pu_last_error()
    yield handle
    lib.pu_voice_free(handle)


def bytes_of(lib, voice):
    data, size = c_void_p(), c_size_t()
    assert lib.pu_voice_bytes(voice, byref(data), byref(size)) == OK
    return ctypes.string_at(data, size.value)


def test_the_example_says_what_python_says(cmake, installed, tiny, samples, tmp_path):
    source = ROOT / "tests/api/consumer"
    cmake("-S", source, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={installed}", f"-DEXAMPLE={ROOT}/examples/clone.c")
    cmake("--build", tmp_path)
    command = [tmp_path / "clone", "-o", tmp_path / "me.voice", tiny, str(RATE), "Hello", "there."]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    python = pocketuni.Model(tiny)
    voice = python.voice(tmp_path / "me.voice")
    heard = python.voice_builder(RATE)
    heard.feed(samples)
    assert voice == heard.voice()
    assert done.stdout == python.say("Hello there.", voice=voice).samples.tobytes()
    assert b"heard 6.0 s, speech " in done.stderr
    for stdin, rate, text in ((b"", RATE, b"too little speech"), (samples.tobytes(), 5, b"rate_hz is 5, expected")):
        done = subprocess.run([*command[:-3], str(rate), "Hi."], input=stdin, capture_output=True, timeout=60)
        assert done.returncode == 1 and text in done.stderr and done.stdout == b""


def test_a_voice_equals_that_of_python(lib, builder, voice, tiny, samples):
    python = pocketuni.Model(tiny).voice_builder(RATE)
    python.feed(samples)
    want = python.voice()
    info = Info()
    assert lib.pu_voice_get_info(voice, byref(info)) == OK
    assert (info.name, info.is_clone) == (b"", 1)
    assert (info.seconds, info.confidence) == (want.seconds, want.confidence)
    assert info.pitch_hz == pytest.approx(want.pitch_hz)
    assert np.array_equal(np.ctypeslib.as_array(info.vector, (192,)), want.vector)
    assert lib.pu_voice_builder_seconds(builder) == python.seconds
    assert lib.pu_voice_builder_heard_seconds(builder) == 6
    assert lib.pu_voice_builder_confidence(builder) == python.confidence
    rms, peak, advice = c_double(), c_double(), c_char_p()
    assert lib.pu_voice_builder_level(builder, byref(rms), byref(peak)) == OK
    assert (rms.value, peak.value) == python.level
    assert lib.pu_voice_builder_advice(builder, byref(advice)) == OK
    assert advice.value.decode() == "\n".join(python.advice)
    floats = (samples / np.float32(32768)).astype(np.float32)
    again, other = c_void_p(), c_void_p()
    model = c_void_p()
    assert lib.pu_model_open(bytes(tiny), byref(model)) == OK
    assert lib.pu_voice_builder_create(model, RATE, 2, b"ref", byref(again)) == OK
    lib.pu_model_close(model)  # the builder keeps what it needs
    for at in range(0, len(floats), 1000):
        part = np.ascontiguousarray(floats[at : at + 1000])
        assert lib.pu_voice_builder_feed(again, part.ctypes.data, len(part)) == OK
    assert lib.pu_voice_builder_voice(again, byref(other)) == OK
    similarity = c_double()
    assert lib.pu_voice_similarity(voice, other, byref(similarity)) == OK and similarity.value > 0.999
    lib.pu_voice_free(other)
    lib.pu_voice_builder_free(again)


def test_files_and_memory(lib, voice, tmp_path):
    path = bytes(tmp_path / "me.voice")
    assert lib.pu_voice_set_name(voice, "Zoë".encode()) == OK
    assert lib.pu_voice_save(voice, path) == OK
    data = (tmp_path / "me.voice").read_bytes()
    assert data == bytes_of(lib, voice) and len(data) < 2000
    for load in (
        lambda handle: lib.pu_voice_load(path, handle),
        lambda handle: lib.pu_voice_load_memory(data, len(data), handle),
    ):
        handle, info = c_void_p(), Info()
        assert load(byref(handle)) == OK
        assert lib.pu_voice_get_info(handle, byref(info)) == OK and info.name.decode() == "Zoë"
        assert bytes_of(lib, handle) == data
        lib.pu_voice_free(handle)


def test_mixing(lib, model, voice):
    ada, mix, info = c_void_p(), c_void_p(), Info()
    assert lib.pu_voice_named(model, b"ada", byref(ada)) == OK
    assert lib.pu_voice_mix((c_void_p * 2)(voice, ada), (c_double * 2)(3, 1), 2, byref(mix)) == OK
    vectors = []
    for each in (voice, ada, mix):
        assert lib.pu_voice_get_info(each, byref(info)) == OK
        vectors.append(np.ctypeslib.as_array(info.vector, (192,)).copy())
    want = 3 * vectors[0] + vectors[1]
    np.testing.assert_allclose(vectors[2], want / np.linalg.norm(want), atol=1e-6)
    for handle in (ada, mix):
        lib.pu_voice_free(handle)


def test_faults(lib, model, builder, voice, tmp_path):
    def fault(status, text, call):
        handle = c_void_p(1)
        assert call(byref(handle)) == status, lib.pu_last_error()
        assert text in lib.pu_last_error() and handle.value is None, lib.pu_last_error()

    damaged = bytearray(bytes_of(lib, voice))
    damaged[100] ^= 1
    fault(FORMAT, b"its hash does not match", lambda out: lib.pu_voice_load_memory(bytes(damaged), len(damaged), out))
    fault(FORMAT, b"truncated", lambda out: lib.pu_voice_load_memory(bytes(damaged), 300, out))
    fault(IO, b"No such file", lambda out: lib.pu_voice_load(bytes(tmp_path / "none.voice"), out))
    fault(INVALID_ARGUMENT, b"there is no voice 'zoe'", lambda out: lib.pu_voice_named(model, b"zoe", out))
    for rate in (0, -1, 7999, 192001):
        text = b"expected 8000 to 192000"
        fault(INVALID_ARGUMENT, text, lambda out, rate=rate: lib.pu_voice_builder_create(model, rate, 0, None, out))
    plain = c_void_p()
    assert lib.pu_model_open(bytes(make.FOLDER / "text.puni"), byref(plain)) == OK
    text = b"lacks the tower voice.speaker"
    fault(INVALID_ARGUMENT, text, lambda out: lib.pu_voice_builder_create(plain, RATE, 0, None, out))
    lib.pu_model_close(plain)
    bad = np.array([0, np.nan], np.float32)
    assert lib.pu_voice_builder_feed(builder, bad.ctypes.data, 2) == INVALID_ARGUMENT
    assert b"sample 1 of 2 is not a finite number" in lib.pu_last_error()
    assert lib.pu_voice_save(voice, bytes(tmp_path / "no/me.voice")) == IO
    assert lib.pu_voice_set_name(voice, b"x" * 256) == INVALID_ARGUMENT
    assert lib.pu_voice_builder_feed(builder, None, 0) == OK
    for call in (
        lambda: lib.pu_voice_builder_feed(builder, None, 1),
        lambda: lib.pu_voice_builder_feed(None, bad.ctypes.data, 1),
        lambda: lib.pu_voice_load(None, byref(c_void_p())),
        lambda: lib.pu_voice_get_info(voice, None),
        lambda: lib.pu_voice_similarity(voice, None, byref(c_double())),
        lambda: lib.pu_voice_mix((c_void_p * 1)(None), (c_double * 1)(1), 1, byref(c_void_p())),
    ):
        assert call() == INVALID_ARGUMENT and b"is NULL" in lib.pu_last_error()
    assert lib.pu_voice_builder_seconds(None) == lib.pu_voice_builder_confidence(None) == 0
    lib.pu_voice_free(None)
    lib.pu_voice_builder_free(None)
