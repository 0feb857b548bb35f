"""Writes `.puni` files, byte for byte as docs/format.md says."""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .ir import DTYPES, Graph, Node
from .meanings import round_rows
from .packing import (
    ENCODINGS,
    Packed,
    pack_gemm_float,
    pack_gemm_int4,
    pack_gemm_int8,
    pack_plain,
    pack_rows_int4,
    pack_rows_int8,
    quantize_int4,
    quantize_int8,
    unpack,
)

MAGIC = b"\x89PUNI\r\n\x1a"
PRECISIONS = ("f32", "f16", "int8", "int4")
CONVOLUTIONS = ("conv1d", "conv2d", "conv_transpose1d")
RECURRENT = ("gru", "lstm", "rnn")
PRODUCTS = ("linear", "expert_linear", *CONVOLUTIONS, *RECURRENT)
WEIGHT_ROLES = {"embedding": "rows", "depthwise_conv2d": "taps"} | dict.fromkeys(PRODUCTS, "gemm")
ABSENT, TENSOR_BIT = 0xFFFFFFFF, 0x80000000


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 64)


def tensor_role(graph: Graph, name: str) -> str:
    """How a constant is read: "gemm" by products, "rows" by embedding, "taps" by depthwise convolutions over pictures,
    else "plain"."""
    roles = {
        WEIGHT_ROLES.get(node.op, "plain") if place == 1 else "plain"
        for node in graph.nodes
        for place, operand in enumerate(node.inputs)
        if operand == name
    }
    if len(roles) > 1:
        raise ValueError(f"constant {name!r} is read as {' and as '.join(sorted(roles))}; add it once for each")
    return roles.pop() if roles else "plain"


def as_read(graph: Graph, packed: Mapping[str, Packed]) -> dict[str, np.ndarray]:
    """The constants of `graph` among `packed`, as its operators read them. It is what `unpack` gives, but that
    convolutions round the weights of an output from int4 to int8, as the runtime rounds a row of activations, and that
    taps in int8 are stored by channel."""
    rounded = {node.inputs[1] for node in graph.nodes if node.op in CONVOLUTIONS}
    arrays = {name: unpack(item) for name, item in packed.items() if name in graph.constants}
    for name in rounded & arrays.keys():
        if packed[name].encoding == "gemm_i4":
            whole, scale = round_rows(arrays[name])
            arrays[name] = whole * scale
    for name in {node.inputs[1] for node in graph.nodes if node.op == "depthwise_conv2d"} & arrays.keys():
        if packed[name].encoding == "gemm_i8":
            arrays[name] = arrays[name].T
    return arrays


def usable_precision(graph: Graph, name: str, precision: str) -> str:
    """The precision asked for, or the next finer one that every reader of the constant can use: convolutions over time,
    depthwise ones and recurrent operators take no int4, and other convolutions int8 and int4 only where the channels of
    a group are a multiple of 4."""
    for node in graph.nodes:
        if precision not in ("int8", "int4") or len(node.inputs) < 2 or node.inputs[1] != name:
            continue
        if node.op in CONVOLUTIONS:
            width = graph.constants[name].shape[1] // taps_of_row(node)
            precision = "f16" if width % 4 else precision if node.op == "conv2d" else "int8"
        elif node.op in (*RECURRENT, "depthwise_conv2d"):
            precision = "int8"
    return precision


