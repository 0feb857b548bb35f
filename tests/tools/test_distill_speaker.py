"""Voices from recordings: disturbances, the students' networks, and their towers against them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
for package in ("scipy", "soundfile", "matplotlib"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import disturbances  # noqa: E402
from distill.activity import LOOKAHEAD, ActivityTower  # noqa: E402
from distill.disturbances import SILENT, Severity, disturb  # noqa: E402
from distill.evaluate_speaker import equal_error, identified, telephone  # noqa: E402
from distill.mel import RATE_HZ, log_mel  # noqa: E402
from distill.packed import Entry  # noqa: E402
from distill.speaker_data import MORE_SHIFTS, chunks, plan  # noqa: E402
from distill.speaker_graph import activity_graph, head_graph, speaker_graph  # noqa: E402
from distill.speaker_tower import Depthwise, Head, Shape, SpeakerTower, statistics  # noqa: E402
from distill.timed_run import TimedRun  # noqa: E402
from pocketuni_tools.evaluate import evaluate  # noqa: E402
from pocketuni_tools.writer import write_model  # noqa: E402

SMALL = Shape(channels=32, inner=48, blocks=2, features=24)


def shaken(model):
    """Weights away from their first values, so that no layer is skipped by being near the identity."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def speaker():
    torch.manual_seed(0)
    model = SpeakerTower(SMALL)
    model.head.mean.normal_()
    model.head.deviation.uniform_(0.5, 2.0)
    return shaken(model)


@pytest.fixture(scope="module")
def activity():
    torch.manual_seed(1)
    return shaken(ActivityTower())


def mels(frames, seed=0):
    return torch.randn(1, frames, 80, generator=torch.Generator().manual_seed(seed)) * 2 - 5


def tone(hz, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ).astype(np.float32) * 0.3


def heard(audio):
    return log_mel(torch.from_numpy(np.asarray(audio, np.float32))[None])


# -- data


def test_every_shift_is_another_voice_and_held_out_speakers_have_none():
    entries = [Entry("librispeech-voices", f"{i}-1-0000.opus", 0, 22050, True) for i in range(30)]
    entries += [Entry("librispeech", "77-1-0000.opus", 0, 22050, True)]
    entries += [Entry("ljspeech", "LJ001-0001.opus", 0, 22050, False)]
    items = plan(entries)
    held_out = [item for item in items if not item.training]
    assert {item.shift for item in held_out} == {1.0}
    assert len(held_out) == 3 + 1  # every twelfth speaker, and the sentence that is never trained on
    trained = [item.voice for item in items if item.training]
    assert len(set(trained)) == len(trained) == 27 * 5 + 1 + (30 % 3 == 0)
    assert not {v.split("*")[0] for v in trained} & {i.voice.split("*")[0] for i in held_out}
    ordered = [item for group in chunks(items, entries, np.random.default_rng(0)) for item in group]
    more = [item for item in ordered if item.shift in MORE_SHIFTS]
    assert len(ordered) == len(items) + 27 * len(MORE_SHIFTS) and len(more) == 27 * len(MORE_SHIFTS)
    assert not {item.voice for item in more} & {item.voice for item in items}


# -- disturbances


@pytest.mark.parametrize("kind", disturbances.NOISES)
def test_noises_have_their_level(kind):
    random = np.random.default_rng(2)
    audio = disturbances.noise(kind, RATE_HZ * 2, random, [random.normal(size=9000) for _ in range(4)])
    assert audio.shape == (2 * RATE_HZ,) and np.isfinite(audio).all()
    assert np.std(audio) == pytest.approx(disturbances.NOISE_RMS, rel=1e-3)


def test_a_room_keeps_level_and_start():
    click = np.zeros(RATE_HZ, np.float32)
    click[5000:5100] = tone(900)[:100]
    out = disturbances.in_room(click, np.random.default_rng(1))
    assert np.abs(out[:5000]).max() < 1e-4 * np.abs(out).max()
    assert np.mean(out**2) == pytest.approx(np.mean(click**2), rel=0.6)  # clipping may take some
    assert np.mean(out[5200:] ** 2) > 0


