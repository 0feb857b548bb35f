"""Puts towers of several model files into one, and takes towers out of a file. Equal tensors are stored once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .ir import Graph
from .packing import Packed
from .reader import Contents, read_model
from .writer import write_model

META_PER_FILE = ("licence", "provenance", "report")


def merge(files: Sequence[tuple[str, Contents]]) -> Contents:
    """Towers, tensors, blobs and META of several files, by name of the file. Towers that are called `main` take the
    name of their file; two that are called the same otherwise are an error, as are blobs that differ."""
    merged = Contents({"name": " + ".join(name for name, _ in files), "towers": {}, "parts": {}}, [], {})
    for name, contents in files:
        told = contents.meta.get("towers", {})
        for graph in contents.towers:
            old, graph.name = graph.name, name if graph.name == "main" else graph.name
            if graph.name in {other.name for other in merged.towers}:
                raise ValueError(f"two towers are called {graph.name!r}; convert one of them with another --name")
            take_tensors(merged.packed, graph, contents.packed)
            merged.towers.append(graph)
            if old in told:
                merged.meta["towers"][graph.name] = told[old]
        take_blobs(merged.blobs, contents.blobs, name)
        merged.meta["parts"][name] = {key: contents.meta[key] for key in META_PER_FILE if key in contents.meta}
    merged.meta["licence"] = licences([contents.meta for _, contents in files])
    return merged


def take_tensors(packed: dict[str, Packed], graph: Graph, given: dict[str, Packed]) -> None:
    """Adds the tensors of a tower; one whose name is taken by another is renamed."""
    for name in list(graph.constants):
        item, other = given[name], packed.get(name)
        if other is not None and other != item:
            new = next(candidate for number in range(1, 1 << 30)
                       if (candidate := f"{graph.name}.{name}" + f".{number}" * (number > 1)) not in packed
                       and candidate not in graph.values)  # fmt: skip
            graph.constants[new] = graph.constants.pop(name)
            graph.replace_uses(name, new)
            name = new
        packed[name] = item


def take_blobs(blobs: dict[str, bytes], given: dict[str, bytes], where: str) -> None:
    for name, blob in given.items():
        if blobs.setdefault(name, blob) != blob:
            raise ValueError(f"{where}: the blob {name!r} differs from that of another file")


def licences(metas: Sequence[dict[str, Any]]) -> str:
    return "; ".join(dict.fromkeys(str(meta.get("licence", "unknown")) for meta in metas))


def pick(contents: Contents, names: Sequence[str]) -> Contents:
    """Some towers of a file with what they need; blobs are kept, because META names them."""
    known = [graph.name for graph in contents.towers]
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"there is no tower {missing[0]!r}; towers are {', '.join(known)}")
    towers = [graph for graph in contents.towers if graph.name in names]
    needed = {name for graph in towers for name in graph.constants}
    meta = dict(contents.meta)
    meta["towers"] = {name: told for name, told in meta.get("towers", {}).items() if name in names}
    return Contents(meta, towers, {name: contents.packed[name] for name in needed}, contents.blobs)


def write(path: Path, contents: Contents) -> None:
    write_model(path, contents.towers, meta=contents.meta, blobs=contents.blobs, packed=contents.packed)


def pack_main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pocketuni pack", description="Puts the towers of model files into one file.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args(argv)
    return told("pack", lambda: write(args.output, merge([(path.stem, read_model(path)) for path in args.files])))


def unpack_main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="pocketuni unpack", description="Writes some towers of a file into another.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("towers", nargs="+", metavar="TOWER")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args(argv)
    return told("unpack", lambda: write(args.output, pick(read_model(args.file), args.towers)))


def told(command: str, work: Any) -> int:
    """What a user can cause is one line on stderr."""
    try:
        work()
    except (ValueError, OSError) as error:
        print(f"pocketuni {command}: {error}", file=sys.stderr)
        return 1
    return 0
