"""Calibration on folders and arrays; what int8 would spoil stays float16."""

import subprocess
import sys

import numpy as np
import pytest
from pocketuni_tools.calibration import read_calibration
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.preprocess import read_preprocess
from pocketuni_tools.progress import Progress
from pocketuni_tools.quantize import quantize
from pocketuni_tools.source import Tower

_random = np.random.default_rng(8)


def looker(batch: int | str = "batch") -> Graph:
    graph = Graph("main")
    graph.add_input("picture", "float32", (batch, 3, 4, 5))
    graph.outputs = graph.add_node("relu", ["picture"], [Value("y", "float32", (batch, 3, 4, 5))])
    return graph


def listener(shape: tuple, state: bool = False) -> Graph:
    graph = Graph("main")
    graph.add_input("sound", "float32", shape)
    y = "sound"
    if state:
        graph.add_input("before", "float32", shape)
        (y,) = graph.add_node("add", ["sound", "before"], [Value("sum", "float32", shape)])
        graph.states = {"before": y}
    graph.outputs = [*([y] if state else []), *graph.add_node("abs", [y], [Value("y", "float32", shape)])]
    return graph


@pytest.mark.parametrize("batch,feeds", [("batch", [8, 3]), (1, [1] * 11), (4, [4, 4, 4])])
def test_a_folder_of_pictures(batch, feeds, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / "deeper").mkdir()
    for number in range(11):
        picture = np.full((9, 9, 3), 20 * number, np.uint8)
        image.fromarray(picture).save(tmp_path / ("deeper" if number % 2 else ".") / f"{number:02}.png")
    (tmp_path / "readme.txt").write_text("no picture")
    graph = looker(batch)
    found = read_calibration(tmp_path, graph, read_preprocess("image:4x5,scale=1/255", graph))
    assert [len(feed["picture"]) for feed in found] == feeds
    values = np.concatenate([feed["picture"][:, 0, 0, 0] for feed in found])[:11]
    np.testing.assert_allclose(sorted(values), np.arange(11) * 20 / 255, atol=1e-6)


def write_tones(folder, count=3, seconds=0.5, rate=8000):
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    for number in range(count):
        tone = np.sin(2 * np.pi * 300 * (number + 1) * np.arange(int(seconds * rate)) / rate)
        soundfile.write(folder / f"{number}.wav", tone / 2, rate)


def test_a_folder_of_recordings(tmp_path):
    write_tones(tmp_path)
    graph = listener((1, 1000))
    found = read_calibration(tmp_path, graph, read_preprocess("audio:8000", graph))
    assert len(found) == 12 and all(feed["sound"].shape == (1, 1000) for feed in found)
    graph = listener(("batch", 10, 4))
    settings = read_preprocess("audio:rate=8000,window=64,hop=32,mel=10,mfcc=4", graph)
    found = read_calibration(tmp_path, graph, settings)
    assert sum(len(feed["sound"]) for feed in found) == 12 and found[0]["sound"].shape[1:] == (10, 4)


def test_recordings_for_a_tower_with_state_come_with_it(tmp_path):
    write_tones(tmp_path, count=1)
    graph = listener((1, 1000), state=True)
    found = read_calibration(tmp_path, graph, read_preprocess("audio:8000", graph))
    assert len(found) == 4 and not found[0]["before"].any()
    for before, after in zip(found, found[1:], strict=False):
        np.testing.assert_allclose(after["before"], before["before"] + before["sound"], atol=1e-6)


def test_what_cannot_be_read_is_explained(tmp_path):
    graph = looker()
    with pytest.raises(ValueError, match="is a folder: say with --preprocess"):
        read_calibration(tmp_path, graph, {})
    settings = read_preprocess("image:4x5", graph)
    with pytest.raises(ValueError, match="holds no image files"):
        read_calibration(tmp_path, graph, settings)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    with pytest.raises(ValueError, match="broken.png"):
        read_calibration(tmp_path, graph, settings)
    for broken in (b"", b"nothing", b"PK\x03\x04 nothing", b"\x93NUMPY nothing"):
        (tmp_path / "arrays.npz").write_bytes(broken)
        with pytest.raises(ValueError, match="arrays.npz is not an .npz of arrays"):
            read_calibration(tmp_path / "arrays.npz", graph, settings)
    good = np.zeros((8, 3, 4, 5), np.float32)
    for wrong, message in ((good[0, 0, 0, 0], "equally long"), (good.astype(str), "expected finite float32"),
                           (good * np.nan, "expected finite"), (good[:0], "0 examples")):  # fmt: skip
        np.savez(tmp_path / "arrays.npz", picture=wrong)
        with pytest.raises(ValueError, match=message):
            read_calibration(tmp_path / "arrays.npz", looker(8), settings)
    pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    graph = listener((1, 1000))
    with pytest.raises(ValueError, match="broken.wav: not an audio file"):
        read_calibration(tmp_path, graph, read_preprocess("audio:8000", graph))


def test_the_tools_read_folders_without_the_extension(tmp_path):
    """The runtime's functions are read from its files; the package, whose import needs the extension, is not."""
    code = """import sys
from pocketuni_tools.calibration import runtime_module
runtime_module("features"), runtime_module("pictures")
assert "pocketuni" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def fragile() -> Tower:
    """Two layers in a row. The first one's rows hold a few numbers that are a thousand times larger than what counts:
    int8 with one scale for each row loses that, float16 does not."""
    graph = Graph("main")
    graph.add_input("x", "float32", ("batch", 128))
    outlier = np.asarray(_random.normal(size=(96, 128)), np.float32)
    outlier[:, :2] = 0  # the large numbers count nothing
    first = graph.add_constant("fragile", outlier)
    second = graph.add_constant("robust", np.asarray(_random.normal(size=(64, 96)), np.float32))
    (h,) = graph.add_node("linear", ["x", first], [Value("h", "float32", ("batch", 96))])
    graph.outputs = graph.add_node("linear", [h, second], [Value("y", "float32", ("batch", 64))])

    def feed() -> dict:
        x = np.asarray(_random.normal(size=(16, 128)), np.float32)
        x[:, :2] = 1000
        return {"x": x}

    return Tower(graph, [feed() for _ in range(3)], [feed()])


def test_what_int8_spoils_stays_float16():
    packed, notes = quantize([fragile()], "int8", Progress(True))
    assert {name: item.encoding for name, item in packed.items()} == {"fragile": "gemm_f16", "robust": "gemm_i8"}
    note = notes["kept"]["main"]
    assert note["f16"] == ["fragile"] and note["int8_error"] > 0.1 > note["error"]
    assert note["harm"]["fragile"] < note["harm"]["robust"]  # the error that is left when this one alone is float16


def test_what_int8_keeps_is_int8():
    tower = fragile()
    for feed in (*tower.feeds, *tower.checks):
        feed["x"][:, :2] = 1
    packed, notes = quantize([tower], "int8", Progress(True))
    assert {item.encoding for item in packed.values()} == {"gemm_i8"} and not notes
