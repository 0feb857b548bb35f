"""The C interface called with what is wrong: a status and a message, never a crash."""

import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p

import numpy as np
import pytest
from api.interface import FORMAT, INVALID_ARGUMENT, IO, OK, Tensor, TensorInfo, library
from golden import make

FLOAT32, INT32, INT64, BOOL = range(4)
TEXT = bytes(make.FOLDER / "text.puni")


def tensor_of(array, dtype=INT64, **changes):
    fields = {"rank": array.ndim, "shape": array.shape, "data": array.ctypes.data, **changes}
    return Tensor(dtype, fields["rank"], (c_int64 * 8)(*fields["shape"]), fields["data"])


@pytest.fixture(scope="module")
def lib(installed):
    found = library(installed)
    for name in ("pu_version", "pu_model_tower_name", "pu_model_meta_json"):
        getattr(found, name).restype = c_char_p
    for name in ("pu_model_tower_count", "pu_session_input_count", "pu_session_output_count"):
        getattr(found, name).restype = c_size_t
    found.pu_session_free.argtypes = [c_void_p]
    found.pu_model_tower_count.argtypes = found.pu_model_meta_json.argtypes = [c_void_p]
    found.pu_model_tower_name.argtypes = [c_void_p, c_size_t]
    found.pu_model_open_memory.argtypes = [c_void_p, c_size_t, POINTER(c_void_p)]
    found.pu_model_blob.argtypes = [c_void_p, c_char_p, POINTER(c_void_p), POINTER(c_size_t)]
    found.pu_session_create.argtypes = [c_void_p, c_char_p, c_int, c_char_p, POINTER(c_void_p)]
    found.pu_session_input_count.argtypes = found.pu_session_output_count.argtypes = [c_void_p]
    for name in ("pu_session_input_info", "pu_session_output_info"):
        getattr(found, name).argtypes = [c_void_p, c_size_t, POINTER(TensorInfo)]
    for name in ("pu_session_set_input", "pu_session_get_output"):
        getattr(found, name).argtypes = [c_void_p, c_char_p, POINTER(Tensor)]
    found.pu_session_run.argtypes = [c_void_p]
    return found


@pytest.fixture
def model(lib):
    handle = c_void_p()
    assert lib.pu_model_open(TEXT, byref(handle)) == OK, lib.pu_last_error()
    yield handle
    lib.pu_model_close(handle)


@pytest.fixture
def session(lib, model):
    handle = c_void_p()
    assert lib.pu_session_create(model, b"text", 1, None, byref(handle)) == OK, lib.pu_last_error()
    yield handle
    lib.pu_session_free(handle)


def assert_refused(lib, status, expected_status, text):
    assert status == expected_status, lib.pu_last_error()
    assert text in lib.pu_last_error().decode()


def set_inputs(lib, session, ids):
    """Sets both inputs and returns the arrays, which must live until the run."""
    arrays = {b"input_ids": ids, b"attention_mask": np.ones_like(ids)}
    for name, array in arrays.items():
        assert lib.pu_session_set_input(session, name, byref(tensor_of(array))) == OK, lib.pu_last_error()
    return arrays


def embedding(lib, session):
    tensor = Tensor()
    assert lib.pu_session_get_output(session, b"embedding", byref(tensor)) == OK, lib.pu_last_error()
    shape = tuple(tensor.shape[: tensor.rank])
    assert tensor.dtype == FLOAT32
    return np.ctypeslib.as_array(ctypes.cast(tensor.data, POINTER(ctypes.c_float)), shape).copy()


def test_what_a_model_says(lib, model, session):
    assert lib.pu_version().decode().count(".") == 2
    assert lib.pu_model_tower_count(model) == 1
    assert lib.pu_model_tower_name(model, 0) == b"text"
    assert lib.pu_model_tower_name(model, 1) is None
    assert b'"name": "words"' in lib.pu_model_meta_json(model)
    data, size = c_void_p(), c_size_t()
    assert lib.pu_model_blob(model, b"tokenizer.json", byref(data), byref(size)) == OK
    assert ctypes.string_at(data, size.value) == make.word_tokenizer()
    assert (lib.pu_session_input_count(session), lib.pu_session_output_count(session)) == (2, 1)
    info = TensorInfo()
    assert lib.pu_session_input_info(session, 0, byref(info)) == OK
    assert (info.name, info.dtype, info.rank) == (b"input_ids", INT64, 2)
    assert (list(info.shape[:2]), list(info.dim_names[:2])) == ([-1, -1], [b"batch", b"sequence"])
    assert lib.pu_session_output_info(session, 0, byref(info)) == OK
    assert (info.name, info.dtype, list(info.shape[:2]), info.dim_names[1]) == (b"embedding", FLOAT32, [-1, 32], b"")


