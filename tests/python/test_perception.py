"""Pictures and recordings, prepared as the file says: labels with probabilities, or the tower's numbers."""

import numpy as np
import pytest
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.preprocess import tower_meta
from pocketuni_tools.writer import write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")
image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

import pocketuni  # noqa: E402
from pocketuni import pictures  # noqa: E402

COLOURS = ["red", "green", "blue"]


def colour_model(path, layout="nchw", labels=True):
    """The mean of each channel: the brightest one is the label."""
    graph = Graph("main")
    shape = (1, 3, 8, 6) if layout == "nchw" else ("batch", 8, 6, 3)
    axes = [2, 3] if layout == "nchw" else [1, 2]
    graph.add_input("picture", "float32", shape)
    (mean,) = graph.add_node("reduce_mean", ["picture"], [Value("mean", "float32", (shape[0], 3))], axes=axes)
    (y,) = graph.add_node("softmax", [mean], [Value("y", "float32", (shape[0], 3))])
    graph.outputs = [y]
    names = path.parent / "labels.txt"
    names.write_text("\n".join(COLOURS) + "\n")
    told = tower_meta(graph, "image:8x6,scale=1/255,mean=0", names if labels else None)
    write_model(path, [graph], meta={"towers": {"main": told}})
    return pocketuni.Model(path, threads=1)


@pytest.fixture(params=["nchw", "nhwc"])
def model(tmp_path, request):
    with colour_model(tmp_path / "colours.puni", request.param) as opened:
        yield opened


def plain(colour: int, size=(20, 30)) -> np.ndarray:
    picture = np.zeros((*size, 3), np.uint8)
    picture[..., colour] = 255
    return picture


@pytest.mark.parametrize("colour", range(3))
def test_arrays_images_and_files_are_seen_alike(model, colour, tmp_path):
    picture = plain(colour)
    image.fromarray(picture).save(tmp_path / "picture.png")
    image.fromarray(picture).convert("RGBA").save(tmp_path / "transparent.png")
    sources = [picture, picture / np.float32(255), image.fromarray(picture), tmp_path / "picture.png",
               str(tmp_path / "transparent.png"), np.dstack([picture, picture[..., :1]])]  # fmt: skip
    for source in sources:
        seen = model.see(source)
        assert seen[0].name == COLOURS[colour]
        assert seen[0].probability == pytest.approx(np.e / (np.e + 2), abs=1e-5)
        assert sum(label.probability for label in seen) == pytest.approx(1, abs=1e-6)


def test_grey_pictures_of_any_kind_are_seen(model):
    for source in (np.full((5, 5), 128, np.uint8), np.full((5, 5, 1), 128, np.uint8), image.new("L", (9, 9), 128),
                   image.new("1", (9, 9), 1), image.new("P", (9, 9)), image.new("CMYK", (4, 4))):  # fmt: skip
        assert [label.probability for label in model.see(source)] == pytest.approx([1 / 3] * 3, abs=0.02)


def test_without_labels_the_numbers_come(tmp_path):
    with colour_model(tmp_path / "numbers.puni", labels=False) as model:
        assert model.see(plain(1)).shape == (1, 3)


@pytest.mark.parametrize(
    "source,message",
    [
        (np.zeros((0, 5, 3), np.uint8), "expected"),
        (np.zeros((5, 5, 2), np.uint8), "expected"),
        (np.zeros(7, np.uint8), "expected"),
        (np.full((5, 5), 1.5), "floats outside of 0 to 1"),
        (np.full((5, 5), np.nan), "floats outside of 0 to 1"),
        (np.full((5, 5), 300), "expected uint8"),
        (np.full((5, 5), "a"), "expected uint8"),
    ],
)
def test_what_is_no_picture_is_explained(model, source, message):
    with pytest.raises(ValueError, match=message):
        model.see(source)


def test_files_that_are_no_pictures_are_explained(model, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="text.png is not a picture"):
        model.see(tmp_path / "text.png")
    with pytest.raises(OSError):
        model.see(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="no tower takes audio"):
        model.hear(np.zeros(100, np.float32), 16000)


