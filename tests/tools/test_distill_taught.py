"""The vocoder's teacher as a maker of recordings: its speech is what the mels say, and training draws from it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
for package in ("scipy", "soundfile", "tqdm", "matplotlib", "pyworld"):
    pytest.importorskip(package, reason=f"training needs {package}")

from distill import mel, packed, pronounce, segments, source, split, synthesis, taught, train_vocoder, units  # noqa: E402

import pocketuni  # noqa: E402

DATA = packed.default_data()
if not (DATA / "models/hifigan_v2/generator_v2.pt").exists():
    pytest.skip("needs ../shared/data (HiFi-GAN V2, texts)", allow_module_level=True)


@pytest.fixture(scope="module")
def runtime():
    try:
        pocketuni.Model(threads=1).close()
    except FileNotFoundError:
        pytest.skip("this installation holds no default model")
    return synthesis.Runtime(None)


@pytest.fixture(scope="module")
def work(runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    texts = ["The birch canoe slid on the smooth planks, and it was gone.", "Nobody in the room knew what he meant."]
    taught.teach(runtime, texts, ["linda", "grace"], DATA, folder)
    return folder


def test_units_are_those_of_the_runtime():
    lexicon = pronounce.Lexicon(DATA / "text/cmudict.dict", DATA / "models/g2p_en/checkpoint20.npz")
    ids, flags = taught.units_of("Well, a dog", lexicon)
    assert " ".join(units.NAMES[i] for i in ids) == "_ W EH1 L , AH0 D AO1 G . _"
    assert flags.tolist() == [0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0]


def test_sentences_are_not_those_of_the_evaluation():
    def words_of(text):
        return " ".join(word.text for word in units.tokenize(text))

    texts = taught.sentences(DATA, 20_000, 1)
    assert len(texts) > 10_000 and texts[:50] == taught.sentences(DATA, 50, 1)
    held_out = {words_of(row["text"]) for row in split.ljspeech_held_out(DATA / "speech")}
    assert len(held_out) == 35 and not held_out & {words_of(text) for text in texts}


def test_speech_of_the_teacher_is_what_the_mels_say(work):
    folder = taught.folder(work)
    pack = packed.Pack(folder)
    assert [entry.corpus for entry in pack.entries] == [taught.CORPUS] * 2
    features = source.Frames(folder, pack.samples // mel.HOP_SAMPLES)
    for number, entry in enumerate(pack.entries):
        told = np.load(folder / f"acoustic/predicted/{taught.CORPUS}/{number}.npy")
        heard = mel.log_mel(torch.from_numpy(pack.audio(number))[None])[0].numpy()
        assert heard.shape == told.shape
        assert np.abs(heard - told).mean() < 0.4, "log-mels of the teacher's speech and of what it was given"
        at = slice(entry.start // mel.HOP_SAMPLES, (entry.start + entry.samples) // mel.HOP_SAMPLES)
        log_f0, phase = features.log_f0[at], features.phase[at]
        voiced = log_f0 > 0
        assert 0.3 < voiced.mean() < 0.9
        steps_hz = np.gradient(phase) * mel.RATE_HZ / (2 * np.pi * mel.HOP_SAMPLES)
        assert np.median(np.abs(steps_hz / np.exp(log_f0) - 1)[voiced]) < 0.03, "the pulses run as the voice does"


def test_training_draws_from_the_teacher_and_follows_it_to_a_limit(monkeypatch, work):
    batch = segments.Sampler(taught.folder(work), 48, 3, 1, [taught.CORPUS], 1.0, 2000.0).next()
    assert batch.log_mel.shape == (3, 48, mel.MELS) and batch.limit_hz.tolist() == [2000.0] * 3
    more = "--frames 24 --batch 4 --channels 16 --hidden 24 --blocks 1 --threads 1 --rate 5e-3 --warmup 2 --taught 1"
    monkeypatch.setattr("sys.argv", ["train_vocoder", "--work", str(work), "--steps", "20", *more.split()])
    train_vocoder.main()
    rows = torch.load(packed.folder(work) / "student/state.pt", weights_only=False)["rows"]
    assert rows[-1][0] == 20 and np.isfinite(rows[-1]).all()
