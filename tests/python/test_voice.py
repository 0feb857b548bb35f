"""Voices from recordings: from arrays, files and pieces; saved, compared, mixed, spoken. Weights are random."""

import pickle
import re
import resource
import warnings
from pathlib import Path

import numpy as np
import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
pytest.importorskip("torch", reason="the lexicon of the test voice needs pocketuni's training tools")
from golden import make  # noqa: E402
from speech import tiny_voice  # noqa: E402
from voice_cases import RATE, voiced, write_wave  # noqa: E402

from pocketuni import audio_input  # noqa: E402


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_voice.write(tmp_path_factory.mktemp("voice") / "tiny.puni")


@pytest.fixture(scope="module")
def model(tiny):
    return pocketuni.Model(tiny)


@pytest.fixture(scope="module")
def sound():
    return voiced(12)


@pytest.fixture(scope="module")
def voice(model, sound):
    return model.voice((sound, RATE))


@pytest.fixture(scope="module")
def other(model):
    return model.voice((voiced(9, 300, 3500), RATE))


@pytest.fixture(autouse=True)
def warnings_are_faults():
    """A good recording must not warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pocketuni.VoiceWarning)
        yield


# --- making ----------------------------------------------------------------------------------------------------------


def test_a_voice_tells_where_it_comes_from(voice):
    assert voice.vector.shape == (192,) and voice.vector.dtype == np.float32
    assert abs(np.linalg.norm(voice.vector) - 1) < 1e-5
    assert voice.is_clone and 9 < voice.seconds <= 12 and abs(voice.pitch_hz / 140 - 1) < 0.02
    assert pocketuni.ENOUGH_CONFIDENCE < voice.confidence < 1 and voice.name == ""
    assert "clone" in repr(voice)


def test_kinds_of_samples(model, sound, voice):
    short = np.round(sound * 32767).astype(np.int16)
    for samples, least in (
        (sound.astype(np.float64), 1 - 1e-6),
        (np.stack([sound, sound], 1), 1 - 1e-6),
        (short, 0.999),
        ((short.astype(np.int32) << 16), 0.999),
        (np.stack([short, short], 1), 0.999),
        ((np.round(sound * 127) + 128).astype(np.uint8), 0.9),
    ):
        made = model.voice((samples, RATE))
        assert made.similarity(voice) > least, samples.dtype
    listed = model.voice((sound[: 9 * RATE].tolist(), RATE))
    assert listed == model.voice((sound[: 9 * RATE], float(RATE)))


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
def test_rates(model, voice, rate):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = model.voice((voiced(12, rate=rate), rate))
    assert [rate < 16000] == [bool(caught)]
    assert abs(made.pitch_hz / 140 - 1) < 0.02 and abs(made.seconds - voice.seconds) < 0.4
    if rate > 8000:
        assert made.similarity(voice) > 0.99


def test_pieces_equal_the_whole(model, tiny, sound, voice):
    stereo = np.stack([sound, sound], 1)
    for size in (160, 1280, 5000, len(sound)):
        for threads in (1, 2):
            builder = pocketuni.Model(tiny, threads=threads).voice_builder(RATE)
            for at in range(0, len(sound), size):
                builder.feed((sound if size != 5000 else stereo)[at : at + size])
            assert builder.voice() == voice, (size, threads)
    assert builder.voice("me").name == "me"


def test_a_builder_tells_what_it_hears(model, sound):
    builder = model.voice_builder(RATE)
    assert (builder.seconds, builder.heard_seconds, builder.confidence) == (0, 0, 0)
    assert builder.level == (-120, -120) and builder.advice == ["Nothing was recorded yet."]
    last = -1.0
    for at in range(0, len(sound), RATE):
        builder.feed(sound[at : at + RATE])
        assert builder.confidence > last
        last = builder.confidence
    assert builder.heard_seconds == 12 and 9 < builder.seconds <= 12 and builder.advice == []
    assert -40 < builder.level.rms_db < builder.level.peak_db <= 0
    builder.feed([])
    builder.feed(np.zeros(RATE, np.float32))
    assert builder.heard_seconds == 13 and builder.seconds < 12.1 and builder.level.rms_db == -120


def test_advice_is_warned(model, sound):
    noise = np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32) * 0.1
    for samples, text in (
        (sound[: 2 * RATE], r"Only [12].\d s of speech"),
        (np.clip(sound, -0.1, 0.1), "clipped"),
        (sound + noise, "noisy"),
        (np.concatenate([sound, voiced(12, 300, 3500)]), "Several speakers"),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", pocketuni.VoiceWarning)
            model.voice((samples, RATE))
        assert any(re.search(text, str(each.message)) for each in caught), (text, caught)
        assert caught[0].filename == __file__ and caught[0].category is pocketuni.VoiceWarning


def test_what_is_no_recording(model, sound):
    spoiled = sound.copy()
    spoiled[1234] = np.nan
    for source, text in (
        ((np.zeros(0, np.float32), RATE), "too little speech for a voice. Nothing was recorded"),
        ((np.zeros(RATE, np.float32), RATE), "too little speech for a voice. The recording is silent"),
        ((sound[:1000], RATE), "too little speech"),
        ((spoiled, RATE), "sample 1234 of 192000 is not a finite number"),
        ((sound + np.inf, RATE), "not a finite number"),
        ((sound * 32768, RATE), "floats have full scale 1"),
        ((sound, 4000), "rate_hz is 4000, expected 8000 to 192000"),
        ((sound, 44100.5), "rate_hz is 44100.5, expected a whole number"),
        ((sound[None], RATE), r"got \(1, 192000\); transpose them"),
        ((sound.reshape(2, 2, -1), RATE), "expected samples of shape"),
        ("zoe", "there is no voice 'zoe'; voices of this model: ada, bert"),
    ):
        with pytest.raises(ValueError, match=text):
            model.voice(source)
    for source, text in (
        ((sound.astype(np.int64), RATE), "samples are int64; expected float32"),
        ((["a"], RATE), "samples are"),
        ((sound, "fast"), "rate_hz: expected a number"),
        (5, "expected a path, a name, a Voice or"),
        (sound, "expected a path, a name, a Voice or"),
    ):
        with pytest.raises(TypeError, match=text):
            model.voice(source)


def test_models_that_make_no_voices(tmp_path, sound):
    path = tiny_voice.write(tmp_path / "plain.puni", tiny_voice.towers())
    model = pocketuni.Model(path)
    with pytest.raises(ValueError, match="plain.puni cannot make voices: it lacks the tower voice.speaker"):
        model.voice((sound, RATE))
    assert len(model.say("Hello.", voice=model.voice("bert"))) > 0, "stored voices it has"
    closed = pocketuni.Model(path)
    closed.close()
    for use in (lambda: closed.voice("ada"), lambda: closed.voice_builder(RATE)):
        with pytest.raises(ValueError, match="the model is closed"):
            use()


def test_an_hour_in_constant_memory(model):
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs Linux to tell the memory of a process")
    builder = model.voice_builder(RATE)
    minute = voiced(60)
    resident = []
    for _ in range(60):
        builder.feed(minute)
        resident.append(int(statm.read_text().split()[1]) * resource.getpagesize() // 1024)
    assert builder.heard_seconds == 3600 and builder.seconds > 3500
    assert resident[-1] - resident[5] < 2000, "54 minutes leave nothing behind"
    assert builder.voice().confidence > 0.9


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width, channels", [(2, 1), (2, 2), (3, 1), (4, 2), (1, 1)])
def test_wav_files_with_and_without_soundfile(model, sound, voice, tmp_path, monkeypatch, width, channels):
    path = write_wave(tmp_path / "me.wav", sound, width=width, channels=channels)
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    plain = model.voice(path)
    assert plain.name == "me" and plain.similarity(voice) > (0.9 if width == 1 else 0.999)
    with pytest.raises(ImportError, match=r"me.flac: reading .flac files needs soundfile: pip install"):
        path.rename(tmp_path / "me.flac")
        model.voice(tmp_path / "me.flac")
    (tmp_path / "me.flac").rename(path)
    monkeypatch.undo()
    pytest.importorskip("soundfile", reason="the extra audio is not installed")
    assert model.voice(str(path)).similarity(plain) > 1 - 1e-6


def test_files_of_many_kinds(model, sound, voice, tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    for name, subtype in (("a.flac", "PCM_24"), ("a.ogg", "VORBIS"), ("a.wav", "FLOAT"), ("a.aiff", "PCM_16")):
        soundfile.write(tmp_path / name, sound, RATE, subtype=subtype)
        assert model.voice(tmp_path / name, name="x").similarity(voice) > 0.98, name
        assert model.voice(tmp_path / name, name="x").name == "x"
    soundfile.write(tmp_path / "high.wav", voiced(9, rate=96000), 96000, subtype="PCM_24")
    assert model.voice(tmp_path / "high.wav").similarity(voice) > 0.99


def test_files_that_are_no_recording(model, tmp_path):
    (tmp_path / "text.wav").write_text("This is not sound.")
    with pytest.raises(ValueError, match="text.wav: not a"):
        model.voice(tmp_path / "text.wav")
    with pytest.raises(FileNotFoundError, match="none.wav"):
        model.voice(tmp_path / "none.wav")
    with pytest.raises(IsADirectoryError):
        model.voice(tmp_path)
    with pytest.raises(ValueError, match="silent.wav: there is too little speech"):
        model.voice(write_wave(tmp_path / "silent.wav", np.zeros(RATE)))
    with pytest.raises(ValueError, match="slow.wav: rate_hz is 4000"):
        model.voice(write_wave(tmp_path / "slow.wav", np.zeros(RATE), rate=4000))


def test_raw_samples_in_pieces_that_break_a_sample():
    class Dribble:
        def __init__(self, data):
            self.data = data

        def read(self, size):
            part, self.data = self.data[:3], self.data[3:]
            return part

    numbers = np.arange(-50, 50, dtype="<i2")
    got = np.concatenate(list(audio_input.RawSource(Dribble(numbers.tobytes()), RATE, "s16le")))
    np.testing.assert_array_equal(got, numbers / np.float32(32768))
    stereo = np.concatenate(list(audio_input.RawSource(Dribble(numbers.tobytes()), RATE, "s16le", channels=2)))
    np.testing.assert_allclose(stereo, numbers.reshape(-1, 2).mean(1) / 32768, atol=1e-9)
    with pytest.raises(ValueError, match="holds an audio file, expected raw samples"):
        list(audio_input.RawSource(Dribble(b"RIFF....WAVE"), RATE, "s16le"))


# --- keeping, comparing, mixing --------------------------------------------------------------------------------------


def test_saved_and_loaded(model, voice, tmp_path):
    path = tmp_path / "me.voice"
    voice.renamed("Zoë").save(path)
    assert path.stat().st_size < 2000 and [p.name for p in tmp_path.iterdir()] == ["me.voice"]
    back = model.voice(path)
    assert back == voice.renamed("Zoë") and back.name == "Zoë" and hash(back) == hash(voice.renamed("Zoë"))
    assert model.voice(str(path), name="x").name == "x" and back != voice
    assert pickle.loads(pickle.dumps(voice)) == voice


def test_voice_files_that_are_broken_or_of_another_model(model, voice, tmp_path):
    path = tmp_path / "me.voice"
    voice.save(path)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[300] ^= 1
    for data, text in (
        (good[:500], "me.voice: the voice file is truncated: 500 bytes"),
        (good[:-1], "me.voice: the voice file is truncated: 839 bytes"),
        (good[:4], "not a .voice file"),
        (b"", "not a .voice file"),
        (bytes(flipped), "damaged: its hash does not match"),
        (good + b"x", "bytes, but says"),
    ):
        path.write_bytes(data)
        for use in (model.voice, lambda each: model.say("Hello.", voice=each)):
            with pytest.raises(pocketuni.ModelFileError, match=text):
                use(path)
    path.write_bytes(good)
    stranger = pocketuni.Model(tiny_voice.write(tmp_path / "stranger.puni", None, voice_space=b"another map 1234"))
    for use in (
        lambda: stranger.voice(path),
        lambda: stranger.say("Hello.", voice=voice),
        lambda: stranger.voice(voice),
    ):
        with pytest.raises(ValueError, match="was made for another model than .*stranger.puni: make it again"):
            use()
    with pytest.raises(ValueError, match="different models"):
        voice.similarity(stranger.voice("ada"))
    with pytest.raises(ValueError, match="different models"):
        voice + stranger.voice("ada")


def test_saving_faults_leave_nothing(voice, tmp_path):
    with pytest.raises(ValueError, match="ends in .voice"):
        voice.save(tmp_path / "me.wav")
    with pytest.raises(FileNotFoundError):
        voice.save(tmp_path / "no/me.voice")
    (tmp_path / "folder.voice").mkdir()
    with pytest.raises(IsADirectoryError):
        voice.save(tmp_path / "folder.voice")
    with pytest.raises(ValueError, match="NUL"):
        voice.save(f"{tmp_path}/a\0b.voice")
    with pytest.raises(ValueError, match="at most 255"):
        voice.renamed("x" * 256)
    with pytest.raises(TypeError, match="name: expected a str"):
        voice.renamed(5)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.voice"]


def test_a_space_outlives_another_vocoder(tmp_path, voice):
    """The blob `voice_space` decides; without it, the head's weights."""
    graphs = [*tiny_voice.towers()[:4], *tiny_voice.cloning_towers()]
    vocoder = tiny_voice.vocoder()
    name = next(iter(vocoder.constants))
    vocoder.constants[name] = vocoder.constants[name] + 1
    model = pocketuni.Model(tiny_voice.write(tmp_path / "later.puni", [*graphs, vocoder]))
    assert model.voice(voice) == voice
    head = tiny_voice.speaker_head()
    name = next(iter(head.constants))
    head.constants[name] = head.constants[name] + 1
    other_head = pocketuni.Model(
        tiny_voice.write(tmp_path / "head.puni", [*tiny_voice.towers(), *tiny_voice.cloning_towers()[::2], head])
    )
    with pytest.raises(ValueError, match="another model"):
        other_head.voice(voice)