def test_null_pointers(lib, model, session):
    handle, tensor, info = c_void_p(), Tensor(), TensorInfo()
    data, size = c_void_p(), c_size_t()
    calls = [
        (lambda: lib.pu_model_open(None, byref(handle)), "pu_model_open: path is NULL"),
        (lambda: lib.pu_model_open(TEXT, None), "pu_model_open: model is NULL"),
        (lambda: lib.pu_model_open_memory(None, 8, byref(handle)), "pu_model_open_memory: data is NULL"),
        (lambda: lib.pu_model_open_memory(b"x", 1, None), "pu_model_open_memory: model is NULL"),
        (lambda: lib.pu_model_blob(None, b"x", byref(data), byref(size)), "pu_model_blob: model is NULL"),
        (lambda: lib.pu_model_blob(model, None, byref(data), byref(size)), "pu_model_blob: name is NULL"),
        (lambda: lib.pu_model_blob(model, b"x", None, byref(size)), "pu_model_blob: data is NULL"),
        (lambda: lib.pu_model_blob(model, b"x", byref(data), None), "pu_model_blob: size is NULL"),
        (lambda: lib.pu_session_create(None, b"text", 1, None, byref(handle)), "pu_session_create: model is NULL"),
        (lambda: lib.pu_session_create(model, None, 1, None, byref(handle)), "pu_session_create: tower is NULL"),
        (lambda: lib.pu_session_create(model, b"text", 1, None, None), "pu_session_create: session is NULL"),
        (lambda: lib.pu_session_input_info(None, 0, byref(info)), "pu_session_input_info: session is NULL"),
        (lambda: lib.pu_session_output_info(session, 0, None), "pu_session_output_info: info is NULL"),
        (lambda: lib.pu_session_set_input(session, None, byref(tensor)), "pu_session_set_input: name is NULL"),
        (lambda: lib.pu_session_set_input(session, b"input_ids", None), "pu_session_set_input: tensor is NULL"),
        (lambda: lib.pu_session_run(None), "pu_session_run: session is NULL"),
        (lambda: lib.pu_session_get_output(None, b"x", byref(tensor)), "pu_session_get_output: session is NULL"),
        (lambda: lib.pu_session_get_output(session, b"embedding", None), "pu_session_get_output: tensor is NULL"),
    ]
    for call, text in calls:
        assert_refused(lib, call(), INVALID_ARGUMENT, text)
    lib.pu_model_close(None)
    lib.pu_session_free(None)
    assert lib.pu_model_tower_count(None) == lib.pu_session_input_count(None) == lib.pu_session_output_count(None) == 0
    assert lib.pu_model_meta_json(None) is None


def test_files(lib, tmp_path):
    handle = c_void_p()
    assert_refused(lib, lib.pu_model_open(b"/nowhere.puni", byref(handle)), IO, "/nowhere.puni: No such file")
    broken = tmp_path / "broken.puni"
    broken.write_bytes((make.FOLDER / "text.puni").read_bytes()[:1000])
    assert_refused(lib, lib.pu_model_open(bytes(broken), byref(handle)), FORMAT, f"{broken}: the header says")
    assert handle.value is None


def test_models_in_memory(lib, session):
    data = (make.FOLDER / "text.puni").read_bytes()
    for shift in (0, 1):  # aligned to 64 bytes or not
        buffer = np.zeros(len(data) + 128, np.uint8)
        begin = -buffer.ctypes.data % 64 + shift
        buffer[begin : begin + len(data)] = np.frombuffer(data, np.uint8)
        handle, own = c_void_p(), c_void_p()
        address = buffer.ctypes.data + begin
        assert lib.pu_model_open_memory(address, len(data), byref(handle)) == OK, lib.pu_last_error()
        assert lib.pu_session_create(handle, b"text", 1, None, byref(own)) == OK
        results = []
        for one in (own, session):
            keep = set_inputs(lib, one, np.array([[2, 5, 3]]))
            assert lib.pu_session_run(one) == OK, lib.pu_last_error()
            results.append(embedding(lib, one).tobytes())
            del keep
        assert results[0] == results[1]
        lib.pu_session_free(own)
        lib.pu_model_close(handle)
        status = lib.pu_model_open_memory(address, len(data) - 1, byref(handle))
        assert_refused(lib, status, FORMAT, "<memory>: the header says")


