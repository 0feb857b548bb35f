"""Imports a sentence-transformers folder: encoder, pooling, dense layers, normalization and tokenizer in one tower."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .evaluate import evaluate
from .ir import ACTIVATIONS, Graph, UnsupportedOp, Value
from .source import Feed, MissingPackage, Outputs, Source, Tower
from .texts import calibration_texts

POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
CHECKED = 5  # every fifth text is kept for the report and for choosing precisions
AXES = {0: "batch", 1: "sequence"}


def read_json(path: Path, default: Any = None) -> Any:
    """The contents of a JSON file, or `default` where there is none. Raises ValueError for what is not JSON."""
    if not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def read_modules(folder: Path) -> list[tuple[str, Path]]:
    """(kind, folder) of each module: `Transformer`, `Pooling`, `Dense`, `Normalize`. Without a modules.json the folder
    is an encoder, and its tokens are averaged."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; expected one with modules.json, config.json, tokenizer.json"
        )
    modules = read_json(folder / "modules.json")
    if modules is None:
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"{folder} has neither modules.json nor config.json; expected a sentence-transformers model"
            )
        return [("Transformer", folder), ("Pooling", folder / "1_Pooling")]
    kinds = [(str(item["type"]).rpartition(".")[2], folder / item["path"]) for item in modules]
    if not kinds or kinds[0][0] != "Transformer":
        raise ValueError(f"{folder}/modules.json does not begin with a Transformer but with {kinds[:1]}")
    return kinds


def load_encoder(folder: Path) -> Any:
    """The encoder in float32, in evaluation mode, with fused attention where it has it. Nothing is downloaded."""
    try:
        import torch
    except ImportError as error:
        raise MissingPackage("torch", "reading sentence-transformers models") from error
    try:
        from transformers import AutoModel
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise MissingPackage("transformers", "reading sentence-transformers models") from error
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    options = {"local_files_only": True, "weights_only": True}
    try:
        try:
            model = AutoModel.from_pretrained(folder, attn_implementation="sdpa", **options)
        except ValueError:  # the architecture has no fused attention
            model = AutoModel.from_pretrained(folder, attn_implementation="eager", **options)
    except Exception as error:
        raise ValueError(f"{folder}: transformers cannot load the encoder: {error}") from error
    if getattr(model, "decoder", None) is not None:  # T5 and its like, also where only the encoder was saved
        model = model.get_encoder()
    return model.to(torch.float32).eval()


def hidden_states_graph(encoder: Any) -> Graph:
    """The encoder as a graph from `input_ids` and `attention_mask`, int64 [batch, sequence], to
    `last_hidden_state` [batch, sequence, width]. Token types are zeros, folded in."""
    import torch

    from .import_torch import import_torch

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids, attention_mask):
            result = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
            return {"last_hidden_state": result.last_hidden_state}

    ids = torch.arange(2 * 12).reshape(2, 12) % 7 + 1
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    example = {"input_ids": ids, "attention_mask": mask}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logging.getLogger("torch.export").level
        logging.getLogger("torch.export").setLevel(logging.ERROR)
        try:
            graph = import_torch(Encoder().eval(), example, {key: AXES for key in example}, name="text")
        finally:
            logging.getLogger("torch.export").setLevel(level)
    for operand in list(graph.constants):
        if operand.startswith("encoder."):
            graph.constants[operand.removeprefix("encoder.")] = graph.constants.pop(operand)
            graph.replace_uses(operand, operand.removeprefix("encoder."))
    return graph


# Heads: what follows the encoder.


def pooling_modes(folder: Path) -> list[str]:
    config = read_json(folder / "config.json", {"pooling_mode_mean_tokens": True})
    if isinstance(config.get("pooling_mode"), str):
        modes = [{"lasttoken": "last"}.get(config["pooling_mode"], config["pooling_mode"])]
        unknown = [mode for mode in modes if mode not in POOLINGS.values()]
    else:
        chosen = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        modes = [POOLINGS[key] for key in chosen if key in POOLINGS]
        unknown = [key for key in chosen if key not in POOLINGS]
    if unknown or not modes:
        raise UnsupportedOp(f"pooling {unknown or config}", "Pooling", str(folder / "config.json"))
    return modes


