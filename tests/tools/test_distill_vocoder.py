"""The vocoder's training code: mel, inverse, excitation, losses, judges, and the exported towers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
for package in ("scipy", "soundfile", "tqdm", "matplotlib", "onnxruntime"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import export_vocoder, istft, judges, mel, packed, source, spectral_loss, train_pitch, vocoder  # noqa: E402
from pocketuni_tools.evaluate import evaluate  # noqa: E402

SMALL = vocoder.Config(channels=16, hidden=24, blocks=2)


def noise(samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_mel_of_a_tone_peaks_in_its_band_and_halves_with_its_level():
    tone = torch.sin(torch.arange(22050) * (2 * torch.pi * 1000.0 / mel.RATE_HZ))[None] * 0.5
    loud, quiet = mel.log_mel(tone)[0, 40], mel.log_mel(tone / 2)[0, 40]
    centres = mel.mel_to_hz(np.linspace(mel.hz_to_mel(mel.LOW_HZ), mel.hz_to_mel(mel.HIGH_HZ), mel.MELS + 2))[1:-1]
    assert abs(centres[int(loud.argmax())] - 1000.0) < 40.0
    assert (loud - quiet).max() == pytest.approx(np.log(2.0), abs=1e-3)


def test_frames_are_as_many_as_whole_hops_and_silence_is_the_floor():
    assert mel.log_mel(torch.zeros(1, 256 * 7 + 255)).shape == (1, 7, mel.MELS)
    assert mel.log_mel(torch.zeros(1, 2560)).max() < np.log(1.1e-5) + 1.0
    with pytest.raises(ValueError, match="more than 384 samples"):
        mel.log_mel(torch.zeros(1, 384))


def test_the_inverse_gives_the_audio_back():
    audio = noise(256 * 30)
    bins = mel.spectrum(audio)
    again = istft.inverse(torch.cat([bins.real, bins.imag], dim=2))
    torch.testing.assert_close(again, audio, atol=1e-6, rtol=0.0)


def test_pulses_have_their_period_and_unit_power():
    train = source.pulses(source.integrate(torch.full((1, 60), 210.0)))[0]
    assert train.square().mean() == pytest.approx(1.0, abs=0.02)
    peaks = torch.nonzero(train > 7.0)[:, 0]
    periods = peaks.diff()[peaks.diff() > 1].float()
    assert periods.mean() == pytest.approx(22050.0 / 210.0, rel=0.01)


def test_noise_is_a_function_of_the_index():
    whole = source.hashed_noise(0, 20000)
    assert torch.equal(source.hashed_noise(700, 50), whole[700:750])
    assert whole.square().mean() == pytest.approx(1.0, abs=0.03)
    assert (whole[1:] * whole[:-1]).mean().abs() < 0.03


def test_the_phase_of_a_recording_puts_pulses_where_it_has_them():
    frames, f0_hz = 80, 180.0
    at = np.arange(256 * frames)
    audio = sum(np.cos(k * (2 * np.pi * f0_hz / mel.RATE_HZ * at + 1.0)) for k in range(1, 6)) * 0.1
    # F0 is given 0.5 % too low, as a tracker might: the fundamental itself corrects it.
    phase = source.fundamental_phase(audio, np.full(frames, f0_hz * 0.995), np.ones(frames, bool))
    centres = np.arange(frames) * 256 + 128
    error = phase - (2 * np.pi * f0_hz / mel.RATE_HZ * centres + 1.0)
    assert np.abs(np.angle(np.exp(1j * error)))[8:-8].max() < 0.1


def test_the_coherent_loss_forgives_delay_and_phase_but_not_noise():
    audio = noise(256 * 60)
    target, yes = mel.spectrum(audio), torch.ones(1, 60, dtype=torch.bool)
    limit = torch.tensor([11025.0])

    def loss(part: torch.Tensor, voiced: torch.Tensor = yes) -> float:
        return spectral_loss.coherent_loss(part, target, voiced, limit).item()

    assert loss(mel.spectrum(torch.roll(audio, 5, 1))) < 0.01
    assert loss(target * torch.polar(torch.tensor(1.0), torch.tensor(2.0))) < 0.02
    assert loss(target * 0.0) == pytest.approx(1.0, abs=1e-3)
    assert loss(mel.spectrum(noise(256 * 60, seed=1))) > 1.2
    assert loss(target * 0.0, ~yes) == pytest.approx(0.0, abs=1e-3)


def test_the_resolution_loss_is_zero_for_the_same_audio_and_sees_a_difference():
    audio, limit = noise(256 * 60), torch.tensor([11025.0])
    assert spectral_loss.resolution_loss(audio, audio, limit) == 0.0
    assert spectral_loss.resolution_loss(audio * 2.0, audio, limit) > 0.6


@pytest.mark.parametrize("frames", [9, 40])
def test_exported_towers_compute_what_the_networks_do(frames: int):
    torch.manual_seed(0)
    student = vocoder.Vocoder(SMALL).eval()
    reader = train_pitch.PitchReader(SMALL).eval()
    log_mel, excitation = torch.randn(1, frames, mel.MELS) - 5.0, torch.randn(1, frames, 4 * mel.BINS)
    with torch.inference_mode():
        wanted, f0 = student(log_mel, excitation), reader(log_mel)
    got = evaluate(export_vocoder.vocoder_graph(student), {"mel": log_mel.numpy(), "source": excitation.numpy()})
    np.testing.assert_allclose(got["spectrum"], wanted.numpy(), rtol=1e-3, atol=1e-5)
    got = evaluate(export_vocoder.pitch_graph(reader), {"mel": log_mel.numpy()})
    np.testing.assert_allclose(got["log_f0"], f0.numpy(), rtol=1e-4, atol=1e-5)


def test_a_model_is_what_was_saved(tmp_path):
    student = vocoder.Vocoder(SMALL).eval()
    vocoder.save(student, tmp_path / "vocoder.pt")
    again = vocoder.load(tmp_path / "vocoder.pt")
    assert again.config == SMALL
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), again.parameters(), strict=True))
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="expected a vocoder"):
        vocoder.load(tmp_path / "other.pt")


def test_word_errors_count_substitutions_deletions_and_insertions():
    assert judges.word_errors("The cat sat.", "the cat sat") == (0, 3)
    assert judges.word_errors("the cat sat down", "a cat sat") == (2, 4)
    assert judges.word_errors("cat", "the cat the") == (2, 1)
    assert judges.word_errors("well-known words", "") == (3, 3)


def test_distances_are_zero_for_the_same_and_grow_with_a_change():
    audio = noise(256 * 40)[0].numpy()
    log_mel = judges.log_mel_of(audio)
    assert judges.mel_cepstral_distortion(log_mel, log_mel) == 0.0
    assert judges.log_spectral_distance(audio, audio) == 0.0
    # A change of level alone is no cepstral distortion, and 6.02 dB of spectral distance.
    assert judges.mel_cepstral_distortion(log_mel + 1.0, log_mel) == pytest.approx(0.0, abs=1e-4)
    assert judges.log_spectral_distance(audio * 2.0, audio) == pytest.approx(6.02, abs=0.2)
    # One cepstrum of size a: 10 / ln 10 * sqrt(2) * a.
    ripple = 0.3 * np.cos(np.pi * 4 * (np.arange(mel.MELS) + 0.5) / mel.MELS)
    assert judges.mel_cepstral_distortion(log_mel + ripple, log_mel) == pytest.approx(4.343 * 2**0.5 * 0.3, rel=1e-2)


def test_recordings_score_what_the_data_notes_say():
    data = packed.default_data()
    if not (data / "models/dnsmos/sig_bak_ovr.onnx").exists():
        pytest.skip("needs ../shared/data (DNSMOS and LJSpeech)")
    audio = packed.load_audio(data / "speech/ljspeech/LJ001-0004.opus")
    assert judges.Dnsmos(data)(audio)["overall"] > 2.9
    assert judges.Dnsmos(data)(noise(len(audio))[0].numpy())["overall"] < 1.8
