"""Changes in the bytes of model files, with the hashes made right again: what a reader then refuses, it refuses for the
change itself. Written from docs/format.md alone."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    entry: int  # where its entry in the table begins
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def section_count(data: bytes) -> int:
    return struct.unpack_from("<I", data, 12)[0]


def sections(data: bytes) -> dict[str, Section]:
    """Kind -> where it lies."""
    found = {}
    for entry in range(64, 64 + 64 * section_count(data), 64):
        kind, _, offset, size = struct.unpack_from("<4sIQQ", data, entry)
        found[kind.decode()] = Section(entry, offset, size)
    return found


def reseal(data: bytearray) -> bytes:
    """Sets the hash of every section that lies inside the file, then that of header and table."""
    table = 64 * section_count(data)
    if table <= len(data) - 64:
        for entry in range(64, 64 + table, 64):
            offset, size = struct.unpack_from("<QQ", data, entry + 8)
            if offset + size <= len(data):
                data[entry + 24 : entry + 40] = digest(data[offset : offset + size])
        data[48:64] = digest(data[:48] + data[64 : 64 + table])
    return bytes(data)


def with_number(data: bytes, at: int, layout: str, value: int) -> bytes:
    """A resealed copy with one number replaced; `layout` as struct has it."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return reseal(changed)


def with_meta(data: bytes, meta: bytes) -> bytes:
    """A copy with another META: everything behind it moves."""
    first = sections(data)["META"]
    moved = -(-len(meta) // 64) * 64 - -(-first.size // 64) * 64
    changed = bytearray(data[: first.offset] + meta + bytes(-len(meta) % 64) + data[-(-first.end // 64) * 64 :])
    struct.pack_into("<Q", changed, 24, len(changed))
    struct.pack_into("<Q", changed, first.entry + 16, len(meta))
    for part in sections(data).values():
        if part.offset > first.offset:
            struct.pack_into("<Q", changed, part.entry + 8, part.offset + moved)
    return reseal(changed)