def taps_of_row(node: Node) -> int:
    """How many taps a row of a convolution's weight holds."""
    if node.op == "conv2d":
        return math.prod(node.attributes["kernel"])
    taps = node.attributes["taps"]
    return -(-taps // node.attributes.get("stride", 1)) if node.op == "conv_transpose1d" else taps


def pack_constant(array: np.ndarray, role: str, precision: str) -> Packed:
    """A constant in the encoding that its reader and its precision ask for."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if role == "gemm":
        if precision == "int8":
            return pack_gemm_int8(*quantize_int8(array))
        if precision == "int4":
            return pack_gemm_int4(*quantize_int4(array), array.shape)
        return pack_gemm_float(array, half=precision == "f16")
    if role == "taps" and precision == "int8":
        return pack_gemm_int8(*quantize_int8(array.T))
    if role == "rows" and precision == "int8":
        return pack_rows_int8(array)
    if role == "rows" and precision == "int4":
        return pack_rows_int4(array)
    return pack_plain(array, half=precision == "f16" and array.dtype == np.float32)


def encode_attribute(name: str, value: Any, dims: Sequence[str], where: str) -> bytes:
    head = text(name)
    if isinstance(value, str):
        return head + b"\x02" + text(value)
    if isinstance(value, float):
        return head + struct.pack("<Bd", 1, value)
    if isinstance(value, (int, np.integer)):
        return head + struct.pack("<Bq", 0, int(value))
    numbers = [encode_dim(item, dims, where, least=-(1 << 63)) for item in value]  # axes count from the end, too
    return head + struct.pack("<BI", 3, len(numbers)) + struct.pack(f"<{len(numbers)}q", *numbers)


def encode_dim(dim: int | str | None, dims: Sequence[str], where: str, least: int = 0) -> int:
    if dim is None:
        return -1
    if isinstance(dim, str):
        if dim not in dims:
            raise ValueError(f"{where}: dimension {dim!r} is not a dimension of any input")
        return -2 - list(dims).index(dim)
    if not least <= dim < 1 << 63:
        raise ValueError(f"{where}: the size {dim} is outside of {least} to 2^63 - 1")
    return int(dim)


def encode_node(node: Node, values: Mapping[str, int], tensors: Mapping[str, int], dims: Sequence[str]) -> bytes:
    def operand(name: str | None) -> int:
        if name is None:
            return ABSENT
        return values[name] if name in values else TENSOR_BIT | tensors[name]

    inputs = [operand(name) for name in node.inputs]
    outputs = [values[name] for name in node.outputs]
    parts = [text(node.op), text(node.name)]
    parts += [struct.pack(f"<I{len(inputs)}I", len(inputs), *inputs)]
    parts += [struct.pack(f"<I{len(outputs)}I", len(outputs), *outputs)]
    parts += [struct.pack("<I", len(node.attributes))]
    parts += [encode_attribute(name, value, dims, node.name) for name, value in node.attributes.items()]
    return b"".join(parts)


def encode_tower(graph: Graph, tensors: Mapping[str, int]) -> bytes:
    graph.check()
    inputs = [graph.values[name] for name in graph.inputs]
    dims = list(dict.fromkeys(dim for value in inputs for dim in value.shape if isinstance(dim, str)))
    indices = {name: index for index, name in enumerate(graph.values)}
    parts = [text(graph.name), struct.pack("<I", len(dims)), *map(text, dims), struct.pack("<I", len(indices))]
    for value in graph.values.values():
        shape = [encode_dim(dim, dims, value.name) for dim in value.shape]
        head = struct.pack("<BBH", DTYPES.index(value.dtype), len(shape), 0)
        parts.append(text(value.name) + head + struct.pack(f"<{len(shape)}q", *shape))
    for names in (graph.inputs, graph.outputs):
        parts.append(struct.pack(f"<I{len(names)}I", len(names), *(indices[name] for name in names)))
    parts.append(struct.pack("<I", len(graph.nodes)))
    parts += [encode_node(node, indices, tensors, dims) for node in graph.nodes]
    return b"".join(parts)


def collect_tensors(
    towers: Sequence[Graph], precisions: Mapping[str, str], packed: Mapping[str, Packed]
) -> tuple[list[tuple[str, Packed]], list[dict[str, int]]]:
    """Packs all constants; equal ones are stored once. Returns them and, per tower, constant name -> tensor index."""
    stored: list[tuple[str, Packed]] = []
    by_content: dict[tuple, int] = {}
    names: set[str] = set()
    maps = []
    for graph in towers:
        indices = {}
        for name, array in graph.constants.items():
            item = packed.get(name)
            if item is None:
                precision = usable_precision(graph, name, precisions.get(name, "f32"))
                item = pack_constant(array, tensor_role(graph, name), precision)
            key = (item.encoding, tuple(item.dims), digest(item.data))
            if key not in by_content:
                unique, number = name, 1
                while unique in names:
                    number += 1
                    unique = f"{name}_{number}"
                names.add(unique)
                by_content[key] = len(stored)
                stored.append((unique, item))
            indices[name] = by_content[key]
        maps.append(indices)
    return stored, maps


def encode_tensors(stored: Sequence[tuple[str, Packed]]) -> tuple[bytes, bytes]:
    """The sections TENS and DATA."""
    table, data, offset = [struct.pack("<I", len(stored))], [], 0
    for name, item in stored:
        dims = tuple(int(dim) for dim in item.dims)
        table.append(text(name) + struct.pack("<BBH", ENCODINGS[item.encoding], len(dims), 0))
        table.append(struct.pack(f"<{len(dims)}I", *dims) + struct.pack("<QQ", offset, len(item.data)))
        table.append(digest(item.data))
        data.append(padded(item.data))
        offset += len(data[-1])
    return b"".join(table), b"".join(data)


def encode_blobs(blobs: Mapping[str, bytes]) -> bytes:
    size = 4 + sum(4 + len(name.encode()) + 16 for name in blobs)
    offset = -(-size // 64) * 64
    head, body = [struct.pack("<I", len(blobs))], []
    for name, blob in blobs.items():
        head.append(text(name) + struct.pack("<QQ", offset, len(blob)))
        body.append(padded(blob))
        offset += len(body[-1])
    return padded(b"".join(head)) + b"".join(body)


def encode_states(towers: Sequence[Graph]) -> bytes:
    """The section STAT; empty where no tower has state."""
    pairs = [
        (index, graph.inputs.index(name), graph.outputs.index(other))
        for index, graph in enumerate(towers)
        for name, other in graph.states.items()
    ]
    return struct.pack("<I", len(pairs)) + b"".join(struct.pack("<3I", *pair) for pair in pairs) if pairs else b""


def encode_file(sections: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Header, section table and sections (kind, bytes), with offsets, hashes and the zero tail."""
    offset = 64 + 64 * len(sections)
    table, body = [], []
    for kind, data in sections:
        table.append(struct.pack("<4sIQQ16s24x", kind, 0, offset, len(data), digest(data)))
        body.append(padded(data))
        offset += len(body[-1])
    entries = b"".join(table)
    minor = int(any(kind == b"STAT" for kind, _ in sections))
    head = struct.pack("<8sHHIQQ16x", MAGIC, 1, minor, len(sections), 0, offset + 64)
    return head + digest(head + entries) + entries + b"".join(body) + bytes(64)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes beside `path`, syncs, renames: an interrupted write leaves no half file."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_model(
    path: str | os.PathLike,
    towers: Sequence[Graph],
    *,
    precisions: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
    blobs: Mapping[str, bytes] | None = None,
    packed: Mapping[str, Packed] | None = None,
) -> None:
    """Stores towers in one file.

    precisions: constant name -> one of `PRECISIONS` (default f32); `packed` overrides it with finished tensors.
    Raises ValueError for a graph that breaks a rule, OSError when the file cannot be written.
    """
    stored, maps = collect_tensors(towers, precisions or {}, packed or {})
    tensor_table, data = encode_tensors(stored)
    encoded = [encode_tower(graph, indices) for graph, indices in zip(towers, maps, strict=True)]
    sections = [
        (b"META", json.dumps(meta or {}, ensure_ascii=False).encode()),
        (b"TENS", tensor_table),
        (b"TOWR", struct.pack("<I", len(towers)) + b"".join(encoded)),
    ]
    if blobs:
        sections.append((b"BLOB", encode_blobs(blobs)))
    if states := encode_states(towers):
        sections.append((b"STAT", states))
    sections.append((b"DATA", data))
    write_atomically(Path(path), encode_file(sections))
