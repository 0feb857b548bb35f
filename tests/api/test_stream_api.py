"""The C interface over streams and over several towers at once."""

import ctypes
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p

import numpy as np
import pytest
from api.interface import INVALID_ARGUMENT, OK, Tensor, TensorInfo, library
from api.test_c_api import FLOAT32, assert_refused, tensor_of
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.writer import write_model

STREAM = "create input_info output_info set_input run finish get_output reset".split()


@pytest.fixture(scope="module")
def lib(installed):
    found = library(installed)
    found.pu_stream_free.argtypes = found.pu_together_free.argtypes = [c_void_p]
    found.pu_stream_create.argtypes = [c_void_p, c_char_p, c_int, c_char_p, POINTER(c_void_p)]
    for name in ("pu_stream_input_count", "pu_stream_output_count"):
        getattr(found, name).argtypes, getattr(found, name).restype = [c_void_p], c_size_t
    for name in ("pu_stream_input_info", "pu_stream_output_info"):
        getattr(found, name).argtypes = [c_void_p, c_size_t, POINTER(TensorInfo)]
    for name in ("pu_stream_set_input", "pu_stream_get_output"):
        getattr(found, name).argtypes = [c_void_p, c_char_p, POINTER(Tensor)]
    for name in ("pu_stream_run", "pu_stream_finish", "pu_stream_reset", "pu_together_run"):
        getattr(found, name).argtypes = [c_void_p]
    found.pu_together_create.argtypes = [c_void_p, POINTER(c_char_p), c_size_t, c_int, c_char_p, POINTER(c_void_p)]
    for name in ("pu_together_set_input", "pu_together_get_output"):
        getattr(found, name).argtypes = [c_void_p, c_size_t, c_char_p, POINTER(Tensor)]
    return found


def sums() -> Graph:
    """after = before + x, the state; y = 2 after."""
    graph = Graph("sums")
    graph.add_input("x", "float32", ("batch", 3))
    graph.add_input("before", "float32", ("batch", 3))
    (after,) = graph.add_node("add", ["x", "before"], [Value("after", "float32", ("batch", 3))])
    two = graph.add_constant("two", np.float32(2))
    (y,) = graph.add_node("mul", [after, two], [Value("y", "float32", ("batch", 3))])
    graph.outputs, graph.states = [after, y], {"before": after}
    return graph


def window() -> Graph:
    """Each row is the sum of a row and the ones beside it."""
    graph = Graph("window")
    graph.add_input("x", "float32", (1, "time", 4))
    weight = graph.add_constant("ones", np.ones((3, 4), np.float32))
    graph.outputs = graph.add_node("depthwise_conv1d", ["x", weight], [Value("y", "float32", (1, "time", 4))],
                                   pad_left=1, pad_right=1)  # fmt: skip
    return graph


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "towers.puni"
    shared = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    heads = []
    for name in ("left", "right"):
        graph = Graph(name)
        graph.add_input("x", "float32", ("batch", 4))
        weight = graph.add_constant("shared", shared)
        (inner,) = graph.add_node("linear", ["x", weight], [Value("inner", "float32", ("batch", 16))])
        op = "relu" if name == "left" else "neg"
        graph.outputs = graph.add_node(op, [inner], [Value("y", "float32", ("batch", 16))])
        heads.append(graph)
    write_model(path, [sums(), window(), *heads])
    return path


@pytest.fixture
def model(lib, path):
    handle = c_void_p()
    assert lib.pu_model_open(bytes(path), byref(handle)) == OK, lib.pu_last_error()
    yield handle
    lib.pu_model_close(handle)


def opened(lib, model, tower: bytes) -> c_void_p:
    handle = c_void_p()
    assert lib.pu_stream_create(model, tower, 1, None, byref(handle)) == OK, lib.pu_last_error()
    return handle


def array_of(tensor: Tensor) -> np.ndarray:
    assert tensor.dtype == FLOAT32
    shape = tuple(tensor.shape[: tensor.rank])
    if 0 in shape:
        return np.zeros(shape, np.float32)
    return np.ctypeslib.as_array(ctypes.cast(tensor.data, POINTER(ctypes.c_float)), shape).copy()


def output(lib, stream) -> np.ndarray:
    tensor = Tensor()
    assert lib.pu_stream_get_output(stream, b"y", byref(tensor)) == OK, lib.pu_last_error()
    return array_of(tensor)


def step(lib, stream, x: np.ndarray) -> np.ndarray:
    assert lib.pu_stream_set_input(stream, b"x", byref(tensor_of(x, FLOAT32))) == OK, lib.pu_last_error()
    assert lib.pu_stream_run(stream) == OK, lib.pu_last_error()
    return output(lib, stream)


def test_a_stream_keeps_its_state_until_it_is_reset(lib, model):
    stream = opened(lib, model, b"sums")
    chunks = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    for _ in range(2):
        for place, chunk in enumerate(chunks):
            np.testing.assert_array_equal(step(lib, stream, chunk), 2 * chunks[: place + 1].sum(0))
        assert lib.pu_stream_finish(stream) == OK
        assert lib.pu_stream_reset(stream) == OK
    lib.pu_stream_free(stream)


def test_what_a_chunk_is_given_and_gives(lib, model):
    stream, info = opened(lib, model, b"sums"), TensorInfo()
    assert (lib.pu_stream_input_count(stream), lib.pu_stream_output_count(stream)) == (1, 1)
    assert lib.pu_stream_input_info(stream, 0, byref(info)) == OK
    assert (info.name, list(info.shape[:2]), info.dim_names[0]) == (b"x", [-1, 3], b"batch")
    assert lib.pu_stream_output_info(stream, 0, byref(info)) == OK
    assert info.name == b"y"
    lib.pu_stream_free(stream)