def test_noise_is_added_at_the_ratio_asked_for():
    rng = np.random.default_rng(0)
    speech, noise = heard(tone(700, 2)), heard(0.02 * rng.normal(size=2 * RATE_HZ))
    mask = torch.ones(speech.shape[:2])
    severity = Severity(noisy=1.0, snr_db=(10.0, 10.0), coloured=0.0, narrow=0.0, gain_db=(0.0, 0.0))
    mixed = disturb(speech, mask, noise, np.random.default_rng(3), severity)
    power = [float(disturbances.level(x, mask)) for x in (speech, mixed)]
    # 10 dB below adds a tenth of the power.
    assert 2 * (power[1] - power[0]) == pytest.approx(np.log(1.1), abs=0.02)


def test_band_limits_silence_the_highs():
    severity = Severity(noisy=0.0, coloured=0.0, narrow=1.0, gain_db=(0.0, 0.0))
    curves = [disturbances.microphone(np.random.default_rng(seed), severity) for seed in range(20)]
    assert all(curve[30] > -0.1 for curve in curves if curve[5] > -0.1)
    assert min(curve[-1] for curve in curves) < -6
    speech = heard(np.random.default_rng(4).normal(size=RATE_HZ).astype(np.float32) * 0.1)
    out = disturb(speech, torch.ones(speech.shape[:2]), speech, np.random.default_rng(1), severity)
    assert (out >= SILENT - 1e-4).all() and torch.isfinite(out).all()


# -- networks


