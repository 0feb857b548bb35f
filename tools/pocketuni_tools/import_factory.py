"""Imports PyTorch modules that a function of the user's makes: `PACKAGE.MODULE:FUNCTION`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .source import Feed, MissingPackage, Outputs, Source, Tower

SHAPE_OF_RESULT = (
    "(module, example inputs[, dynamic dimensions[, calibration inputs]]), or a dict of such by tower name"
)


def load_function(path: str) -> Callable[[], Any]:
    """The function that `PACKAGE.MODULE:FUNCTION` names, searched from the working directory too."""
    module_name, colon, function_name = path.partition(":")
    if not colon or not module_name or not function_name:
        raise ValueError(f"{path!r} is not of the form PACKAGE.MODULE:FUNCTION")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise ValueError(f"{module_name} needs the package {error.name}, which is not installed") from error
        raise ValueError(f"there is no module {module_name!r} here or on PYTHONPATH") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(f"{module_name} has no function {function_name!r}")
    return function


def reference_of(module: Any, output_names: list[str]) -> Callable[[Feed], Outputs]:
    import torch
    from torch.utils import _pytree

    def run(feed: Feed) -> Outputs:
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in feed.items()}
        with torch.inference_mode():
            leaves = [leaf for leaf in _pytree.tree_leaves(module(**tensors)) if isinstance(leaf, torch.Tensor)]
        return {name: leaf.float().numpy() for name, leaf in zip(output_names, leaves, strict=True)}

    return run


def as_feed(inputs: Mapping[str, Any], dtypes: Mapping[str, str]) -> Feed:
    """Example inputs with the types that the graph declares; those that it does not read are left out."""
    arrays = {name: np.asarray(getattr(value, "numpy", lambda v=value: v)()) for name, value in inputs.items()}
    return {name: np.ascontiguousarray(arrays[name]).astype(dtype, copy=False) for name, dtype in dtypes.items()}


def tower_of(name: str, result: Any) -> Tower:
    import torch

    from .import_torch import import_torch

    if not isinstance(result, (tuple, list)) or not 2 <= len(result) <= 4 or not isinstance(result[1], Mapping):
        raise ValueError(f"the function returned {type(result).__name__} for {name!r}, expected {SHAPE_OF_RESULT}")
    module, example, dynamic, calibration = (*result, None, None)[:4]
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"the first item for {name!r} is {type(module).__name__}, expected a torch.nn.Module")
    module = module.float().eval()
    graph = import_torch(module, example, dynamic or {}, name=name)
    dtypes = {item: graph.values[item].dtype for item in graph.inputs}
    checks = [as_feed(example, dtypes)]
    feeds = [as_feed(inputs, dtypes) for inputs in calibration or [example]]
    return Tower(graph, feeds, checks, reference_of(module, list(graph.outputs)))


def import_factory(path: str) -> Source:
    """Calls a function without arguments and imports what it returns: `SHAPE_OF_RESULT`.

    Without calibration inputs the example inputs serve: give some dozen real ones for int4.
    Raises ValueError for a function that cannot be found or returns something else, `UnsupportedOp` for operators that
    have no counterpart, `MissingPackage` without torch.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingPackage("torch", "importing PyTorch modules") from error
    result = load_function(path)()
    towers = result if isinstance(result, Mapping) else {"main": result}
    if not towers:
        raise ValueError(f"{path} returned an empty dict, expected {SHAPE_OF_RESULT}")
    name = path.partition(":")[0].rpartition(".")[2]
    meta = {"name": name, "licence": "unknown", "provenance": {"source": "torch", "model": Path(path).name}}
    return Source(name, [tower_of(tower, item) for tower, item in towers.items()], meta)
