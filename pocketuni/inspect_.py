"""`pocketuni inspect`: what a model file holds, in words or as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from .model import Model, Tower
from .text_table import size_text, table


def layers(model: Model, tower: Tower) -> list[dict[str, Any]]:
    """The weights of a tower in the order in which its operators read them: the tensor's `name`, the operator that
    reads it first (`node`, `op`), `encoding`, `dims`, bytes."""
    tensors = {tensor["name"]: tensor for tensor in model.tensors()}
    found: dict[str, dict[str, Any]] = {}
    for node in tower.nodes():
        for operand in node["inputs"]:
            if operand is not None and operand[0] == "tensor" and operand[1] not in found:
                tensor = tensors[operand[1]]
                found[operand[1]] = {
                    "name": operand[1],
                    "node": node["name"],
                    "op": node["op"],
                    "encoding": tensor["encoding"],
                    "dims": list(tensor["dims"]),
                    "bytes": tensor["size"],
                }
    return list(found.values())


def describe(model: Model, nodes: bool) -> dict[str, Any]:
    """`Model.info` with each tower's layers, the stored files, and on request each tower's operators."""
    info = model.info
    for name, tower in model.towers.items():
        info["towers"][name]["layers"] = layers(model, tower)
        if nodes:
            info["towers"][name]["nodes"] = tower.nodes()
    info["blobs"] = {name: len(model.blob(name)) for name in model.blob_names()}
    return info


def shape_text(shape: Any) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def nested_lines(value: Any, indent: str) -> list[str]:
    """JSON as indented lines: `key: value` for objects, `- value` for lists; what holds no further object or list
    stands on one line."""
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if is_nested(item):
                lines += [f"{indent}{key}:", *nested_lines(item, indent + "  ")]
            else:
                lines.append(f"{indent}{key}: {plain(item)}")
        return lines
    return [f"{indent}- {plain(item)}" for item in value]


def is_nested(value: Any) -> bool:
    """Whether a value takes more than one line: objects, and lists that hold objects or lists."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict | list) for v in value))


def plain(value: Any) -> str:
    """One line for any JSON value."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items())
    if isinstance(value, list):
        return shape_text(map(plain, value))
    return value if isinstance(value, str) else json.dumps(value)


def tower_lines(name: str, tower: dict[str, Any]) -> list[str]:
    lines = [f"tower {name}: {tower['operators']} operators"]
    rows = [
        [kind, value, spec["dtype"], shape_text(spec["shape"])]
        for kind, values in (("input", tower["inputs"]), ("output", tower["outputs"]))
        for value, spec in values.items()
    ]
    if rows:
        lines.append(table(rows))
    if tower["layers"]:
        rows = [[w["name"], w["op"], w["encoding"], shape_text(w["dims"]), w["bytes"]] for w in tower["layers"]]
        lines += ["  weights:", table([["tensor", "read by", "encoding", "dims", "bytes"], *rows], {4}, "    ")]
    for number, node in enumerate(tower.get("nodes", [])):
        operands = ", ".join("-" if operand is None else operand[1] for operand in node["inputs"])
        attributes = " ".join(f"{key}={value}" for key, value in node["attributes"].items())
        results = ", ".join(node["outputs"])
        lines.append(f"  {number:4d} {node['op']}({operands}) -> {results} {attributes}".rstrip())
    return lines


def report_text(info: dict[str, Any]) -> str:
    lines = [f"{info['file']}: {info['name'] or 'no name'}, {size_text(info['file_size'])}"]
    lines.append(f"licence: {info['licence'] or 'not stated'}")
    total = ", ".join(f"{name} {size_text(size)}" for name, size in info["sizes"].items())
    lines.append(f"weights: {total or 'none'}")
    if info["blobs"]:
        lines.append("files: " + ", ".join(f"{name} {size_text(size)}" for name, size in info["blobs"].items()))
    for name, tower in info["towers"].items():
        lines += ["", *tower_lines(name, tower)]
    for key in ("provenance", "report"):
        if info[key]:
            value = info[key] if isinstance(info[key], dict | list) else [info[key]]
            if isinstance(value, dict):  # the weights above say more than the report's list of layers
                value = {name: item for name, item in value.items() if name != "layers"}
            lines += ["", f"{key}:", *nested_lines(value, "  ")]
    return "\n".join(lines)


def main(path: str, *, verify: bool, as_json: bool, nodes: bool) -> int:
    with Model(path) as model:
        info = describe(model, nodes)
        faults = model.verify() if verify else []
    if verify:
        info["faults"] = faults
    if as_json:
        print(json.dumps(info, ensure_ascii=False, indent=1))
    else:
        print(report_text(info))
        if verify and not faults:
            print("\nverified: the hashes of all weights match")
    for fault in faults:
        print(f"pocketuni: {fault}", file=sys.stderr)
    return 1 if faults else 0
