"""Training of the vocoder on two made-up recordings: it learns, it resumes exactly, it uses predicted mels."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
for package in ("scipy", "soundfile", "tqdm", "matplotlib"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import mel, packed, segments, source, train_vocoder, vocoder  # noqa: E402

FRAMES = 90
ARGUMENTS = "--frames 24 --batch 2 --channels 16 --hidden 24 --blocks 1 --threads 1 --rate 5e-3 --warmup 2".split()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Two voices of ten harmonics, packed and with features."""
    folder = packed.folder(tmp_path)
    folder.mkdir()
    entries, audio, log_f0, phase = [], [], [], []
    for number, f0_hz in enumerate((120.0, 210.0)):
        at = np.arange(FRAMES * mel.HOP_SAMPLES) * (2 * np.pi * f0_hz / mel.RATE_HZ)
        voice = sum(np.cos(k * at) / k for k in range(1, 11)) * 0.1
        start = number * len(voice)
        entries.append(packed.Entry("ljspeech", f"voice{number}.opus", start, len(voice), True))
        audio.append(packed.to_int16(voice))
        log_f0.append(np.full(FRAMES, np.log(f0_hz), np.float32))
        phase.append(source.fundamental_phase(voice, np.full(FRAMES, f0_hz), np.ones(FRAMES, bool)))
    np.concatenate(audio).tofile(folder / "audio.i16")
    np.concatenate(log_f0).tofile(folder / "log_f0.f32")
    np.concatenate(phase).astype(np.float64).tofile(folder / "phase.f64")
    np.save(folder / "frames_done.npy", np.ones(2, bool))
    (folder / "index.json").write_text(json.dumps([asdict(entry) for entry in entries]))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, work: Path, name: str, *more: str) -> Path:
    monkeypatch.setattr("sys.argv", ["train_vocoder", "--work", str(work), "--name", name, *ARGUMENTS, *more])
    train_vocoder.main()
    return packed.folder(work) / name


def test_losses_fall_and_the_averaged_model_is_stored(monkeypatch, work):
    folder = run(monkeypatch, work, "learns", "--steps", "30")
    state = torch.load(folder / "state.pt", weights_only=False)
    trainer_first = run(monkeypatch, work, "first", "--steps", "1")
    first = torch.load(trainer_first / "state.pt", weights_only=False)["rows"][0][1:]
    last = state["rows"][-1][1:]
    assert state["step"] == 30
    assert last[0] < 0.9 * first[0] and last[2] < 0.9 * first[2], (first, last)
    assert vocoder.load(folder / "vocoder.pt").config.channels == 16
    assert (folder / "losses.png").stat().st_size > 1000


@pytest.mark.parametrize("more", [[], ["--rounded"]])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(monkeypatch, work, more):
    whole = torch.load(run(monkeypatch, work, "whole", "--steps", "6", *more) / "state.pt", weights_only=False)
    run(monkeypatch, work, "parts", "--steps", "6", "--stop", "3", *more)
    parts = torch.load(run(monkeypatch, work, "parts", "--steps", "6", *more) / "state.pt", weights_only=False)
    assert parts["step"] == 6
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], tensor, msg=name)


def test_predicted_mels_replace_the_recording_s_at_its_level(work):
    folder = work / "acoustic/predicted/ljspeech"
    folder.mkdir(parents=True)
    for number in range(2):
        np.save(folder / f"voice{number}.npy", np.full((FRAMES, mel.MELS), -3.0, np.float16))
    batch = segments.Sampler(work, 24, 4, 0, ["ljspeech"], predicted=1.0).next()
    gains = batch.log_mel.flatten(1) + 3.0
    assert (gains - gains[:, :1]).abs().max() < 1e-5
    low, high = (np.log(10.0) / 20.0 * db for db in segments.GAIN_DB)
    assert gains.min() >= low - 1e-3 and gains.max() <= high + 1e-3
    without = segments.Sampler(work, 24, 4, 0, ["ljspeech"]).next()
    assert (without.log_mel - batch.log_mel).abs().max() > 1.0


def test_recordings_without_features_are_refused(work):
    np.save(packed.folder(work) / "frames_done.npy", np.zeros(2, bool))
    with pytest.raises(ValueError, match="run distill.packed and distill.source first"):
        segments.Sampler(work, 24, 2, 0, ["ljspeech"])
