"""Voices that the model in the package makes of people it has never heard."""

import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from voice_cases import RATE

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

UNSEEN = Path(__file__).parents[3] / "shared/data/speech/librispeech-unseen"


@pytest.fixture(scope="module")
def shipped():
    try:
        found = pocketuni.Model()
    except FileNotFoundError:
        pytest.skip("this installation holds no default model")
    if "voice.speaker" not in found.towers:
        pytest.skip("the default model does not make voices")
    return found


@pytest.fixture(scope="module")
def speakers():
    """Speaker -> two recordings, 16 kHz."""
    if not UNSEEN.exists():
        pytest.skip("needs ../shared/data/speech/librispeech-unseen")
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    found = {}
    for path in sorted(UNSEEN.glob("*.opus")):
        found.setdefault(path.name.split("-")[0], []).append(path)
    return {name: [soundfile.read(path, dtype="float32")[0] for path in paths[:2]] for name, paths in found.items()}


def quiet(model, samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pocketuni.VoiceWarning)
        return model.voice((samples[: 8 * RATE], RATE))


def test_shipped_voices_of_one_speaker_are_alike(shipped, speakers):
    voices = {name: [quiet(shipped, samples) for samples in recordings] for name, recordings in speakers.items()}
    same = [pair[0].similarity(pair[1]) for pair in voices.values()]
    names = sorted(voices)
    apart = [voices[a][0].similarity(voices[b][1]) for a in names for b in names if a != b]
    assert np.mean(same) > np.mean(apart) + 0.3, (same, apart)
    for name in names:
        nearest = max(names, key=lambda each: voices[name][0].similarity(voices[each][1]))
        assert nearest == name


def test_shipped_clones_are_as_high_as_their_speakers(shipped, speakers):
    for name, recordings in speakers.items():
        voice = quiet(shipped, recordings[0])
        said = shipped.say("The birch canoe slid on the smooth planks. These days a chicken leg is a rare dish.", voice)
        heard = shipped.voice_builder(said.rate_hz)
        heard.feed(said.samples)
        assert abs(heard.voice().pitch_hz / voice.pitch_hz - 1) < 0.12, name


def test_shipped_pieces_equal_the_whole(shipped, speakers):
    samples = next(iter(speakers.values()))[0][: 6 * RATE]
    whole = shipped.voice_builder(RATE)
    whole.feed(samples)
    pieces = shipped.voice_builder(RATE)
    for at in range(0, len(samples), 777):
        pieces.feed(samples[at : at + 777])
    assert whole.voice() == pieces.voice()


def test_shipped_voice_is_made_fast(shipped, speakers):
    samples = np.ascontiguousarray(next(iter(speakers.values()))[0][: 5 * RATE])
    best = 1e9
    for _ in range(5):
        begin = time.thread_time()  # other processes do not count
        builder = pocketuni._core.VoiceBuilder(shipped._open_core(), RATE, threads=1)
        builder.feed(samples)
        builder.voice()
        best = min(best, time.thread_time() - begin)
    assert best < 0.1, f"{1000 * best:.0f} ms of CPU time for a voice from 5 s"


def test_shipped_music_and_noise_are_no_voice(shipped):
    seconds = np.arange(6 * RATE) / RATE
    chord = sum(0.1 * np.sin(2 * np.pi * hz * seconds) for hz in (220, 277, 330, 440)).astype(np.float32)
    noise = np.random.default_rng(1).standard_normal(6 * RATE).astype(np.float32) * 0.1
    for sound in (chord, noise):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                shipped.voice((sound, RATE))
            except ValueError as error:
                assert "too little speech" in str(error)
            else:
                assert caught
