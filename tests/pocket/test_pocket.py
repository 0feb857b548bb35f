"""Pocket TTS models behind `say`, `stream` and `voice`: a small one with random weights; nothing of the package."""

import itertools

import numpy as np
import pytest

pytest.importorskip("yaml", reason="needs pyyaml: pip install '.[tools]'")
pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install '.[text]'")
pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

from pocket import random_model  # noqa: E402
from pocketuni_tools.convert import convert  # noqa: E402
from pocketuni_tools.import_pocket_tts import import_pocket_tts  # noqa: E402

from pocketuni import _core  # noqa: E402
from pocketuni.compat.pocket_tts import TTSModel, export_model_state  # noqa: E402
from pocketuni.pocket import stream as start_stream  # noqa: E402

TEXT = "The hogs were fed chopped corn. Who, then, would buy one? Nobody; well, well!"
RATE, FRAME = 8000, 640


@pytest.fixture(scope="module")
def model(file):
    with pocketuni.Model(file, threads=2) as opened:
        yield opened


def sound(seconds=1.0, rate=RATE, seed=3):
    noise = np.random.default_rng(seed).standard_normal(int(seconds * rate)).astype(np.float32)
    return 0.2 * noise * (1 + np.sin(np.arange(len(noise)) / 100, dtype=np.float32))


@pytest.fixture(scope="module")
def voice(model):
    return model.voice((sound(), RATE), name="somebody")


def options(eos_threshold):
    return {"temperature": 0.3, "noise_clamp": 0.0, "eos_threshold": eos_threshold, "steps": 1, "seed": 0}


def joined(chunks):
    return np.concatenate([chunk.samples for chunk in chunks])


def test_speech_is_sound_of_the_model_s_rate(model, voice):
    audio = model.say(TEXT, voice=voice)
    assert audio.rate_hz == RATE and audio.samples.dtype == np.float32 and len(audio) % FRAME == 0
    assert np.isfinite(audio.samples).all() and np.abs(audio.samples).max() <= 1 and audio.samples.std() > 1e-4
    assert audio.words == [] and audio.samples[0] == 0, "it is faded in"


