"""What an ONNX importer computes itself: constants with NumPy, sizes with symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from .onnx_load import FLOATS, array_of
from .onnx_sizes import FUNCTIONS, Undecided, compute, product, settle, sizes_array

if TYPE_CHECKING:
    from .onnx_walk import Call

Arrays = "Sequence[np.ndarray | None]"
MAX_ELEMENTS = 1 << 26  # of a constant that an operator makes out of less
MAX_SIZES = 1024  # elements of a tensor of symbols
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
ENLARGING = {"Expand", "ConstantOfShape", "Tile", "Range", "Pad", "Resize", "Upsample", "OneHot", "EyeLike"}
CONSTANT_KINDS = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


def constant_node(call: Call) -> np.ndarray:
    """The array of an operator `Constant`."""
    for name, value in call.attributes.items():
        if name == "value":
            return array_of(value, None)
        if name in CONSTANT_KINDS:
            return np.asarray(value, CONSTANT_KINDS[name])
    raise call.unsupported(", ".join(call.attributes))


def result_elements(call: Call, arrays: Arrays) -> int:
    """How many elements one of the `ENLARGING` operators would make."""
    numbers = [[] if array is None else np.asarray(array).reshape(-1).tolist() for array in arrays]
    if call.op == "ConstantOfShape":
        return math.prod(numbers[0])
    if call.op == "Expand":
        return len(numbers[0]) * math.prod(max(size, 1) for size in numbers[1])
    if call.op == "Tile":
        return len(numbers[0]) * math.prod(numbers[1])
    if call.op == "Range":
        start, limit, delta = (values[0] for values in numbers)
        return math.ceil(abs((limit - start) / delta)) if delta else 0
    return MAX_ELEMENTS + 1


def fold(call: Call, arrays: Arrays, opsets: Sequence[onnx.OperatorSetIdProto]) -> list[np.ndarray] | None:
    """Results of a node all of whose operands are constants, or None where it stays a node."""
    if call.op == "Constant":
        return [constant_node(call)]
    if call.op in RANDOM or call.op in ("If", "Loop", "Scan") or "::" in call.op:
        return None
    if call.op in ("Identity", "Dropout"):
        return [arrays[0]] if call.outputs == 1 else None
    if call.op in ENLARGING and result_elements(call, arrays) > MAX_ELEMENTS:
        return None
    names = [f"x{place}" if array is not None else "" for place, array in enumerate(arrays)]
    node = onnx.NodeProto()
    node.CopyFrom(call.node)
    del node.input[:]
    node.input.extend(names)
    outputs = [name for name in node.output if name]
    try:
        evaluator = ReferenceEvaluator(node, opsets={entry.domain: entry.version for entry in opsets})
        given = {name: array for name, array in zip(names, arrays, strict=True) if name}
        with np.errstate(all="ignore"):
            results = dict(zip(outputs, evaluator.run(outputs, given), strict=True))
    except Exception as error:  # whatever a third-party implementation raises on a broken node
        raise ValueError(f"constants cannot be folded: {type(error).__name__}: {error}") from error
    return [plain(results[name]) if name else None for name in call.node.output]


def plain(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(np.float32) if str(array.dtype) in FLOATS else array


# Sizes. Each function takes and gives object arrays of `Size`; None means that there is no symbolic result.


def axes_of(call: Call, arrays: Arrays, place: int = 1) -> list[int] | None:
    given = call.get("axes")
    if given is None and len(arrays) > place and arrays[place] is not None:
        given = np.asarray(arrays[place]).reshape(-1).tolist()
    return None if given is None else [int(axis) for axis in given]


def gather(call: Call, arrays: Arrays) -> np.ndarray:
    return np.take(arrays[0], np.asarray(arrays[1], np.int64), axis=call.get("axis", 0))


def slice_(call: Call, arrays: Arrays) -> np.ndarray:
    starts, ends = (np.asarray(array, np.int64).tolist() for array in arrays[1:3])
    axes = axes_of(call, arrays, 3) or list(range(len(starts)))
    steps = [1] * len(starts) if len(arrays) < 5 else np.asarray(arrays[4], np.int64).tolist()
    index = [slice(None)] * arrays[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, None if end < -(1 << 31) else end, step)
    return arrays[0][tuple(index)]


def where(call: Call, arrays: Arrays) -> np.ndarray | None:
    condition = settle(np.asarray(arrays[0]))
    if condition.dtype == object:
        return None
    return np.where(condition.astype(bool), sizes_array(arrays[1]), sizes_array(arrays[2]))


def reshape(call: Call, arrays: Arrays) -> np.ndarray | None:
    shape = settle(arrays[1])
    return None if shape.dtype == object else arrays[0].reshape(shape.astype(np.int64).tolist())


def reduce_prod(call: Call, arrays: Arrays) -> np.ndarray | None:
    if arrays[0].ndim > 1:
        return None
    shape = (1,) * arrays[0].ndim if call.get("keepdims", 1) else ()
    return sizes_array([product(sizes_array(arrays[0]).reshape(-1))]).reshape(shape)


def expand(call: Call, arrays: Arrays) -> np.ndarray | None:
    shape = settle(arrays[1])
    if shape.dtype == object or np.prod(shape.astype(float)) > MAX_SIZES:
        return None
    return arrays[0] * np.ones(shape.astype(np.int64).tolist(), dtype=object)


def cast(call: Call, arrays: Arrays) -> np.ndarray | None:
    integers = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    return arrays[0] if call.get("to") in integers else None


def unsqueeze(call: Call, arrays: Arrays) -> np.ndarray:
    return np.expand_dims(arrays[0], tuple(axes_of(call, arrays) or ()))


def squeeze(call: Call, arrays: Arrays) -> np.ndarray:
    axes = axes_of(call, arrays)
    return np.squeeze(arrays[0], None if axes is None else tuple(axes))


SYMBOLIC: dict[str, Callable[[Any, Any], np.ndarray | None]] = {
    "Identity": lambda call, arrays: arrays[0],
    "Gather": gather,
    "Slice": slice_,
    "Where": where,
    "Reshape": reshape,
    "ReduceProd": reduce_prod,
    "Expand": expand,
    "Cast": cast,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
    "Concat": lambda call, arrays: np.concatenate([sizes_array(array) for array in arrays], call.get("axis", 0)),
    "Shape": lambda call, arrays: np.array(arrays[0].shape, np.int64)[call.get("start", 0) : call.get("end")],
    "Size": lambda call, arrays: np.array(arrays[0].size),
}


def fold_sizes(call: Call, arrays: Arrays) -> list[np.ndarray] | None:
    """Results of a node whose operands are constants and sizes, or None where only a running graph can tell."""
    given = [array for array in arrays if array is not None]
    whole = all(array.dtype == object or array.dtype.kind in "iub" for array in given)
    if not whole or any(array.size > MAX_SIZES for array in given):
        return None
    try:
        if call.op in FUNCTIONS:
            return [compute(call.op, *arrays)]
        if call.op in SYMBOLIC:
            if call.op in ("Gather", "Slice") and any(array.dtype == object for array in arrays[1:]):
                return None  # what is cut by sizes is no vector of sizes
            result = SYMBOLIC[call.op](call, arrays)
            return None if result is None else [settle(np.asarray(result))]
    except Undecided:
        return None
    return None
