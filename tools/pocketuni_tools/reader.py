"""Reads `.puni` files back into what the writer takes, so that towers can be added to a file or taken from it.

For files of one's own: it checks magic, version and hashes, and refuses what it cannot parse, but it does not verify
graphs as the runtime does.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .ir import DTYPES, Graph, Node, Value
from .packing import ENCODINGS, Packed, unpack
from .writer import ABSENT, MAGIC, TENSOR_BIT, digest

ENCODING_NAMES = {code: name for name, code in ENCODINGS.items()}
MAJOR = 1


@dataclass
class Stored:
    """A file's content. Constants of the graphs are the values that the kernels see; `packed` holds them as stored."""

    graphs: list[Graph]
    packed: dict[str, Packed]
    meta: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


class Cursor:
    """Takes numbers and strings off bytes, one after another."""

    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple:
        values = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values

    def number(self, layout: str = "I") -> Any:
        return self.take(layout)[0]

    def numbers(self, layout: str = "I") -> list[int]:
        """A count and as many numbers."""
        return list(self.take(f"{self.number()}{layout}"))

    def bytes(self, count: int) -> bytes:
        return self.take(f"{count}s")[0]

    def text(self) -> str:
        return self.bytes(self.number()).decode()


def read_sections(data: bytes) -> dict[str, bytes]:
    """Kind -> bytes of each section. Raises ValueError for another kind of file and for wrong hashes."""
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("not a .puni file: it begins with other bytes")
    major, _, count, _, size = Cursor(data[len(MAGIC) : 64]).take("HHIQQ")
    if major != MAJOR:
        raise ValueError(f"format version {major}, expected {MAJOR}; use a newer pocketuni")
    if size != len(data):
        raise ValueError(f"{len(data)} bytes, expected {size}; the file is truncated or has grown")
    found = {}
    for entry in range(64, 64 + 64 * count, 64):
        kind, _, offset, length, wanted = struct.unpack_from("<4sIQQ16s", data, entry)
        section = data[offset : offset + length]
        if digest(section) != wanted:
            raise ValueError(f"section {kind!r}: its hash is wrong; the file is damaged")
        found[kind.decode()] = section
    return found


def read_tensors(table: bytes, data: bytes) -> list[tuple[str, Packed]]:
    cursor, found = Cursor(table), []
    for _ in range(cursor.number()):
        name = cursor.text()
        encoding, rank, _ = cursor.take("BBH")
        dims = cursor.take(f"{rank}I")
        offset, size, _ = cursor.take("QQ16s")
        found.append((name, Packed(ENCODING_NAMES[encoding], dims, data[offset : offset + size])))
    return found


def read_blobs(section: bytes) -> dict[str, bytes]:
    cursor, found = Cursor(section), {}
    for _ in range(cursor.number()):
        name = cursor.text()
        offset, size = cursor.take("QQ")
        found[name] = section[offset : offset + size]
    return found


def read_attribute(cursor: Cursor, dims: list[str]) -> tuple[str, Any]:
    name, kind = cursor.text(), cursor.number("B")
    if kind == 2:
        return name, cursor.text()
    if kind == 3:
        return name, [read_dim(value, dims) for value in cursor.numbers("q")]
    if kind > 3:
        raise ValueError(f"attribute {name!r}: unknown kind {kind}")
    return name, cursor.number("qd"[kind])


def read_dim(value: int, dims: list[str]) -> int | str | None:
    """A stored dimension; lists of plain numbers that are not below -1 come through as they are."""
    return dims[-2 - value] if value <= -2 else value


def read_tower(cursor: Cursor, tensors: list[tuple[str, Packed]]) -> Graph:
    graph = Graph(cursor.text())
    dims = [cursor.text() for _ in range(cursor.number())]
    names = []
    for _ in range(cursor.number()):
        name = cursor.text()
        dtype, rank, _ = cursor.take("BBH")
        shape = [None if dim == -1 else read_dim(dim, dims) for dim in cursor.take(f"{rank}q")]
        graph.values[name] = Value(name, DTYPES[dtype], tuple(shape))
        names.append(name)
    graph.inputs = [names[i] for i in cursor.numbers()]
    graph.outputs = [names[i] for i in cursor.numbers()]

    def operand(code: int) -> str | None:
        if code == ABSENT:
            return None
        if not code & TENSOR_BIT:
            return names[code]
        name, item = tensors[code & ~TENSOR_BIT]
        if name not in graph.constants:
            graph.constants[name] = unpack(item)
        return name

    for _ in range(cursor.number()):
        op, name = cursor.text(), cursor.text()
        inputs = [operand(code) for code in cursor.numbers()]
        outputs = [names[i] for i in cursor.numbers()]
        attributes = dict(read_attribute(cursor, dims) for _ in range(cursor.number()))
        graph.nodes.append(Node(op, name, inputs, outputs, attributes))
    used = graph.constants
    graph.constants = {name: used[name] for name, _ in tensors if name in used}  # as stored, so that a copy is equal
    return graph


def read_model(path: str | os.PathLike) -> Stored:
    """Everything in a file. Raises OSError when it cannot be read, ValueError, naming it, when it is not a model."""
    try:
        sections = read_sections(Path(path).read_bytes())
        tensors = read_tensors(sections["TENS"], sections["DATA"])
        cursor = Cursor(sections["TOWR"])
        graphs = [read_tower(cursor, tensors) for _ in range(cursor.number())]
        blobs = read_blobs(sections["BLOB"]) if "BLOB" in sections else {}
        return Stored(graphs, dict(tensors), json.loads(sections["META"]), blobs)
    except (struct.error, KeyError, IndexError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