@pytest.mark.parametrize("frames", [1, 24, None])
def test_chunks_equal_the_whole_on_any_number_of_threads(file, model, voice, frames):
    whole = model.say(TEXT, voice=voice).samples
    for threads in (1, 2):
        with pocketuni.Model(file, threads=threads) as other:
            chunks = list(other.stream(TEXT, voice=voice, chunk_frames=frames))
            assert np.array_equal(joined(chunks), whole)
            assert all(chunk.rate_hz == RATE for chunk in chunks)
            most = max(1, (frames or 64) // 8)
            assert all(len(chunk) % FRAME == 0 and len(chunk) <= most * FRAME for chunk in chunks)
            assert frames is not None or len(chunks[0]) == FRAME, "the first comes as soon as it can"


def test_the_stream_is_what_its_parts_give(model, voice):
    """Language model and codec called one by one, with noise given, on any number of threads."""
    core = model._open_core()
    engine = _core.PocketModel(core, 1)
    noise = np.random.default_rng(5).standard_normal((12, engine.latent_width)).astype(np.float32)
    engine.begin(voice.state)
    engine.push_text([5, 17, 23])
    latents, latent = [], np.zeros(0, np.float32)
    for row in noise:
        latent, _ = engine.step(latent, row, 1)
        latents.append(latent)
    wanted = engine.decode(np.stack(latents))
    pieces = [engine.decode(part, restart=i == 0) for i, part in enumerate(np.split(np.stack(latents), [1, 4, 5]))]
    assert np.array_equal(np.concatenate(pieces), wanted), "latents may be cut anywhere"
    wanted[:40] *= np.arange(40, dtype=np.float32) / np.float32(39)
    for threads in (1, 2):
        speech = _core.PocketSpeech(core, voice.state, "", **options(1e9), threads=threads)
        speech.push([5, 17, 23], len(noise), 0, noise)
        chunks = []
        while (chunk := speech.next(3)) is not None:
            chunks.append(chunk)
        assert np.array_equal(np.concatenate(chunks), wanted)


def test_voices_and_seeds_differ_and_repeat(model, voice):
    first = model.say("Hello there.", voice=voice, seed=1).samples
    assert np.array_equal(first, model.say("Hello there.", voice=voice, seed=1).samples)
    assert not np.array_equal(first, model.say("Hello there.", voice=voice, seed=2).samples)
    other = model.voice((sound(seed=4), RATE))
    assert other != voice and not np.array_equal(first, model.say("Hello there.", voice=other, seed=1).samples)
    assert not np.array_equal(first, model.say("Hello there.", seed=1).samples), "without a voice it speaks, too"


def heard_after(model, voice, pieces):
    """How many pieces were taken when the first sound came, and all samples."""
    given = []

    def source():
        for piece in pieces:
            given.append(piece)
            yield piece

    stream = model.stream(source(), voice=voice)
    chunks = [next(stream)]
    count = len(given)
    return count, joined([*chunks, *stream])


def test_pieces_of_text_are_spoken_as_soon_as_they_can(model, voice):
    sentences = ("Rice is often served in round bowls. ", "The juice ", "of lemons makes fine punch.")
    assert heard_after(model, voice, sentences)[0] == 1, "the first sentence does not wait for what follows it"
    assert heard_after(model, voice, ("Rice is ", "often served, as I ", "said, in round bowls. ", "No."))[0] == 2
    assert heard_after(model, voice, ("Well, ", "I paid Mr. ", "Smith 3.", "50 for it", ". And ", "left."))[0] == 5
    count, samples = heard_after(model, voice, list("Rice is rare."))
    assert count == len("Rice is rare."), "nothing is complete before the end"
    assert np.array_equal(samples, model.say("Rice is rare.", voice=voice).samples)


def test_faulty_and_foreign_text_is_spoken_or_passed_over(model, voice):
    assert len(model.say("\ud800 caf\u00e9 \U0001f600 \u4e2d\u6587", voice=voice)) > 0
    pieces = [bytes([byte]) for byte in "Caf\u00e9 is served.".encode()]
    core = start_stream(model, voice, {})
    for piece in pieces:
        core.push(piece)
    core.finish()
    parts = list(iter(core.next, None))
    wanted = model.say("Caf\u00e9 is served.", voice=voice).samples
    assert np.array_equal(np.concatenate([samples for samples, _ in parts]), wanted), "a piece may end within a char"


def test_nothing_to_say_gives_nothing(model, voice):
    assert len(model.say("", voice=voice)) == len(model.say(" \n ", voice=voice)) == 0
    assert list(model.stream([], voice=voice)) == []


def test_a_stream_ends_when_it_is_closed(model, voice):
    stream = model.stream(random_model.TEXT, voice=voice)
    next(stream)
    stream.close()
    assert list(stream) == []


def test_many_streams_at_once(model, voice):
    alone = [model.say(text, voice=voice).samples for text in ("Rice is often served.", "A rare dish.")]
    streams = [model.stream(text, voice=voice) for text in ("Rice is often served.", "A rare dish.")]
    parts = list(itertools.zip_longest(*streams))
    for place, wanted in enumerate(alone):
        assert np.array_equal(joined([part[place] for part in parts if part[place] is not None]), wanted)


def test_voices_are_saved_and_read(model, voice, tmp_path):
    voice.save(tmp_path / "me.voice")
    back = model.voice(tmp_path / "me.voice")
    assert back == voice and back.name == "me" and hash(back) == hash(voice)
    assert len(voice.state) == 40 + 2 * 2 * 64 * 2 * voice.positions
    wanted = model.say(TEXT, voice=voice).samples
    assert np.array_equal(model.say(TEXT, voice=str(tmp_path / "me.voice")).samples, wanted)
    with pytest.raises(ValueError, match="ends in .voice"):
        voice.save(tmp_path / "me.wav")


def test_a_recording_at_another_rate_gives_nearly_the_same_voice(model):
    fine = np.sin(np.arange(16000) / 8000 * 2 * np.pi * 300, dtype=np.float32) * 0.3
    a, b = (
        np.frombuffer(model.voice(v).state, np.float16, offset=40).astype(float)
        for v in ((fine, 8000), (fine[::2], 4000 * 2))
    )
    assert a.shape != b.shape, "half as long at the same rate"
    b = np.frombuffer(model.voice((np.repeat(fine, 2), 16000)).state, np.float16, offset=40).astype(float)
    assert a.shape == b.shape and np.dot(a, b) > 0.95 * np.linalg.norm(a) * np.linalg.norm(b)


def test_bad_recordings_are_refused(model, tmp_path):
    for bad, fault in (
        ((sound(0.3), RATE), "lasts 0.30 s"),
        ((np.zeros(8000, np.float32), 8000), "silent"),
        ((np.full(8000, np.nan, np.float32), 8000), "not finite"),
        ((sound(), 100), "8000 to 192000"),
    ):
        with pytest.raises(ValueError, match=fault):
            model.voice(bad)
    with pytest.raises(ValueError, match="no voice 'nobody'; it has: none"):
        model.say("Hello.", voice="nobody")
    with pytest.raises(TypeError, match="expected a path"):
        model.voice(3)
    (tmp_path / "bad.voice").write_bytes(b"PUVS" + bytes(100))
    with pytest.raises(ValueError, match="voice state"):
        model.voice(tmp_path / "bad.voice")


def test_damaged_and_foreign_states_are_refused(model, voice, folder, tmp_path):
    for damaged in (voice.state[:-2], voice.state + b"\0\0", voice.state[:40], b"", bytes(60)):
        with pytest.raises(ValueError, match="voice state"):
            _core.check_pocket_voice(model._open_core(), damaged)
    infinite = voice.state[:-2] + b"\x00\x7c"
    with pytest.raises(ValueError, match="not finite"):
        _core.check_pocket_voice(model._open_core(), infinite)
    random_model.write_folder(tmp_path / "other", random_model.small_config(), seed=1)
    convert(import_pocket_tts(tmp_path / "other"), tmp_path / "other.puni", "int8")
    with pocketuni.Model(tmp_path / "other.puni") as other, pytest.raises(ValueError, match="another model"):
        other.say("Hello.", voice=voice)


def test_options_that_the_model_does_not_know_are_refused(model, voice):
    for options, fault in (
        ({"speed": 1.5}, "speed is 1.5"),
        ({"pitch": 2}, "pitch is 2"),
        ({"volume": 11}, "volume is 11"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(ValueError, match=fault):
            model.say("Hello.", voice=voice, **options)
    loud = model.say("Hello.", voice=voice, volume=10).samples
    assert np.abs(loud).max() <= 1
    assert np.array_equal(model.say("Hello.", voice=voice, volume=0).samples, np.zeros_like(loud))


def test_ids_outside_the_vocabulary_are_refused_and_speech_goes_on(model, voice):
    for threads in (1, 2):
        speech = _core.PocketSpeech(model._open_core(), voice.state, "", **options(-4.0), threads=threads)
        speech.push([5, 10**6], 10, 3)
        with pytest.raises(ValueError, match="1000000"):
            speech.next(1)
        assert speech.next(1) is None
        speech.push([5, 6], 10, 3)
        assert len(speech.next(1)) == FRAME
        with pytest.raises(ValueError, match="max_frames"):
            speech.push([5], 0, 3)


def test_stored_voices_speak_by_name(folder, voice, tmp_path):
    copy = tmp_path / "model"
    copy.mkdir()
    for name in ("config.yaml", "model.safetensors", "tokenizer.model"):
        (copy / name).write_bytes((folder / name).read_bytes())
    (copy / "voices").mkdir()
    export_model_state(voice, copy / "voices" / "ada.safetensors")
    convert(import_pocket_tts(copy), copy / "model.puni", "int8")
    with pocketuni.Model(copy / "model.puni", threads=1) as model:
        assert list(model.voices) == ["ada"]
        assert model.voice("ada").state == voice.state
        wanted = model.say("Hello.", voice=voice).samples
        assert np.array_equal(model.say("Hello.").samples, wanted)
        assert np.array_equal(model.say("Hello.", voice="ada").samples, wanted)


def test_the_command_line_speaks(file, tmp_path, capsys):
    from pocketuni.cli import main as cli

    assert cli(["say", "Hello there.", "-m", str(file), "-o", str(tmp_path / "hello.wav")]) == 0
    import wave

    with wave.open(str(tmp_path / "hello.wav")) as made:
        assert made.getframerate() == RATE and made.getnframes() > 1000


# The verbs of the package.


def test_scripts_for_the_package_run(file, tmp_path):
    model = TTSModel.load_model(config=file, temp=0.0, eos_threshold=1e9)
    assert model.sample_rate == RATE and model.has_voice_cloning and model.device == "cpu"
    state = model.get_state_for_audio_prompt(np.stack([sound(), sound()]))
    audio = model.generate_audio(state, TEXT, frames_after_eos=2)
    assert audio.ndim == 1 and audio.dtype == np.float32
    assert np.array_equal(np.concatenate(list(model.generate_audio_stream(state, TEXT))), audio), "no noise, no chance"
    model.export_model_state(state, tmp_path / "state.safetensors")
    assert model.get_state_for_audio_prompt(str(tmp_path / "state.safetensors")).state == state.state
    with pytest.raises(ValueError, match="cannot be empty"):
        model.generate_audio(state, " ")
    for bad in ({"language": "english"}, {}):
        with pytest.raises(ValueError, match="nothing is downloaded"):
            TTSModel.load_model(**bad)


def test_a_configuration_is_converted_on_loading(folder):
    model = TTSModel.load_model(config=folder / "config.yaml", quantize=True)
    assert len(model.generate_audio(model.get_state_for_audio_prompt(sound()), "Hello.")) > 1000
