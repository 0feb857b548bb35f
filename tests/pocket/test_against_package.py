"""Pocket TTS models, number for number against the package `pocket-tts`: every kind of flow and of attention."""

import copy
import dataclasses
import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install '.[tools]'")
pytest.importorskip("pocket_tts", reason="needs the package to compare with: pip install pocket-tts")
pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install '.[text]'")
pocketuni = pytest.importorskip("pocketuni", reason="the package is not installed")

from pocket import random_model  # noqa: E402
from pocket_tts.data.audio_utils import convert_audio, end_on_pause  # noqa: E402
from pocket_tts.models import text_chunking  # noqa: E402
from pocket_tts.modules.stateful_module import init_states  # noqa: E402
from pocketuni_tools.convert import convert  # noqa: E402
from pocketuni_tools.import_pocket_tts import import_pocket_tts  # noqa: E402

from pocketuni import _core  # noqa: E402

FRAMES = 100
SENTENCE = "The hogs were fed chopped corn and garbage, and nobody minds."

GROUPED = {"d_model": 64, "hidden_scale": 1, "max_period": 5000, "num_heads": 6, "num_layers": 3}
KINDS = {
    "lsd": lambda: random_model.small_config("lsd"),
    "flow_matching": lambda: random_model.small_config("flow_matching"),
    "drifting, z_dim": lambda: random_model.small_config("drifting", z_dim=24),
    "24 layers": lambda: random_model.small_config(
        transformer={"d_model": 64, "hidden_scale": 2, "max_period": 10000, "num_heads": 4, "num_layers": 24}
    ),
    "pointwise, shared keys, low rank": lambda: random_model.small_config(
        "pointwise",
        z_dim=16,
        insert_bos_before_voice=False,
        transformer={**GROUPED, "attn_dim": 96, "num_kv_heads": 2, "dim_feedforward": 40},
        lookup_table={**random_model.small_config()["flow_lm"]["lookup_table"], "rank": 12},
    ),
    "english_2m_2026-10": lambda: small_vocabulary(random_model.package_config("english_2m_2026-10")),
}


def small_vocabulary(config):
    config["flow_lm"]["lookup_table"]["n_bins"] = 96
    return config


class Pair:
    """The same weights in the package and here, in float32."""

    def __init__(self, folder, config):
        logging.disable(logging.WARNING)
        random_model.write_folder(folder, config)
        self.package = random_model.load_package(folder)
        self.file = folder / "model.puni"
        convert(import_pocket_tts(folder), self.file, "fp32")
        self.model = pocketuni.Model(self.file, threads=2)
        self.core = self.model._open_core()
        self.settings = _core.pocket_settings(self.core)
        self.engine = _core.PocketModel(self.core, 1)
        generator = np.random.default_rng(7)
        seconds = np.arange(self.settings["rate_hz"]) / self.settings["rate_hz"]
        self.sound = (0.3 * np.sin(900 * seconds + 3 * np.sin(20 * seconds))).astype(np.float32)
        self.sound += 0.01 * generator.standard_normal(len(self.sound)).astype(np.float32)
        self.noise = 0.5 * generator.standard_normal((FRAMES, self.engine.latent_width)).astype(np.float32)
        self.ids = self.package.flow_lm.conditioner.tokenizer.encode(SENTENCE)

    def latents(self, monkeypatch):
        """What the package draws from the given noise behind a voice and a text, and the voice's state before."""
        noises = []
        monkeypatch.setattr(torch.nn.init, "normal_", lambda x, **_: noises and x.copy_(noises.pop(0).reshape(x.shape)))
        lm = self.package
        lm.sampler_decode_steps = self.settings["steps"]
        with torch.no_grad():
            state = lm.get_state_for_audio_prompt(torch.from_numpy(self.sound)[None])
            voice = copy.deepcopy(state)
            lm._expand_kv_cache(state, 1000)
            lm._run_flow_lm_and_increment_step(model_state=state, text_tokens=torch.tensor(self.ids)[None])
            x = torch.full((1, 1, self.engine.latent_width), float("nan"))
            drawn = []
            for noise in self.noise:
                noises.append(torch.from_numpy(noise))
                x, _ = lm._run_flow_lm_and_increment_step(model_state=state, backbone_input_latents=x)
                drawn.append(x[0, 0].numpy())
        return np.stack(drawn), voice

    def samples(self, latents):
        lm, mimi = self.package.flow_lm, self.package.mimi
        with torch.no_grad():
            state = init_states(mimi, 1, 16 * FRAMES)
            return mimi.decode_from_latent(torch.from_numpy(latents)[None] * lm.emb_std + lm.emb_mean, state)[
                0, 0
            ].numpy()


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    yield Pair(tmp_path_factory.mktemp("pocket") / "model", KINDS[request.param]())
    logging.disable(logging.NOTSET)


def snr_db(got, wanted):
    wanted = wanted.astype(np.float64)
    return 10 * np.log10((wanted**2).sum() / ((got - wanted) ** 2).sum())


