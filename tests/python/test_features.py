"""Features of sound as towers read them: against other ways to compute them, in every shape, from any rate."""

import numpy as np
import pytest
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.preprocess import read_preprocess, tower_meta
from pocketuni_tools.writer import write_model

core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")

import pocketuni  # noqa: E402
from pocketuni.features import arranged, disarranged, features_of, mel_bands, mono, resample  # noqa: E402

RATE = 16000
KWS = "audio:rate=16000,window=480,hop=320,mel=40,mfcc=10,low=20,high=4000,power=1,floor=1e-6,normalize=peak"


def listener(shape: tuple, op: str = "abs") -> Graph:
    graph = Graph("main")
    graph.add_input("features", "float32", shape)
    graph.outputs = graph.add_node(op, ["features"], [Value("y", "float32", shape)])
    return graph


def settings_of(text: str, shape: tuple) -> dict:
    return read_preprocess(text, listener(shape))["audio"]


def chirp(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (100 + 900 * t) * t)).astype(np.float32)


def naive_cepstrum(samples: np.ndarray) -> np.ndarray:
    """MLPerf Tiny's keyword features written out: frames, magnitudes by the definition of the transform, triangles over
    mels one by one, logarithms, cosines."""
    samples = samples.astype(np.float64) / np.abs(samples).max()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)
    turn = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(480)) / 512)
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)  # noqa: E731
    edges = np.linspace(mel(20), mel(4000), 42)
    rows = []
    for begin in range(0, len(samples) - 479, 320):
        magnitude = np.abs(turn @ (samples[begin : begin + 480] * hann))
        bands = np.zeros(40)
        for band in range(40):
            low, middle, high = edges[band : band + 3]
            for bin_ in range(1, 257):
                place = mel(bin_ * RATE / 512)
                if low < place < high:
                    slope = (place - low) / (middle - low) if place <= middle else (high - place) / (high - middle)
                    bands[band] += slope * magnitude[bin_]
        logs = np.log(bands + 1e-6)
        rows.append([2 * sum(logs[n] * np.cos(np.pi / 40 * (n + 0.5) * k) for n in range(40)) / np.sqrt(80)
                     for k in range(10)])  # fmt: skip
    return np.array(rows)


def test_a_cepstrum_is_that_of_its_definition():
    sound = chirp()
    got = features_of(sound, settings_of(KWS, ("batch", 49, 10, 1)))
    assert got.shape == (49, 10)
    np.testing.assert_allclose(got, naive_cepstrum(sound), rtol=1e-4, atol=1e-3)


def test_mel_bands_are_those_of_the_voices_operator(tmp_path):
    """Frame f of `mel_spectrogram` begins at sample 128 f - 192: the third one 64 samples into the recording."""
    graph, options = Graph("main"), {"n_fft": 512, "hop": 128, "mels": 40, "rate": float(RATE), "floor": 1e-9}
    graph.add_input("samples", "float32", (1, "time"))
    graph.outputs = graph.add_node("mel_spectrogram", ["samples"], [Value("y", "float32", (1, None, 40))], **options)
    write_model(tmp_path / "mel.puni", [graph])
    sound = chirp() + np.random.default_rng(0).normal(size=RATE).astype(np.float32) * 0.01
    with pocketuni.Model(tmp_path / "mel.puni", threads=1) as model:
        want = model.towers["main"].run(samples=sound[None])["y"][0]
    text = "audio:rate=16000,window=512,hop=128,mel=40,scale=slaney,power=1,floor=1e-12"
    got = features_of(sound[64:], settings_of(text, (1, "frames", 40)))
    assert len(got) > 100
    np.testing.assert_allclose(got, want[2 : 2 + len(got)], atol=1e-3)


def test_slaney_bands_have_area_one():
    settings = settings_of("audio:rate=16000,window=2048,hop=512,mel=20,scale=slaney", (1, "frames", 20))
    area = mel_bands(settings["features"], RATE).sum(0) * RATE / 2048
    np.testing.assert_allclose(area[4:], 1, atol=0.02)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_features_of_any_rate_are_nearly_the_same(rate):
    settings = settings_of("audio:rate=8000,window=256,hop=128,mel=20,high=3000,floor=0.1", (1, "frames", 20))
    want = features_of(chirp(rate=8000), settings)
    got = features_of(mono(chirp(rate=rate), rate, 8000), settings)
    assert np.abs(got[2:-3] - want[2 : len(got) - 3]).mean() < 0.1


@pytest.mark.parametrize(
    "shape,sizes,axes",
    [
        (("batch", 49, 10, 1), (49, 10), [1, 2]),
        (("batch", 1, 10, 49), (49, 10), [3, 2]),
        ((1, "frames", 10), (7, 10), [1, 2]),
        ((1, 257, 1, 2), (1, 257, 2), [2, 1, 3]),
        ((1, 2, "time", 257), (5, 257, 2), [2, 3, 1]),
    ],
)
def test_features_find_their_axes(shape, sizes, axes):
    spectrum = len(sizes) == 3
    text = "audio:rate=16000,window=512,hop=256" + ("" if spectrum else ",mel=40,mfcc=10")
    assert settings_of(text, shape)["features"]["axes"] == axes
    values = np.random.default_rng(0).normal(size=sizes)
    laid = arranged(values, shape, axes)
    assert laid.ndim == len(shape)
    np.testing.assert_array_equal(disarranged(laid, axes), values)


@pytest.mark.parametrize(
    "text,message",
    [
        ("audio:rate=16000,window=512", "hop is None"),
        ("audio:rate=16000,window=512,hop=0", "hop is '0'"),
        ("audio:rate=16000,window=512,hop=600", "hop is '600'"),
        ("audio:rate=16000,window=512,hop=256,fft=256", "fft is '256'"),
        ("audio:rate=16000,window=512,hop=256,mel=0", "mel is '0'"),
        ("audio:rate=16000,window=512,hop=256,mel=40,mfcc=41", "mfcc is '41'"),
        ("audio:rate=16000,window=512,hop=256,mel=40,mfcc=10,low=9000", "out of range"),
        ("audio:rate=16000,window=512,hop=256,mel=40,mfcc=10,scale=bark", "one of htk, slaney"),
        ("audio:rate=16000,window=512,hop=256,taper=kaiser", "one of hann"),
        ("audio:rate=16000,window=512,hop=256,mel=40,mfcc=9", "no axis of 9"),
        ("audio:rate=16000,window=512,hop=256,mel=40,mfcc=10,loudness=1", "loudness does not fit"),
        ("audio:rate=1", "rate is '1'"),
        ("audio:mel=40", "rate is None"),
    ],
)
def test_settings_that_cannot_be_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        settings_of(text, ("batch", 49, 10, 1))


@pytest.mark.parametrize("seconds,rate", [(1.0, 16000), (0.4, 44100), (3.0, 8000)])
def test_a_recording_is_heard_through_its_features(seconds, rate, tmp_path):
    """Of any length and rate: cut, or followed by silence, to the frames that the tower takes."""
    graph = listener((1, 49, 10, 1))
    write_model(tmp_path / "kws.puni", [graph], meta={"towers": {"main": tower_meta(graph, KWS, None)}})
    sound = chirp(seconds, rate)
    with pocketuni.Model(tmp_path / "kws.puni", threads=1) as model:
        heard = model.hear(sound, rate)
    at_rate = np.pad(resample(sound, rate, RATE), (0, RATE))[: 48 * 320 + 480]
    np.testing.assert_allclose(heard[0, ..., 0], np.abs(features_of(at_rate, settings_of(KWS, (1, 49, 10, 1)))), 1e-5)
