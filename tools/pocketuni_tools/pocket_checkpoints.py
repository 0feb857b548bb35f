"""Checkpoints of Pocket TTS in every form that the package loads: one file, one for each part, or that of a training.

Whatever the form, arrays come out under the names of the whole model: `flow_lm.*`, `mimi.*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .pocket_config import Config
from .pocket_weights import Weights, read_safetensors
from .source import MissingPackage

Arrays = dict[str, np.ndarray]

# Training keeps what speech does not need.
UNUSED_LM = (
    "flow.w_s_t.",
    "condition_provider.conditioners.transcript_in_segment.learnt_padding",
    "condition_provider.conditioners.speaker_wavs.learnt_padding",
    "num_ema_updates",
)
RENAMED_LM = {
    "condition_provider.conditioners.transcript_in_segment.embed.weight": "conditioner.embed.weight",
    "condition_provider.conditioners.speaker_wavs.output_proj.weight": "speaker_proj_weight",
    "fuser.padding_value": "bos_before_voice",
}
UNUSED_CODEC = ("_codebook", "wavlm_", "quantizer.vq.", "quantizer.logvar_")


def local(name: str | None, folder: Path) -> Path | None:
    """A path that a configuration names, if it is there: as it stands, or its last part beside the configuration.
    Addresses of the web are files beside the configuration, too: nothing is downloaded."""
    if not name:
        return None
    plain = name.rpartition("@")[0] if name.startswith("hf://") and "@" in name else name
    choices = [] if "://" in plain else [Path(plain), folder / plain]
    choices.append(folder / plain.rpartition("/")[2])
    return next((path for path in choices if path.is_file()), None)


def needed(name: str | None, folder: Path, what: str) -> Path:
    path = local(name, folder)
    if path is None:
        raise FileNotFoundError(
            f"{folder}: the weights {name or what} are not there; download them beside the configuration, or name "
            "them with --checkpoint"
        )
    return path


def bundle(config: Config, folder: Path) -> Path:
    """The file of the whole model, or, where that is not there, the one for those who may not clone."""
    names = (config.weights_path, config.weights_path_without_voice_cloning)
    found = next((path for name in names if (path := local(name, folder))), None)
    return found or needed(config.weights_path, folder, "model.safetensors")


def prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def of_language_model(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """A file of the language model alone, under the names of its training."""
    kept = {name: array for name, array in arrays.items() if not name.startswith(UNUSED_LM)}
    renamed = {RENAMED_LM.get(name, name): array for name, array in kept.items()}
    return {name.replace(".self_attn.in_proj_weight", ".self_attn.in_proj.weight"): a for name, a in renamed.items()}


def of_codec(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """A file of the codec alone: part of a whole model, or under the names of its training, where the weights of
    convolutions are stored as length and direction of each row."""
    if any(name.startswith("mimi.") for name in arrays):
        return {name.removeprefix("mimi."): a for name, a in arrays.items() if name.startswith("mimi.")}
    result: Arrays = {}
    for name, array in arrays.items():
        if any(part in name for part in UNUSED_CODEC) or name.endswith(".weight_v"):
            continue
        plain = name.removeprefix("model.").replace("in_proj_weight", "in_proj.weight")
        plain = plain.replace(".conv.conv.", ".conv.").replace(".convtr.convtr.", ".convtr.")
        if plain.endswith(".weight_g"):
            if name[:-1] + "v" not in arrays:
                raise ValueError(f"the tensor {name[:-1] + 'v'!r} is missing")
            direction = np.asarray(arrays[name[:-1] + "v"], np.float32)
            axes = tuple(range(1, direction.ndim))
            array = direction * (array / np.sqrt(np.square(direction).sum(axis=axes, keepdims=True)))
            plain = plain.removesuffix("_g")
        result[plain] = array
    return result


def of_training(path: Path) -> Arrays:
    """A checkpoint of a training (.pt): the weights, those of its running average where it kept one."""
    try:
        import torch
    except ImportError as error:
        raise MissingPackage("torch", f"reading the training checkpoint {path}") from error
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; expected weights (.safetensors or .pt)")
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch have kinds of their own
        raise ValueError(f"{path} is not a checkpoint that can be read safely: {error}") from error
    state = payload.get("model") if isinstance(payload, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no 'model' weights")
    state = {**state, **(payload.get("ema") or {})}
    arrays = {
        name: tensor.float().numpy()
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and name.startswith(("flow_lm.", "mimi."))
    }
    if not any(name.startswith("flow_lm.") for name in arrays):
        raise ValueError(f"{path} holds no flow_lm.* weights")
    return arrays


def codec_arrays(config: Config, folder: Path) -> Arrays:
    """What a configuration names for the codec: a file of its own, else the whole model's."""
    if config.mimi.weights_path is not None:
        return of_codec(read_safetensors(needed(config.mimi.weights_path, folder, "mimi.safetensors")))
    return of_codec(read_safetensors(bundle(config, folder)))


def find_weights(config: Config, folder: Path, checkpoint: Path | None) -> Weights:
    """checkpoint: instead of the files that the configuration names. Raises OSError, ValueError."""
    if checkpoint is not None and checkpoint.suffix in (".pt", ".pth", ".ckpt"):
        arrays = of_training(checkpoint)
        if not any(name.startswith("mimi.") for name in arrays):  # training leaves the codec as it is
            arrays |= prefixed("mimi", codec_arrays(config, folder))
        return Weights(arrays, str(checkpoint))
    if checkpoint is not None:
        return Weights(read_safetensors(checkpoint), str(checkpoint))
    if config.flow_lm.weights_path is None:
        path = bundle(config, folder)
        arrays = read_safetensors(path)
        if config.mimi.weights_path is not None:
            arrays = {name: array for name, array in arrays.items() if not name.startswith("mimi.")}
            arrays |= prefixed("mimi", codec_arrays(config, folder))
        return Weights(arrays, str(path))
    if config.mimi.weights_path is None:
        raise ValueError("flow_lm.weights_path is given, but mimi.weights_path is not")
    path = needed(config.flow_lm.weights_path, folder, "flow_lm.safetensors")
    arrays = prefixed("flow_lm", of_language_model(read_safetensors(path)))
    return Weights(arrays | prefixed("mimi", codec_arrays(config, folder)), str(path))
