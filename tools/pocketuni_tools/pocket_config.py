"""Configurations of Pocket TTS: every field they may have, read strictly from YAML."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from .source import MissingPackage

FLOW_TIMES = {"lsd": 2, "flow_matching": 1, "drifting": 0, "pointwise": 0}  # kind of flow -> times that its net reads


@dataclass(frozen=True)
class Flow:
    dim: int
    depth: int
    type: str = "lsd"


@dataclass(frozen=True)
class LmTransformer:
    hidden_scale: int
    max_period: int
    d_model: int
    num_heads: int
    num_layers: int
    attn_dim: int | None = None
    num_kv_heads: int | None = None
    dim_feedforward: int | None = None


@dataclass(frozen=True)
class LookupTable:
    dim: int
    n_bins: int
    tokenizer: str
    tokenizer_path: str
    rank: int | None = None


@dataclass(frozen=True)
class FlowLm:
    dtype: str
    flow: Flow
    transformer: LmTransformer
    lookup_table: LookupTable
    z_dim: int | None = None
    weights_path: str | None = None
    insert_bos_before_voice: bool = False


@dataclass(frozen=True)
class Seanet:
    dimension: int
    channels: int
    n_filters: int
    n_residual_layers: int
    ratios: list[int]
    kernel_size: int
    residual_kernel_size: int
    last_kernel_size: int
    dilation_base: int
    pad_mode: str
    compress: int


@dataclass(frozen=True)
class CodecTransformer:
    d_model: int
    input_dimension: int
    output_dimensions: list[int]
    num_heads: int
    num_layers: int
    layer_scale: float
    context: int
    dim_feedforward: int
    max_period: float = 10000.0


@dataclass(frozen=True)
class Quantizer:
    dimension: int
    output_dimension: int


@dataclass(frozen=True)
class Mimi:
    dtype: str
    sample_rate: int
    channels: int
    frame_rate: float
    seanet: Seanet
    transformer: CodecTransformer
    quantizer: Quantizer
    weights_path: str | None = None
    inner_dim: int | None = None
    outer_dim: int | None = None
    decoder_seanet: Seanet | None = None
    decoder_transformer: CodecTransformer | None = None

    @property
    def hop_samples(self) -> int:
        """Samples of a row of the encoder's and decoder's transformers."""
        hop = 1
        for ratio in self.seanet.ratios:
            hop *= ratio
        return hop

    @property
    def frame_samples(self) -> int:
        return int(self.sample_rate / self.frame_rate)

    @property
    def steps(self) -> int:
        """Rows of the transformers in a frame."""
        return self.frame_samples // self.hop_samples


@dataclass(frozen=True)
class Config:
    flow_lm: FlowLm
    mimi: Mimi
    weights_path: str | None = None
    weights_path_without_voice_cloning: str | None = None
    pad_with_spaces_for_short_inputs: bool = False
    remove_semicolons: bool = False
    append_terminal_punctuation: bool = True
    capitalize_first_letter: bool = True
    replace_characters: dict[str, str] = field(default_factory=dict)
    model_recommended_frames_after_eos: int | None = None
    default_temperature: float = 0.3
    default_eos_threshold: float = -4.0


def convert_value(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotation `kind` wants it. Raises ValueError naming the field."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:
            return None
        kind = next(item for item in typing.get_args(kind) if item is not type(None))
    if is_dataclass(kind):
        return read_object(kind, value, where)
    origin = typing.get_origin(kind)
    if origin is list and isinstance(value, (list, tuple)):
        return [convert_value(typing.get_args(kind)[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict and isinstance(value, Mapping):
        return {str(key): convert_value(str, item, f"{where}[{key!r}]") for key, item in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is kind:
        return value
    wanted = {list: "a list", dict: "a mapping"}.get(origin) or getattr(kind, "__name__", str(kind))
    raise ValueError(f"{where} is {value!r}, expected {wanted}")


def read_object(kind: Any, data: Any, where: str) -> Any:
    """A dataclass from a mapping. Raises ValueError for an unknown, missing or mistyped field."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is {type(data).__name__}, expected a mapping of fields")
    known = {item.name: item for item in fields(kind)}
    hints = typing.get_type_hints(kind)
    dot = f"{where}." if where else ""
    for key in data:
        if key not in known:
            raise ValueError(f"{dot}{key} is not a field of the configuration; there are: {', '.join(known)}")
    for name, item in known.items():
        if name not in data and item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"{dot}{name} is missing")
    return kind(**{key: convert_value(hints[key], value, f"{dot}{key}") for key, value in data.items()})


def check(config: Config) -> None:
    """Raises ValueError for what this importer has no counterpart of, naming the field."""
    lm, mimi = config.flow_lm, config.mimi
    decoder = mimi.decoder_seanet or mimi.seanet
    facts = {
        "flow_lm.flow.type": (lm.flow.type in FLOW_TIMES, f"one of {', '.join(FLOW_TIMES)}", lm.flow.type),
        "flow_lm.lookup_table.dim": (lm.lookup_table.dim == lm.transformer.d_model, "d_model", lm.lookup_table.dim),
        "mimi.channels": (mimi.channels == mimi.seanet.channels == decoder.channels == 1, "1", mimi.channels),
        "mimi.seanet.pad_mode": (mimi.seanet.pad_mode == "constant", "constant", mimi.seanet.pad_mode),
        "mimi.decoder_seanet.pad_mode": (decoder.pad_mode == "constant", "constant", decoder.pad_mode),
        "mimi.frame_rate": (
            mimi.steps >= 1 and mimi.steps * mimi.hop_samples * mimi.frame_rate == mimi.sample_rate,
            "a whole number of rows of the codec in a frame",
            mimi.frame_rate,
        ),
        "mimi.decoder_seanet.ratios": (
            sorted(decoder.ratios) == sorted(mimi.seanet.ratios),
            "the encoder's",
            decoder.ratios,
        ),
        "mimi.outer_dim": (
            (mimi.outer_dim or decoder.dimension) == decoder.dimension == mimi.quantizer.output_dimension,
            "the decoder's dimension and quantizer.output_dimension",
            mimi.outer_dim,
        ),
    }
    for name, (right, wanted, got) in facts.items():
        if not right:
            raise ValueError(f"{name} is {got!r}, expected {wanted}")


def read_config(path: Path) -> Config:
    """Reads a .yaml file. Raises OSError when it cannot be read, ValueError naming file and field when it is wrong."""
    try:
        import yaml
    except ImportError as error:
        raise MissingPackage("pyyaml", "reading configurations of Pocket TTS") from error
    try:
        config = read_object(Config, yaml.safe_load(path.read_text(encoding="utf-8")), "")
        check(config)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    return config
