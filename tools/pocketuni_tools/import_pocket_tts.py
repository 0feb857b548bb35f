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
from .pocket_calibration import calibrate, loses_too_much
from .pocket_config import Config, read_config
from .pocket_voices import read_voices
from .pocket_weights import Weights, read_safetensors
from .source import MissingPackage, Source, Tower
from .texts import calibration_texts
from .writer import WEIGHT_ROLES, usable_precision

CLONING = ("mimi.encoder", "mimi.downsample.", "flow_lm.speaker_proj_weight")  # tensors that only cloning needs
SPARED_TEXTS = 10  # one of so many is computed: some hundred rows tell what matters in a layer
SMALL = 4096  # elements; below, rounding saves nothing worth an error
PRECISION = {"fp32": "f32", "fp16": "f16", "int8": "int8", "int4": "int4", "auto": "int4"}


def local(name: str | None, folder: Path) -> Path | None:
    """A path that a configuration names, if it is there: as it stands, or its last part beside the configuration.
    Addresses of the web are files beside the configuration, too: nothing is downloaded."""
    if not name:
        return None
    plain = name.rpartition("@")[0] if name.startswith("hf://") and "@" in name else name
    choices = [] if "://" in plain else [Path(plain), folder / plain]
    choices.append(folder / plain.rpartition("/")[2])
    return next((path for path in choices if path.is_file()), None)


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


def find_weights(config: Config, folder: Path, checkpoint: Path | None) -> Weights:
    if checkpoint is None:
        for name in (config.weights_path, config.weights_path_without_voice_cloning):
            checkpoint = checkpoint or local(name, folder)
    if checkpoint is None:
        raise FileNotFoundError(
            f"{folder}: the weights {config.weights_path or 'model.safetensors'} are not there; "
            "download them beside the configuration, or name them with --checkpoint"
        )
    return Weights(read_safetensors(checkpoint), str(checkpoint))


def find_tokenizer(config: Config, folder: Path) -> tuple[str, bytes]:
    """(kind, bytes). Raises ValueError when its vocabulary is not the configuration's."""
    table = config.flow_lm.lookup_table
    path = local(table.tokenizer_path, folder)
    if path is None:
        raise FileNotFoundError(f"{folder}: the tokenizer {table.tokenizer_path} is not there; put it beside the .yaml")
    kind = "tokenizers" if table.tokenizer in ("tokenizers", "json") or path.suffix == ".json" else "sentencepiece"
    data = path.read_bytes()
    size = vocabulary_size(kind, data, path)
    if size != table.n_bins:
        raise ValueError(f"{path} has {size} tokens, flow_lm.lookup_table.n_bins is {table.n_bins}")
    return kind, data


def vocabulary_size(kind: str, data: bytes, path: Path) -> int:
    try:
        if kind == "tokenizers":
            from tokenizers import Tokenizer

            return Tokenizer.from_str(data.decode()).get_vocab_size()
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=data).vocab_size()
    except ImportError as error:
        raise MissingPackage(kind, f"reading {path}") from error
    except Exception as error:  # these libraries raise bare Exception and RuntimeError for broken data
        raise ValueError(f"{path}: the tokenizer cannot be read: {error}") from error


def encode(kind: str, data: bytes, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each text, as the language model reads them."""
    if kind == "tokenizers":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(data.decode())
        return [tokenizer.encode(text).ids for text in texts]
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_proto=data).encode(list(texts), out_type=int)


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
    return "".join(f"{name} {value}\n" for name, value in lines.items()).encode()


def text_rules(config: Config, kind: str) -> dict[str, Any]:
    """META's `pocket`: how text becomes the chunks and tokens that the language model reads."""
    return {
        "tokenizer": "pocket.tokenizer",
        "kind": kind,
        "pad_with_spaces": config.pad_with_spaces_for_short_inputs,
        "remove_semicolons": config.remove_semicolons,
        "end_with_punctuation": config.append_terminal_punctuation,
        "capitalize": config.capitalize_first_letter,
        "replace": config.replace_characters,
        "frames_after_eos": config.model_recommended_frames_after_eos,
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


def choose_precisions(towers: Sequence[Tower], plan: str) -> dict[str, str]:
    """Constant -> precision. int4 is for the layers of the language model, which is where the bytes are; what turns
    their result into sound stays int8. `auto` keeps layers in int8, too, whose products int4 would harm most."""
    chosen = {}
    for tower in towers:
        graph = tower.graph
        layer = graph.name.startswith("lm.") and graph.name[3:].isdigit()
        kept = loses_too_much(tower) if layer and plan == "auto" else set()
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
    kind, tokenizer = find_tokenizer(config, path.parent)
    weights = find_weights(config, path.parent, None if checkpoint is None else Path(checkpoint))
    identity = identity_of(weights)
    graphs = pocket_graphs.language_model(config, weights) + pocket_graphs.decoder(config, weights)
    if can_clone(weights):
        graphs += pocket_graphs.prompt(config, weights) + pocket_graphs.encoder(config, weights)
    width = config.flow_lm.transformer.d_model
    blobs = {
        "pocket": settings_of(config, identity),
        "pocket.tokenizer": tokenizer,
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
        "pocket": text_rules(config, kind),
    }
    towers = [Tower(graph) for graph in graphs]
    calibrate(towers, config, encode(kind, tokenizer, calibration_texts()[::SPARED_TEXTS]))
    return Source(path.stem, towers, meta, blobs, choose_precisions)


def floats(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