def test_latents_and_samples_are_those_of_the_package(pair, monkeypatch):
    wanted, _ = pair.latents(monkeypatch)
    steps = pair.settings["steps"]
    paused = end_on_pause(torch.from_numpy(pair.sound)[None], pair.settings["rate_hz"])[0].numpy()
    pair.engine.make_voice(paused)  # leaves the sequence behind the voice, in floats; what it returns are halves
    pair.engine.push_text(pair.ids)
    got, latent = [], np.zeros(0, np.float32)
    for noise in pair.noise:
        latent, _ = pair.engine.step(latent, noise, steps)
        got.append(latent)
    assert np.abs(wanted).max() > 0.5, "latents are not trivially alike"
    assert np.abs(np.stack(got) - wanted).max() <= 1e-3
    samples = pair.samples(wanted)
    assert samples.std() > 1e-3
    assert snr_db(pair.engine.decode(np.stack(got)), samples) >= 60
    assert snr_db(pair.engine.decode(wanted), samples) >= 90


def test_the_encoder_gives_the_package_s_latents(pair):
    with torch.no_grad():
        wanted = pair.package.mimi.encode_to_latent(torch.from_numpy(pair.sound)[None, None])[0].numpy()
    assert np.abs(pair.engine.encode(pair.sound) - wanted).max() <= 1e-4 * max(1, np.abs(wanted).max())


def test_exported_states_are_read_and_written(pair, monkeypatch, tmp_path):
    from pocket_tts import export_model_state

    from pocketuni.compat import pocket_tts as compat

    _, state = pair.latents(monkeypatch)
    export_model_state(state, tmp_path / "theirs.safetensors")
    theirs = pair.model.voice(tmp_path / "theirs.safetensors")
    ours = pair.model.voice((pair.sound, pair.settings["rate_hz"]))
    a, b = (np.frombuffer(voice.state, np.float16, offset=40).astype(np.float32) for voice in (theirs, ours))
    assert a.shape == b.shape and np.abs(a - b).max() <= 2e-3 * np.abs(a).max()
    compat.export_model_state(ours, tmp_path / "ours.safetensors")
    back = pair.package.get_state_for_audio_prompt(tmp_path / "ours.safetensors")
    assert back.keys() == state.keys()
    for name, entries in back.items():
        assert int(entries["offset"]) == int(state[name]["offset"]) == ours.positions
        assert torch.allclose(
            entries["cache"], state[name]["cache"], atol=3e-3 * float(state[name]["cache"].abs().max())
        )


def test_every_configuration_of_the_package_is_read():
    from pocket_tts.utils.config import CONFIGS_DIR, load_config
    from pocketuni_tools.pocket_config import read_config

    paths = sorted(CONFIGS_DIR.glob("*.yaml"))
    assert len(paths) > 20
    for path in paths:
        mine, theirs = dataclasses.asdict(read_config(path)), load_config(path).model_dump(mode="json")
        assert mine == theirs, path.name


RULES = (
    {},
    {"pad_with_spaces": True, "remove_semicolons": True},
    {"end_with_punctuation": False, "capitalize": False},
    {"replace": {"\u2019": "'", "\u201c": "", "\u201d": "", ";": ","}},
)
TEXTS = (
    random_model.TEXT,
    "hello",
    "  pi is 3.14159 and e is 2.71; so what?! nothing... really\nnew line ",
    "one, two; three: four - and so on, and so on, and so forth, without an end, for as long as it takes, or longer,",
    "\u201cWell?\u201d, she said\u2026 \u2018no\u2019 (not at all) \u2014",
    "a" * 300,
    'He said: "Stop!" Then he left.',
)


@pytest.mark.parametrize("rules", RULES)
def test_texts_are_cut_as_the_package_cuts_them(pair, rules):
    theirs = pair.package.flow_lm.conditioner.tokenizer
    mine = _core.PocketText(pair.model.blob("pocket.tokenizer"), **rules)
    defaults = {"pad_with_spaces": False, "remove_semicolons": False, "end_with_punctuation": True, "capitalize": True}
    arguments = [*({**defaults, **rules}[name] for name in defaults), rules.get("replace", {})]
    for text in TEXTS:
        wanted = text_chunking.split_into_best_sentences(theirs, text, 50, *arguments)
        assert mine.chunks(text) == wanted
        for chunk in wanted:
            prepared, frames = text_chunking.prepare_text_prompt(chunk, *arguments)
            assert mine.prepare(chunk) == prepared
            assert mine.frames_after_eos(chunk) == frames + 2
            assert mine.encode(prepared) == theirs.encode(prepared)
            tokens = len(theirs.encode(prepared))
            assert _core.most_pocket_frames(tokens, 12.5) == pair.package._estimate_max_gen_len(tokens)


@pytest.mark.parametrize("rates", [(22050, 24000), (48000, 24000), (16000, 24000), (44100, 2000), (8000, 24000)])
def test_recordings_are_brought_to_the_rate_as_there(rates):
    sound = np.random.default_rng(1).standard_normal(3001).astype(np.float32)
    wanted = convert_audio(torch.from_numpy(sound)[None], *rates, 1)[0].numpy()
    got = _core.resample_prompt(sound, *rates)
    assert got.shape == wanted.shape and np.abs(got - wanted).max() < 1e-5
    wanted = end_on_pause(torch.from_numpy(sound * np.repeat([1, 1, 0], [1000, 1000, 1001]))[None], 8000)[0].numpy()
    got = _core.end_in_pause((sound * np.repeat([1, 1, 0], [1000, 1000, 1001])).astype(np.float32), 8000)
    assert got.shape == wanted.shape and np.abs(got - wanted).max() < 1e-6
