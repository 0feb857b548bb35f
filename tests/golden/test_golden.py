"""The golden files: written the same byte for byte, read and computed the same on every instruction set."""

import numpy as np
import pytest
from golden import make

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

FLOAT_TOLERANCE = {"rtol": 1e-5, "atol": 5e-5}
FILES = sorted(path.stem for path in make.FOLDER.glob("*.puni"))


def stored(name):
    """Inputs and results, tower -> name -> array."""
    sides = {"in": {}, "out": {}}
    with np.load(make.FOLDER / f"{name}.npz") as arrays:
        for key in arrays.files:
            side, tower, value = key.split(".", 2)
            sides[side].setdefault(tower, {})[value] = arrays[key]
    return sides["in"], sides["out"]


def test_every_file_has_its_recipe():
    assert FILES == sorted(make.GOLDEN)


@pytest.mark.parametrize("name", FILES)
def test_the_writer_gives_the_same_bytes(name, tmp_path):
    make.GOLDEN[name]().write(tmp_path / "again.puni")
    assert (tmp_path / "again.puni").read_bytes() == (make.FOLDER / f"{name}.puni").read_bytes()


@pytest.mark.parametrize("isa", core.usable_isas())
@pytest.mark.parametrize("name", FILES)
def test_the_reader_computes_what_is_stored(name, isa):
    model = core.Model(str(make.FOLDER / f"{name}.puni"))
    assert model.verify_weights() == []
    inputs, results = stored(name)
    assert sorted(model.tower_names()) == sorted(results)
    for tower, expected in results.items():
        got = core.Session(model, tower, 2, isa).run(inputs[tower])
        assert got.keys() == expected.keys()
        for value, array in expected.items():
            assert got[value].dtype == array.dtype, value
            if array.dtype == np.float32:
                np.testing.assert_allclose(got[value], array, err_msg=f"{tower}.{value}", **FLOAT_TOLERANCE)
            else:
                np.testing.assert_array_equal(got[value], array, err_msg=f"{tower}.{value}")


def test_quantized_products_have_the_same_bits_on_every_isa():
    model = core.Model(str(make.FOLDER / "encodings.puni"))
    inputs, _ = stored("encodings")
    runs = {isa: core.Session(model, "matrices", 1, isa).run(inputs["matrices"]) for isa in core.usable_isas()}
    for isa, outputs in runs.items():
        for value in ("y_int8", "y_int4"):
            assert outputs[value].tobytes() == runs["ref"][value].tobytes(), f"{isa} {value}"


def test_the_files_hold_every_encoding_and_attribute_kind():
    models = [core.Model(str(make.FOLDER / f"{name}.puni")) for name in FILES]
    encodings = {tensor["encoding"] for model in models for tensor in model.tensors()}
    assert encodings == {
        "f32", "f16", "i32", "i64", "bool", "gemm_f32", "gemm_f16", "gemm_i8", "gemm_i4", "rows_i8", "rows_i4"
    }  # fmt: skip
    nodes = [node for model in models for tower in model.tower_names() for node in model.nodes(tower)]
    kinds = {type(value) for node in nodes for value in node["attributes"].values()}
    assert kinds == {int, float, str, list}
    assert any(None in node["inputs"] for node in nodes), "an absent operand"
    assert any(model.blob_names() for model in models)


def test_a_file_holds_state():
    model = core.Model(str(make.FOLDER / "pictures.puni"))
    assert core.states(model, "hear") == {"state": "state_out"} and core.states(model, "look") == {}
    stream, (inputs, results) = core.StateStream(model, "hear", 1), stored("pictures")
    first = stream.run({"x": inputs["hear"]["x"]})["y"]
    assert not np.array_equal(first, stream.run({"x": inputs["hear"]["x"]})["y"]), "the state has no effect"
    assert first.shape == results["hear"]["y"].shape
