"""Speech through the C interface: examples/say.c built as a stranger would, and the calls with what is wrong."""

import subprocess
import threading
from ctypes import POINTER, byref, c_float, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import pytest
from api.interface import INVALID_ARGUMENT, OK, Options, Word, library
from golden import make

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
pytest.importorskip("torch", reason="the lexicon of the test voice needs pocketuni's training tools")
from speech import tiny_voice  # noqa: E402

ROOT = Path(__file__).parents[2]
TEXT = "Dr. Smith paid $3. Well, she said: nobody left!"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_voice.write(tmp_path_factory.mktemp("voice") / "tiny.puni")


@pytest.fixture(scope="module")
def lib(installed):
    return library(installed)


@pytest.fixture
def options(lib):
    made = Options()
    lib.pu_speech_defaults(byref(made))
    return made


@pytest.fixture
def start(lib, model):
    handles = []

    def make_speech(options=None):
        handle = c_void_p()
        assert lib.pu_speech_start(model, options and byref(options), byref(handle)) == OK, lib.pu_last_error()
        handles.append(handle)
        return handle

    yield make_speech
    for handle in handles:
        lib.pu_speech_free(handle)


def chunks_of(lib, speech):
    """(samples, words) until there is nothing more."""
    samples, count = POINTER(c_float)(), c_size_t()
    while True:
        assert lib.pu_speech_next(speech, byref(samples), byref(count)) == OK, lib.pu_last_error()
        if count.value == 0:
            return
        words = []
        for index in range(lib.pu_speech_word_count(speech)):
            word = Word()
            assert lib.pu_speech_word(speech, index, byref(word)) == OK
            words.append((word.text.decode(), word.begin, word.end, word.start, word.stop))
        yield np.ctypeslib.as_array(samples, (count.value,)).copy(), words


def speak(lib, speech, text):
    data = text.encode()
    assert lib.pu_speech_push_text(speech, data, len(data)) == OK
    assert lib.pu_speech_finish_text(speech) == OK
    chunks = list(chunks_of(lib, speech))
    return np.concatenate([samples for samples, _ in chunks]), [word for _, words in chunks for word in words]


