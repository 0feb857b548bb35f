"""Makes the golden files: small models that every later version must read, and compute alike.

    PYTHONPATH=tools python tests/golden/make.py [FOLDER]

For each model it writes NAME.puni and NAME.npz, which holds inputs (`in.TOWER.NAME`) and results (`out.TOWER.NAME`).
The results come from the evaluator of pocketuni_tools on the weights as stored, not from the runtime. A file that a
release has read is never made again: a new version of the format adds files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pocketuni_tools.evaluate import evaluate
from pocketuni_tools.ir import Graph, Value
from pocketuni_tools.packing import unpack
from pocketuni_tools.writer import pack_constant, tensor_role, write_model

FOLDER = Path(__file__).parent
TO_THE_END = 2**62  # docs/format.md: an end of a slice


@dataclass
class Golden:
    """A model with inputs for each tower."""

    towers: list[Graph]
    inputs: dict[str, dict[str, np.ndarray]]
    precisions: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        write_model(path, self.towers, precisions=self.precisions, meta=self.meta, blobs=self.blobs)

    def arrays(self) -> dict[str, np.ndarray]:
        """Inputs and results under the names in the .npz."""
        arrays = {}
        for tower in self.towers:
            for name, array in self.inputs[tower.name].items():
                arrays[f"in.{tower.name}.{name}"] = array
            for name, array in evaluate(tower, self.inputs[tower.name], **self.stored(tower)).items():
                arrays[f"out.{tower.name}.{name}"] = array
        return arrays

    def stored(self, tower: Graph) -> dict[str, Any]:
        """The evaluator's options: weights as the file holds them, activations rounded where the runtime does."""
        constants = {}
        for name, array in tower.constants.items():
            packed = pack_constant(array, tensor_role(tower, name), self.precisions.get(name, "f32"))
            constants[name] = unpack(packed).reshape(array.shape)
        return {"constants": constants, "quantized": {n for n, p in self.precisions.items() if p in ("int8", "int4")}}


def numbers(seed: int, *shape: int) -> np.ndarray:
    """float32 in [-1, 1), a function of seed and shape alone on every machine and version of NumPy."""
    index = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed * 1_000_003)
    mixed = (index * np.uint64(2654435761) ^ (index >> np.uint64(3))) * np.uint64(2246822519) % np.uint64(2**24)
    return (mixed.astype(np.float64) / 2**23 - 1).astype(np.float32).reshape(shape)


def minimal() -> Golden:
    """The file that docs/format.md shows byte by byte: y = max(2 x, 0)."""
    graph = Graph("twice")
    x = graph.add_input("x", "float32", ("n",))
    two = graph.add_constant("two", np.array([2], np.float32))
    (doubled,) = graph.add_node("mul", [x, two], [Value("t", "float32", ("n",))], name="double")
    graph.outputs = graph.add_node("clip", [doubled], [Value("y", "float32", ("n",))], name="cut", min=0.0)
    return Golden([graph], {"twice": {"x": np.array([1.5, -2, 0], np.float32)}}, meta={"name": "minimal"})


def encodings() -> Golden:
    """Every encoding, each as the operand that reads it."""
    precisions = {}
    matrices = Graph("matrices")
    x = matrices.add_input("x", "float32", ("batch", 36))
    residual = matrices.add_input("residual", "float32", ("batch", 17))
    bias = matrices.add_constant("bias", numbers(1, 17))
    for seed, precision in enumerate(("f32", "f16", "int8", "int4")):
        weight = matrices.add_constant(f"weight_{precision}", numbers(2 + seed, 17, 36))
        precisions[weight] = precision
        operands: list[str | None] = [[x, weight, bias], [x, weight], [x, weight, None, residual], [x, weight, bias]][
            seed
        ]
        matrices.outputs += matrices.add_node("linear", operands, [Value(f"y_{precision}", "float32", ("batch", 17))])
    tables = Graph("tables")
    ids = tables.add_input("ids", "int64", ("batch", "sequence"))
    for seed, precision in enumerate(("f32", "f16", "int8", "int4")):
        table = tables.add_constant(f"table_{precision}", numbers(10 + seed, 5, 32))
        precisions[table] = precision
        rows = Value(f"rows_{precision}", "float32", ("batch", "sequence", 32))
        tables.outputs += tables.add_node("embedding", [ids, table], [rows])
    plain = Graph("plain")
    for dtype in ("float32", "int32", "int64"):
        x = plain.add_input(f"x_{dtype}", dtype, ("batch", 3))
        addend = plain.add_constant(f"addend_{dtype}", (100 * numbers(20, 3)).astype(dtype))
        plain.outputs += plain.add_node("add", [x, addend], [Value(f"sum_{dtype}", dtype, ("batch", 3))])
    choice = plain.add_constant("choice", np.array([True, False, True]))
    factor = plain.add_constant("factor", numbers(21, 3))
    precisions[factor] = "f16"
    operands = [choice, "x_float32", factor]
    plain.outputs += plain.add_node("where", operands, [Value("chosen", "float32", ("batch", 3))])
    inputs = {
        "matrices": {"x": 3 * numbers(30, 3, 36), "residual": numbers(31, 3, 17)},
        "tables": {"ids": np.array([[0, 4, 2], [1, 1, 3]])},
        "plain": {
            "x_float32": numbers(32, 2, 3),
            "x_int32": np.array([[2**31 - 1, 0, -5], [1, 2, 3]], np.int32),
            "x_int64": np.array([[2**62, 0, -5], [1, 2, 3]]),
        },
    }
    return Golden([matrices, tables, plain], inputs, precisions, {"name": "encodings", "licence": "Apache-2.0"})


