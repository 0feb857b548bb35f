"""Turns an ONNX model into a graph. The walk itself is in onnx_walk.py."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import onnx

# The modules of handlers are imported because they register themselves.
from . import (  # noqa: F401
    onnx_contrib,
    onnx_conv,
    onnx_experts,
    onnx_index,
    onnx_more,
    onnx_ops,
    onnx_pool,
    onnx_products,
    onnx_recurrent,
    onnx_resize,
    onnx_shapes,
)
from .ir import Graph
from .onnx_load import load
from .onnx_states import carry
from .onnx_walk import Importer


def import_onnx(
    source: str | os.PathLike | onnx.ModelProto,
    name: str = "main",
    fixed: Mapping[str, np.ndarray] | None = None,
    carried: str | None = None,
) -> Graph:
    """Reads an ONNX model of opset 7 to 21 and returns its graph.

    source: a path, or a model in memory. External data is read from the folder of the path, and from nowhere else.
    fixed: inputs that are numbers from now on (a rate that chooses a branch, say).
    carried: samples that are kept from one chunk for the next (`onnx_states.carry`).
    The inputs keep their names and their named dimensions; a dimension without name and size is called INPUT_AXIS.
    Floats of every width compute in float32, integers shorter than 32 bits in int32. Sums of integers are exact up to
    2^24.
    Raises UnsupportedOp for an operator that has no counterpart, ValueError for a model that is broken, OSError for a
    file that cannot be read.
    """
    model, folder = load(source)
    if carried is not None:
        model = carry(model, carried)
    return Importer(model, folder, name, fixed).run()