def test_pictures_of_16_bits_keep_their_upper_8(model, tmp_path):
    wide = np.full((5, 7), 0x80FF, np.uint16)
    image.fromarray(wide).save(tmp_path / "wide.png")
    for source in (image.fromarray(wide), image.fromarray(wide.astype(np.int32)), tmp_path / "wide.png"):
        assert [label.probability for label in model.see(source)] == pytest.approx([1 / 3] * 3, abs=1e-6)
    np.testing.assert_array_equal(pictures.read_picture(tmp_path / "wide.png"), np.full((5, 7), 0x80))
    with pytest.raises(ValueError, match="expected 0 to 65535"):
        model.see(image.fromarray(np.full((4, 4), 1 << 20, np.int32)))
    with pytest.raises(ValueError, match="mode F"):
        model.see(image.fromarray(np.zeros((4, 4), np.float32)))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I;16"]
)
def test_pictures_of_any_mode_are_seen(model, mode):
    assert sum(label.probability for label in model.see(image.new(mode, (3, 11)))) == pytest.approx(1, abs=1e-6)


def test_pictures_are_turned_as_their_camera_says(tmp_path):
    upright = image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    exif = image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    upright.transpose(image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(pictures.read_picture(tmp_path / "turned.png"), np.asarray(upright))


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_damaged_pictures_are_explained(model, ending, tmp_path):
    """Cut off anywhere, or with bytes changed: a picture (decoders make up for much), or an error with the name."""
    noise, path = np.random.default_rng(4).integers(0, 256, (24, 24, 3), np.uint8), tmp_path / f"picture.{ending}"
    image.fromarray(noise).save(path)
    data, random = path.read_bytes(), np.random.default_rng(6)
    model.see(path)
    faults = 0
    for number in range(60):
        broken = bytearray(data[: len(data) * (number % 20) // 20] if number < 20 else data)
        for place in random.integers(0, max(len(broken), 1), 4 if number >= 20 else 0):
            broken[place] ^= int(random.integers(1, 256))
        path.write_bytes(broken)
        try:
            model.see(path)
        except ValueError as error:
            assert f"picture.{ending}" in str(error) or "pixels" in str(error)
            faults += 1
    assert faults >= 5


def loudness(path, state=False):
    """The mean square of chunks of 100 samples, added up when there is state; else of all samples."""
    graph = Graph("main")
    graph.add_input("sound", "float32", (1, 100) if state else ("batch", "time"))
    (square,) = graph.add_node("mul", ["sound", "sound"], [Value("square", "float32", graph.values["sound"].shape)])
    (y,) = graph.add_node("reduce_mean", [square], [Value("y", "float32", (graph.values["sound"].shape[0],))], axes=[1])
    graph.outputs = [y]
    if state:
        graph.add_input("before", "float32", (1,))
        graph.outputs = graph.add_node("add", [y, "before"], [Value("sum", "float32", (1,))])
        graph.outputs = [y, *graph.outputs]
        graph.states = {"before": "sum"}
    write_model(path, [graph], meta={"towers": {"main": tower_meta(graph, "audio:8000", None)}})
    return pocketuni.Model(path, threads=1)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 11025])
def test_recordings_of_any_rate_are_heard(tmp_path, rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    with loudness(tmp_path / "loud.puni") as model:
        for samples in (tone, tone.astype(np.float32), np.stack([tone, tone], 1), (tone * 32767).astype(np.int16)):
            assert model.hear(samples, rate) == pytest.approx([0.5], abs=0.01)


def test_a_tower_with_state_hears_chunk_by_chunk(tmp_path):
    with loudness(tmp_path / "chunks.puni", state=True) as model:
        assert model.hear(np.ones(1000, np.float32) / 2, 8000).shape == (10,)
        np.testing.assert_allclose(model.hear(np.ones(250, np.float32), 8000), [1, 1, 0.5], atol=1e-6)


@pytest.mark.parametrize(
    "samples,rate,message",
    [
        (np.zeros(0, np.float32), 8000, "expected"),
        (np.zeros((2, 3, 4), np.float32), 8000, "expected"),
        (np.full(9, np.nan, np.float32), 8000, "not finite"),
        (np.zeros(9, np.float32), 0, "rate_hz is 0"),
    ],
)
def test_what_is_no_recording_is_explained(tmp_path, samples, rate, message):
    with loudness(tmp_path / "loud.puni") as model, pytest.raises(ValueError, match=message):
        model.hear(samples, rate)


@pytest.mark.parametrize(
    "text", ["picture:8x6", "image:8", "image:8x6,scale=0/0", "image:9x9", "image:8x6,colour=1", "image:8x6,mean=1:2",
             "image:8x6,input=other", "audio:5"]
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(text):
    graph = Graph("main")
    graph.add_input("picture", "float32", (1, 3, 8, 6))
    with pytest.raises(ValueError, match="--preprocess"):
        tower_meta(graph, text, None)
