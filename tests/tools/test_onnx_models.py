"""Real ONNX models (../shared/data/models): they convert, agree with ONNX Runtime, keep their decisions in int8, and
stream."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pocketuni._core", reason="the extension module is not built")
ort = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")

from pocketuni_tools.convert import convert  # noqa: E402
from pocketuni_tools.fuse import fuse  # noqa: E402
from pocketuni_tools.import_onnx_file import import_onnx_file, made_up  # noqa: E402
from pocketuni_tools.writer import write_model  # noqa: E402
from ultraface_boxes import boxes, overlap, picture_of  # noqa: E402

import pocketuni  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MODELS = DATA / "models"
pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason="../shared/data/models is absent")

SILERO = "silero_vad/silero_vad_op18_ifless.onnx"
GTCRN = "gtcrn/gtcrn_simple.onnx"
ULTRAFACE = "ultraface/version-slim-320_simplified.onnx"
ALL = {
    SILERO: {"fixed": {"sr": np.array(16000)}, "carried": "input=64+512"},
    GTCRN: {},
    ULTRAFACE: {},
    "dnsmos/model_v8.onnx": {},
    "dnsmos/sig_bak_ovr.onnx": {},
    **{f"mlperf_tiny/{name}.onnx": {} for name in ("ad", "ic", "kws", "vww")},
}
FOLDER = None


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    global FOLDER
    FOLDER = tmp_path_factory.mktemp("models")
    yield
    converted.cache_clear()


@cache
def converted(name: str, weights: str) -> pocketuni.Model:
    """A model of `MODELS`, converted."""
    path, source = FOLDER / f"{Path(name).stem}-{weights}.puni", import_onnx_file(MODELS / name, **ALL[name])
    if weights == "fp32":
        write_model(path, [fuse(source.towers[0].graph)])
    else:
        source.towers[0].checks = ()  # NumPy takes minutes for some of them
        convert(source, path, weights)
    return pocketuni.Model(path, threads=1)


@pytest.mark.parametrize("name", ALL)
def test_a_model_agrees_with_onnx_runtime_in_fp32(name):
    source = import_onnx_file(MODELS / name, **ALL[name]).towers[0]
    feed = made_up(source.graph)
    if "dnsmos" in name:
        feed = {key: array[:1] for key, array in feed.items()}
    want, got = source.reference(feed), converted(name, "fp32").towers["main"].run(**feed)
    assert want.keys() == got.keys()
    for key in want:
        scale = np.abs(want[key]).max()
        assert np.abs(got[key] - want[key]).max() <= 1e-4 * scale, key


def decisions(name: str, weights: str, inputs: np.ndarray) -> np.ndarray:
    (value,) = converted(name, weights).towers["main"].inputs
    (out,) = converted(name, weights).towers["main"].run(**{value: inputs}).values()
    return out.argmax(1)


def test_keyword_spotting_keeps_its_accuracy_in_int8():
    with np.load(MODELS / "mlperf_tiny" / "kws01_first500.npz") as file:
        x = (file["mfcc_int8"].astype(np.float32) - file["zero_point"]) * file["scale"]
        label = file["label"]
    x = np.asarray(x, np.float32).reshape(-1, 49, 10, 1)
    exact, rounded = (100 * np.mean(decisions("mlperf_tiny/kws.onnx", w, x) == label) for w in ("fp32", "int8"))
    assert rounded >= 90.0
    assert rounded >= exact - 0.5


def pictures(count: int, size: int) -> np.ndarray:
    with np.load(DATA / "vision" / "cifar10_test_2000.npz") as file:
        x = file["image"][:count]
    return np.repeat(np.repeat(x, size // 32, 1), size // 32, 2).astype(np.float32)


@pytest.mark.parametrize("name,size,scale", [("ic", 32, 1.0), ("vww", 96, 1 / 255)])
def test_pictures_get_the_same_label_in_int8(name, size, scale):
    x, name = pictures(200, size) * np.float32(scale), f"mlperf_tiny/{name}.onnx"
    same = decisions(name, "fp32", x) == decisions(name, "int8", x)
    assert same.mean() >= 0.98


def test_pictures_are_labelled_as_well_in_int8():
    with np.load(DATA / "vision" / "cifar10_test_2000.npz") as file:
        label = file["label"][:500]
    x = pictures(500, 32)
    exact, rounded = (np.mean(decisions("mlperf_tiny/ic.onnx", w, x) == label) for w in ("fp32", "int8"))
    assert rounded >= exact - 0.01


# Rounding shows where speech begins and ends: calibrated on other recordings it is 0.04, by itself 0.06.
@pytest.mark.parametrize(
    "recording,bound", [("models/silero_vad/test.opus", 0.03), ("speech/librispeech-unseen", 0.07)]
)
def test_voice_activity_is_that_of_onnx_runtime_frame_by_frame(recording, bound):
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    path = DATA / recording
    samples, rate = soundfile.read(path if path.is_file() else sorted(path.rglob("*.opus"))[0], dtype="float32")
    assert rate == 16000
    chunks = samples[: len(samples) // 512 * 512].reshape(-1, 1, 512)[:300]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(MODELS / SILERO), options, providers=["CPUExecutionProvider"])
    streams = {weights: converted(SILERO, weights).towers["main"].stream() for weights in ("fp32", "int8")}
    state, before, errors = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32), {"fp32": 0, "int8": 0}
    for chunk in chunks:
        x = np.concatenate([before, chunk], axis=1)
        want, state = session.run(None, {"input": x, "sr": np.array(16000), "state": state})
        before = chunk[:, -64:]
        for weights, stream in streams.items():
            got = stream.run(chunk)["output"]
            errors[weights] = max(errors[weights], float(np.abs(got - want).max()))
    assert errors["fp32"] <= 1e-4
    assert errors["int8"] <= bound


def test_opinions_on_speech_are_the_same_in_int8():
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    samples, _ = soundfile.read(sorted((DATA / "speech" / "librispeech-unseen").rglob("*.opus"))[0], dtype="float32")
    x, scores = np.resize(samples, (1, 144160)), {}
    for weights in ("fp32", "int8"):
        (scores[weights],) = converted("dnsmos/sig_bak_ovr.onnx", weights).towers["main"].run(input_1=x).values()
    assert np.abs(scores["int8"] - scores["fp32"]).max() <= 0.05


WINDOW = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512))


def spectra(samples: np.ndarray) -> np.ndarray:
    """[frames, 1, 257, 1, 2], 512 samples every 256, mirrored at the ends."""
    padded = np.pad(samples, 256, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::256] * WINDOW
    bins = np.fft.rfft(frames)
    return np.stack([bins.real, bins.imag], -1).astype(np.float32)[:, None, :, None]


def samples_of(frames: np.ndarray) -> np.ndarray:
    parts = np.fft.irfft(frames[..., 0] + 1j * frames[..., 1]) * WINDOW
    total, weight = np.zeros(256 * (len(parts) + 1)), np.zeros(256 * (len(parts) + 1))
    for place, part in enumerate(parts):
        total[256 * place : 256 * place + 512] += part
        weight[256 * place : 256 * place + 512] += WINDOW**2
    return (total / np.maximum(weight, 1e-11))[256:-256]


def test_noise_removal_gives_the_published_recording():
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    mix, _ = soundfile.read(MODELS / "gtcrn" / "mix.wav")
    published, _ = soundfile.read(MODELS / "gtcrn" / "enh_stream.wav")
    model = converted(GTCRN, "fp32")
    assert set(model.towers["main"].states) == {"conv_cache", "tra_cache", "inter_cache"}
    stream = model.towers["main"].stream()
    out = np.stack([stream.run(frame)["enh"][0, :, 0] for frame in spectra(mix)])
    length = min(len(published), 256 * (len(out) - 1))
    error = samples_of(out)[:length] - published[:length]
    # What ONNX Runtime gives differs from the published recording by as much.
    assert np.abs(error).max() <= 1e-3
    assert 10 * np.log10(np.square(published).sum() / np.square(error).sum()) >= 55


@pytest.mark.parametrize("name", ["9.jpg", "26.jpg"])
def test_faces_are_where_they_were_in_int8(name):
    pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    x = picture_of(MODELS / "ultraface" / name)
    (exact, sure), (rounded, _) = (boxes(converted(ULTRAFACE, weights), x) for weights in ("fp32", "int8"))
    faces = np.flatnonzero(sure > 0.9)
    assert len(faces)
    assert overlap(exact[faces], rounded[faces]).min() >= 0.95