def add_pooling(graph: Graph, x: str, folder: Path) -> str:
    width = graph.shape_of(x)[-1]
    value = Value("pooled", "float32", ("batch", width))
    pooled = [graph.add_node("pool", [x, "attention_mask"], [value], mode=mode)[0] for mode in pooling_modes(folder)]
    if len(pooled) == 1:
        return pooled[0]
    value = Value("pooled", "float32", ("batch", width * len(pooled)))
    return graph.add_node("concat", list(pooled), [value], axis=1)[0]


def add_dense(graph: Graph, x: str, folder: Path) -> str:
    import torch

    config = read_json(folder / "config.json", {})
    activation = str(config.get("activation_function", "")).rpartition(".")[2].lower().replace("identity", "none")
    if activation not in ACTIVATIONS:
        raise UnsupportedOp(f"activation {config.get('activation_function')!r}", "Dense", str(folder / "config.json"))
    if (folder / "model.safetensors").is_file():
        from safetensors.torch import load_file

        weights = load_file(folder / "model.safetensors")
    else:
        weights = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    operands: list[str | None] = [x]
    for key in ("linear.weight", "linear.bias"):
        if key in weights:
            operands.append(graph.add_constant(f"{folder.name}.{key}", weights[key].float().numpy()))
    value = Value("dense", "float32", ("batch", weights["linear.weight"].shape[0]))
    return graph.add_node("linear", operands, [value], activation=activation)[0]


def add_heads(graph: Graph, modules: Sequence[tuple[str, Path]]) -> None:
    """Continues the graph behind `last_hidden_state` to its one output `embedding` [batch, width]."""
    x = graph.outputs[0]
    for kind, folder in modules:
        if kind == "Pooling":
            x = add_pooling(graph, x, folder)
        elif kind == "Dense":
            x = add_dense(graph, x, folder)
        elif kind == "Normalize":
            (x,) = graph.add_node("l2_normalize", [x], [Value("unit", "float32", graph.shape_of(x))], eps=1e-12)
        elif kind != "Dropout":
            raise UnsupportedOp(kind, str(folder), "modules.json")
    if x == graph.outputs[0]:
        raise ValueError("modules.json has no Pooling: there is no embedding to return")
    graph.outputs = [x]
    if "embedding" in graph.values:
        graph.rename("embedding", graph.unique("embedded_ids"))
    graph.rename(x, "embedding")


# Tokenizers.


