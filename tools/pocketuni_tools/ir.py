"""The graph that importers make, passes rewrite and the writer stores.

Operands are names, of values (activations) or of constants. Dimensions are ints, names (`"batch"`), or `None` where the
runtime computes them. The operators are those of docs/format.md; `OPS` refuses what is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

DTYPES = ("float32", "int32", "int64", "bool")
Shape = tuple["int | str | None", ...]


class UnsupportedOp(ValueError):
    """A source graph holds an operator that has no counterpart here: names the op, the node and its position."""

    def __init__(self, op: str, node: str, position: str):
        advice = "compute it outside of the model, or write it with operators that docs/onnx.md lists"
        super().__init__(f"operator {op} (node {node!r}, {position}) is not supported: {advice}")
        self.op, self.node, self.position = op, node, position


@dataclass
class Value:
    """An activation: unique name, dtype (one of `DTYPES`), shape."""

    name: str
    dtype: str
    shape: Shape


@dataclass
class Node:
    op: str
    name: str
    inputs: list[str | None]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OpSpec:
    """How many operands an op takes and which attributes it knows: name -> type."""

    min_inputs: int
    max_inputs: int
    attributes: dict[str, type] = field(default_factory=dict)
    required: tuple[str, ...] = ()


def _specs() -> dict[str, OpSpec]:
    unary = "relu silu tanh sigmoid erf exp log sqrt rsqrt neg abs reciprocal sin cos floor ceil round softplus"
    specs = {name: OpSpec(1, 1) for name in (unary + " hard_swish mish not").split()}
    binary = "add sub mul div pow minimum maximum equal less less_equal greater greater_equal and or"
    specs |= {name: OpSpec(2, 2) for name in binary.split()}
    reduce = OpSpec(1, 1, {"axes": list, "keepdims": int}, ("axes",))
    specs |= {f"reduce_{name}": reduce for name in ("sum", "mean", "max", "min", "prod")}
    attention = {"heads": int, "kv_heads": int, "scale": float, "causal": int, "packed": int, "int8": int}
    shape = OpSpec(1, 1, {"shape": list}, ("shape",))
    axes = OpSpec(1, 1, {"axes": list}, ("axes",))
    window = {"stride": int, "dilation": int, "pad_left": int, "pad_right": int, "activation": str}
    picture = {"kernel": list, "stride": list, "dilation": list, "pads": list}
    transposed = {"taps": int, "stride": int, "cut_left": int, "cut_right": int, "activation": str}
    mel = {"n_fft": int, "hop": int, "mels": int, "rate": float, "low": float, "high": float, "floor": float}
    slices = {"axes": list, "starts": list, "ends": list, "steps": list}
    return specs | {
        "linear": OpSpec(2, 4, {"activation": str}),
        "conv1d": OpSpec(2, 4, {"taps": int, "groups": int} | window, ("taps",)),
        "conv2d": OpSpec(2, 4, {"groups": int, "activation": str} | picture, tuple(picture)),
        "depthwise_conv1d": OpSpec(2, 3, window),
        "depthwise_conv2d": OpSpec(2, 3, {"activation": str} | picture, tuple(picture)),
        "conv_transpose1d": OpSpec(2, 3, transposed, ("taps",)),
        "istft": OpSpec(1, 1, {"n_fft": int, "hop": int}, ("n_fft", "hop")),
        "mel_spectrogram": OpSpec(1, 1, mel, ("n_fft", "hop", "mels", "rate")),
        "embedding": OpSpec(2, 2),
        "layer_norm": OpSpec(1, 3, {"eps": float}, ("eps",)),
        "rms_norm": OpSpec(1, 2, {"eps": float}, ("eps",)),
        "softmax": OpSpec(1, 1, {"axis": int}),
        "log_softmax": OpSpec(1, 1, {"axis": int}),
        "attention": OpSpec(1, 4, attention, ("heads",)),
        "matmul": OpSpec(2, 2, {"transpose_b": int, "scale": float}),
        "gelu": OpSpec(1, 1, {"approximate": int}),
        "leaky_relu": OpSpec(1, 1, {"alpha": float}, ("alpha",)),
        "elu": OpSpec(1, 1, {"alpha": float}, ("alpha",)),
        "hard_sigmoid": OpSpec(1, 1, {"alpha": float, "beta": float}, ("alpha", "beta")),
        "where": OpSpec(3, 3),
        "clip": OpSpec(1, 1, {"min": float, "max": float}),
        "reshape": shape,
        "expand": shape,
        "squeeze": axes,
        "unsqueeze": axes,
        "transpose": OpSpec(1, 1, {"perm": list}, ("perm",)),
        "concat": OpSpec(1, 1 << 16, {"axis": int}, ("axis",)),
        "slice": OpSpec(1, 1, slices, ("axes", "starts", "ends", "steps")),
        "gather": OpSpec(2, 2, {"axis": int}),
        "iota": OpSpec(0, 0, {"shape": list}, ("shape",)),
        "cast": OpSpec(1, 1, {"to": str}, ("to",)),
        "pool": OpSpec(1, 2, {"mode": str}, ("mode",)),
        "pool2d": OpSpec(1, 1, {"mode": str, "counted": list} | picture, ("mode", "counted", *picture)),
        "resample": OpSpec(3, 3, {"axis": int}, ("axis",)),
        "gru": OpSpec(2, 4, {"reverse": int, "reset_after": int}),
        "lstm": OpSpec(2, 6, {"reverse": int}),
        "rnn": OpSpec(2, 4, {"reverse": int, "activation": str}),
        "argmax": OpSpec(1, 1, {"axis": int, "keepdims": int, "last": int}, ("axis",)),
        "topk": OpSpec(1, 1, {"k": int, "result": str}, ("k", "result")),
        "expert_linear": OpSpec(3, 4, {"experts": int, "activation": str}, ("experts",)),
        "l2_normalize": OpSpec(1, 1, {"eps": float}),
    }


OPS: dict[str, OpSpec] = _specs()
ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid")


@dataclass
class Graph:
    """One tower. `inputs` and `outputs` name values; nodes stand in execution order."""

    name: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)  # input -> the output that the next run takes for it

    def unique(self, name: str) -> str:
        """`name`, or `name_2`, `name_3`, ... when a value, constant or node has it already."""
        taken = self.values.keys() | self.constants.keys() | {node.name for node in self.nodes}
        name = name or "value"
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        return candidate

    def add_input(self, name: str, dtype: str, shape: Shape) -> str:
        self.add_value(name, dtype, shape)
        self.inputs.append(name)
        return name

    def add_value(self, name: str, dtype: str, shape: Shape) -> str:
        """Adds a value under a unique name and returns that name."""
        name = self.unique(name)
        self.values[name] = Value(name, dtype, tuple(shape))
        return name

    def add_constant(self, name: str, array: np.ndarray) -> str:
        """Adds an array (float32, int32, int64 or bool) under a unique name and returns that name."""
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        if str(array.dtype) not in DTYPES:
            raise ValueError(f"constant {name!r}: dtype {array.dtype} is not one of {', '.join(DTYPES)}")
        name = self.unique(name)
        self.constants[name] = array
        return name

    def add_node(
        self,
        op: str,
        inputs: list[str | None],
        outputs: list[Value] | list[str],
        name: str | None = None,
        **attributes: Any,
    ) -> list[str]:
        """Appends a node and returns the names of its outputs. An output that is a `Value` is added to the graph under
        a unique name; a string names a value that is there already."""
        names = [out if isinstance(out, str) else self.add_value(out.name, out.dtype, out.shape) for out in outputs]
        node = Node(op, name or self.unique(f"{op}:{names[0]}"), list(inputs), names, dict(attributes))
        check_node(node)
        self.nodes.append(node)
        return names

    def producer(self, name: str) -> Node | None:
        """The node that writes a value, or None for inputs and constants."""
        return next((node for node in self.nodes if name in node.outputs), None)

    def consumers(self, name: str) -> list[Node]:
        return [node for node in self.nodes if name in node.inputs]

    def replace_uses(self, old: str, new: str) -> None:
        """Every reader of `old`, graph outputs included, reads `new` instead."""
        for node in self.nodes:
            node.inputs = [new if operand == old else operand for operand in node.inputs]
        self.outputs = [new if output == old else output for output in self.outputs]

    def rename(self, old: str, new: str) -> None:
        """Gives a value another name everywhere."""
        if new in self.values or new in self.constants:
            raise ValueError(f"the name {new!r} is taken")
        value = self.values.pop(old)
        self.values[new] = Value(new, value.dtype, value.shape)
        self.replace_uses(old, new)
        for node in self.nodes:
            node.outputs = [new if output == old else output for output in node.outputs]
        self.inputs = [new if value_name == old else value_name for value_name in self.inputs]

    def dtype_of(self, operand: str) -> str:
        return self.values[operand].dtype if operand in self.values else str(self.constants[operand].dtype)

    def shape_of(self, operand: str) -> Shape:
        return self.values[operand].shape if operand in self.values else self.constants[operand].shape

    def named_dims(self) -> list[str]:
        """Names of dimensions, in the order in which the inputs, then the other values, mention them."""
        ordered = [self.values[name] for name in self.inputs] + list(self.values.values())
        return list(dict.fromkeys(dim for value in ordered for dim in value.shape if isinstance(dim, str)))

    def prune(self) -> None:
        """Drops nodes, values and constants that no output needs."""
        needed = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(operand for operand in node.inputs if operand is not None)
        self.nodes = kept[::-1]
        written = {output for node in self.nodes for output in node.outputs}
        self.values = {n: v for n, v in self.values.items() if n in written or n in self.inputs}
        self.constants = {n: c for n, c in self.constants.items() if n in needed}

    def check(self) -> None:
        """Raises ValueError, naming the node, unless every rule of docs/format.md on graphs holds."""
        ready = set(self.inputs) | self.constants.keys()
        if clash := self.values.keys() & self.constants.keys():
            raise ValueError(f"tower {self.name!r}: {sorted(clash)[0]!r} is both a value and a constant")
        for name in self.inputs:
            if name not in self.values or None in self.values[name].shape:
                raise ValueError(f"tower {self.name!r}: input {name!r} needs a value with a known shape")
        for node in self.nodes:
            check_node(node)
            for operand in node.inputs:
                if operand is not None and operand not in ready:
                    raise ValueError(f"node {node.name!r} ({node.op}) reads {operand!r} before it is written")
            for output in node.outputs:
                if output not in self.values or output in ready:
                    raise ValueError(f"node {node.name!r} ({node.op}) writes {output!r}, which is not a free value")
            ready.update(node.outputs)
        for name, other in self.states.items():
            if name not in self.inputs or other not in self.outputs:
                raise ValueError(f"tower {self.name!r}: state {name!r} = {other!r} is not an input and an output")
        for output in self.outputs:
            if output not in ready or output in self.constants:
                raise ValueError(f"tower {self.name!r}: nothing writes the output {output!r}")


def check_node(node: Node) -> None:
    """Raises ValueError for an unknown op, a wrong operand count, an unknown, missing or mistyped attribute."""
    spec = OPS.get(node.op)
    where = f"node {node.name!r} ({node.op})"
    if spec is None:
        raise ValueError(f"{where}: no such operator")
    if not spec.min_inputs <= len(node.inputs) <= spec.max_inputs:
        raise ValueError(f"{where}: {len(node.inputs)} operands, expected {spec.min_inputs} to {spec.max_inputs}")
    for name, value in node.attributes.items():
        kind = spec.attributes.get(name)
        if kind is None:
            raise ValueError(f"{where}: no attribute {name!r}; there are: {', '.join(spec.attributes) or 'none'}")
        if kind is float and isinstance(value, int):
            node.attributes[name] = float(value)
        elif kind is list and isinstance(value, tuple):
            node.attributes[name] = list(value)
        elif not isinstance(value, kind):
            raise ValueError(f"{where}: attribute {name!r} is {type(value).__name__}, expected {kind.__name__}")
    for name in spec.required:
        if name not in node.attributes:
            raise ValueError(f"{where}: attribute {name!r} is missing")
    if "activation" in spec.attributes and node.attributes.get("activation", "none") not in ACTIVATIONS:
        raise ValueError(
            f"{where}: activation {node.attributes['activation']!r} is not one of {', '.join(ACTIVATIONS)}"
        )
