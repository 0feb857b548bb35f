"""Turns a PyTorch module into a graph, through `torch.export`. The walk itself is in torch_walk.py."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.utils import _pytree

# The modules of handlers are imported because they register themselves.
from . import torch_conv, torch_experts, torch_ops, torch_picture, torch_recurrent, torch_shapes  # noqa: F401
from .ir import Graph
from .torch_walk import HANDLERS, Importer


def decompose(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Makes the program functional, and expands only those operators that have no handler and can be expanded."""
    program = program.run_decompositions({})
    known = torch.export.default_decompositions()
    for _ in range(4):
        targets = {n.target for n in program.graph.nodes if isinstance(n.target, torch._ops.OpOverload)}
        missing = [t for t in targets if t._schema.name not in HANDLERS and t in known]
        if not missing:
            break
        program = program.run_decompositions({target: known[target] for target in missing})
    return program


def dims_of_symbols(program: torch.export.ExportedProgram, dynamic: Mapping[str, Mapping[int, str]]) -> dict[str, str]:
    """Export's symbols -> names of dimensions. Raises ValueError where the module fixes or joins dimensions."""
    names: dict[str, str] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in dynamic:
            continue
        for axis, name in dynamic[node.name].items():
            size = node.meta["val"].shape[axis]
            where = f"input {node.name!r}, axis {axis} ({name!r})"
            if not isinstance(size, torch.SymInt) or not size.node.expr.is_Symbol:
                raise ValueError(f"{where}: the module needs size {size} there; leave the axis out of `dynamic`")
            symbol = str(size.node.expr)
            if names.setdefault(symbol, name) != name:
                raise ValueError(f"{where}: the module needs it equal to {names[symbol]!r}; give both one name")
    return names


def enlarge(example: torch.Tensor, axes: Mapping[int, str]) -> torch.Tensor:
    """Repeats an example along dynamic axes of size 1, which export would take for constants."""
    for axis in axes:
        if example.shape[axis] == 1:
            example = torch.cat([example, example], axis)
    return example


def output_names(module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> list[str]:
    """One name per tensor that the module returns: its key in a dict or a dataclass, else `output`, `output_1`, ..."""
    with torch.no_grad():
        leaves, _ = _pytree.tree_flatten_with_path(module(**inputs))
    names: list[str] = []
    for path, leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            keys = [str(getattr(part, "key", getattr(part, "name", ""))) for part in path]
            name = "_".join(key for key in keys if key) or "output"
            number = sum(other == name or other.startswith(f"{name}_") for other in names)
            names.append(f"{name}_{number}" if number else name)
    return names


def import_torch(
    module: torch.nn.Module,
    example_inputs: Mapping[str, torch.Tensor],
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    name: str = "main",
) -> Graph:
    """Exports a module and returns its graph.

    example_inputs: argument name of `forward` -> tensor; they become the graph's inputs, in this order.
    dynamic: input -> {axis: dimension name}; axes of one name have one size. All other axes keep the example's size.
    Raises UnsupportedOp for an operator that has no counterpart, ValueError for dimensions that cannot be dynamic.
    The module is run in the mode it is in (call `eval()` first), on the CPU, without gradients.
    """
    dynamic = {key: {int(axis): dim for axis, dim in axes.items()} for key, axes in (dynamic or {}).items()}
    if unknown := dynamic.keys() - example_inputs.keys():
        raise ValueError(f"`dynamic` names {sorted(unknown)}, but the inputs are {list(example_inputs)}")
    if module.training:
        raise ValueError("the module is in training mode; call module.eval() first")
    inputs = {key: enlarge(tensor, dynamic.get(key, {})) for key, tensor in example_inputs.items()}
    shapes = {key: {axis: torch.export.Dim.DYNAMIC for axis in dynamic.get(key, {})} for key in inputs}
    try:
        with torch.no_grad():
            program = torch.export.export(module, (), dict(inputs), dynamic_shapes=shapes, strict=False)
    except torch._dynamo.exc.UserError as error:
        raise ValueError(f"torch.export cannot export the module: {error}") from error
    program = decompose(program)
    graph = Importer(program, dims_of_symbols(program, dynamic), name).run(output_names(module, inputs))
    graph.inputs = [key for key in inputs if key in graph.inputs]
    return graph
