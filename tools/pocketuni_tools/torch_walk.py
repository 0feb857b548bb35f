"""Walks a program of `torch.export` and builds a graph.

The program is walked once, in order. Values that depend on no input are computed with torch on the way (constant
folding); everything else becomes nodes. Handlers of single operators are in torch_ops.py (arithmetic, normalization,
attention), torch_conv.py, torch_picture.py and torch_shapes.py (shapes, indexing, creation); each is found by the
operator's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.export.graph_signature import InputKind

from .ir import Graph, Shape, UnsupportedOp, Value

Dim = "int | str | None"
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SMALL_INTS = (torch.int32, torch.int16, torch.int8, torch.uint8)
# Operators that check what export has proved already.
ASSERTIONS = {f"aten::{name}" for name in "_assert_tensor_metadata _assert_scalar _assert_async".split()} | {
    "aten::sym_constrain_range",
    "aten::sym_constrain_range_for_size",
}

HANDLERS: dict[str, Callable[[Importer, torch.fx.Node, SimpleNamespace], Any]] = {}


def handles(*names: str):
    """Registers a handler for operators named as in `aten::add` (the prefix `aten::` may be left out)."""

    def register(function):
        for name in names:
            HANDLERS[name if "::" in name else f"aten::{name}"] = function
        return function

    return register


def dtype_name(dtype: torch.dtype) -> str:
    """The dtype that stands for a torch dtype: all floats compute in float32, short integers in int32."""
    if dtype in FLOATS:
        return "float32"
    if dtype in SMALL_INTS:
        return "int32"
    if dtype in (torch.int64, torch.bool):
        return str(dtype).removeprefix("torch.")
    raise ValueError(f"dtype {dtype} has no counterpart: use a float, an integer of up to 64 bits, or bool")


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().to(getattr(torch, dtype_name(tensor.dtype))).numpy()


class Importer:
    """Walks one exported program. `env` maps each fx node to an operand name, a torch.Tensor (constant) or a list."""

    def __init__(self, program: torch.export.ExportedProgram, dims: Mapping[str, str], name: str):
        self.program, self.dims, self.graph = program, dims, Graph(name)
        self.nodes = [node for node in program.graph.nodes if node.op == "call_function"]
        self.env: dict[torch.fx.Node, Any] = {}
        self.current: torch.fx.Node | None = None
        self._constants: dict[tuple[int, str], str] = {}
        self._held: list[torch.Tensor] = []  # keeps ids in _constants from being reused
        self._names: dict[int, str] = {}
        self._producers: dict[str, Any] = {}
        self.transposed: dict[int, torch.Tensor] = {}  # id of a constant -> its transpose
        self.arranged: dict[tuple[int, str], torch.Tensor] = {}  # id of a constant, order -> the constant in that order
        self.padded: dict[str, tuple[str, int, int]] = {}  # value -> what it is with zeros around its last axis

    # What export says about a node.

    def dim(self, size: Any) -> Dim:
        """An int, the name of a dynamic dimension, or None for an expression of such names."""
        if isinstance(size, torch.fx.Node):
            size = size.meta["val"]
        if not isinstance(size, torch.SymInt):
            return int(size)
        expression = size.node.expr
        if expression.is_number:
            return int(expression)
        return self.dims.get(str(expression))

    def shape(self, node: torch.fx.Node) -> Shape:
        return tuple(self.dim(size) for size in node.meta["val"].shape)

    def dtype(self, node: torch.fx.Node) -> str:
        return dtype_name(node.meta["val"].dtype)

    def unsupported(self, detail: str = "") -> UnsupportedOp:
        """The error that names the node at hand. `detail` says what of a supported operator is not supported."""
        node = self.current
        frames = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', node.meta.get("stack_trace") or "")
        place = f", {frames[-1][0]}:{frames[-1][1]} in {frames[-1][2]}" if frames else ""
        position = f"call {self.nodes.index(node) + 1} of {len(self.nodes)}{place}"
        return UnsupportedOp(f"{node.target}{' with ' if detail else ''}{detail}", node.name, position)

    # Operands.

    def get(self, argument: Any) -> Any:
        """What an argument stands for: an operand name, a torch.Tensor, or a Python number."""
        if isinstance(argument, torch.fx.Node):
            value = argument.meta.get("val")
            if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
                size = self.dim(argument)
                if isinstance(size, int):
                    return size
                raise self.unsupported("a dynamic size as a number")
            return self.env[argument]
        return argument

    def operand(self, argument: Any, dtype: str | None = None, role: str = "", name: str = "constant") -> str:
        """The operand for an argument, cast to `dtype`. A constant is added once for each `role`: the writer stores a
        matrix of `linear` and a table of `embedding` differently."""
        value = self.get(argument)
        if isinstance(value, (bool, int, float)):
            kind = dtype or {bool: "bool", int: "int64", float: "float32"}[type(value)]
            array = np.array(value).astype(kind)
            return self._constant(("scalar", kind, array.tobytes()), array, name)
        if isinstance(value, torch.Tensor):
            array = to_numpy(value)
            if dtype is not None:
                array = array.astype(dtype)
            self.keep(value, name)
            return self._constant((id(value), role, str(array.dtype)), array, self.name_of(value))
        return value if dtype is None else self.cast(value, dtype)

    def _constant(self, key: tuple, array: np.ndarray, name: str) -> str:
        if key not in self._constants:
            self._constants[key] = self.graph.add_constant(name, array)
        return self._constants[key]

    def keep(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """Holds on to a constant and gives it a name."""
        self._held.append(tensor)
        self._names.setdefault(id(tensor), name)
        return tensor

    def name_of(self, tensor: torch.Tensor) -> str:
        return self._names.get(id(tensor), "constant")

    def constant(self, argument: Any) -> torch.Tensor | None:
        """The constant behind an argument, or None for an activation."""
        value = self.get(argument)
        return value if isinstance(value, torch.Tensor) else None

    # Nodes, with the simplifications that undo how PyTorch spells things.

    def emit(self, op: str, inputs: Sequence[str | None], dtype: str, shape: Shape, /, **attributes: Any) -> str:
        value = Value(self.current.name, dtype, tuple(shape))
        (out,) = self.graph.add_node(op, list(inputs), [value], **attributes)
        self._producers[out] = self.graph.nodes[-1]
        return out

    def like(self, op: str, inputs: Sequence[str | None], node: torch.fx.Node, **attributes: Any) -> str:
        """Emits with the dtype and the shape that export gives for `node`."""
        return self.emit(op, inputs, self.dtype(node), self.shape(node), **attributes)

    def producer(self, operand: str):
        """The node that wrote an operand, or None."""
        return self._producers.get(operand)

    def cast(self, x: str, dtype: str) -> str:
        if self.graph.dtype_of(x) == dtype:
            return x
        return self.emit("cast", [x], dtype, self.graph.shape_of(x), to=dtype)

    def reshape(self, x: str, shape: Sequence[Dim]) -> str:
        """Reshapes. Of several reshapes in a row one is left, and none where the shape stays."""
        if list(shape).count(None) > 1:
            raise self.unsupported(f"a shape of more than one computed dimension, {tuple(shape)}")
        while (node := self.producer(x)) is not None and node.op in ("reshape", "unsqueeze", "squeeze"):
            x = node.inputs[0]
        if tuple(self.graph.shape_of(x)) == tuple(shape):
            return x
        return self.emit("reshape", [x], self.graph.dtype_of(x), tuple(shape), shape=list(shape))

    def transpose(self, x: str, perm: Sequence[int]) -> str:
        """Permutes dimensions. Of several transposes in a row one is left, and none where they cancel."""
        perm = list(perm)
        if (node := self.producer(x)) is not None and node.op == "transpose":
            x, perm = node.inputs[0], [node.attributes["perm"][axis] for axis in perm]
        if perm == sorted(perm):
            return x
        shape = self.graph.shape_of(x)
        return self.emit("transpose", [x], self.graph.dtype_of(x), [shape[axis] for axis in perm], perm=perm)

    def expand(self, x: str, shape: Sequence[Dim]) -> str:
        """Broadcasts to a shape, unless it is there already."""
        if (node := self.producer(x)) is not None and node.op == "expand":
            x = node.inputs[0]
        if tuple(self.graph.shape_of(x)) == tuple(shape) and None not in shape:
            return x
        if None in shape:
            raise self.unsupported(f"a computed dimension in the shape {tuple(shape)}")
        return self.emit("expand", [x], self.graph.dtype_of(x), tuple(shape), shape=list(shape))

    # The walk.

    def run(self, output_names: Sequence[str]) -> Graph:
        for node in self.program.graph.nodes:
            self.current = node
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._outputs(node.args[0], output_names)
            else:
                raise UnsupportedOp(node.op, node.name, "the exported graph")
        self.graph.prune()
        self.graph.check()
        return self.graph

    def _placeholder(self, node: torch.fx.Node) -> None:
        spec = next(spec for spec in self.program.graph_signature.input_specs if spec.arg.name == node.name)
        if spec.kind == InputKind.USER_INPUT:
            if isinstance(node.meta["val"], torch.Tensor):
                self.env[node] = self.graph.add_input(node.name, self.dtype(node), self.shape(node))
            return
        tables = (self.program.state_dict, self.program.constants)
        tensor = next(table[spec.target] for table in tables if spec.target in table)
        if not isinstance(tensor, torch.Tensor):
            raise UnsupportedOp(type(tensor).__name__, node.name, "a constant of the module")
        self.env[node] = self.keep(tensor.detach(), spec.target)

    def _call(self, node: torch.fx.Node) -> None:
        if not isinstance(node.target, torch._ops.OpOverload):
            if getattr(node.target, "__name__", "") == "getitem":
                self.env[node] = self.env[node.args[0]][node.args[1]]
            elif isinstance(node.meta.get("val"), torch.Tensor):
                raise self.unsupported()
            return  # arithmetic on sizes: `dim` reads its result from export's own symbols
        name = node.target._schema.name
        if name in ASSERTIONS or isinstance(node.meta.get("val"), (torch.SymInt, torch.SymBool, torch.SymFloat, int)):
            return
        folded = self._fold(node)
        if folded is None:
            if name not in HANDLERS:
                raise self.unsupported()
            folded = HANDLERS[name](self, node, bind(node))
        if isinstance(folded, torch.Tensor):
            self.keep(folded, node.name)
        self.env[node] = folded

    def _fold(self, node: torch.fx.Node) -> Any:
        """The result of an operator all of whose operands are known, or None."""
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            return None
        known = True

        def value(argument: torch.fx.Node) -> Any:
            nonlocal known
            if isinstance(argument.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool)):
                size = self.dim(argument)
                known &= isinstance(size, int)
                return size
            item = self.env.get(argument)
            known &= isinstance(item, (torch.Tensor, int, float))
            return item

        arguments, options = torch.fx.map_arg((node.args, dict(node.kwargs)), value)
        if not known:
            return None
        with torch.no_grad():
            return node.target(*arguments, **options)

    def _outputs(self, results: Sequence[Any], names: Sequence[str]) -> None:
        results = [item for item in results if isinstance(item, torch.fx.Node)]
        if self.program.graph_signature.buffers_to_mutate:
            buffers = ", ".join(self.program.graph_signature.buffers_to_mutate.values())
            raise ValueError(f"the module writes its buffers {buffers}: modules with state are not supported")
        operands = []
        for result, name in zip(results, names, strict=True):
            operand = self.operand(result)
            shape, dtype = self.shape(result), self.dtype(result)
            if operand in self.graph.constants:
                raise ValueError(f"the output {name!r} does not depend on the inputs")
            # An output is a value of its own, which carries the output's name.
            if operand in self.graph.inputs or operand in operands:
                if list(shape).count(None) > 1:
                    raise ValueError(f"the output {name!r} repeats a value of shape {shape}; return it once")
                operand = self.emit("reshape", [operand], dtype, shape, shape=list(shape))
            operands.append(operand)
        self.graph.outputs = operands
        for operand, name in zip(operands, names, strict=True):
            if operand != name:
                if name in self.graph.values:
                    # Both sides of a swap may be outputs or inner values: move the holder aside first.
                    if name in self.graph.inputs:
                        name = self.graph.unique(f"{name}_output")
                    else:
                        self.graph.rename(name, self.graph.unique(f"{name}_inner"))
                        operand = self.graph.outputs[list(names).index(name)]
                self.graph.rename(operand, self.graph.unique(name))


def bind(node: torch.fx.Node) -> SimpleNamespace:
    """Arguments of a call by the names of the operator's schema, with defaults filled in."""
    arguments = {}
    for place, argument in enumerate(node.target._schema.arguments):
        if place < len(node.args):
            arguments[argument.name] = node.args[place]
        else:
            arguments[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    return SimpleNamespace(**arguments)
