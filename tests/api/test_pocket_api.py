"""A Pocket TTS model through the calls of the C interface that any voice is spoken with."""

from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_size_t, c_void_p

import numpy as np
import pytest

pytest.importorskip("yaml", reason="needs pyyaml: pip install '.[tools]'")
pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install '.[text]'")
pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

from api.interface import INVALID_ARGUMENT, IO, OK, Info, Options, library  # noqa: E402
from golden import make  # noqa: E402
from pocket import random_model  # noqa: E402
from pocketuni_tools.convert import convert  # noqa: E402
from pocketuni_tools.import_pocket_tts import import_pocket_tts  # noqa: E402

from pocketuni.compat.pocket_tts import export_model_state  # noqa: E402

RATE, FRAME = 8000, 640
TEXT = "The hogs were fed chopped corn. Who, then, would buy one? Nobody; well, caf\u00e9!"


def sound(seconds=1.0, seed=3):
    noise = np.random.default_rng(seed).standard_normal(int(seconds * RATE)).astype(np.float32)
    return 0.2 * noise * (1 + np.sin(np.arange(len(noise)) / 100, dtype=np.float32))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small model with one stored voice, `ada`."""
    folder = random_model.write_folder(tmp_path_factory.mktemp("pocket") / "model", random_model.small_config())
    convert(import_pocket_tts(folder), folder / "first.puni", "int8")
    (folder / "voices").mkdir()
    with pocketuni.Model(folder / "first.puni") as model:
        export_model_state(model.voice((sound(seed=9), RATE)), folder / "voices" / "ada.safetensors")
    convert(import_pocket_tts(folder), folder / "model.puni", "int8")
    return folder / "model.puni"


@pytest.fixture(scope="module")
def python(tiny):
    with pocketuni.Model(tiny, threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def lib(installed):
    return library(installed)


@pytest.fixture
def options(lib):
    made = Options()
    lib.pu_speech_defaults(byref(made))
    return made


@pytest.fixture
def made(lib):
    """Calls a function that makes a handle; returns (status, handle), which is freed after the test."""
    handles = []

    def call(free, function, *arguments):
        handle = c_void_p()
        status = getattr(lib, function)(*arguments, byref(handle))
        handles.append((free, handle))
        return status, handle

    yield call
    for free, handle in reversed(handles):
        getattr(lib, free)(handle)


def speak(lib, made, model, options, pieces):
    """All samples, from text in pieces."""
    status, speech = made("pu_speech_free", "pu_speech_start", model, options and byref(options))
    assert status == OK, lib.pu_last_error()
    assert lib.pu_speech_rate(speech) == RATE
    for piece in pieces:
        assert lib.pu_speech_push_text(speech, piece, len(piece)) == OK
    assert lib.pu_speech_finish_text(speech) == OK
    samples, count, parts = POINTER(c_float)(), c_size_t(), []
    while True:
        assert lib.pu_speech_next(speech, byref(samples), byref(count)) == OK, lib.pu_last_error()
        if count.value == 0:
            break
        assert lib.pu_speech_word_count(speech) == 0
        parts.append(np.ctypeslib.as_array(samples, (count.value,)).copy())
    return np.concatenate(parts)


def test_it_says_what_python_says(lib, made, model, options, python):
    assert lib.pu_model_voice_count(model) == 1 and lib.pu_model_voice_name(model, 0) == b"ada"
    data = TEXT.encode()
    whole = python.say(TEXT).samples
    assert len(whole) > 10 * FRAME
    for threads in (0, 1, 2):
        options.threads = threads
        assert speak(lib, made, model, options, [data]).tobytes() == whole.tobytes()
    assert speak(lib, made, model, None, [data[:-3], data[-3:]]).tobytes() == whole.tobytes(), "cut within a character"
    options.voice, options.seed, options.volume, options.chunk_frames = b"ada", 7, 0.5, 40
    wanted = python.say(TEXT, voice="ada", seed=7, volume=0.5).samples
    assert speak(lib, made, model, options, [data]).tobytes() == wanted.tobytes()


def test_the_first_sentence_does_not_wait_for_the_next(lib, made, model):
    status, speech = made("pu_speech_free", "pu_speech_start", model, None)
    samples, count = POINTER(c_float)(), c_size_t()
    assert status == lib.pu_speech_next(speech, byref(samples), byref(count)) == OK and count.value == 0
    text = b"Rice is rare. And "
    assert lib.pu_speech_push_text(speech, text, len(text)) == OK
    assert lib.pu_speech_next(speech, byref(samples), byref(count)) == OK and count.value == FRAME
    lib.pu_speech_cancel(speech)
    assert lib.pu_speech_next(speech, byref(samples), byref(count)) == OK and count.value == 0


def test_voices_are_made_saved_and_loaded(lib, made, model, options, python, tmp_path):
    samples = sound()
    pointer = samples.ctypes.data_as(POINTER(c_float))
    status, builder = made("pu_voice_builder_free", "pu_voice_builder_create", model, RATE, 1, None)
    assert status == OK, lib.pu_last_error()
    status, _ = made("pu_voice_free", "pu_voice_builder_voice", builder)
    assert status == INVALID_ARGUMENT and b"lasts 0.00 s" in lib.pu_last_error()
    assert lib.pu_voice_builder_feed(builder, pointer, len(samples)) == OK
    assert lib.pu_voice_builder_seconds(builder) == 1
    advice = c_char_p()
    assert lib.pu_voice_builder_advice(builder, byref(advice)) == OK
    status, voice = made("pu_voice_free", "pu_voice_builder_voice", builder)
    assert status == OK, lib.pu_last_error()
    info = Info()
    assert lib.pu_voice_get_info(voice, byref(info)) == OK
    assert info.is_clone == 1 and info.seconds == 1 and not info.vector
    path = tmp_path / "me.voice"
    assert lib.pu_voice_save(voice, bytes(path)) == OK, lib.pu_last_error()
    assert python.voice(path) == python.voice((samples, RATE)), "the same, however it is made"
    wanted = python.say(TEXT, voice=path).samples
    status, loaded = made("pu_voice_free", "pu_voice_load", bytes(path))
    assert status == OK, lib.pu_last_error()
    status, named = made("pu_voice_free", "pu_voice_named", model, b"ada")
    assert status == OK
    for own in (voice, loaded):
        options.own_voice = own
        assert speak(lib, made, model, options, [TEXT.encode()]).tobytes() == wanted.tobytes()
    options.own_voice = named
    assert (
        speak(lib, made, model, options, [TEXT.encode()]).tobytes() == python.say(TEXT, voice="ada").samples.tobytes()
    )


def test_what_is_wrong_is_told(lib, made, model, options, python, tmp_path):
    def refused(fault, **changes):
        lib.pu_speech_defaults(byref(options))
        for name, value in changes.items():
            setattr(options, name, value)
        status, _ = made("pu_speech_free", "pu_speech_start", model, byref(options))
        assert status == INVALID_ARGUMENT and fault in lib.pu_last_error(), lib.pu_last_error()

    refused(b"speed is 2", speed=2.0)
    refused(b"pitch 1", pitch=1.0)
    refused(b"volume is 11", volume=11.0)
    refused(b"threads is 65", threads=65)
    refused(b"no voice 'bert'; it has: ada", voice=b"bert")
    refused(b"struct_size is 1", struct_size=1)
    status, voice = made("pu_voice_free", "pu_voice_named", model, None)
    assert status == OK
    assert lib.pu_voice_similarity(voice, voice, byref(c_double())) == INVALID_ARGUMENT
    state = python.voice("ada").state
    for damaged in (state[:-2], state[:39], b"PUVS"):
        status, _ = made("pu_voice_free", "pu_voice_load_memory", damaged, len(damaged))
        assert status == INVALID_ARGUMENT and b"voice state" in lib.pu_last_error()
    other = bytearray(state)
    other[8] ^= 1
    status, foreign = made("pu_voice_free", "pu_voice_load_memory", bytes(other), len(other))
    assert status == OK
    refused(b"another model", own_voice=foreign)
    status, _ = made("pu_voice_free", "pu_voice_load", bytes(tmp_path / "nothing.voice"))
    assert status == IO
    status, _ = made("pu_voice_builder_free", "pu_voice_builder_create", model, 100, 1, None)
    assert status == INVALID_ARGUMENT and b"rate_hz is 100" in lib.pu_last_error()


def test_a_voice_goes_with_its_kind_of_model(lib, made, model, tmp_path):
    default = c_void_p()
    assert lib.pu_model_open(bytes(make.FOLDER / "text.puni"), byref(default)) == OK
    status, voice = made("pu_voice_free", "pu_voice_named", model, b"ada")
    assert status == OK
    options = Options()
    lib.pu_speech_defaults(byref(options))
    options.own_voice = voice
    status, _ = made("pu_speech_free", "pu_speech_start", default, byref(options))
    assert status == INVALID_ARGUMENT and b"Pocket TTS" in lib.pu_last_error()
    lib.pu_model_close(default)
