"""Runs a graph with NumPy; what the operators mean is in meanings.py and the files beside it.

It serves calibration and experiments with weights, and the runtime's tests compare it with the kernels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from . import meanings_experts, meanings_picture, meanings_recurrent, meanings_time  # noqa: F401  # they register their operators
from .ir import Graph, Node, Value
from .meanings import MEANINGS, Array

PRODUCTS = (
    "linear",
    "expert_linear",
    "conv1d",
    "conv2d",
    "depthwise_conv2d",
    "conv_transpose1d",
    "gru",
    "lstm",
    "rnn",
)  # whose activations are rounded where their weights are
Observer = Callable[[Node, "list[Array | None]"], None]


def bind_dims(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, int]:
    """Sizes of the named dimensions. Raises ValueError for inputs that are missing, unknown or of the wrong type."""
    if inputs.keys() != set(graph.inputs):
        raise ValueError(f"tower {graph.name!r} takes the inputs {graph.inputs}, got {sorted(inputs)}")
    dims: dict[str, int] = {}
    for name in graph.inputs:
        for dim, size in zip(graph.values[name].shape, np.shape(inputs[name]), strict=False):
            if isinstance(dim, str):
                dims.setdefault(dim, size)
        check_value(f"input {name!r}", graph.values[name], inputs[name], dims)
    return dims


def check_value(where: str, value: Value, array: Array, dims: Mapping[str, int]) -> None:
    shape = tuple(dims.get(dim, 1) if isinstance(dim, str) else dim for dim in value.shape)
    fits = len(shape) == array.ndim and all(
        dim is None or dim == size for dim, size in zip(shape, array.shape, strict=True)
    )
    if not fits or str(array.dtype) != value.dtype:
        expected = ", ".join("?" if dim is None else str(dim) for dim in shape)
        raise ValueError(f"{where}: expected {value.dtype} [{expected}], got {array.dtype} {list(array.shape)}")


def number(item: int | str | None, dims: Mapping[str, int]) -> int:
    if item is None:
        return -1
    return dims.get(item, 1) if isinstance(item, str) else item


def apply(node: Node, operands: Sequence[Array | None], dims: Mapping[str, int], quantized: bool = False) -> Array:
    """The result of one node. Raises ValueError naming the node."""
    attributes = {
        name: [number(item, dims) for item in value] if isinstance(value, list) else value
        for name, value in node.attributes.items()
    }
    if quantized:
        attributes["quantized"] = True
    try:
        with np.errstate(all="ignore"):
            return np.asarray(MEANINGS[node.op](*operands, **attributes))
    except (ValueError, IndexError, TypeError, KeyError) as error:
        raise ValueError(f"node {node.name!r} ({node.op}): {error}") from error


def evaluate(
    graph: Graph,
    inputs: Mapping[str, Array],
    observe: Observer | None = None,
    constants: Mapping[str, Array] | None = None,
    quantized: Collection[str] = (),
) -> dict[str, Array]:
    """Runs a graph in float32 and returns its outputs by name.

    observe: called before each node with the node and its operands (None where one is absent).
    constants: replace constants of the graph by name.
    quantized: names of weights whose product reads activations rounded to int8, as the runtime does for int8 and int4
        weights. The weights themselves are taken as they are.
    Raises ValueError, naming input or node, for inputs that do not fit and for results that contradict the graph.
    """
    inputs = {name: np.asarray(array) for name, array in inputs.items()}
    dims = bind_dims(graph, inputs)
    if unknown := set(constants or {}) - graph.constants.keys():
        raise ValueError(f"tower {graph.name!r} has no constants {sorted(unknown)}")
    arrays = {**graph.constants, **(constants or {}), **inputs}
    readers = Counter(operand for node in graph.nodes for operand in node.inputs if operand is not None)
    readers.update(graph.outputs)
    for node in graph.nodes:
        operands = [None if operand is None else arrays[operand] for operand in node.inputs]
        if observe is not None:
            observe(node, operands)
        result = apply(node, operands, dims, node.op in PRODUCTS and node.inputs[1] in quantized)
        check_value(f"node {node.name!r} ({node.op})", graph.values[node.outputs[0]], result, dims)
        arrays[node.outputs[0]] = result
        for operand in node.inputs:
            readers[operand] -= 1
            if readers[operand] == 0 and operand in graph.values:
                del arrays[operand]
    return {name: np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape) for name in graph.outputs}