def test_wrong_names_and_options(lib, model, session):
    handle, tensor, info = c_void_p(), Tensor(), TensorInfo()
    data, size = c_void_p(), c_size_t()

    def create(tower, threads, isa):
        return lib.pu_session_create(model, tower, threads, isa, byref(handle))

    assert_refused(lib, create(b"speech", 1, None), INVALID_ARGUMENT, "has no tower 'speech'; it has: text")
    assert_refused(lib, create(b"text", -1, None), INVALID_ARGUMENT, "threads is -1, expected 0 to 64")
    assert_refused(lib, create(b"text", 65, None), INVALID_ARGUMENT, "threads is 65, expected 0 to 64")
    assert_refused(lib, create(b"text", 1, b"mmx"), INVALID_ARGUMENT, "the instruction set 'mmx' cannot be used here")
    assert handle.value is None
    status = lib.pu_model_blob(model, b"vocab.txt", byref(data), byref(size))
    assert_refused(lib, status, INVALID_ARGUMENT, "the model has no blob 'vocab.txt'")
    status = lib.pu_session_set_input(session, b"ids", byref(tensor_of(np.ones((1, 1), np.int64))))
    assert_refused(lib, status, INVALID_ARGUMENT, "has no input 'ids'; there are: input_ids, attention_mask")
    status = lib.pu_session_get_output(session, b"logits", byref(tensor))
    assert_refused(lib, status, INVALID_ARGUMENT, "has no output 'logits'; there are: embedding")
    status = lib.pu_session_input_info(session, 2, byref(info))
    assert_refused(lib, status, INVALID_ARGUMENT, "index 2 is out of range: tower 'text' has 2")


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"dtype": 4}, "dtype 4 is not one of pu_dtype"),
        ({"rank": 9}, "rank 9, expected 0 to 8"),
        ({"rank": -1}, "rank -1, expected 0 to 8"),
        ({"shape": (1, -3)}, "dimension 1 is -3"),
        ({"shape": (2**62, 8)}, "too many elements"),
        ({"data": None}, "data is NULL"),
    ],
)
def test_tensors_that_cannot_be(lib, session, changes, text):
    tensor = tensor_of(np.ones((1, 3), np.int64), **changes)
    status = lib.pu_session_set_input(session, b"input_ids", byref(tensor))
    assert_refused(lib, status, INVALID_ARGUMENT, text)


def test_wrong_inputs_are_found_by_the_run(lib, session):
    assert_refused(lib, lib.pu_session_run(session), INVALID_ARGUMENT, "input 'input_ids' was not set")
    keep = set_inputs(lib, session, np.array([[2, 3]]))
    for array, dtype, text in (
        (np.ones((1, 2), np.int32), INT32, "input 'attention_mask': expected int64, got int32"),
        (np.ones(2, np.int64), INT64, "input 'attention_mask': expected 2 dimensions, got shape [2]"),
        (np.ones((1, 3), np.int64), INT64, "dimension 'sequence' is 3, but 'input_ids' gave 2"),
    ):
        assert lib.pu_session_set_input(session, b"attention_mask", byref(tensor_of(array, dtype))) == OK
        assert_refused(lib, lib.pu_session_run(session), INVALID_ARGUMENT, text)
    del keep


def test_a_failed_run_leaves_no_results(lib, session):
    tensor = Tensor()
    status = lib.pu_session_get_output(session, b"embedding", byref(tensor))
    assert_refused(lib, status, INVALID_ARGUMENT, "no results")
    keep = set_inputs(lib, session, np.array([[2, 3]]))
    assert lib.pu_session_run(session) == OK
    assert embedding(lib, session).shape == (1, 32)
    keep[b"input_ids"][0, 0] = -1
    assert_refused(lib, lib.pu_session_run(session), INVALID_ARGUMENT, "index -1 is outside its table")
    status = lib.pu_session_get_output(session, b"embedding", byref(tensor))
    assert_refused(lib, status, INVALID_ARGUMENT, "no results")


def test_sessions_outlive_their_model(lib):
    model, session = c_void_p(), c_void_p()
    assert lib.pu_model_open(TEXT, byref(model)) == OK
    assert lib.pu_session_create(model, b"text", 2, None, byref(session)) == OK
    lib.pu_model_close(model)
    keep = set_inputs(lib, session, np.array([[2, 4, 3]]))
    assert lib.pu_session_run(session) == OK, lib.pu_last_error()
    np.testing.assert_allclose(np.linalg.norm(embedding(lib, session)), 1, rtol=1e-6)
    lib.pu_session_free(session)
    del keep
