"""csrc/api/pocketuni.h for ctypes: its structs, and what its calls for speech and voices take."""

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

OK, INVALID_ARGUMENT, IO, FORMAT = range(4)
HANDLE = POINTER(c_void_p)  # where a call puts a handle that it makes


class Tensor(ctypes.Structure):
    _fields_ = [("dtype", c_int), ("rank", c_int32), ("shape", c_int64 * 8), ("data", c_void_p)]


class TensorInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("dtype", c_int),
        ("rank", c_int32),
        ("shape", c_int64 * 8),
        ("dim_names", c_char_p * 8),
    ]


class Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("voice", c_char_p),
        ("voice_vector", POINTER(c_float)),
        ("speed", c_double),
        ("pitch", c_double),
        ("volume", c_double),
        ("seed", c_uint32),
        ("threads", c_int32),
        ("isa", c_char_p),
        ("chunk_frames", c_size_t),
        ("own_voice", c_void_p),
    ]


class Word(ctypes.Structure):
    _fields_ = [("text", c_char_p), ("begin", c_uint64), ("end", c_uint64), ("start", c_double), ("stop", c_double)]


class Info(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("seconds", c_double),
        ("confidence", c_double),
        ("pitch_hz", c_double),
        ("is_clone", c_int32),
        ("vector", POINTER(c_float)),
    ]


RESULTS = {
    c_char_p: "pu_last_error pu_model_voice_name",
    c_size_t: "pu_model_voice_count pu_speech_word_count",
    c_double: "pu_voice_builder_seconds pu_voice_builder_heard_seconds pu_voice_builder_confidence",
    c_int32: "pu_speech_rate",
}
ARGUMENTS = {
    "pu_model_open": [c_char_p, HANDLE],
    "pu_model_voice_name": [c_void_p, c_size_t],
    "pu_speech_defaults": [POINTER(Options)],
    "pu_speech_start": [c_void_p, POINTER(Options), HANDLE],
    "pu_speech_push_text": [c_void_p, c_char_p, c_size_t],
    "pu_speech_next": [c_void_p, POINTER(POINTER(c_float)), POINTER(c_size_t)],
    "pu_speech_word": [c_void_p, c_size_t, POINTER(Word)],
    "pu_voice_named": [c_void_p, c_char_p, HANDLE],
    "pu_voice_load": [c_char_p, HANDLE],
    "pu_voice_load_memory": [c_char_p, c_size_t, HANDLE],
    "pu_voice_save": [c_void_p, c_char_p],
    "pu_voice_set_name": [c_void_p, c_char_p],
    "pu_voice_bytes": [c_void_p, HANDLE, POINTER(c_size_t)],
    "pu_voice_get_info": [c_void_p, POINTER(Info)],
    "pu_voice_similarity": [c_void_p, c_void_p, POINTER(c_double)],
    "pu_voice_mix": [HANDLE, POINTER(c_double), c_size_t, HANDLE],
    "pu_voice_builder_create": [c_void_p, c_int32, c_int32, c_char_p, HANDLE],
    "pu_voice_builder_feed": [c_void_p, c_void_p, c_size_t],
    "pu_voice_builder_feed_int16": [c_void_p, c_void_p, c_size_t],
    "pu_voice_builder_voice": [c_void_p, HANDLE],
    "pu_voice_builder_level": [c_void_p, POINTER(c_double), POINTER(c_double)],
    "pu_voice_builder_advice": [c_void_p, POINTER(c_char_p)],
}
OF_A_HANDLE = (
    "pu_model_close pu_model_voice_count pu_speech_free pu_speech_cancel pu_speech_finish_text pu_speech_rate "
    "pu_speech_word_count pu_voice_free pu_voice_builder_free pu_voice_builder_seconds pu_voice_builder_heard_seconds "
    "pu_voice_builder_confidence"
)


def library(prefix) -> ctypes.CDLL:
    """The library that is installed below a folder, with what its calls for speech and voices take."""
    (path,) = prefix.rglob("libpocketuni.so")
    found = ctypes.CDLL(str(path))
    for result, names in RESULTS.items():
        for name in names.split():
            getattr(found, name).restype = result
    for name, types in {**ARGUMENTS, **{name: [c_void_p] for name in OF_A_HANDLE.split()}}.items():
        getattr(found, name).argtypes = types
    return found