def test_the_example_says_what_python_says(cmake, installed, tiny, tmp_path):
    source = ROOT / "tests/api/consumer"
    cmake("-S", source, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={installed}", f"-DEXAMPLE={ROOT}/examples/say.c")
    cmake("--build", tmp_path)
    done = subprocess.run([tmp_path / "say", tiny, *TEXT.split()], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    audio = pocketuni.Model(tiny).say(TEXT)
    assert done.stdout == audio.samples.tobytes()
    lines = [line.split() for line in done.stderr.decode().splitlines()]
    assert lines == [[f"{word.start:.3f}", f"{word.end:.3f}", word.text] for word in audio.words]
    done = subprocess.run([tmp_path / "say", make.FOLDER / "text.puni", "a"], capture_output=True, timeout=60)
    assert done.returncode == 1 and b"lacks the towers" in done.stderr


def test_samples_and_words_equal_those_of_python(lib, start, options, tiny):
    options.voice, options.speed, options.pitch, options.seed, options.chunk_frames = b"bert", 1.25, 1.0, 9, 5
    samples, words = speak(lib, start(options), TEXT)
    audio = pocketuni.Model(tiny).say(TEXT, voice="bert", speed=1.25, pitch=1.0, seed=9)
    assert samples.tobytes() == audio.samples.tobytes()
    assert words == [(word.text, *word.span, word.start, word.end) for word in audio.words]
    vector = tiny_voice.voice_vector(1)
    options.voice, options.voice_vector = None, vector.ctypes.data_as(POINTER(c_float))
    assert speak(lib, start(options), TEXT)[0].tobytes() == samples.tobytes()


def test_voices(lib, model):
    assert lib.pu_model_voice_count(model) == 2
    assert [lib.pu_model_voice_name(model, index) for index in range(3)] == [b"ada", b"bert", None]
    assert lib.pu_model_voice_count(None) == 0 and lib.pu_model_voice_name(None, 0) is None


def test_text_arrives_in_pieces(lib, start, tiny):
    speech, got = start(), []
    for byte in "Café one. Two".encode():
        assert lib.pu_speech_push_text(speech, bytes([byte]), 1) == OK
        got += [samples for samples, _ in chunks_of(lib, speech)]
    assert len(got) > 0, "the first sentence is spoken before the end"
    assert lib.pu_speech_finish_text(speech) == OK
    got += [samples for samples, _ in chunks_of(lib, speech)]
    assert np.concatenate(got).tobytes() == pocketuni.Model(tiny).say("Café one. Two").samples.tobytes()
    samples, _ = speak(lib, speech, "And another text.")
    assert len(samples) > 0 and lib.pu_speech_rate(speech) == 22050


def test_cancel(lib, start):
    speech = start()
    data = (TEXT * 2000).encode()
    assert lib.pu_speech_push_text(speech, data, len(data)) == OK
    threading.Timer(0.3, lib.pu_speech_cancel, [speech]).start()
    assert sum(1 for _ in chunks_of(lib, speech)) < 10_000
    assert list(chunks_of(lib, speech)) == []


def test_faults(lib, model, options, start):
    handle = c_void_p(1)

    def fault(text):
        assert lib.pu_speech_start(model, byref(options), byref(handle)) == INVALID_ARGUMENT
        assert text in lib.pu_last_error(), lib.pu_last_error()
        assert handle.value is None

    for name, value, text in (
        ("speed", 0.0, b"speed is 0, expected 0.25 to 4"),
        ("speed", float("nan"), b"speed is nan"),
        ("pitch", 99.0, b"pitch is 99"),
        ("volume", -1.0, b"volume is -1"),
        ("threads", 65, b"threads is 65, expected 0 to 64"),
        ("threads", -1, b"threads is -1"),
        ("isa", b"mmx", b"the instruction set 'mmx'"),
        ("voice", b"nobody", b"there is no voice 'nobody'; voices of this model: ada, bert"),
        ("chunk_frames", 5000, b"chunk_frames is 5000"),
        ("struct_size", 8, b"fill the options with pu_speech_defaults first"),
    ):
        lib.pu_speech_defaults(byref(options))
        setattr(options, name, value)
        fault(text)
    assert (
        lib.pu_speech_start(None, None, byref(handle)) == INVALID_ARGUMENT and b"model is NULL" in lib.pu_last_error()
    )
    assert lib.pu_speech_start(model, None, None) == INVALID_ARGUMENT
    speech, word = start(), Word()
    assert lib.pu_speech_push_text(speech, None, 1) == INVALID_ARGUMENT
    assert lib.pu_speech_push_text(speech, None, 0) == OK
    assert lib.pu_speech_next(speech, None, None) == INVALID_ARGUMENT
    assert lib.pu_speech_word(speech, 0, byref(word)) == INVALID_ARGUMENT and b"has 0 words" in lib.pu_last_error()
    for call in (lib.pu_speech_finish_text, lib.pu_speech_cancel, lib.pu_speech_free):
        call(None)
    assert lib.pu_speech_word_count(None) == 0


def test_faulty_markup_is_told_and_speech_goes_on(lib, start):
    speech = start()
    samples, count = POINTER(c_float)(), c_size_t()
    assert lib.pu_speech_push_text(speech, b"[[QQ]] one. Two.", 16) == OK
    assert lib.pu_speech_finish_text(speech) == OK
    assert lib.pu_speech_next(speech, byref(samples), byref(count)) == INVALID_ARGUMENT
    assert b"QQ" in lib.pu_last_error() and count.value == 0 and lib.pu_speech_word_count(speech) == 0
    words = [word[0] for _, words in chunks_of(lib, speech) for word in words]
    assert words == ["two"]
