"""`pocketuni compare A.puni MODEL.onnx --inputs NPZ`: how far every layer of a converted model is from its source.

The source is imported and fused once more in float32, which gives the layers of the file by name; both are run on the
same inputs, the file's weights and the rounding of its activations against exact ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import evaluate
from .calibration import read_inputs
from .fuse import fuse
from .import_onnx_file import import_onnx_file, made_up
from .ir import Graph
from .onnx_states import read_numbers
from .pack import told
from .reader import Contents, read_model
from .report import errors
from .writer import as_read

INTEGER = ("gemm_i8", "gemm_i4")


@dataclass
class Layer:
    """One node: its op, the encoding of its weight, and the errors of its result (`report.errors`)."""

    name: str
    op: str
    encoding: str
    errors: dict[str, float]


def values_of(graph: Graph, feed: Mapping[str, np.ndarray], constants: Mapping[str, np.ndarray],
              rounded: Sequence[str]) -> dict[str, np.ndarray]:  # fmt: skip
    """Every value of a run."""
    dims = evaluate.bind_dims(graph, feed)
    arrays: dict[str, Any] = {**constants, **feed}
    for node in graph.nodes:
        operands = [None if operand is None else arrays[operand] for operand in node.inputs]
        on_the_fly = node.op in evaluate.PRODUCTS and node.inputs[1] in rounded
        arrays[node.outputs[0]] = evaluate.apply(node, operands, dims, on_the_fly)
    return arrays


def layers(contents: Contents, source: Graph, feeds: Sequence[Mapping[str, np.ndarray]]) -> Iterator[Layer]:
    """The nodes that both graphs have, in order. Raises ValueError where no tower has the source's inputs."""
    fitting = [graph for graph in contents.towers if graph.inputs == source.inputs]
    if not fitting:
        known = "; ".join(f"{graph.name}: {', '.join(graph.inputs)}" for graph in contents.towers)
        raise ValueError(f"no tower takes the inputs {', '.join(source.inputs)}; the file has {known}")
    graph = fitting[0]
    read = as_read(graph, contents.packed)
    stored = {name: read[name].reshape(array.shape) for name, array in graph.constants.items()}
    rounded = [name for name in stored if contents.packed[name].encoding in INTEGER]
    runs = [(values_of(graph, feed, stored, rounded), values_of(source, feed, source.constants, ())) for feed in feeds]
    for node in graph.nodes:
        name = node.outputs[0]
        if name not in source.values or source.values[name].dtype != "float32":
            continue
        if any(got[name].shape != want[name].shape for got, want in runs):
            continue
        weight = next((contents.packed[item].encoding for item in node.inputs if item in graph.constants), "")
        got, want = (np.concatenate([run[side][name].reshape(-1) for run in runs]) for side in (0, 1))
        yield Layer(name, node.op, weight, errors(got[None], want[None]))


def table(found: Sequence[Layer]) -> str:
    width = max(len(layer.name) for layer in found)
    lines = [
        f"{'layer':{width}}  {'operator':16} {'weight':8} {'max abs':>9} {'relative':>9} {'cosine':>8} {'SNR dB':>6}"
    ]
    for layer in found:
        e = layer.errors
        lines.append(f"{layer.name:{width}}  {layer.op:16} {layer.encoding:8} {e['max_abs']:9.2e} {e['relative']:9.2e} "
                     f"{e['cosine']:8.5f} {e['snr_db']:6.1f}")  # fmt: skip
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="pocketuni compare", description="Prints the error behind every layer of a model against its ONNX source."
    )
    parser.add_argument("model", type=Path, metavar="MODEL.puni")
    parser.add_argument("source", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--inputs", type=Path, metavar="NPZ", help="arrays by input, the first axis counting examples")
    parser.add_argument("--fix", action="append", default=[], metavar="NAME=NUMBER", help="as in the conversion")
    parser.add_argument("--carry", metavar="INPUT=BEFORE+CHUNK", help="as in the conversion")
    args = parser.parse_args(argv)

    def work() -> None:
        fixed = read_numbers(args.fix)
        graph = fuse(import_onnx_file(args.source, fixed=fixed, carried=args.carry).towers[0].graph)
        feeds = read_inputs(args.inputs, graph) if args.inputs else [made_up(graph)]
        found = list(layers(read_model(args.model), graph, feeds))
        if not found:
            raise ValueError(f"{args.model} has no layer of {args.source}: was it converted from another model?")
        print(table(found))

    return told("compare", work)
