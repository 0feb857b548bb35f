"""Towers from sound to sound, chunk by chunk: what goes in comes out, as much of it, however it is cut."""

import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np
import pytest
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.preprocess import tower_meta
from pocketuni_tools.writer import write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

import pocketuni  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SPECTRUM = "audio:rate=16000,window=512,hop=256,taper=sqrt-hann,pad=reflect"


def passing(path, shape: tuple, how: str, state: bool = False, factor: float = 1.0) -> pocketuni.Model:
    """A tower that multiplies its input; with state it adds what all chunks before began with."""
    graph = Graph("main")
    graph.add_input("sound", "float32", shape)
    number = graph.add_constant("factor", np.float32(factor))
    (y,) = graph.add_node("mul", ["sound", number], [Value("made", "float32", shape)])
    graph.outputs = [y]
    if state:
        graph.add_input("before", "float32", shape)
        (kept,) = graph.add_node("add", [y, "before"], [Value("kept", "float32", shape)])
        graph.outputs, graph.states = [kept, y], {"before": kept}
    write_model(path, [graph], meta={"towers": {"main": tower_meta(graph, how, None)}})
    return pocketuni.Model(path, threads=1)


FORMS = {
    "frame": ((1, 257, 1, 2), SPECTRUM),
    "frame-with-state": ((1, 257, 1, 2), SPECTRUM),
    "four-frames": ((1, 2, 4, 257), SPECTRUM),
    "any-frames": ((1, "frames", 257, 2), SPECTRUM),
    "no-mirror": ((1, 257, 1, 2), "audio:rate=16000,window=400,hop=100,fft=512,taper=hamming"),
    "samples": ((1, 160), "audio:16000"),
    "samples-with-state": ((1, 1, 160), "audio:16000"),
    "any-samples": (("batch", "time"), "audio:16000"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [1, 100, 257, 511, 16000])
def test_what_goes_in_comes_out(form, length, tmp_path):
    shape, how = FORMS[form]
    sound = np.random.default_rng(length).normal(size=length).astype(np.float32) / 4
    with passing(tmp_path / "pass.puni", shape, how, "state" in form, factor=0.5) as model:
        stream = model.sound_stream()
        assert stream.rate_hz == 16000
        for chunk in (1 << 20, 160, 33):
            parts = [stream.feed(sound[at : at + chunk]) for at in range(0, length, chunk)]
            got = np.concatenate([*parts, stream.finish()])
            assert got.dtype == np.float32 and len(got) == length
            np.testing.assert_allclose(got, sound / 2, atol=2e-6)
            assert len(stream.finish()) == 0
            stream.reset()


def test_samples_come_as_soon_as_they_are_complete(tmp_path):
    with passing(tmp_path / "pass.puni", *FORMS["frame-with-state"], state=True) as model:
        stream, given = model.sound_stream(), 0
        for _ in range(50):
            given += 256
            returned = stream._returned + len(stream.feed(np.ones(256, np.float32)))
            assert given - returned <= 512


def test_streams_are_independent(tmp_path):
    with passing(tmp_path / "pass.puni", *FORMS["samples-with-state"], state=True) as model:
        first, second = model.sound_stream(), model.sound_stream()
        for _ in range(3):
            first.feed(np.ones(160, np.float32))
        np.testing.assert_array_equal(second.feed(np.full(160, 0.25, np.float32)), np.full(160, 0.25))


def test_what_cannot_be_is_explained(tmp_path):
    with passing(tmp_path / "mel.puni", (1, "frames", 40), "audio:rate=16000,window=512,hop=256,mel=40") as model:
        with pytest.raises(ValueError, match="makes no sound of mel"):
            model.sound_stream()
        with pytest.raises(ValueError, match="tower 'other' takes no audio"):
            model.sound_stream("other")
    with passing(tmp_path / "peak.puni", (1, 257, 1, 2), f"{SPECTRUM},normalize=peak") as model:
        assert model.hear(np.ones(1000, np.float32), 16000).shape == (1, 257, 1, 2)
        with pytest.raises(ValueError, match="needs the recording's largest sample first"):
            model.sound_stream()
    with passing(tmp_path / "pass.puni", *FORMS["samples"]) as model:
        stream = model.sound_stream()
        for wrong in (np.zeros((2, 3)), np.array([np.nan]), np.array([np.inf, 0])):
            with pytest.raises(ValueError, match="finite floats"):
                stream.feed(wrong)


# The command line.


def command(*arguments: object, code: int = 0) -> str:
    # Elsewhere: in the checkout, Python would find the package's sources before the installed one.
    call = [sys.executable, "-m", "pocketuni", *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tempfile.gettempdir())
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767, file.getframerate()


@pytest.mark.parametrize("rate", [16000, 8000])
def test_run_sends_a_recording_through(rate, tmp_path):
    passing(tmp_path / "half.puni", *FORMS["frame-with-state"], state=True, factor=0.5).close()
    sound = 0.5 * np.sin(2 * np.pi * 300 * np.arange(rate * 2) / rate)
    write_wav(tmp_path / "in.wav", sound, rate)
    command("run", tmp_path / "half.puni", "--input", tmp_path / "in.wav", "-o", tmp_path / "out.wav")
    got, got_rate = read_wav(tmp_path / "out.wav")
    assert got_rate == 16000 and len(got) == 32000
    want = 0.25 * np.sin(2 * np.pi * 300 * np.arange(32000) / 16000)
    np.testing.assert_allclose(got[200:-200], want[200:-200], atol=2e-3)
    assert b"Synthetic speech" not in (tmp_path / "out.wav").read_bytes()


def test_run_sends_arrays_through(tmp_path):
    passing(tmp_path / "half.puni", ("batch", "time"), "audio:16000", factor=0.5).close()
    np.savez(tmp_path / "in.npz", sound=np.ones((2, 3), np.float32))
    command("run", tmp_path / "half.puni", "-i", tmp_path / "in.npz", "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as file:
        np.testing.assert_array_equal(file["made"], np.full((2, 3), 0.5))


def test_run_explains_what_it_cannot_do(tmp_path):
    passing(tmp_path / "half.puni", *FORMS["samples"]).close()
    write_wav(tmp_path / "empty.wav", np.zeros(0))
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "text.npz").write_text("no arrays")
    (tmp_path / "zip.npz").write_bytes(b"PK\x03\x04 no arrays")
    said_of = {"empty.wav": "the recording is empty", "text.wav": "not a", "absent.wav": "No such file",
               "text.npz": "is not an .npz of arrays", "zip.npz": "is not an .npz of arrays"}  # fmt: skip
    for name, message in said_of.items():
        said = command("run", tmp_path / "half.puni", "-i", tmp_path / name, "-o", tmp_path / "out.wav", code=1)
        assert message in said and said.count("\n") == 1
        assert not (tmp_path / "out.wav").exists()
    said = command("run", tmp_path / "half.puni", "-i", tmp_path / "empty.wav", "-o", tmp_path / "out.mid", code=1)
    assert "the format follows from the suffix" in said


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
@pytest.mark.parametrize("weights,least_db", [("fp32", 50), ("int8", 30)])
def test_gtcrn_gives_the_published_recording(weights, least_db, tmp_path):
    """Signal-to-error ratio over all samples of the published result, which is of 16 bits itself."""
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    folder = DATA / "models" / "gtcrn"
    command("convert", "onnx", folder / "gtcrn_simple.onnx", "-o", tmp_path / "denoise.puni", "--weights", weights,
            "--preprocess", SPECTRUM, "--quiet")  # fmt: skip
    command("run", tmp_path / "denoise.puni", "--input", folder / "mix.wav", "-o", tmp_path / "clean.wav")
    (got, _), (want, _) = read_wav(tmp_path / "clean.wav"), read_wav(folder / "enh_stream.wav")
    error = got[: len(want)] - want
    assert 10 * np.log10(np.square(want).sum() / np.square(error).sum()) > least_db
