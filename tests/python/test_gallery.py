"""The scripts of examples/, run on real input as their first lines say."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pocketuni._core", reason="the extension module is not built")
pytest.importorskip("onnx", reason="the package onnx is not installed")

from pocketuni_tools.convert import main as convert  # noqa: E402

import pocketuni  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")
KEYWORDS = "down go left no off on right stop up yes".split()
CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Converts a model of the shared data once; options as on the command line."""
    folder = tmp_path_factory.mktemp("models")

    @cache
    def make(name, *options):
        path = folder / f"{Path(name).stem}.puni"
        assert convert(["onnx", str(DATA / "models" / name), "-o", str(path), "--quiet", *options]) == 0
        return path

    return make


def run(script, *arguments):
    command = [sys.executable, str(ROOT / "examples" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_data
def test_pictures_get_labels(converted, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / "labels.txt").write_text("\n".join(CLASSES))
    options = ["--preprocess", "image:32x32", "--labels", str(tmp_path / "labels.txt"), "--weights", "fp32"]
    model, right = converted("mlperf_tiny/ic.onnx", *options), 0
    with np.load(DATA / "vision" / "cifar10_test_2000.npz") as file:
        pictures, labels = file["image"][:8], file["label"][:8]
    for picture, label in zip(pictures, labels, strict=True):
        image.fromarray(picture).resize((64, 64), image.Resampling.NEAREST).save(tmp_path / "picture.png")
        right += CLASSES[label] in run("picture_labels.py", model, tmp_path / "picture.png").splitlines()[0]
    assert right >= 5


@needs_data
def test_faces_get_boxes(converted, tmp_path):
    pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    model = converted("ultraface/version-slim-320_simplified.onnx")
    said = run("face_boxes.py", model, DATA / "models" / "ultraface" / "9.jpg", tmp_path / "faces.png")
    assert int(said.split()[-2]) >= 5
    assert (tmp_path / "faces.png").stat().st_size > 10000


@needs_data
def test_speech_is_found(converted, tmp_path):
    pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    options = ["--fix", "sr=16000", "--carry", "input=64+512", "--preprocess", "audio:16000"]
    model = converted("silero_vad/silero_vad_op18_ifless.onnx", *options)
    recording = sorted((DATA / "speech" / "librispeech-unseen").rglob("*.opus"))[0]
    said = run("voice_activity.py", model, recording, tmp_path / "plot.png")
    assert 50 <= int(said.partition("%")[0]) <= 100
    assert (tmp_path / "plot.png").stat().st_size > 2000


@needs_data
def test_noise_is_removed(converted, tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    how = "audio:rate=16000,window=512,hop=256,taper=sqrt-hann,pad=reflect"
    model = converted("gtcrn/gtcrn_simple.onnx", "--weights", "fp32", "--preprocess", how)
    run("noise_removal.py", model, DATA / "models" / "gtcrn" / "mix.wav", tmp_path / "clean.wav")
    got, _ = soundfile.read(tmp_path / "clean.wav")
    want, _ = soundfile.read(DATA / "models" / "gtcrn" / "enh_stream.wav")
    assert 10 * np.log10(np.square(want).sum() / np.square(got[: len(want)] - want).sum()) > 50


@needs_data
@pytest.mark.parametrize("voice", ["clara", "henry"])
def test_keywords_are_spotted(converted, tmp_path, voice):
    """The words are said by the package's own voices: the shared data holds no recordings of them."""
    pytest.importorskip("soundfile", reason="the package soundfile is not installed")
    (tmp_path / "words.txt").write_text("\n".join([*KEYWORDS, "silence", "unknown"]))
    how = "audio:rate=16000,window=480,hop=320,mel=40,mfcc=10,low=20,high=4000,power=1,normalize=peak"
    model = converted("mlperf_tiny/kws.onnx", "--preprocess", how, "--labels", str(tmp_path / "words.txt"))
    with pocketuni.Model(threads=1) as speaker:
        parts = [speaker.say(f"{word}.", voice=voice) for word in KEYWORDS]
    pause = np.zeros(parts[0].rate_hz // 2, np.float32)
    sound = np.concatenate([pause, *(item for part in parts for item in (part.samples, pause))])
    pocketuni.Audio(sound, parts[0].rate_hz).save(tmp_path / "words.wav")
    said = [line.split()[-1] for line in run("keyword_spotting.py", model, tmp_path / "words.wav").splitlines()]
    assert sum(word in said for word in KEYWORDS) >= 9 and len(said) <= 11


def test_sentences_are_found(minilm, tmp_path):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    (tmp_path / "text.txt").write_text("The cat sleeps on the sofa.\nStocks fell on Monday.\nRain is expected.\n")
    assert "Stocks" in run("sentence_search.py", minilm, tmp_path / "text.txt", "the market went down").splitlines()[0]
