"""Speaking: the same samples however they are cut, exact times of words, and what happens with bad input."""

import gc
import json
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")
pytest.importorskip("torch", reason="the lexicon of the test voice needs pocketuni's training tools")
from golden import make  # noqa: E402
from speech import tiny_voice  # noqa: E402

HOP = 256
TEXT = 'Dr. Smith paid $3 for it. "Well, well," she said: nobody left! Is anyone there?'
LONG = "The birch canoe slid on the smooth planks, and the sheet was glued to the dark blue background. " * 21


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_voice.write(tmp_path_factory.mktemp("voice") / "tiny.puni")


@pytest.fixture(scope="module")
def model(tiny):
    with pocketuni.Model(tiny, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def shipped():
    """The model inside the package."""
    try:
        return pocketuni.Model(threads=1)
    except FileNotFoundError:
        pytest.skip("this installation holds no default model")


def joined(chunks):
    return np.concatenate([chunk.samples for chunk in chunks])


def test_audio_is_sound(model):
    audio = model.say(TEXT)
    assert audio.samples.dtype == np.float32 and audio.samples.ndim == 1 and audio.rate_hz == 22050
    assert len(audio) % HOP == 0 and audio.seconds == len(audio) / 22050
    assert np.isfinite(audio.samples).all() and np.abs(audio.samples).max() < 1.0
    assert audio.samples.std() > 0.005, "something is to be heard"
    assert np.asarray(audio) is audio.samples and np.asarray(audio, np.float64).dtype == np.float64
    assert repr(audio) == f"<pocketuni.Audio of {audio.seconds:.2f} s at 22050 Hz, {len(audio.words)} words>"


@pytest.mark.parametrize("frames", [1, 3, 16, 50, 4096, None])
def test_chunks_equal_the_whole(model, frames):
    whole = model.say(TEXT)
    chunks = list(model.stream(TEXT, chunk_frames=frames))
    assert joined(chunks).tobytes() == whole.samples.tobytes()
    assert [word for chunk in chunks for word in chunk.words] == whole.words
    assert all(0 < len(chunk) <= HOP * (frames or 64) for chunk in chunks)
    if frames is None:
        assert len(chunks[0]) == 8 * HOP, "the first chunk is short"


@pytest.mark.parametrize("threads, isa", [(2, None), (5, None), (3, "ref")])
def test_threads_do_not_change_samples(tiny, threads, isa):
    text = f"{TEXT} One, two. <break time='700ms'/> {LONG[:300]}\n\nThree."
    one = pocketuni.Model(tiny, threads=1, isa=isa).say(text)
    model = pocketuni.Model(tiny, threads=threads, isa=isa)
    more = model.say(text)
    assert one.samples.tobytes() == more.samples.tobytes() and one.words == more.words
    for frames in (1, 7, 500):
        chunks = list(model.stream(text, chunk_frames=frames))
        assert joined(chunks).tobytes() == one.samples.tobytes()
        assert all(0 < len(chunk) <= HOP * frames for chunk in chunks)


def test_pieces_of_text_do_not_change_samples(model):
    text = TEXT + " Ünïcödé — ends here."
    whole = model.say(text)
    for size in (1, 7):
        pieces = (text[i : i + size] for i in range(0, len(text), size))
        chunks = list(model.stream(pieces, chunk_frames=20))
        assert joined(chunks).tobytes() == whole.samples.tobytes()
        assert [word for chunk in chunks for word in chunk.words] == whole.words


def test_speech_starts_with_the_first_sentence(model):
    asked = []

    def pieces():
        for piece in ["One two ", "three. ", "Four ", "five. "]:
            asked.append(piece)
            yield piece

    stream = model.stream(pieces())
    first = next(stream)
    assert len(asked) <= 3, "the second sentence is not there yet"
    assert first.words[0].text == "one"
    rest = list(stream)
    assert len(asked) == 4 and [w.text for c in rest for w in c.words][-1] == "five"


def test_words_have_exact_times(model):
    audio = model.say(TEXT)
    assert [word.text for word in audio.words][:6] == ["doctor", "smith", "paid", "three", "dollars", "for"]
    spans = {word.text: TEXT[slice(*word.span)] for word in audio.words}
    assert spans["doctor"] == "Dr." and spans["three"] == spans["dollars"] == "$3" and spans["nobody"] == "nobody"
    times = [time for word in audio.words for time in (word.start, word.end)]
    assert times == sorted(times) and 0 < times[0] and times[-1] < audio.seconds
    for time_ in times:
        assert abs(time_ * 22050 / HOP - round(time_ * 22050 / HOP)) < 1e-9, "words begin and end with frames"


def test_spans_count_characters(model):
    text = "Ä ñandú — “naïve” 😀 café."
    assert [text[slice(*word.span)] for word in model.say(text).words if word.text == "cafe"] == ["café"]


def test_speed_scales_time(model):
    normal = model.say(TEXT).seconds
    for speed in (0.25, 0.5, 2.0, 4.0):
        assert model.say(TEXT, speed=speed).seconds == pytest.approx(normal / speed, rel=0.04 * max(1.0, speed))


def test_breaks_last_as_long_as_they_say(model):
    plain = model.say("Alpha, beta.", speed=2.0)
    for milliseconds in (700, 3000):
        paused = model.say(f'Alpha <break time="{milliseconds}ms"/> beta.', speed=2.0)
        (alpha, beta) = paused.words
        assert (beta.start - alpha.end) * 1000 == pytest.approx(milliseconds, abs=6.0 if milliseconds < 460 else 0.1)
        assert paused.seconds > plain.seconds


def test_paragraphs_are_apart(model):
    together, apart = model.say("One here. Two there."), model.say("One here.\n\nTwo there.")
    assert len(apart) - len(together) == round(0.35 * 22050)
    assert apart.words[2].start - together.words[2].start == pytest.approx(0.35, abs=1e-4)
    assert joined(model.stream("One here.\n\nTwo there.", chunk_frames=7)).tobytes() == apart.samples.tobytes()


def test_options_change_what_is_heard(model):
    base = model.say(TEXT)
    for options in ({"voice": "bert"}, {"pitch": 3.0}, {"seed": 1}, {"volume": 0.5}, {"voice": np.ones(192)}):
        other = model.say(TEXT, **options)
        assert other.samples.tobytes() != base.samples.tobytes()
        assert other.samples.tobytes() == model.say(TEXT, **options).samples.tobytes(), "and is repeatable"
    assert model.say(TEXT, voice="ada", speed=1, pitch=0, volume=1, seed=0).samples.tobytes() == base.samples.tobytes()
    vector = tiny_voice.voice_vector(1)
    assert model.say(TEXT, voice=vector).samples.tobytes() == model.say(TEXT, voice="bert").samples.tobytes()
    assert not model.say(TEXT, volume=0).samples.any()
    loud = model.say(TEXT, volume=10.0).samples
    assert 0.95 < np.abs(loud).max() <= 1.0
    half = model.say(TEXT, volume=0.5).samples
    np.testing.assert_allclose(half, 0.5 * base.samples, atol=1e-6)


def pitch_hz(audio):
    """F0 by the autocorrelation of windows of 93 ms that are loud, the median."""
    windows = np.lib.stride_tricks.sliding_window_view(audio.samples, 2048)[::1024].astype(np.float64)
    loud = windows[windows.std(1) > 0.5 * audio.samples.std()]
    spectrum = np.abs(np.fft.rfft((loud - loud.mean(1, keepdims=True)) * np.hanning(2048), 4096)) ** 2
    correlation = np.fft.irfft(spectrum)[:, : 22050 // 60]
    lags = np.arange(22050 // 500, 22050 // 60)
    return float(22050 / np.median(lags[correlation[:, lags].argmax(1)]))


@pytest.mark.parametrize("semitones", [-5, 3])
def test_pitch_moves_by_semitones(model, semitones):
    text = "Mama, no moon, no man in May."
    plain, moved = model.say(text), model.say(text, pitch=semitones)
    assert 12 * np.log2(pitch_hz(moved) / pitch_hz(plain)) == pytest.approx(semitones, abs=0.5)
    assert moved.words == plain.words


def test_voices(model):
    assert model.voices == {"ada": {"sex": "female"}, "bert": {}}


@pytest.mark.parametrize("text", ["", " \n\t ", "...", "?!", "—", "\x00\x01\x02", "\ud800", "你好", "]]"])
def test_texts_without_words_give_nothing(model, text):
    audio = model.say(text)
    assert len(audio) == 0 and audio.words == [] and audio.samples.dtype == np.float32
    assert list(model.stream(text)) == []
    assert list(model.stream([])) == []


@pytest.mark.parametrize(
    "text", ["a\x00b", "\x1b[31mred\x07", "lone \ud83d surrogate", "\ufeffmark", "x" * 5000, "&<>[[ oh"]
)
def test_odd_texts_are_spoken(model, text):
    assert len(model.say(text)) > 0


@pytest.mark.parametrize(
    "options, text",
    [
        ({"speed": 0}, "speed is 0, expected 0.25 to 4"),
        ({"speed": -1}, "speed is -1, expected"),
        ({"speed": float("nan")}, "speed is nan, expected"),
        ({"speed": float("inf")}, "speed is inf, expected"),
        ({"pitch": 12.5}, "pitch is 12.5, expected -12 to 12"),
        ({"volume": -0.1}, "volume is -0.1, expected 0 to 10"),
        ({"seed": -1}, "seed is -1, expected 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"voice": "nobody"}, "there is no voice 'nobody'; voices of this model: ada, bert"),
        ({"voice": np.ones(10)}, r"expected a name or 192 floats, got an array of shape \(10,\)"),
        ({"voice": np.full(192, np.nan)}, "192 floats must be finite"),
        ({"voice": np.zeros(192)}, "192 floats must be finite and not all 0"),
    ],
)
def test_options_out_of_range(model, options, text):
    with pytest.raises(ValueError, match=text):
        model.say(TEXT, **options)
    with pytest.raises(ValueError, match=text):
        model.stream(TEXT, **options)


def test_wrong_types(model):
    with pytest.raises(TypeError, match="text: expected a str or an iterable of str, got bytes"):
        list(model.stream(b"bytes"))
    with pytest.raises(TypeError, match="expected a str or an iterable of str, got int"):
        model.stream(5)
    with pytest.raises(TypeError, match="text: expected a str, got list"):
        model.say(["a"])
    with pytest.raises(TypeError, match="text: expected a str, got int"):
        list(model.stream(["One. ", 5]))
    for options, text in (({"speed": "fast"}, "speed"), ({"seed": 1.5}, "seed"), ({"voice": object()}, "voice")):
        with pytest.raises(TypeError, match=text):
            model.say(TEXT, **options)
    with pytest.raises(ValueError, match="chunk_frames is 0, expected 1 to 4096"):
        model.stream(TEXT, chunk_frames=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_faulty_markup_is_told_in_its_place_and_the_stream_goes_on(tiny, threads):
    model = pocketuni.Model(tiny, threads=threads)
    with pytest.raises(ValueError, match="QQ"):
        model.say("Hello [[QQ]] there.")
    stream = model.stream("One is a word. Hello [[QQ]] there. Two. ")
    heard: list[str] = []
    while True:
        try:
            heard += [word.text for word in next(stream).words]
        except StopIteration:
            break
        except ValueError:
            heard.append("(a fault)")
    assert heard == ["one", "is", "a", "word", "(a fault)", "two"]


def test_models_that_cannot_speak(tmp_path):
    text_model = pocketuni.Model(make.FOLDER / "text.puni")
    assert text_model.voices == {}
    lacking = "lacks the towers g2p, voice.encoder, voice.decoder, voice.pitch, voice.vocoder; open a voice model"
    for voice in (None, "ada", np.ones(192)):
        with pytest.raises(ValueError, match=lacking):
            text_model.say("Hello.", voice=voice)
    graphs = tiny_voice.towers()
    without = tiny_voice.write(tmp_path / "pitchless.puni", [graph for graph in graphs if graph.name != "voice.pitch"])
    with pytest.raises(ValueError, match="lacks the towers voice.pitch"):
        pocketuni.Model(without).say("Hello.")


def test_towers_that_do_not_fit(tmp_path):
    graphs = tiny_voice.towers()
    graphs[3].rename("mel", "spectrogram")
    path = tiny_voice.write(tmp_path / "names.puni", graphs)
    with pytest.raises(
        ValueError, match=r"'voice.pitch': expected the input mel float32 \[1, any, 80\]; it has: spectr"
    ):
        pocketuni.Model(path).say("Hello.")
    path = tiny_voice.write(tmp_path / "voice.puni", **{"voice/cut": b"\0" * 100})
    with pytest.raises(ValueError, match="'voice/cut': a voice is 192 floats, got 25"):
        pocketuni.Model(path).say("Hello.", voice="cut")


def test_towers_that_change_the_number_of_frames(tmp_path):
    for taps, pads, text in ((3, 1, "give fewer frames than they get"), (3, 3, "gives more frames than it gets")):
        tower = tiny_voice.Tower("voice.vocoder", 0)
        tower.graph.add_input("mel", "float32", (1, "T", 80))
        source = tower.graph.add_input("source", "float32", (1, "T", 2052))
        part = tower.part(source, "part", 0, 1026)
        operands = [part, tower.weights("weight", taps, 1026)]
        made = tower.add("depthwise_conv1d", operands, "made", (1, None, 1026), pad_left=pads, pad_right=0)
        tower.output(made, "spectrum")
        path = tiny_voice.write(tmp_path / f"pads{pads}.puni", [*tiny_voice.towers()[:4], tower.graph])
        with pytest.raises(ValueError, match=text):
            pocketuni.Model(path).say("Hello.")


def test_durations_that_are_no_numbers(tmp_path):
    path = tiny_voice.write(tmp_path / "nan.puni", tiny_voice.towers(float("nan")))
    with pytest.raises(ValueError, match="'log_frames' is not finite"):
        pocketuni.Model(path).say("Hello.")


def test_a_closed_model_does_not_speak(tiny):
    model = pocketuni.Model(tiny)
    stream = model.stream(LONG)
    next(stream)
    model.close()
    assert len(next(stream)) > 0, "speech keeps what it needs"
    for use in (lambda: model.say("Hello."), lambda: model.stream("Hello."), lambda: model.voices):
        with pytest.raises(ValueError, match="the model is closed"):
            use()


def test_close_ends_a_stream(model):
    with model.stream(LONG) as stream:
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    stream.close()
    assert list(stream) == []


def test_forgotten_streams_end(model):
    before = threading.active_count()
    for _ in range(3):
        next(model.stream(LONG))
    gc.collect()
    assert threading.active_count() == before


def test_cancel_from_another_thread(model):
    stream = model.stream((LONG for _ in range(10_000)), chunk_frames=16)
    samples, started = [], threading.Event()

    def speak():
        for chunk in stream:
            samples.append(len(chunk))
            started.set()

    thread = threading.Thread(target=speak)
    thread.start()
    assert started.wait(60)
    stream.close()
    thread.join(30)
    assert not thread.is_alive() and len(samples) >= 1


def test_streams_of_one_model_do_not_disturb_each_other(model):
    texts = [TEXT, LONG[:300], "Short one.", "Another text, with a pause."]
    alone = [model.say(text).samples.tobytes() for text in texts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            together = list(pool.map(lambda text: joined(model.stream(text)).tobytes(), texts))
            assert together == alone
    mixed = [model.stream(text, chunk_frames=5) for text in texts]
    parts = [[] for _ in texts]
    while any(mixed):
        for index, stream in enumerate(mixed):
            chunk = next(stream, None) if stream else None
            if chunk is None:
                mixed[index] = None
            else:
                parts[index].append(chunk)
    assert [joined(part).tobytes() for part in parts] == alone


def test_the_gil_is_free_meanwhile(model):
    done = threading.Event()
    thread = threading.Thread(target=lambda: (model.say(LONG), done.set()))
    thread.start()
    longest, last = 0.0, time.perf_counter()
    while not done.is_set():
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    thread.join()
    assert longest < 2.0, "one call of the core lasts no longer than a chunk"


def resident_kilobytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to tell the memory of a process")
def test_a_megabyte_of_text_in_constant_memory(model):
    text = LONG[:960] * 1100
    assert len(text) > 1_000_000
    with model.stream(text, chunk_frames=64) as stream:
        for _ in range(300):
            next(stream)
        before = resident_kilobytes()
        for _ in range(900):
            next(stream)
        assert resident_kilobytes() - before < 2000, "11 minutes of speech leave nothing behind"


def first_audio_seconds(model, text):
    """CPU time of this thread, which does all the work: other processes do not count."""
    best = 1e9
    for _ in range(7):
        begin = time.thread_time()
        next(model.stream(text))
        best = min(best, time.thread_time() - begin)
    return best


def test_time_to_first_audio_does_not_depend_on_length(model):
    assert first_audio_seconds(model, LONG[:2000]) < 2 * first_audio_seconds(model, "The birch canoe sank")


# --- the model of the package -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3, 16, 50])
def test_shipped_chunks_equal_the_whole(shipped, frames):
    text = "Streaming must not change a single sample."
    assert joined(shipped.stream(text, chunk_frames=frames)).tobytes() == shipped.say(text).samples.tobytes()


def test_shipped_first_audio_does_not_depend_on_length(shipped):
    assert first_audio_seconds(shipped, LONG[:2000]) <= 2 * first_audio_seconds(shipped, "The birch canoe sank")


def test_shipped_voices_are_described(shipped):
    assert shipped.voices and all(info.get("licence") and info.get("source") for info in shipped.voices.values())
    assert Path(shipped.path).stat().st_size < 20e6
    for voice in shipped.voices:
        audio = shipped.say("Good morning.", voice=voice)
        assert 0.3 < audio.seconds < 3.0 and audio.samples.std() > 0.01
    json.dumps(shipped.voices)
