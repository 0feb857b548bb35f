"""Reads `.puni` files back into graphs and packed tensors. It serves the tools (packing, comparing); who runs models
verifies them with the runtime's own reader. Broken files are a ValueError."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .ir import DTYPES, Graph, Node, Value
from .packing import ENCODINGS, PLAIN, Packed
from .writer import ABSENT, MAGIC, TENSOR_BIT, digest

NAMES = {code: name for name, code in ENCODINGS.items()}
PLAIN_DTYPES = {"f16": "float32"} | {encoding: dtype for dtype, encoding in PLAIN.items()}


@dataclass
class Contents:
    """A model file: constants of the graphs stand for tensors of the same name in `packed`."""

    meta: dict[str, Any]
    towers: list[Graph]
    packed: dict[str, Packed]
    blobs: dict[str, bytes] = field(default_factory=dict)


class Cursor:
    """Reads numbers and texts one after the other."""

    def __init__(self, data: bytes, what: str):
        self.data, self.what, self.at = data, what, 0

    def take(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{form}")
        if self.at + size > len(self.data):
            raise ValueError(f"section {self.what} ends too early")
        self.at += size
        return struct.unpack_from(f"<{form}", self.data, self.at - size)

    def number(self, form: str = "I") -> int:
        return self.take(form)[0]

    def text(self) -> str:
        return self.take(f"{self.number()}s")[0].decode()

    def numbers(self, form: str = "I") -> list[int]:
        return list(self.take(f"{self.number()}{form}"))


def read_sections(data: bytes, where: str) -> dict[str, bytes]:
    if data[:8] != MAGIC or len(data) < 64:
        raise ValueError(f"{where} is not a .puni model file")
    major, _, count, features, size = struct.unpack_from("<HHIQQ", data, 8)
    if major != 1 or features or size != len(data):
        raise ValueError(
            f"{where}: version {major}, features {features}, {size} bytes of {len(data)}: damaged or newer"
        )
    sections = {}
    for place in range(count):
        kind, flags, offset, size, hashed = struct.unpack_from("<4sIQQ16s", data, 64 + 64 * place)
        part = data[offset : offset + size]
        if digest(part) != hashed:
            raise ValueError(f"{where}: section {kind!r} is damaged")
        sections[kind.decode("latin-1")] = part
    return sections


def read_tensors(sections: dict[str, bytes]) -> dict[str, Packed]:
    cursor, packed = Cursor(sections["TENS"], "TENS"), {}
    for _ in range(cursor.number()):
        name = cursor.text()
        encoding, rank, _ = cursor.take("BBH")
        dims = cursor.take(f"{rank}I")
        offset, size = cursor.take("QQ")
        cursor.take("16s")
        packed[name] = Packed(NAMES[encoding], dims, sections["DATA"][offset : offset + size])
    return packed


def placeholder(item: Packed) -> np.ndarray:
    """An array of the shape and dtype of a tensor, without its numbers."""
    dtype = PLAIN_DTYPES.get(item.encoding, "float32")
    return np.broadcast_to(np.zeros((), dtype), item.dims)


def read_tower(cursor: Cursor, tensors: list[str], packed: dict[str, Packed]) -> Graph:
    graph = Graph(cursor.text())
    named = [cursor.text() for _ in range(cursor.number())]

    def dim(code: int) -> int | str | None:
        return code if code >= 0 else None if code == -1 else named[-2 - code]

    for _ in range(cursor.number()):
        name = cursor.text()
        dtype, rank, _ = cursor.take("BBH")
        graph.values[name] = Value(name, DTYPES[dtype], tuple(dim(code) for code in cursor.take(f"{rank}q")))
    names = list(graph.values)
    graph.inputs, graph.outputs = ([names[index] for index in cursor.numbers()] for _ in range(2))
    for _ in range(cursor.number()):
        op, node, operands = cursor.text(), cursor.text(), []
        for code in cursor.numbers():
            if code == ABSENT:
                operands.append(None)
            elif code & TENSOR_BIT:
                operands.append(constant(graph, tensors[code & ~TENSOR_BIT], packed))
            else:
                operands.append(names[code])
        outputs = [names[index] for index in cursor.numbers()]
        attributes = dict(read_attribute(cursor, dim) for _ in range(cursor.number()))
        graph.nodes.append(Node(op, node, operands, outputs, attributes))
    return graph


def constant(graph: Graph, tensor: str, packed: dict[str, Packed]) -> str:
    """The name of a tensor in a graph; another one where a value is called so."""
    name = tensor if tensor not in graph.values else f"{tensor}#"
    packed.setdefault(name, packed[tensor])
    graph.constants.setdefault(name, placeholder(packed[name]))
    return name


def read_attribute(cursor: Cursor, dim: Any) -> tuple[str, Any]:
    name, kind = cursor.text(), cursor.number("B")
    if kind == 3:
        codes = cursor.numbers("q")
        open_ = [code if code < -(1 << 61) else dim(code) for code in codes]
        return name, open_
    return name, cursor.text() if kind == 2 else cursor.number("dq"[kind == 0])


def read_model(path: str | os.PathLike) -> Contents:
    """Raises ValueError for a file that is damaged or none, OSError where it cannot be read."""
    where = str(path)
    sections = read_sections(Path(path).read_bytes(), where)
    try:
        packed = read_tensors(sections)
        cursor, tensors = Cursor(sections["TOWR"], "TOWR"), list(packed)
        towers = [read_tower(cursor, tensors, packed) for _ in range(cursor.number())]
        if "STAT" in sections:
            states = Cursor(sections["STAT"], "STAT")
            for _ in range(states.number()):
                index, source, target = states.take("3I")
                towers[index].states[towers[index].inputs[source]] = towers[index].outputs[target]
        blobs = read_blobs(sections.get("BLOB", struct.pack("<I", 0)))
        return Contents(json.loads(sections["META"]), towers, packed, blobs)
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} is damaged: {type(error).__name__}: {error}") from error


def read_blobs(data: bytes) -> dict[str, bytes]:
    cursor, blobs = Cursor(data, "BLOB"), {}
    for _ in range(cursor.number()):
        name = cursor.text()
        offset, size = cursor.take("QQ")
        blobs[name] = data[offset : offset + size]
    return blobs