def test_similarity(voice, other, model):
    assert voice.similarity(voice) == pytest.approx(1, abs=1e-6)
    assert voice.similarity(other) == pytest.approx(other.similarity(voice))
    assert voice.similarity(other) == pytest.approx(float(voice.vector @ other.vector), abs=1e-6)
    with pytest.raises(TypeError, match="expected a Voice, got str"):
        voice.similarity("ada")


def test_mixing(voice, other, model):
    mixed = 0.7 * voice + 0.3 * other
    want = 0.7 * voice.vector + 0.3 * other.vector
    np.testing.assert_allclose(mixed.vector, want / np.linalg.norm(want), atol=1e-6)
    np.testing.assert_allclose((7 * voice + other * 3).vector, mixed.vector, atol=1e-6)
    assert mixed.is_clone and mixed.seconds == pytest.approx(voice.seconds + other.seconds)
    assert mixed.pitch_hz == pytest.approx(voice.pitch_hz**0.7 * other.pitch_hz**0.3, rel=1e-6)
    three = voice + other + model.voice("ada")
    want = voice.vector + other.vector + model.voice("ada").vector
    np.testing.assert_allclose(three.vector, want / np.linalg.norm(want), atol=1e-6)
    assert three.pitch_hz is None, "of a stored voice it is not known"
    assert (2 * voice) == voice
    for wrong, text in ((lambda: -1 * voice + other, "0 or more"), (lambda: 0 * voice + 0 * other, "all 0")):
        with pytest.raises(ValueError, match=text):
            wrong()
    for wrong in (lambda: voice + 1, lambda: "a" * voice, lambda: voice + "ada"):
        with pytest.raises(TypeError):
            wrong()


