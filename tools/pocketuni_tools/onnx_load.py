"""Reads ONNX files: protobuf, versions, constants, external data. A file is hostile until it is verified."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
from google.protobuf.message import DecodeError
from onnx import numpy_helper

OPSETS = range(11, 22)
OLDEST = 7  # older than OPSETS, converted by onnx's own converter
FLOATS = "float16 bfloat16 float32 float64".split()


def load(source: str | os.PathLike | onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None]:
    """The model and the folder that its external data may lie in. Raises OSError where the file cannot be read and
    ValueError where it is no ONNX model or of an opset that is not supported."""
    if isinstance(source, onnx.ModelProto):
        model, folder, where = source, None, "the model"
    else:
        path, model, where = Path(source), onnx.ModelProto(), str(source)
        folder = path.parent
        try:
            model.ParseFromString(path.read_bytes())
        except DecodeError as error:
            raise ValueError(f"{where} is not an ONNX model: {error}") from error
    model = modern(model, where)
    opset(model, where)
    if any(not isinstance(text, str) for text in texts(model.graph)):
        raise ValueError(f"{where} is not an ONNX model: a name in it is not UTF-8")
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return model, folder


def modern(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """A model of an old opset as one of the oldest opset that is supported; others as they are."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or not OLDEST <= versions[0] < OPSETS[0]:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSETS[0])
    except Exception as error:  # whatever the converter raises on a broken or unknown node
        raise ValueError(
            f"{where} uses opset {versions[0]}, which onnx.version_converter cannot raise: {error}"
        ) from error


def texts(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name that the graph and the graphs inside of its nodes hold. Bytes that are no text come out as bytes."""
    for item in (*graph.input, *graph.output, *graph.initializer):
        yield item.name
    for item in graph.input:
        yield from (dim.dim_param for dim in item.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            yield from texts(attribute.g)


def check_node(node: onnx.NodeProto, version: int) -> None:
    """Raises ValueError where operands or attributes are not those of the standard operator of this name."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    inner = any(attribute.HasField("g") for attribute in node.attribute)  # it would miss what the outer graph gives
    if inner or not onnx.defs.has(node.op_type, max_inclusive_version=version, domain=domain):
        return  # what runtimes add to the standard has no schema
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = onnx.IR_VERSION, {"": version, domain: version}
    try:
        onnx.checker.check_node(node, context)
    except onnx.checker.ValidationError as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def opset(model: onnx.ModelProto, where: str = "the model") -> int:
    """The version of the standard operators."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or not model.graph.output:
        raise ValueError(f"{where} is not an ONNX model: it has no {'outputs' if versions else 'operator set'}")
    if versions[0] not in OPSETS:
        raise ValueError(
            f"{where} uses opset {versions[0]}, expected {OLDEST} to {OPSETS[-1]}: export it again with another "
            "opset_version, or convert it with onnx.version_converter"
        )
    return versions[0]


def dtype_name(element: int, what: str) -> str:
    """The dtype that stands for an ONNX element type: all floats compute in float32, short integers in int32."""
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    except (KeyError, ValueError):
        raise ValueError(f"{what} has the unknown element type {element}") from None
    return dtype_of(np.dtype(dtype), what)


def dtype_of(dtype: np.dtype, what: str = "an array") -> str:
    name = str(dtype)
    if name in FLOATS:
        return "float32"
    if name in ("bool", "int64", "uint32"):
        return "bool" if name == "bool" else "int64"
    if name in ("int32", "int16", "int8", "uint16", "uint8"):
        return "int32"
    raise ValueError(f"{what} is {name}: use a float of 16 to 64 bits, an integer of up to 64 bits, or bool")


def array_of(tensor: onnx.TensorProto, folder: Path | None) -> np.ndarray:
    """The values of a constant; floats of any width as float32."""
    what = f"constant {tensor.name!r}"
    if tensor.data_type == onnx.TensorProto.STRING:
        raise ValueError(f"{what} holds texts, which are not supported")
    if any(dim < 0 for dim in tensor.dims):
        raise ValueError(f"{what} has the shape {list(tensor.dims)}")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        tensor = with_data(tensor, external_bytes(tensor, folder))
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{what} is broken: {error}") from error
    return np.asarray(array, np.float32) if str(array.dtype) in FLOATS else array


def with_data(tensor: onnx.TensorProto, data: bytes) -> onnx.TensorProto:
    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=data)


def external_bytes(tensor: onnx.TensorProto, folder: Path | None) -> bytes:
    """The bytes of a constant that lies in a file beside the model. Refuses every path that leaves the folder."""
    what = f"constant {tensor.name!r}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ValueError(f"{what} lies in {location!r}: give the path of the model instead of the model itself")
    root = folder.resolve()
    path = (root / location).resolve()
    if not location or os.path.isabs(location) or root not in path.parents:
        raise ValueError(f"{what} lies in {location!r}, outside of the model's folder: external data must lie inside")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
    except ValueError:
        raise ValueError(f"{what}: offset {entries.get('offset')!r}, length {entries.get('length')!r}") from None
    expected = math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    packed = "4" in onnx.TensorProto.DataType.Name(tensor.data_type).removesuffix("64")  # two numbers to a byte
    expected = length if packed else expected
    with open(path, "rb") as file:
        available = os.fstat(file.fileno()).st_size - offset
        if offset < 0 or expected < 0 or length not in (-1, expected) or expected > available:
            raise ValueError(
                f"{what} needs {expected} bytes of {location!r} from {offset}, which has {available} there"
            )
        file.seek(offset)
        return file.read(expected)