def test_depthwise_is_a_convolution_with_its_gradients():
    torch.manual_seed(2)
    layer = Depthwise(6, 8, 4, 2).double()
    # The layer works in float32, so gradients are compared with those of conv1d.
    x = torch.randn(2, 30, 6, dtype=torch.float32, requires_grad=True)
    layer = layer.float()
    y = layer(x)
    padded = torch.nn.functional.pad(x, (0, 0, 8, 4)).transpose(1, 2)
    wanted = torch.nn.functional.conv1d(padded, layer.weight.T[:, None], layer.bias, dilation=2, groups=6).transpose(
        1, 2
    )
    assert torch.allclose(y, wanted, atol=1e-5)
    pull = torch.randn_like(y)
    got = torch.autograd.grad((y * pull).sum(), [x, layer.weight, layer.bias], retain_graph=True)
    expected = torch.autograd.grad((wanted * pull).sum(), [x, layer.weight, layer.bias])
    for a, b in zip(got, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_statistics_are_those_of_the_frames_with_speech():
    features = torch.randn(2, 50, 7)
    mask = torch.zeros(2, 50)
    mask[0, 3:40] = 1
    mask[1, ::2] = 1
    found = statistics(features, mask)
    for i in range(2):
        chosen = features[i][mask[i] > 0]
        wanted = torch.cat([chosen.mean(0), chosen.std(0, unbiased=False)])
        assert torch.allclose(found[i], wanted, atol=1e-4)


def test_the_head_is_the_ridge_regression():
    torch.manual_seed(6)
    head = Head(5)
    stats = torch.randn(400, 5) * torch.tensor([1.0, 5.0, 0.1, 1.0, 2.0]) + 3
    matrix = torch.randn(192, 5)
    vectors = stats @ matrix.T
    head.fit(stats, vectors, ridge=1e-6)
    wanted = torch.nn.functional.normalize(vectors, dim=1)
    assert torch.allclose(head(stats), wanted, atol=1e-3)
    head.average_with(head)
    weight, bias = head.folded()
    assert torch.allclose(torch.nn.functional.normalize(stats @ weight.T + bias, dim=1), wanted, atol=1e-3)


def test_the_gate_looks_no_further_ahead_than_it_says(activity):
    mel = mels(120)
    whole = activity(mel)
    changed = mel.clone()
    changed[:, 60:] = 3.0
    other = activity(changed)
    assert torch.equal(whole[:, : 60 - LOOKAHEAD], other[:, : 60 - LOOKAHEAD])
    assert not torch.allclose(whole[:, 60 - LOOKAHEAD], other[:, 60 - LOOKAHEAD])
    assert sum(p.numel() for p in activity.parameters()) <= 60_000


# -- towers


@pytest.mark.parametrize("frames", [1, 7, 90])
def test_towers_are_the_networks(speaker, activity, frames):
    mel = mels(frames, frames)
    features = speaker.features(mel)
    stats = statistics(features, torch.ones(1, frames))
    for built, feed, wanted in (
        (speaker_graph(speaker), {"mel": mel}, {"features": features}),
        (activity_graph(activity), {"mel": mel}, {"speech": activity(mel)}),
        (head_graph(speaker), {"stats": stats}, {"speaker": speaker.speaker(stats)}),
    ):
        got = evaluate(built.graph, {name: value.numpy() for name, value in feed.items()})
        for name, value in wanted.items():
            assert got[name].shape == tuple(value.shape)
            assert np.allclose(got[name], value.numpy(), atol=2e-4)


def test_the_head_limits_deviations_itself(speaker):
    stats = torch.zeros(1, 48)
    limited = torch.cat([torch.zeros(1, 24), torch.full((1, 24), 0.01)], dim=1)
    got = evaluate(head_graph(speaker).graph, {"stats": stats.numpy()})["speaker"]
    assert np.allclose(got, speaker.speaker(limited).numpy(), atol=1e-5)
    assert np.linalg.norm(got) == pytest.approx(1.0, abs=1e-5)


def test_chunks_give_what_the_whole_gives(speaker, activity, tmp_path):
    core = pytest.importorskip("pocketuni._core", reason="the extension module is not built")
    built = [speaker_graph(speaker), activity_graph(activity)]
    precisions = {name: p for b in built for name, p in b.precisions.items()}
    write_model(tmp_path / "towers.puni", [b.graph for b in built], precisions=precisions)
    model = core.Model(str(tmp_path / "towers.puni"))
    mel = mels(200, 5).numpy()
    for tower, output in (("voice.speaker", "features"), ("voice.activity", "speech")):
        whole = core.Session(model, tower).run({"mel": mel})[output]
        stream, parts, begin = core.Stream(model, tower), [], 0
        assert tower != "voice.activity" or stream.lookahead == LOOKAHEAD
        for size in (1, 2, 7, 40, 3, 147):
            stream.push({"mel": mel[:, begin : begin + size]})
            begin += size
            while stream.rows_ready:
                parts.append(stream.pull(5)[output])
        stream.finish()
        while not stream.done:
            parts.append(stream.pull(64)[output])
        assert np.array_equal(np.concatenate(parts, axis=1), whole)


# -- training and judging


def test_a_run_goes_on_where_it_stopped(tmp_path):
    def fresh(minutes):
        torch.manual_seed(5)
        return TimedRun(torch.nn.Linear(3, 1), tmp_path, "small", {"width": 3}, minutes, 1e-2, 1)

    run = fresh(0.02)
    x = torch.randn(64, 3)

    def losses():
        return {"error": (run.model(x) - x.sum(1, keepdim=True)).square().mean()}

    def validate(model):
        with torch.no_grad():
            return {"held out": float((model(x) - x.sum(1, keepdim=True)).square().mean())}

    run.run(losses, {"error": 1.0}, validate)
    assert run.rows[-1]["held out"] < 1.0 and (tmp_path / "small.png").exists()
    again = fresh(0.03)
    again.resume()
    assert again.step == run.step and again.elapsed_s() >= run.spent_s
    assert torch.equal(again.model.weight, run.model.weight)
    other = TimedRun(torch.nn.Linear(3, 1), tmp_path, "small", {"width": 4}, 1, 1e-2, 1)
    with pytest.raises(ValueError, match="move it away"):
        other.resume()


def test_equal_error_and_identification():
    assert equal_error(np.array([0.8, 0.9, 0.7]), np.array([0.1, 0.2, 0.3]))[0] == 0
    rate, _ = equal_error(np.linspace(0, 1, 101), np.linspace(0, 1, 101))
    assert rate == pytest.approx(0.5, abs=0.02)
    owners = np.array(["a", "a", "b", "b"])
    vectors = np.array([[1, 0.1], [1, 0.0], [0, 1], [1, 0.2]], np.float32)
    assert identified(vectors, owners, np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)) == 0.75


def test_the_telephone_ends_at_four_kilohertz():
    low, high = (float(np.std(telephone(tone(hz))[2000:-2000])) for hz in (1000, 4600))
    assert low > 0.18 and high < 1e-2 * low
