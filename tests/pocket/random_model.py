"""Pocket TTS models with random weights, made of nothing but a configuration, and how the package loads them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

LEARNED_PIECES = 96
TEXT = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. It's easy to tell the "
    "depth of a well. These days a chicken leg is a rare dish. Rice is often served in round bowls. The juice of "
    "lemons makes fine punch. The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage. "
    "Four hours of steady work faced us. A large size in stockings is hard to sell: who, then, would buy one; nobody? "
    "Well, well! "
)


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    head, offset = {}, 0
    for name, array in arrays.items():
        head[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, offset + 4 * array.size]}
        offset += 4 * array.size
    text = json.dumps(head).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array, "<f4").tobytes())


def write_tokenizer(folder: Path, size: int) -> str:
    """A SentencePiece model of `size` pieces, made of the text above and of symbols that never occur; its name."""
    import sentencepiece

    text = folder / "text.txt"
    text.write_text(TEXT.replace(". ", ".\n"), encoding="utf-8")
    learned = min(size, LEARNED_PIECES)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=size,
        user_defined_symbols=[f"<{i}>" for i in range(size - learned)],
        minloglevel=2,
    )
    return "tokenizer.model"


def seanet(dimension: int, filters: int, kernel: int, ratios: list[int]) -> dict[str, Any]:
    return {
        "dimension": dimension,
        "channels": 1,
        "n_filters": filters,
        "n_residual_layers": 1,
        "ratios": ratios,
        "kernel_size": kernel,
        "residual_kernel_size": 3,
        "last_kernel_size": 3,
        "dilation_base": 2,
        "pad_mode": "constant",
        "compress": 2,
    }


def codec_transformer(width: int, heads: int, layers: int, context: int) -> dict[str, Any]:
    return {
        "d_model": width,
        "num_heads": heads,
        "num_layers": layers,
        "layer_scale": 0.1,
        "context": context,
        "dim_feedforward": 2 * width,
        "input_dimension": width,
        "output_dimensions": [width],
    }


def small_config(flow: str = "lsd", **lm: Any) -> dict[str, Any]:
    """A configuration of every part, small enough to be computed in an instant: 8,000 samples a second, 12.5 frames."""
    return {
        "flow_lm": {
            "insert_bos_before_voice": True,
            "dtype": "float32",
            "flow": {"dim": 48, "depth": 2, "type": flow},
            "transformer": {
                "d_model": 64,
                "hidden_scale": 2,
                "max_period": 10000,
                "num_heads": 4,
                "num_layers": 2,
            },
            "lookup_table": {
                "dim": 64,
                "n_bins": 96,
                "tokenizer": "sentencepiece",
                "tokenizer_path": "hf://somebody/something/tokenizer.model@0123456789abcdef",
            },
            **lm,
        },
        "mimi": {
            "dtype": "float32",
            "sample_rate": 8000,
            "channels": 1,
            "frame_rate": 12.5,
            "inner_dim": 8,
            "outer_dim": 32,
            "seanet": seanet(32, 4, 7, [8, 5, 4]),
            "transformer": codec_transformer(32, 4, 2, 12),
            "quantizer": {"dimension": 8, "output_dimension": 32},
        },
    }


def random_arrays(config: Any, seed: int) -> dict[str, np.ndarray]:
    """Every tensor that a configuration asks for, by the names of the package. config: as `read_config` gives it."""
    from pocketuni_tools import pocket_graphs
    from pocketuni_tools.pocket_weights import Weights

    generator = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}

    class Recorder(Weights):
        def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
            if name not in arrays:
                arrays[name] = made(name, tuple(shape))
            return arrays[name].copy()

        def free(self, name: str) -> np.ndarray:
            assert name.endswith(".freqs")
            return self.take(name, (128,))

        def optional(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
            return self.take(name, shape) if name.startswith("mimi.") else None

    def made(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith(".freqs"):
            return np.exp(-np.log(10000) * np.arange(shape[0]) / shape[0]).astype(np.float32)
        plain = generator.standard_normal(shape).astype(np.float32)
        if name.endswith(("norm1.weight", "norm2.weight", "_norm.weight", "in_ln.weight", ".alpha", "emb_std")):
            return 1 + plain / 10
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return plain / np.sqrt(fan_in) if fan_in > 1 else plain / 10

    weights = Recorder({}, "nothing")
    for part in (pocket_graphs.language_model, pocket_graphs.decoder, pocket_graphs.prompt, pocket_graphs.encoder):
        part(config, weights)
    weights.take("flow_lm.bos_emb", (config.mimi.quantizer.dimension,))
    if config.flow_lm.insert_bos_before_voice:
        weights.take("flow_lm.bos_before_voice", (1, 1, config.flow_lm.transformer.d_model))
    return arrays


def write_folder(folder: Path, config: dict[str, Any], seed: int = 0) -> Path:
    """Configuration, tokenizer and random weights in a folder; nothing of the package is needed."""
    import yaml
    from pocketuni_tools.pocket_config import read_config

    folder.mkdir(parents=True, exist_ok=True)
    table = config["flow_lm"]["lookup_table"]
    write_tokenizer(folder, table["n_bins"])
    config = {**config, "weights_path": "hf://somebody/something/model.safetensors@0123456789abcdef"}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", random_arrays(read_config(path), seed))
    return folder


def package_config(name: str) -> dict[str, Any]:
    """A configuration that the package ships, without the addresses of its weights."""
    import yaml
    from pocket_tts.utils.config import CONFIGS_DIR

    config = yaml.safe_load((CONFIGS_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    for key in ("weights_path", "weights_path_without_voice_cloning"):
        config.pop(key, None)
    config["flow_lm"]["lookup_table"] |= {"tokenizer": "sentencepiece", "tokenizer_path": "tokenizer.model"}
    return config


def load_package(folder: Path, quantize: bool = False) -> Any:
    """The package's model over a folder of `write_folder`; it never ends by itself."""
    import yaml
    from pocket_tts import TTSModel

    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["weights_path"] = str(folder / "model.safetensors")
    config["flow_lm"]["lookup_table"]["tokenizer_path"] = str(folder / "tokenizer.model")
    local = folder.parent / f"{folder.name}-package.yaml"
    local.write_text(yaml.safe_dump(config), encoding="utf-8")
    return TTSModel.load_model(config=str(local), eos_threshold=1e9, quantize=quantize)
