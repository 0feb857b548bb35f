"""Voices made of mels: what a warp does to harmonics and formants, and to the vector that tells of them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
for package in ("scipy", "soundfile", "tqdm", "matplotlib"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import mel, voice_space, warped  # noqa: E402
from distill.warped import Warp  # noqa: E402

FLAT = np.zeros(warped.CURVES)


def heard(f0_hz, formant_hz):
    """Log-mel `[T, 80]` of a tone whose harmonics are loudest around a frequency, and of a little noise."""
    time = np.arange(mel.RATE_HZ // 2) / mel.RATE_HZ
    audio = sum(
        np.exp(-0.5 * ((h * f0_hz - formant_hz) / 400) ** 2) * np.sin(2 * np.pi * h * f0_hz * time)
        for h in range(1, int(8000 / f0_hz))
    )
    audio = audio + 0.03 * np.random.default_rng(2).standard_normal(len(time))
    return mel.log_mel(torch.from_numpy((0.1 * audio).astype(np.float32))[None])[0, 5:-5].numpy()


def likeness(a, b, bands=slice(0, 40)):
    a, b = a.mean(0)[bands], b.mean(0)[bands]
    return np.corrcoef(a, b)[0, 1]


def test_no_warp_changes_nothing():
    log_mel = heard(200, 900)
    np.testing.assert_allclose(Warp(0.0, 0.0, FLAT)(log_mel), log_mel, atol=2e-3)


def test_formants_and_harmonics_move_apart():
    plain, wanted = heard(200, 900), heard(200, 900 * np.exp(0.2))
    made = Warp(0.2, 0.0, FLAT)(plain)
    off = [np.square(x.mean(0)[:40] - wanted.mean(0)[:40]).mean() for x in (made, plain)]
    assert off[0] < 0.5 * off[1]
    fine = np.eye(mel.MELS, dtype=np.float32) - warped.places()[1]
    higher = heard(200 * np.exp(0.15), 900)
    moved = Warp(0.0, 0.15, FLAT)(plain)
    # The lowest bands resolve single harmonics.
    low = slice(0, 16)
    assert likeness(moved @ fine, higher @ fine, low) > 0.95
    assert likeness(plain @ fine, higher @ fine, low) < 0.2


def test_a_curve_is_added_whatever_is_heard():
    curve = np.array([0.3, 0.0, -0.2, 0.0, 0.0, 0.1])
    a, b = heard(200, 900), heard(120, 600)
    added = Warp(0.0, 0.0, curve)(a) - Warp(0.0, 0.0, FLAT)(a)
    np.testing.assert_allclose(added, Warp(0.0, 0.0, curve)(b) - Warp(0.0, 0.0, FLAT)(b), atol=1e-4)
    assert np.std(added[0]) == pytest.approx(np.sqrt(np.sum(np.square(curve)) / 2), rel=0.02)


def test_what_a_lower_voice_lacks_in_height_is_known():
    assert Warp(0.2, 0.1, FLAT).bands(80) == 80
    assert 70 <= Warp(-0.15, 0.1, FLAT).bands(80) < 78
    assert Warp(-0.15, 0.1, FLAT).bands(60) < 60


def test_drawn_voices_keep_to_pitches_that_people_have():
    random = np.random.default_rng(0)
    for log_f0 in (4.3, 4.5, 5.1, 5.8):
        pitch = np.array([log_f0 + warped.draw(random, log_f0).pitch for _ in range(300)])
        low, high = min(warped.LOWEST_LOG_F0, log_f0), max(warped.HIGHEST_LOG_F0, log_f0)
        assert pitch.min() >= low - 1e-9 and pitch.max() <= high + 1e-9 and np.std(pitch) > 0.05


def test_a_changed_vector_is_a_vector_of_the_changed_parts():
    random = np.random.default_rng(1)
    parts = random.standard_normal(voice_space.SIZE) * 0.1
    parts[: voice_space.TEACHER] /= np.linalg.norm(parts[: voice_space.TEACHER])
    parts[-1] = voice_space.CONSTANT
    change = random.standard_normal(voice_space.SIZE) * 0.02
    change[-1] = 0
    vector = warped.changed(voice_space.unit(parts), change)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    found = vector * voice_space.CONSTANT / vector[-1]
    told = slice(voice_space.TEACHER, None)
    np.testing.assert_allclose(found[told], parts[told] + change[told], atol=1e-4)
    assert np.linalg.norm(found[: voice_space.TEACHER]) == pytest.approx(1, abs=1e-4)


def test_warps_of_other_recordings_are_refused(tmp_path):
    with pytest.raises(OSError, match=r"not there; run `python -m distill\.warped"):
        warped.load(tmp_path, 3)
    (tmp_path / "prepared").mkdir()
    rows = {"formants": (2, 4), "pitch": (2, 4), "curve": (2, 4, 6), "change": (2, 4, 192)}
    np.savez(warped.path_of(tmp_path), **{name: np.full(shape, 0.1, np.float32) for name, shape in rows.items()})
    with pytest.raises(OSError, match="of 2 recordings, expected 3"):
        warped.load(tmp_path, 3)
    warp, change = warped.load(tmp_path, 2)(1, 3)
    assert (warp.formants, change.shape) == (pytest.approx(0.1), (192,))
