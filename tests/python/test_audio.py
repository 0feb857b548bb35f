"""`Audio` in files and pictures."""

import wave

import numpy as np
import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

TIMES = np.arange(30_000) / 22050
SAMPLES = (0.3 * np.sin(2 * np.pi * 150 * TIMES) * np.sin(2 * np.pi * 3 * TIMES)).astype(np.float32)
WORDS = [pocketuni.Word("alpha", 0.1, 0.5, (0, 5)), pocketuni.Word("beta", 0.6, 1.1, (6, 10))]
AUDIO = pocketuni.Audio(SAMPLES, words=WORDS)
EMPTY = pocketuni.Audio(np.zeros(0, np.float32))


def test_save_wav(tmp_path):
    AUDIO.save(tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22050)
        got = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    np.testing.assert_allclose(got / 32767, AUDIO.samples, atol=1 / 32767)
    EMPTY.save(tmp_path / "empty.wav")
    with wave.open(str(tmp_path / "empty.wav")) as file:
        assert file.getnframes() == 0


def test_save_flac_and_ogg(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    for name, tolerance in (("a.flac", 2 / 32767), ("a.ogg", 0.1)):
        AUDIO.save(tmp_path / name)
        samples, rate = soundfile.read(tmp_path / name)
        assert rate == 22050 and len(samples) == len(AUDIO)
        np.testing.assert_allclose(samples, AUDIO.samples, atol=tolerance)


def test_files_say_that_they_are_synthetic(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    for name in ("a.wav", "a.flac", "a.ogg"):
        for audio in (AUDIO, pocketuni.Audio(SAMPLES[:4001]), *([EMPTY] if name == "a.wav" else [])):
            audio.save(tmp_path / name)
            with soundfile.SoundFile(tmp_path / name) as file:
                assert file.comment.startswith("Synthetic speech") and "pocketuni" in file.software, name
                assert file.frames == len(audio)
    # A chunk behind the samples: sizes fit together, and readers that do not know it pass over it.
    data = (tmp_path / "a.wav").read_bytes()
    size = int.from_bytes(data[4:8], "little")
    assert data[:4] == b"RIFF" and size == len(data) - 8
    info = data.index(b"LIST")
    assert info % 2 == 0 and int.from_bytes(data[info + 4 : info + 8], "little") == len(data) - info - 8
    assert data[info + 8 : info + 12] == b"INFO"


def test_saving_faults_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="one of .wav, .flac, .ogg"):
        AUDIO.save(tmp_path / "a.mp3")
    with pytest.raises(FileNotFoundError, match="no/a.wav"):
        AUDIO.save(tmp_path / "no/a.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(IsADirectoryError, match="folder.wav"):
        AUDIO.save(tmp_path / "folder.wav")
    broken = pocketuni.Audio(np.array(["not", "sound"]))
    with pytest.raises((TypeError, ValueError)):
        broken.save(tmp_path / "broken.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.wav"]


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="the extra plot is not installed")
    AUDIO.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    EMPTY.plot(tmp_path / "empty.svg")
    with pytest.raises(ValueError, match="one of .png, .svg, .pdf"):
        EMPTY.plot(tmp_path / "a.gif")


def test_the_picture_shows_the_mel_of_training():
    torch = pytest.importorskip("torch", reason="the training tools need torch")
    from distill import mel

    from pocketuni.speech_plot import log_mel

    samples = np.random.default_rng(0).standard_normal(5000).astype(np.float32) * 0.1
    np.testing.assert_allclose(log_mel(samples, 22050), mel.log_mel(torch.from_numpy(samples)[None])[0], atol=2e-3)