def test_several_streams_are_independent_and_run_in_threads(lib, model):
    streams = [opened(lib, model, b"sums") for _ in range(4)]
    results = {}

    def work(number):
        x = np.full((2, 3), number + 1, np.float32)
        for _ in range(50):
            results[number] = step(lib, streams[number], x)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number, stream in enumerate(streams):
        np.testing.assert_array_equal(results[number], np.full((2, 3), 100 * (number + 1)))
        lib.pu_stream_free(stream)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_tower_without_state_gives_the_rows_that_are_complete(lib, model, size):
    stream = opened(lib, model, b"window")
    x = np.random.default_rng(2).normal(size=(1, 9, 4)).astype(np.float32)
    rows = [step(lib, stream, np.ascontiguousarray(x[:, at : at + size])) for at in range(0, 9, size)]
    assert sum(part.shape[1] for part in rows) == 8  # the last row waits for what may come behind it
    assert lib.pu_stream_finish(stream) == OK, lib.pu_last_error()
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    want = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    np.testing.assert_allclose(np.concatenate([*rows, output(lib, stream)], 1), want, rtol=1e-6, atol=1e-6)
    lib.pu_stream_free(stream)


def test_what_is_wrong_is_explained(lib, model):
    handle, tensor = c_void_p(), Tensor()
    cases = [
        (lib.pu_stream_create(None, b"sums", 1, None, byref(handle)), "pu_stream_create: model is NULL"),
        (lib.pu_stream_create(model, b"sum", 1, None, byref(handle)), "has no tower 'sum'; it has: sums, window"),
        (lib.pu_stream_create(model, b"sums", 65, None, byref(handle)), "threads is 65, expected 0 to 64"),
        (lib.pu_stream_create(model, b"sums", 1, b"mmx", byref(handle)), "'mmx' cannot be used here"),
    ]
    codes = []
    for status, _ in cases:
        codes.append(status)
    assert codes == [INVALID_ARGUMENT] * len(cases) and handle.value is None
    status = lib.pu_stream_create(model, b"sum", 1, None, byref(handle))
    assert_refused(lib, status, INVALID_ARGUMENT, cases[1][1])
    stream = opened(lib, model, b"sums")
    assert_refused(lib, lib.pu_stream_run(stream), INVALID_ARGUMENT, "input 'x' was not set")
    status = lib.pu_stream_get_output(stream, b"y", byref(tensor))
    assert_refused(lib, status, INVALID_ARGUMENT, "no results")
    state = tensor_of(np.zeros((1, 3), np.float32), FLOAT32)
    status = lib.pu_stream_set_input(stream, b"before", byref(state))
    assert_refused(lib, status, INVALID_ARGUMENT, "has no input 'before'; there are: x")
    status = lib.pu_stream_get_output(stream, b"after", byref(tensor))
    assert_refused(lib, status, INVALID_ARGUMENT, "has no output 'after'; there are: y")
    np.testing.assert_array_equal(step(lib, stream, np.ones((2, 3), np.float32)), np.full((2, 3), 2))
    other = np.ones((4, 3), np.float32)
    assert lib.pu_stream_set_input(stream, b"x", byref(tensor_of(other, FLOAT32))) == OK
    assert_refused(lib, lib.pu_stream_run(stream), INVALID_ARGUMENT, "dimension 'batch' is")
    np.testing.assert_array_equal(step(lib, stream, np.ones((2, 3), np.float32)), np.full((2, 3), 4))
    lib.pu_stream_free(stream)
    lib.pu_stream_free(None)
    for name in STREAM[4:6] + ["reset"]:
        assert_refused(lib, getattr(lib, f"pu_stream_{name}")(None), INVALID_ARGUMENT, "stream is NULL")


def test_streams_outlive_their_model(lib, path):
    model = c_void_p()
    assert lib.pu_model_open(bytes(path), byref(model)) == OK
    stream = opened(lib, model, b"sums")
    lib.pu_model_close(model)
    np.testing.assert_array_equal(step(lib, stream, np.ones((1, 3), np.float32)), [[2, 2, 2]])
    lib.pu_stream_free(stream)


def test_towers_run_together(lib, model):
    together, names = c_void_p(), (c_char_p * 2)(b"left", b"right")
    assert lib.pu_together_create(model, names, 2, 2, None, byref(together)) == OK, lib.pu_last_error()
    assert_refused(lib, lib.pu_together_run(together), INVALID_ARGUMENT, "input 'x' was not set")
    x, tensor = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32), Tensor()
    for tower in range(2):
        assert lib.pu_together_set_input(together, tower, b"x", byref(tensor_of(x, FLOAT32))) == OK
    results = []
    assert lib.pu_together_run(together) == OK, lib.pu_last_error()
    for tower in range(2):
        assert lib.pu_together_get_output(together, tower, b"y", byref(tensor)) == OK, lib.pu_last_error()
        results.append(array_of(tensor))
    np.testing.assert_array_equal(results[0], np.maximum(-results[1], 0))
    status = lib.pu_together_set_input(together, 2, b"x", byref(tensor_of(x, FLOAT32)))
    assert_refused(lib, status, INVALID_ARGUMENT, "tower 2 of 2")
    lib.pu_together_free(together)
    names[1] = b"left"
    status = lib.pu_together_create(model, names, 2, 1, None, byref(together))
    assert_refused(lib, status, INVALID_ARGUMENT, "tower 'left' is named twice")
    status = lib.pu_together_create(model, names, 0, 1, None, byref(together))
    assert_refused(lib, status, INVALID_ARGUMENT, "no tower is named")
