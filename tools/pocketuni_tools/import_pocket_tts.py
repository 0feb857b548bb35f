"""Imports a Pocket TTS model: its configuration (.yaml), weights (.safetensors), tokenizer and stored voices.

Nothing of the package `pocket-tts` or of torch is needed, here or afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import pocket_graphs
from .packing import GROUP
from .pocket_calibration import calibrate
from .pocket_checkpoints import find_weights, local
from .pocket_config import Config, read_config
from .pocket_precision import LEAST_DB, kept_in_int8
from .pocket_tokenizer import Vocabulary, read_tokenizer
from .pocket_voices import read_voices
from .pocket_weights import Weights
from .source import MissingPackage, Source, Tower
from .texts import calibration_texts
from .writer import WEIGHT_ROLES, usable_precision

CLONING = ("mimi.encoder", "mimi.downsample.", "flow_lm.speaker_proj_weight")  # tensors that only cloning needs
SPARED_TEXTS = 10  # one of so many is computed: some hundred rows tell what matters in a layer
SMALL = 4096  # elements; below, rounding saves nothing worth an error
PRECISION = {"fp32": "f32", "fp16": "f16", "int8": "int8", "int4": "int4", "auto": "int4"}


def find_config(path: Path) -> Path:
    if path.is_dir():
        found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        if len(found) != 1:
            raise ValueError(f"{path} holds {len(found)} .yaml files, expected one; name the file itself")
        return found[0]
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is neither a file nor a folder; expected a configuration of Pocket TTS (.yaml)"
        )
    return path


def find_tokenizer(config: Config, folder: Path) -> tuple[str, Path, Vocabulary]:
    """(kind, path, vocabulary). Raises ValueError when its size is not the configuration's."""
    table = config.flow_lm.lookup_table
    path = local(table.tokenizer_path, folder)
    if path is None:
        raise FileNotFoundError(f"{folder}: the tokenizer {table.tokenizer_path} is not there; put it beside the .yaml")
    kind = "tokenizers" if table.tokenizer in ("tokenizers", "json") or path.suffix == ".json" else "sentencepiece"
    vocabulary = read_tokenizer(path, kind)
    size = len(vocabulary.pieces)
    if size != table.n_bins:
        raise ValueError(f"{path} has {size} tokens, flow_lm.lookup_table.n_bins is {table.n_bins}")
    return kind, path, vocabulary