# --- speaking --------------------------------------------------------------------------------------------------------


def test_speaking_in_a_voice(model, voice, tmp_path):
    voice.save(tmp_path / "me.voice")
    said = model.say("Hello there.", voice=voice)
    assert len(said) > 0 and not np.array_equal(said.samples, model.say("Hello there.").samples)
    for same in (tmp_path / "me.voice", str(tmp_path / "me.voice")):
        assert np.array_equal(model.say("Hello there.", voice=same).samples, said.samples)
    streamed = np.concatenate([chunk.samples for chunk in model.stream("Hello there.", voice=voice, chunk_frames=3)])
    assert np.array_equal(streamed, said.samples)
    stored = model.say("Hello there.", voice=model.voice("bert"))
    assert np.array_equal(stored.samples, model.say("Hello there.", voice="bert").samples)
    raw = model.say("Hello there.", voice=voice.vector)
    assert len(raw) == len(said), "a bare vector has no pitch of its own"


def spoken(model, voice, log_f0, pitch=0.0):
    core = pocketuni._core.Speech(model._open_core(), vector=voice.vector.tolist(), log_f0=log_f0, pitch=pitch)
    core.push(b"We were away a year ago. We were away a year ago.")
    core.finish()
    return np.concatenate([chunk[0] for chunk in iter(core.next, None)])


