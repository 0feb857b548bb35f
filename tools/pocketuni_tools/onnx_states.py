"""State of streaming ONNX models: inputs that a run takes from outputs of the run before, and samples that are kept
from one chunk for the next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .ir import Graph


def likely_names(name: str) -> Iterator[str]:
    """What exporters call the output that becomes the input of this name."""
    for ending in ("_out", "_output", "_next", "_new", "_n", "N", "n", "Out", ".out"):
        yield name + ending
    for beginning in ("new_", "next_", "out_", "output_", "updated_", "present_"):
        yield beginning + name
    for old, new in (("_in", "_out"), ("in_", "out_"), ("input", "output"), ("past_key_values", "present"),
                     ("past", "present"), ("old", "new"), ("prev", "next"), ("prev", "cur")):  # fmt: skip
        if old in name:
            yield name.replace(old, new)
    if re.search(r"h0|c0", name):
        yield re.sub(r"([hc])0", r"\1n", name)


def fits(graph: Graph, source: str, target: str) -> bool:
    """Whether an output may become an input: the same dtype, and dimensions that can be equal."""
    one, other = graph.values[source], graph.values[target]
    if one.dtype != other.dtype or len(one.shape) != len(other.shape):
        return False
    pairs = zip(one.shape, other.shape, strict=True)
    return all(a == b or None in (a, b) or isinstance(a, str) or isinstance(b, str) for a, b in pairs)


def evident(graph: Graph) -> dict[str, str]:
    """Input -> output, where a name says it and dtype and shape agree."""
    pairs: dict[str, str] = {}
    for name in graph.inputs:
        found = [other for other in likely_names(name) if other in graph.outputs and other not in pairs.values()]
        if found and len(set(graph.inputs) - pairs.keys()) > 1 and fits(graph, name, found[0]):
            pairs[name] = found[0]
    return pairs


def set_states(graph: Graph, given: Mapping[str, str] | None) -> None:
    """Pairs inputs with outputs as told; None: where it is evident. Raises ValueError for pairs that cannot be."""
    pairs = evident(graph) if given is None else dict(given)
    for name, other in pairs.items():
        if name not in graph.inputs or other not in graph.outputs:
            raise ValueError(
                f"state {name}={other}: inputs are {', '.join(graph.inputs)}; outputs are {', '.join(graph.outputs)}"
            )
        if not fits(graph, name, other):
            shapes = [f"{graph.values[item].dtype} {list(graph.values[item].shape)}" for item in (name, other)]
            raise ValueError(f"state {name}={other}: {shapes[1]} cannot become {shapes[0]}")
    if len(set(pairs.values())) < len(pairs):
        raise ValueError(f"state: one output cannot become two inputs: {pairs}")
    if len(pairs) == len(graph.inputs) and pairs:
        raise ValueError("state: every input would come from the run before; one must be given")
    graph.states = pairs


def read_pairs(text: str) -> dict[str, str]:
    """`in=out,in=out` (`none`: no pairs). Raises ValueError."""
    if text == "none":
        return {}
    pairs = {}
    for item in text.split(","):
        name, equals, other = (part.strip() for part in item.partition("="))
        if not (name and equals and other) or name in pairs:
            raise ValueError(f"{text!r} is not of the form INPUT=OUTPUT,INPUT=OUTPUT")
        pairs[name] = other
    return pairs


def read_numbers(items: list[str]) -> dict[str, np.ndarray]:
    """`name=number` or `name=number,number` -> arrays."""
    numbers = {}
    for item in items:
        name, equals, text = item.partition("=")
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            raise ValueError(f"{item!r} is not of the form NAME=NUMBER") from None
        if not name or not equals:
            raise ValueError(f"{item!r} is not of the form NAME=NUMBER")
        numbers[name] = np.array(values[0] if len(values) == 1 else values)
    return numbers


def carry(model: onnx.ModelProto, text: str) -> onnx.ModelProto:
    """`INPUT=BEFORE+CHUNK`: the input becomes a chunk of so many samples (its last dimension), in front of which the
    model sees the last samples of the chunk before. They are one more pair of state."""
    match = re.fullmatch(r"(.+)=(\d+)\+(\d+)", text)
    inputs = {item.name: item for item in model.graph.input}
    if match is None or match[1] not in inputs or min(int(match[2]), int(match[3])) < 1:
        raise ValueError(f"{text!r} is not of the form INPUT=BEFORE+CHUNK; inputs are {', '.join(inputs)}")
    name, before, chunk = match[1], int(match[2]), int(match[3])
    tensor = inputs[name].type.tensor_type
    lead = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim][:-1]
    joined, kept, last = (f"{name}.{part}" for part in ("joined", "before", "after"))
    for node in model.graph.node:
        rename(node, name, joined)
    new = [helper.make_tensor_value_info(item, tensor.elem_type, [*lead, size])
           for item, size in ((name, chunk), (kept, before))]  # fmt: skip
    others = [item for item in model.graph.input if item.name != name]
    del model.graph.input[:]
    model.graph.input.extend([new[0], *others, new[1]])
    bounds = {f"{name}.{part}": np.array([value]) for part, value in
              (("start", chunk), ("end", chunk + before), ("axis", len(lead)))}  # fmt: skip
    model.graph.initializer.extend(numpy_helper.from_array(array, item) for item, array in bounds.items())
    nodes = [helper.make_node("Concat", [kept, name], [joined], axis=len(lead)),
             helper.make_node("Slice", [joined, *bounds], [last])]  # fmt: skip
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    model.graph.output.append(helper.make_tensor_value_info(last, tensor.elem_type, [*lead, before]))
    return model


def rename(node: onnx.NodeProto, old: str, new: str) -> None:
    """In a node and the graphs inside of it."""
    for place, item in enumerate(node.input):
        if item == old:
            node.input[place] = new
    for attribute in node.attribute:
        for inner in attribute.g.node:
            rename(inner, old, new)
