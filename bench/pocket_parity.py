"""Every configuration that the package `pocket-tts` ships, with random weights, number for number against the package.

    python bench/pocket_parity.py [--config NAME ...] [--weights fp32 int8 int4 auto] [--folder DIR] [--frames 100]

Configurations that differ in text rules and addresses alone are run once. Given the same noise:
the largest error of latents drawn one after the other, SNR of the sound made of them, and SNR of latents where each
step is given the package's ones before (teacher-forced); then whether sound made frame by frame is that of the whole.
--folder keeps the models for the next time. A model of 24 layers needs 6 GB of memory.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pocket_speech

import pocketuni
from pocketuni import _core

SENTENCE = "The hogs were fed chopped corn and garbage, and nobody minds."
VOICE_SECONDS = 2


def structure(config: dict[str, Any]) -> str:
    """What makes two configurations the same model, as text."""
    lm, mimi = dict(config["flow_lm"]), dict(config["mimi"])
    lm["lookup_table"] = {k: v for k, v in lm["lookup_table"].items() if not k.startswith("tokenizer")}
    for part in (lm, mimi):
        part.pop("weights_path", None)
    return json.dumps([lm, mimi], sort_keys=True)


def kinds() -> dict[str, list[str]]:
    """Names of the configurations by the first of those that are alike."""
    from pocket import random_model
    from pocket_tts.utils.config import CONFIGS_DIR

    by_structure: dict[str, list[str]] = {}
    for path in sorted(CONFIGS_DIR.glob("*.yaml")):
        by_structure.setdefault(structure(random_model.package_config(path.stem)), []).append(path.stem)
    return {"english" if "english" in names else names[0]: names for names in by_structure.values()}


class Reference:
    """What the package makes of a voice, a text and noise."""

    def __init__(self, folder: Path, frames: int):
        import torch
        from pocket import random_model
        from pocket_tts.data.audio_utils import end_on_pause
        from pocket_tts.modules.stateful_module import init_states

        logging.disable(logging.WARNING)
        torch.set_num_threads(2)
        model = random_model.load_package(folder)
        rate = model.sample_rate
        sound = pocket_speech.prompt(rate)[: VOICE_SECONDS * rate]
        self.prompt = end_on_pause(torch.from_numpy(sound)[None], rate)[0].numpy()
        self.steps = model.sampler_decode_steps
        self.ids = model.flow_lm.conditioner.tokenizer.encode(SENTENCE)
        width = model.flow_lm.ldim
        self.noise = 0.5 * np.random.default_rng(7).standard_normal((frames, width)).astype(np.float32)
        noises: list[Any] = []
        kept = torch.nn.init.normal_
        torch.nn.init.normal_ = lambda x, **_: noises and x.copy_(noises.pop(0).reshape(x.shape))
        with torch.no_grad():
            state = copy.deepcopy(model.get_state_for_audio_prompt(torch.from_numpy(sound)[None]))
            model._expand_kv_cache(state, 1000)
            model._run_flow_lm_and_increment_step(model_state=state, text_tokens=torch.tensor(self.ids)[None])
            x = torch.full((1, 1, width), float("nan"))
            drawn = []
            for noise in self.noise:
                noises.append(torch.from_numpy(noise))
                x, _ = model._run_flow_lm_and_increment_step(model_state=state, backbone_input_latents=x)
                drawn.append(x[0, 0].numpy())
            self.latents = np.stack(drawn)
            raw = torch.from_numpy(self.latents)[None] * model.flow_lm.emb_std + model.flow_lm.emb_mean
            self.samples = model.mimi.decode_from_latent(raw, init_states(model.mimi, 1, 16 * frames))[0, 0].numpy()
        torch.nn.init.normal_ = kept


def draw(engine: _core.PocketModel, reference: Reference, forced: bool) -> np.ndarray:
    engine.make_voice(reference.prompt)  # leaves the sequence behind the voice
    engine.push_text(reference.ids)
    latent, drawn = np.zeros(0, np.float32), []
    for place, noise in enumerate(reference.noise):
        if forced and place > 0:
            latent = reference.latents[place - 1]
        latent, _ = engine.step(latent, noise, reference.steps)
        drawn.append(latent)
    return np.stack(drawn)


def snr_db(got: np.ndarray, wanted: np.ndarray) -> float:
    error = np.square(got - wanted.astype(np.float64)).sum()
    return float(10 * np.log10(np.square(wanted.astype(np.float64)).sum() / max(error, 1e-300)))


def row(name: str, plan: str, file: Path, reference: Reference) -> str:
    with pocketuni.Model(file, threads=2) as model:
        engine = _core.PocketModel(model._open_core(), 2)
        free, forced = draw(engine, reference, False), draw(engine, reference, True)
        whole = engine.decode(reference.latents)
        pieces = [engine.decode(latent[None], restart=i == 0) for i, latent in enumerate(reference.latents)]
        same = "yes" if np.array_equal(np.concatenate(pieces), whole) else "no"
        error = np.abs(free - reference.latents).max()
        sound = snr_db(engine.decode(free), reference.samples)
        decoded = snr_db(whole, reference.samples)
    return (
        f"| {name} | {plan} | {error:.1e} | {sound:.1f} | {decoded:.1f} | {snr_db(forced, reference.latents):.1f} "
        f"| {same} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", help="names; by default one of each kind")
    parser.add_argument("--weights", nargs="+", default=["fp32"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    args = parser.parse_args()
    everything = kinds()
    print("| configuration | weights | error of latents | sound, dB | codec, dB | teacher-forced, dB | cut alike |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.config or everything:
            folder = pocket_speech.made_folder(name, args.folder or Path(temporary))
            reference = Reference(folder, args.frames)
            for plan in args.weights:
                begin = time.perf_counter()
                print(row(name, plan, pocket_speech.converted(folder, plan), reference), flush=True)
                print(f"{name}, {plan}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
    for first, names in everything.items():
        print(f"\n{first} stands for {', '.join(names)}")


if __name__ == "__main__":
    main()