def encode(kind: str, path: Path, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each text, as the language model reads them."""
    try:
        if kind == "tokenizers":
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(path))
            return [tokenizer.encode(text).ids for text in texts]
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_file=str(path)).encode(list(texts), out_type=int)
    except ImportError as error:
        raise MissingPackage(kind, f"rounding to what texts lead to, with {path},") from error


def settings_of(config: Config, identity: str) -> bytes:
    """The blob `pocket`, lines of `name value`: what the engine must know beyond its towers (docs/pocket.md)."""
    lm, mimi = config.flow_lm.transformer, config.mimi
    decoder = mimi.decoder_transformer or mimi.transformer
    lines: dict[str, Any] = {
        "version": 1,
        "model": identity,
        "flow": config.flow_lm.flow.type,
        "rate_hz": mimi.sample_rate,
        "frame_samples": mimi.frame_samples,
        "frame_rows": mimi.steps,
        "temperature": config.default_temperature,
        "eos_threshold": config.default_eos_threshold,
        "lm.heads": lm.num_heads,
        "lm.kv_heads": lm.num_kv_heads or lm.num_heads,
        "lm.context": 0,
        "lm.period": float(lm.max_period),
    }
    for name, part in (("mimi.decoder", decoder), ("mimi.encoder", mimi.transformer)):
        lines |= {
            f"{name}.heads": part.num_heads,
            f"{name}.kv_heads": part.num_heads,
            f"{name}.context": part.context,
            f"{name}.period": float(part.max_period),
        }
    lines |= text_rules(config)
    return "".join(f"{name} {value}\n" for name, value in lines.items()).encode()


def text_rules(config: Config) -> dict[str, Any]:
    """How text becomes the chunks and tokens that the language model reads."""
    pairs = []
    for old, new in config.replace_characters.items():
        if len(old) != 1:
            raise ValueError(f"replace_characters: {old!r} is not a single character")
        pairs.append(f"{ord(old):x}={'+'.join(f'{ord(c):x}' for c in new)}")
    after = config.model_recommended_frames_after_eos
    return {
        "text.pad_with_spaces": int(config.pad_with_spaces_for_short_inputs),
        "text.remove_semicolons": int(config.remove_semicolons),
        "text.end_with_punctuation": int(config.append_terminal_punctuation),
        "text.capitalize": int(config.capitalize_first_letter),
        "text.frames_after_eos": -1 if after is None else after,
        "text.replace": " ".join(pairs) or "none",
    }


def can_clone(weights: Weights) -> bool:
    """Whether the checkpoint holds the encoder of voice prompts; one for those who may not clone has zeros instead."""
    name = "flow_lm.speaker_proj_weight"
    return name in weights and bool(np.any(weights.free(name)))


def identity_of(weights: Weights) -> str:
    """What tells this language model from others, whatever the precision it is stored in: its states fit no other."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("flow_lm.input_linear.weight", "flow_lm.transformer.layers.0.self_attn.in_proj.weight"):
        digest.update(np.ascontiguousarray(weights.free(name), "<f4").tobytes())
    return digest.hexdigest()


def choose_precisions(towers: Sequence[Tower], plan: str, config: Config) -> dict[str, str]:
    """Constant -> precision. int4 is for the layers of the language model, which is where the bytes are; what turns
    their result into sound stays int8, and so do the layers without which latents would lose too much."""
    kept = kept_in_int8(towers, config, plan) if plan in LEAST_DB else set()
    chosen = {}
    for tower in towers:
        graph = tower.graph
        layer = graph.name.startswith("lm.") and graph.name[3:].isdigit()
        for node in graph.nodes:
            name = node.inputs[1] if node.op in WEIGHT_ROLES else None
            if name not in graph.constants or graph.constants[name].size < SMALL:
                continue
            precision = PRECISION[plan]
            wide = layer and graph.constants[name].shape[1] >= GROUP
            if precision == "int4" and (not wide or name in kept):
                precision = "int8"
            chosen[name] = usable_precision(graph, name, precision)
    return chosen


def import_pocket_tts(path: str | Path, checkpoint: str | Path | None = None) -> Source:
    """Reads a configuration, or the folder that holds it.

    checkpoint: the weights; by default those that the configuration names, beside it or where it says. Voices are
    states that the package exported, `voices/NAME.safetensors` beside the configuration.
    Raises OSError for what is missing, ValueError for what does not fit together, naming the field or tensor.
    """
    path = find_config(Path(path))
    config = read_config(path)
    kind, tokenizer_path, vocabulary = find_tokenizer(config, path.parent)
    weights = find_weights(config, path.parent, None if checkpoint is None else Path(checkpoint))
    identity = identity_of(weights)
    graphs = pocket_graphs.language_model(config, weights) + pocket_graphs.decoder(config, weights)
    if can_clone(weights):
        graphs += pocket_graphs.prompt(config, weights) + pocket_graphs.encoder(config, weights)
    width = config.flow_lm.transformer.d_model
    blobs = {
        "pocket": settings_of(config, identity),
        "pocket.tokenizer": vocabulary.pack(),
        "pocket.bos": floats(weights.take("flow_lm.bos_emb", (config.mimi.quantizer.dimension,))),
    }
    if config.flow_lm.insert_bos_before_voice:
        blobs["pocket.voice_bos"] = floats(weights.take("flow_lm.bos_before_voice", (1, 1, width)))
    weights.finish(() if can_clone(weights) else CLONING)
    voices = read_voices(path.parent / "voices", config, identity)
    blobs |= {f"pocket.voice/{name}": blob for name, blob in voices.items()}
    meta = {
        "name": path.stem,
        "licence": "unknown",
        "provenance": {"source": "pocket-tts", "configuration": path.name},
    }
    towers = [Tower(graph) for graph in graphs]
    calibrate(towers, config, encode(kind, tokenizer_path, calibration_texts()[::SPARED_TEXTS]))
    return Source(path.stem, towers, meta, blobs, lambda towers, plan: choose_precisions(towers, plan, config))


def floats(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