def find_tokenizer(folder: Path, settings: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """(entry for META, blob). The entry's keys are those that pocketuni/tokenization.py reads."""
    entry = {"tokenizer": "tokenizer.json", "kind": "tokenizers"}
    path = folder / "tokenizer.json"
    if path.is_file():
        return entry, plain_tokenizer(path.read_text("utf-8"), settings)
    from transformers import AutoTokenizer

    # A bare SentencePiece model or vocabulary says neither how text is prepared for it nor which tokens are special.
    try:
        fast = AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer.to_str()
    except Exception as error:
        raise ValueError(f"{folder}: no tokenizer.json, and transformers cannot make one: {error}") from error
    return entry, plain_tokenizer(fast, settings)


def plain_tokenizer(text: str, settings: dict[str, Any]) -> bytes:
    """A tokenizer file without padding and truncation, which are decided where it is used."""
    data = json.loads(text)
    data["truncation"] = data["padding"] = None
    if settings.get("do_lower_case"):
        normalizers = [{"type": "Lowercase"}] + ([data["normalizer"]] if data.get("normalizer") else [])
        data["normalizer"] = {"type": "Sequence", "normalizers": normalizers}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def encode_texts(entry: dict[str, Any], blob: bytes, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, cut to the model's maximum."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingPackage("tokenizers", "calibration on text") from error
    tokenizer = Tokenizer.from_str(blob.decode())
    tokenizer.enable_truncation(entry["max_length"])
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def feeds_of(sequences: Sequence[Sequence[int]]) -> list[Feed]:
    """Sequences of one length share a batch, so that nothing is padded."""
    by_length: dict[int, list[Sequence[int]]] = {}
    for ids in sequences:
        by_length.setdefault(len(ids), []).append(ids)
    batches = [np.array(rows, np.int64) for _, rows in sorted(by_length.items())]
    return [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in batches]


def maximum_length(folder: Path, settings: dict[str, Any], config: dict[str, Any]) -> int:
    limits = [
        settings.get("max_seq_length"),
        config.get("max_position_embeddings"),
        read_json(folder / "tokenizer_config.json", {}).get("model_max_length"),
    ]
    if config.get("model_type") in ("roberta", "xlm-roberta", "mpnet", "camembert"):
        limits[1] = config["max_position_embeddings"] - 2  # their positions start behind the padding's
    # Tokenizers without a limit of their own state 10^30.
    return int(min([limit for limit in limits if limit and limit < 2**31], default=512))


def licence_of(folder: Path) -> str:
    """The licence that the model card states in its front matter."""
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    found = re.match(r"---\n(?:.*\n)*?license: *(\S+)", text)
    return found.group(1).strip("'\"") if found else "unknown"


def reference_of(encoder: Any, heads: Sequence[tuple[str, Path]]) -> Callable[[Feed], Outputs]:
    """The same computation with the encoder run by PyTorch."""
    import torch

    graph = Graph("heads")
    width = encoder.config.hidden_size
    graph.outputs = [graph.add_input("last_hidden_state", "float32", ("batch", "sequence", width))]
    graph.add_input("attention_mask", "int64", ("batch", "sequence"))
    add_heads(graph, heads)

    def run(feed: Feed) -> Outputs:
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feed.items()}
        with torch.inference_mode():
            hidden = encoder(**tensors).last_hidden_state.numpy()
        mask = {name: feed["attention_mask"] for name in graph.inputs if name == "attention_mask"}
        return evaluate(graph, {"last_hidden_state": hidden, **mask})

    return run


def import_sentence_transformers(folder: str | Path, texts: Sequence[str] | None = None) -> Source:
    """Reads a sentence-transformers folder.

    texts: ordinary sentences for calibration; by default those that come with this package.
    The tower is called `text` and takes int64 [batch, sequence] `input_ids` and `attention_mask`; its output is
    `embedding` [batch, width]. Raises ValueError or OSError for a folder that cannot be read, `UnsupportedOp` for
    modules and operators that have no counterpart, `MissingPackage` when torch or transformers is not installed.
    """
    folder = Path(folder)
    modules = read_modules(folder)
    encoder_folder = modules[0][1]
    settings = read_json(encoder_folder / "sentence_bert_config.json", {})
    config = read_json(encoder_folder / "config.json", {})
    encoder = load_encoder(encoder_folder)
    graph = hidden_states_graph(encoder)
    add_heads(graph, modules[1:])
    entry, blob = find_tokenizer(encoder_folder, settings)
    entry["max_length"] = maximum_length(encoder_folder, settings, config)
    entry |= {"output": "embedding", "ids": "input_ids", "mask": "attention_mask"}
    entry["pad"] = int(config.get("pad_token_id") or 0)
    sequences = encode_texts(entry, blob, calibration_texts() if texts is None else texts)
    checks = sequences[::CHECKED]
    rest = [ids for place, ids in enumerate(sequences) if place % CHECKED] or sequences

    tower = Tower(graph, feeds_of(rest), feeds_of(checks), reference_of(encoder, modules[1:]))
    name = folder.resolve().name
    meta = {
        "name": name,
        "licence": licence_of(folder),
        "provenance": {"source": "sentence-transformers", "model": config.get("_name_or_path") or name},
        "towers": {"text": {"embed": entry}},
    }
    return Source(name, [tower], meta, {entry["tokenizer"]: blob})