def test_a_clone_is_as_high_as_its_speaker(model, voice):
    """Whatever pitch the model makes of the vector: how far it is off is measured and added."""
    low, high = spoken(model, voice, np.log(10)), spoken(model, voice, np.log(3000))
    assert np.array_equal(low, spoken(model, voice, np.log(20))), "a fifth at the most"
    assert np.array_equal(high, spoken(model, voice, np.log(2000)))
    steps = list(60 * 1.2 ** np.arange(14))
    made = {hz: spoken(model, voice, np.log(hz)) for hz in steps}
    near = [hz for hz in steps if not np.array_equal(made[hz], low) and not np.array_equal(made[hz], high)]
    assert 3 <= len(near) <= 5, "two fifths"
    semitones = 12 * np.log2(near[1] / near[0])
    np.testing.assert_allclose(spoken(model, voice, np.log(near[0]), semitones), made[near[1]], atol=0.01)


def test_voices_that_are_not_there(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.voice"):
        model.say("Hello.", voice=tmp_path / "none.voice")
    with pytest.raises(FileNotFoundError, match="none.voice"):
        model.stream("Hello.", voice="none.voice")
    with pytest.raises(ValueError, match="there is no voice 'zoe'"):
        model.say("Hello.", voice="zoe")
    with pytest.raises(ValueError, match="holds no voices"):
        pocketuni.Model(make.FOLDER / "text.puni").voice("ada")