def attributes() -> Golden:
    """Every kind of attribute: integers, floats, texts, and lists that hold numbers, named and computed dimensions."""
    graph = Graph("mixed")
    x = graph.add_input("x", "float32", ("batch", "sequence", 4))
    shape = ("batch", "sequence", 4)

    def node(op: str, operand: str, name: str, dtype: str, dims: tuple, **given: Any) -> str:
        return graph.add_node(op, [operand], [Value(name, dtype, dims)], **given)[0]

    every_other = {"axes": [1, 2], "starts": [1, 0], "ends": [TO_THE_END, 4], "steps": [1, 2]}
    graph.outputs = [
        node("softmax", x, "softmax", "float32", shape, axis=1),
        node("leaky_relu", x, "leaky", "float32", shape, alpha=0.25),
        node("clip", x, "clipped", "float32", shape, min=-0.5),
        node("cast", x, "truncated", "int32", shape, to="int32"),
        node("pool", x, "pooled", "float32", ("batch", 4), mode="max"),
        node("reshape", x, "flat", "float32", ("batch", None), shape=["batch", -1]),
        node("transpose", x, "turned", "float32", (4, "batch", "sequence"), perm=[2, 0, 1]),
        node("reduce_sum", x, "sums", "float32", (1, "sequence", 1), axes=[0, 2], keepdims=1),
        node("slice", x, "tail", "float32", ("batch", None, 2), **every_other),
    ]
    length = graph.add_node("iota", [], [Value("positions", "int64", ("sequence",))], shape=["sequence"])
    graph.outputs += length
    graph.outputs += graph.add_node("concat", [x, x], [Value("double", "float32", ("batch", None, 4))], axis=1)
    return Golden([graph], {"mixed": {"x": 4 * numbers(40, 2, 3, 4)}}, meta={"name": "attributes"})


WORDS = "[PAD] [UNK] [CLS] [SEP] a model runs on the cpu of your machine one file is all it needs , .".split()


def word_tokenizer() -> bytes:
    """A `tokenizer.json` of whole words that puts [CLS] and [SEP] around a text."""
    special = [{"id": i, "content": WORDS[i], "special": True} for i in range(4)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    template = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template.append({"SpecialToken": {"id": "[SEP]", "type_id": 0}})
    around = {WORDS[i]: {"id": WORDS[i], "ids": [i], "tokens": [WORDS[i]]} for i in (2, 3)}
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**token, **flags} for token in special],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": template,
            "special_tokens": around,
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    }
    return json.dumps(description).encode()


