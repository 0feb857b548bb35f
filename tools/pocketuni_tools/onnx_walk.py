"""Walks an ONNX graph and builds a graph of ours.

Nodes are visited once, in order. What depends on no input is computed on the way (constant folding), what depends only
on the sizes of inputs is computed with symbols (onnx_sizes.py); everything else becomes nodes. Handlers of single
operators are in onnx_ops.py, onnx_products.py, onnx_conv.py, onnx_shapes.py, onnx_index.py and onnx_contrib.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .ir import Graph, UnsupportedOp, Value
from .onnx_fold import MAX_ELEMENTS, fold, fold_sizes
from .onnx_grid import Grid, follow, grid_of_array
from .onnx_load import FLOATS, array_of, check_node, dtype_name, dtype_of, opset
from .onnx_sizes import OPAQUE, Size, product, size

Sizes = tuple[Size, ...]
HANDLERS: dict[str, Callable[[Importer, Call], Any]] = {}
MAX_DIMS = 16


def handles(*names: str):
    """Registers a handler by operator; `com.microsoft::Gelu` names one of another domain."""

    def register(function):
        for name in names:
            HANDLERS[name] = function
        return function

    return register


@dataclass(eq=False)
class Known:
    """A value that is known without running anything: numbers, or an object array of `Size`."""

    array: np.ndarray
    name: str = "constant"

    @property
    def symbolic(self) -> bool:
        return self.array.dtype == object


Operand = "Known | str"


class Call:
    """An ONNX node: operator, operands (None where absent), attributes as Python values."""

    def __init__(self, node: onnx.NodeProto, inputs: list[Any], version: int, position: str):
        self.node, self.inputs, self.version, self.position = node, inputs, version, position
        self.op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        self.name = node.name or (node.output[0] if node.output else node.op_type)
        self.attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}

    def __getitem__(self, place: int) -> Any:
        """An operand; None for an optional one that is absent."""
        return self.inputs[place] if place < len(self.inputs) else None

    def get(self, name: str, default: Any = None) -> Any:
        value = self.attributes.get(name, default)
        value = value.decode() if isinstance(value, bytes) else value
        if default is not None and not isinstance(value, type(default)):
            raise ValueError(f"the attribute {name!r} is {type(value).__name__}, expected {type(default).__name__}")
        return value

    @property
    def outputs(self) -> int:
        """How many results something may read."""
        return max((place + 1 for place, name in enumerate(self.node.output) if name), default=0)

    def unsupported(self, detail: str = "") -> UnsupportedOp:
        return UnsupportedOp(f"{self.op}{' with ' if detail else ''}{detail}", self.name, self.position)


class Importer:
    """Walks one model. `env` maps names of ONNX values to a `Known` or to the name of an operand of the graph."""

    def __init__(
        self, model: onnx.ModelProto, folder: Path | None, name: str, fixed: Mapping[str, np.ndarray] | None = None
    ):
        self.model, self.folder, self.graph, self.fixed = model, folder, Graph(name), dict(fixed or {})
        self.version = opset(model)
        self.env: dict[str, Any] = {}
        self.call = Call(onnx.NodeProto(op_type="graph"), [], self.version, "the graph's outputs")
        self.shapes: dict[str, Sizes] = {}
        self._constants: dict[tuple, str] = {}
        self._held: list[np.ndarray] = []  # keeps ids in _constants from being reused
        self._producers: dict[str, Any] = {}
        self._grids: dict[str, Grid] = {}

    # Operands.

    def shape(self, value: Operand) -> Sizes:
        if value is None:
            raise ValueError("an operand is missing")
        array = value.array if isinstance(value, Known) else self.graph.constants.get(value)
        return self.shapes[value] if array is None else tuple(map(size, array.shape))

    def rank(self, value: Operand) -> int:
        return len(self.shape(value))

    def dtype(self, value: Operand) -> str:
        if not isinstance(value, Known):
            return self.graph.dtype_of(value)
        return "int64" if value.symbolic else dtype_of(value.array.dtype)

    def numbers(self, value: Operand | None) -> np.ndarray | None:
        """The numbers of a constant, else None."""
        return value.array if isinstance(value, Known) and not value.symbolic else None

    def dims(self, value: Operand | None, what: str) -> list[Size]:
        """A vector of sizes. Raises UnsupportedOp where they are computed from the contents of inputs."""
        if not isinstance(value, Known):
            raise self.call.unsupported(f"{what} that depends on the contents of inputs")
        return [size(item) if isinstance(item, Size) else Size(int(item)) for item in value.array.reshape(-1)]

    def operand(self, value: Operand, role: str = "") -> str:
        """The operand of the graph for a value. A constant is added once for each `role`: the writer stores a matrix of
        `linear` and a table of `embedding` differently, and `transposed` is one more array."""
        if not isinstance(value, Known):
            return value
        if value.symbolic:
            return self.computed_sizes(value)
        key = (id(value.array), role)
        if key not in self._constants:
            array = value.array.T if role == "transposed" else value.array
            self._held.append(value.array)
            self._constants[key] = self.graph.add_constant(value.name, array.astype(dtype_of(array.dtype)))
        return self._constants[key]

    def limited(self, elements: int) -> int:
        """The count itself. Raises UnsupportedOp for a table that would be larger than any that a model needs."""
        if elements > MAX_ELEMENTS:
            raise self.call.unsupported(f"a table of {elements} elements")
        return elements

    def number(self, value: float, dtype: str = "float32") -> Known:
        """A constant of rank 0, the same one for the same number."""
        key = ("number", dtype, value)
        if key not in self._constants:
            self._constants[key] = Known(np.array(value, dtype))
        return self._constants[key]

    def computed_sizes(self, value: Known) -> str:
        """Sizes as numbers of a running graph: the count of ones along a dimension."""
        key = ("sizes", value.array.ndim, *map(str, value.array.reshape(-1)))
        if key not in self._constants:
            self._constants[key] = self._count(value)
        return self._constants[key]

    def _count(self, value: Known) -> str:
        parts = []
        for item in value.array.reshape(-1):
            total = None
            for factors, coefficient in item.terms.items() if isinstance(item, Size) else (((), item),):
                part = self.number(coefficient, "int64")
                for name in factors:
                    if name.startswith(OPAQUE):
                        raise self.call.unsupported(f"the size {item} as a number")
                    ones = self.emit("expand", [self.number(1.0)], "float32", (Size(name),), shape=[name])
                    count = self.emit("reduce_sum", [ones], "float32", (), axes=[0])
                    part = self.emit("mul", [self.cast(count, "int64"), part], "int64", ())
                total = part if total is None else self.emit("add", [total, part], "int64", ())
            parts.append(self.reshape(self.number(0, "int64") if total is None else total, [Size(1)]))
        if value.array.ndim == 0:
            return self.operand(self.reshape(parts[0], []))
        return self.emit("concat", parts, "int64", (Size(len(parts)),), axis=0)

    # Nodes, with the simplifications that undo how exporters spell things.

    def emit(self, op: str, inputs: Sequence[Any], dtype: str, shape: Sequence[Size], /, **attributes: Any) -> str:
        """Appends a node. `shape` may hold sizes that no dimension has: they stay open in the graph."""
        operands = [item if item is None else self.operand(item) for item in inputs]
        value = Value(next(iter(self.call.node.output), "") or op, dtype, tuple(item.dim for item in shape))
        (out,) = self.graph.add_node(op, operands, [value], **attributes)
        self._producers[out] = self.graph.nodes[-1]
        self.shapes[out] = tuple(shape)
        if dtype != "float32" and (grid := follow(self, op, inputs, shape)) is not None:
            self._grids[out] = grid
        return out

    def producer(self, value: Operand) -> Any:
        """The node that wrote an operand, or None."""
        return self._producers.get(value) if isinstance(value, str) else None

    def grid(self, value: Operand) -> Grid | None:
        """What is known of the elements of an integer operand."""
        if isinstance(value, Known):
            return None if value.symbolic else grid_of_array(value.array)
        return self._grids.get(value)

    def uniform(self, value: Operand) -> Any:
        """The number that every element of an operand is, or None."""
        if (node := self.producer(value)) is not None and node.op == "expand":
            value = node.inputs[0]
        array = self.numbers(value) if isinstance(value, Known) else self.graph.constants.get(value)
        if array is None or not array.size or (array != array.reshape(-1)[0]).any():
            return None
        return array.reshape(-1)[0].item()

    def cast(self, value: Operand, dtype: str) -> Operand:
        if self.dtype(value) == dtype:
            return value
        if self.numbers(value) is not None:
            return Known(value.array.astype(dtype), value.name)
        return self.emit("cast", [value], dtype, self.shape(value), to=dtype)

    def reshape(self, value: Operand, shape: Sequence[Size]) -> Operand:
        """Reshapes. Of several reshapes in a row one is left, and none where the shape stays."""
        shape = tuple(shape)
        if isinstance(value, Known) and all(item.constant is not None for item in shape):
            return Known(value.array.reshape([item.constant for item in shape]), value.name)
        while (node := self.producer(value)) is not None and node.op in ("reshape", "unsqueeze", "squeeze"):
            value = node.inputs[0]
        if self.shape(value) == shape:
            return value
        dims = [item.dim for item in shape]
        if dims.count(None) < 2:
            return self.emit("reshape", [value], self.dtype(value), shape, shape=dims)
        return self._change_ones(value, shape)

    def _change_ones(self, value: Operand, shape: Sizes) -> str:
        """A reshape to several sizes that are not dimensions, which only inserts or drops ones."""
        old = self.shape(value)
        if [item for item in old if item != 1] != [item for item in shape if item != 1]:
            raise self.call.unsupported(f"the shape {list(shape)}")
        dtype, rest = self.dtype(value), tuple(item for item in old if item != 1)
        drop = [axis for axis, item in enumerate(old) if item == 1]
        add = [axis for axis, item in enumerate(shape) if item == 1]
        if drop:
            value = self.emit("squeeze", [value], dtype, rest, axes=drop)
        return self.emit("unsqueeze", [value], dtype, shape, axes=add) if add else value

    def transpose(self, value: Operand, perm: Sequence[int]) -> Operand:
        """Permutes dimensions. Of several transposes in a row one is left, and none where they cancel."""
        perm = list(perm)
        if isinstance(value, Known):
            return Known(value.array.transpose(perm).copy(order="C"), value.name)
        if (node := self.producer(value)) is not None and node.op == "transpose":
            value, perm = node.inputs[0], [node.attributes["perm"][axis] for axis in perm]
        if perm == sorted(perm):
            return value
        shape = self.shape(value)
        return self.emit("transpose", [value], self.dtype(value), [shape[axis] for axis in perm], perm=perm)

    def expand(self, value: Operand, shape: Sequence[Size]) -> Operand:
        """Broadcasts to a shape, unless it is there already."""
        if (node := self.producer(value)) is not None and node.op == "expand":
            value = node.inputs[0]
        if self.shape(value) == tuple(shape):
            return value
        dims = [item.dim for item in shape]
        if None in dims:
            raise self.call.unsupported(f"a broadcast to {list(shape)}")
        return self.emit("expand", [value], self.dtype(value), shape, shape=dims)

    def flat(self, value: Operand, axis: int) -> Operand:
        """The dimensions from `axis` on as one."""
        shape = self.shape(value)
        return self.reshape(value, (*shape[:axis], product(shape[axis:])))

    # The walk.

    def run(self) -> Graph:
        graph = self.model.graph
        if graph.sparse_initializer:
            raise ValueError("sparse constants are not supported: store them as dense tensors")
        for tensor in graph.initializer:
            self.env[tensor.name] = Known(array_of(tensor, self.folder), tensor.name)
        if unknown := self.fixed.keys() - {item.name for item in graph.input}:
            names = [item.name for item in graph.input if item.name not in self.env]
            raise ValueError(f"there is no input {sorted(unknown)[0]!r} to give a value to; inputs: {', '.join(names)}")
        for item in graph.input:
            if item.name in self.fixed:
                self.env[item.name] = Known(fixed_array(item, self.fixed[item.name]), item.name)
            elif item.name not in self.env:
                self._input(item)
        self.walk(graph.node)
        self._outputs([item.name for item in graph.output])
        self.graph.prune()
        self.graph.check()
        return self.graph

    def _input(self, item: onnx.ValueInfoProto) -> None:
        what = f"input {item.name!r}"
        if not item.name or item.name in self.env:
            raise ValueError(f"{what} has no name of its own")
        if not item.type.HasField("tensor_type") or not item.type.tensor_type.HasField("shape"):
            raise ValueError(f"{what} is not a tensor of known rank: export the model with the shapes of its inputs")
        shape: list[int | str] = []
        for axis, dim in enumerate(item.type.tensor_type.shape.dim):
            named = dim.dim_param and not dim.dim_param.startswith(OPAQUE)
            shape.append(dim.dim_value if dim.dim_value > 0 else dim.dim_param if named else f"{item.name}_{axis}")
        self.graph.add_input(item.name, dtype_name(item.type.tensor_type.elem_type, what), tuple(shape))
        if len(self.graph.named_dims()) > MAX_DIMS:
            raise ValueError(f"{what} brings the named dimensions to more than {MAX_DIMS}: export it with fewer")
        self.shapes[item.name], self.env[item.name] = tuple(map(size, shape)), item.name

    def walk(self, nodes: Sequence[onnx.NodeProto], within: str = "") -> None:
        for index, node in enumerate(nodes):
            position = f"node {index + 1} of {len(nodes)}{within}"
            if missing := [name for name in node.input if name and name not in self.env]:
                raise ValueError(f"{position} ({node.op_type}) reads {missing[0]!r}, which nothing before it writes")
            inputs = [self.env[name] if name else None for name in node.input]
            self.call = Call(node, inputs, self.version, position)
            try:
                results = self._results(self.call)
            except UnsupportedOp:
                raise
            except (ValueError, TypeError, IndexError, ArithmeticError) as error:
                raise ValueError(f"{node.op_type} {self.call.name!r}, {position}: {error}") from error
            for name, value in zip(node.output, results, strict=False):
                self.env[name] = value
                if isinstance(value, Known) and value.name == "constant":
                    value.name = name

    def _results(self, call: Call) -> list[Any]:
        check_node(call.node, self.version)
        arrays = [None if value is None else getattr(value, "array", value) for value in call.inputs]
        if not any(isinstance(array, str) for array in arrays):
            symbolic = any(array is not None and array.dtype == object for array in arrays)
            folded = fold_sizes(call, arrays) if symbolic else fold(call, arrays, self.model.opset_import)
            if folded is not None:
                return [Known(array) for array in folded]
        if call.op not in HANDLERS:
            raise call.unsupported()
        result = HANDLERS[call.op](self, call)
        results = result if isinstance(result, list) else [result]
        if len(results) < call.outputs:
            raise call.unsupported(f"{call.outputs} results")
        return results

    def _outputs(self, names: Sequence[str]) -> None:
        """An output is a value of its own, which carries the output's name."""
        for name in names:
            if name not in self.env:
                raise ValueError(f"nothing writes the output {name!r}")
            value = self.env[name]
            if isinstance(value, Known):
                sizes = tuple(map(size, value.array.shape))
                shape = [item.dim for item in sizes]
                value = self.emit("reshape", [value], self.dtype(value), sizes, shape=shape)
            if value in self.graph.inputs or value in self.graph.outputs:
                dims = [item.dim for item in self.shapes[value]]
                if dims.count(None) > 1:
                    raise ValueError(f"the output {name!r} repeats another value; return it once")
                value = self.emit("reshape", [value], self.dtype(value), self.shapes[value], shape=dims)
            self.graph.outputs.append(value)
        self._name_outputs(names)

    def _name_outputs(self, names: Sequence[str]) -> None:
        for place, name in enumerate(names):
            if self.graph.outputs[place] == name:
                continue
            if name in self.graph.inputs:
                name = self.graph.unique(f"{name}_output")
            elif name in self.graph.constants:
                other = self.graph.add_constant(name, self.graph.constants[name])
                self.graph.replace_uses(name, other)
                del self.graph.constants[name]
            elif name in self.graph.values:
                self.graph.rename(name, self.graph.unique(f"{name}_inner"))
            self.graph.rename(self.graph.outputs[place], name)


def fixed_array(item: onnx.ValueInfoProto, value: np.ndarray) -> np.ndarray:
    """A value that takes the place of an input: of its dtype, and of its shape where that is known."""
    dims = item.type.tensor_type.shape.dim
    array = np.asarray(value)
    if array.size == 1 and array.ndim != len(dims):
        array = array.reshape([1] * len(dims))
    if array.ndim != len(dims) or any(dim.dim_value not in (0, n) for dim, n in zip(dims, array.shape, strict=True)):
        raise ValueError(f"input {item.name!r} is given a value of shape {list(array.shape)}")
    dtype = helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type)
    return array.astype(np.float32 if str(dtype) in FLOATS else dtype)


def attributes_of(call: Call, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a handler knows, with defaults; others are refused."""
    if unknown := call.attributes.keys() - defaults.keys():
        raise call.unsupported(f"the attribute {sorted(unknown)[0]!r}")
    return {name: call.get(name, default) for name, default in defaults.items()}