def text() -> Golden:
    """A text tower of one attention block with its tokenizer: what `embed` reads."""
    graph, width = Graph("text"), 32
    hidden = ("batch", "sequence", width)
    ids = graph.add_input("input_ids", "int64", ("batch", "sequence"))
    mask = graph.add_input("attention_mask", "int64", ("batch", "sequence"))

    def add(op: str, operands: list[str | None], name: str, dims: tuple, **given: Any) -> str:
        return graph.add_node(op, operands, [Value(name, "float32", dims)], **given)[0]

    table = graph.add_constant("embeddings", numbers(50, len(WORDS), width))
    qkv_weight = graph.add_constant("qkv.weight", numbers(51, 3 * width, width) / 4)
    qkv_bias = graph.add_constant("qkv.bias", numbers(52, 3 * width) / 8)
    out_weight = graph.add_constant("out.weight", numbers(53, width, width) / 4)
    gamma = graph.add_constant("norm.weight", 1 + numbers(54, width) / 8)
    x = add("embedding", [ids, table], "embedded", hidden)
    qkv = add("linear", [x, qkv_weight, qkv_bias], "qkv", ("batch", "sequence", 3 * width))
    mixed = add("attention", [qkv, mask], "attended", hidden, heads=4, packed=1)
    x = add("linear", [mixed, out_weight, None, x], "residual", hidden)
    x = add("layer_norm", [x, gamma], "normed", hidden, eps=1e-5)
    pooled = add("pool", [x, mask], "pooled", ("batch", width), mode="mean")
    graph.outputs = [add("l2_normalize", [pooled], "embedding", ("batch", width))]
    embed = {"tokenizer": "tokenizer.json", "kind": "tokenizers", "max_length": 12, "output": "embedding"}
    embed |= {"ids": "input_ids", "mask": "attention_mask"}
    meta = {
        "name": "words",
        "licence": "Apache-2.0",
        "provenance": {"source": "tests/golden/make.py"},
        "towers": {"text": {"embed": embed}},
    }
    inputs = {
        "input_ids": np.array([[2, 4, 5, 6, 3], [2, 8, 3, 0, 0]]),
        "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    }
    precisions = {table: "int4", qkv_weight: "int8", out_weight: "int4"}
    blobs = {"tokenizer.json": word_tokenizer(), "empty": b"", "LICENCE": b"Apache-2.0\n"}
    return Golden([graph], {"text": inputs}, precisions, meta, blobs)


def pictures() -> Golden:
    """A tower over pictures, and one with state: the operators and the section that minor version 1 added."""
    look, hear = Graph("look"), Graph("hear")

    def add(graph: Graph, op: str, operands: list[str | None], name: str, dims: tuple, **given: Any) -> str:
        return graph.add_node(op, operands, [Value(name, "float32", dims)], **given)[0]

    window = {"kernel": [3, 3], "stride": [2, 1], "dilation": [1, 1], "pads": [1, 1, 1, 1]}
    x = look.add_input("picture", "float32", ("batch", 8, 6, 4))
    weight = look.add_constant("conv.weight", numbers(60, 8, 36) / 4)
    taps = look.add_constant("depthwise.weight", numbers(61, 9, 8) / 2)
    x = add(look, "conv2d", [x, weight], "convolved", ("batch", 4, 6, 8), **window, activation="relu")
    x = add(look, "depthwise_conv2d", [x, taps], "depthwise", ("batch", 2, 6, 8), **window)
    halves = {**window, "kernel": [2, 2], "stride": [2, 2], "pads": [0] * 4}
    x = add(look, "pool2d", [x], "pooled", ("batch", 1, 3, 8), mode="max", counted=[0] * 4, **halves)
    places = look.add_constant("places", np.array([[0, 1], [1, 2], [2, 0], [1, 1]], np.int32))
    parts = look.add_constant("parts", numbers(62, 4, 2))
    x = add(look, "resample", [x, places, parts], "sampled", ("batch", 1, 4, 8), axis=2)
    look.outputs = [x, *look.add_node("argmax", [x], [Value("largest", "int64", ("batch", 1, 4))], axis=-1)]

    x = hear.add_input("x", "float32", ("time", 1, 12))
    state = hear.add_input("state", "float32", (1, 4))
    recurrent = hear.add_constant("gru.weight", numbers(63, 12, 4) / 2)
    y = add(hear, "gru", [x, recurrent, None, state], "y", ("time", 1, 4))
    last = add(hear, "reduce_max", [y], "state_out", (1, 4), axes=[0])
    hear.outputs = [y, last]
    hear.states = {"state": last}
    inputs = {
        "look": {"picture": numbers(64, 2, 8, 6, 4)},
        "hear": {"x": numbers(65, 3, 1, 12), "state": numbers(66, 1, 4)},
    }
    return Golden([look, hear], inputs, {weight: "int8", recurrent: "f16"}, {"name": "pictures"})


RECIPES = (minimal, encodings, attributes, text, pictures)
GOLDEN: dict[str, Callable[[], Golden]] = {f.__name__: f for f in RECIPES}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, make in GOLDEN.items():
        golden = make()
        golden.write(folder / f"{name}.puni")
        np.savez_compressed(folder / f"{name}.npz", **golden.arrays())
        print(f"{name}.puni {(folder / f'{name}.puni').stat().st_size} bytes")


if __name__ == "__main__":
    main()
