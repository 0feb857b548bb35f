"""Steps a graph over several inputs side by side, so that weights can be rounded on the way through it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from . import evaluate
from .ir import Graph, Node
from .source import Feed, Outputs


class Forward:
    """A run over `feeds` that stands before node `place`. Values that nobody reads any more are let go."""

    def __init__(self, graph: Graph, feeds: Sequence[Feed]):
        self.graph, self.place = graph, 0
        self.dims = [evaluate.bind_dims(graph, feed) for feed in feeds]
        self.values: list[dict[str, np.ndarray]] = [dict(feed) for feed in feeds]
        self.last_read: dict[str, int] = {}
        for place, node in enumerate(graph.nodes):
            self.last_read |= {operand: place for operand in node.inputs if operand is not None}

    def fork(self) -> Forward:
        """A second run that goes on from here."""
        other = object.__new__(Forward)
        other.__dict__ = {**self.__dict__, "values": [dict(values) for values in self.values]}
        return other

    def rows(self, operand: str) -> np.ndarray:
        """An activation of all feeds, as rows of its last dimension."""
        if operand in self.graph.constants:
            return self.graph.constants[operand].reshape(-1, self.graph.constants[operand].shape[-1])
        return np.concatenate([array.reshape(-1, array.shape[-1]) for array in self.arrays(operand)])

    def arrays(self, operand: str) -> list[np.ndarray]:
        """An activation of each feed."""
        return [values[operand] for values in self.values]

    def step(self, weights: Mapping[str, np.ndarray], quantized: Collection[str]) -> None:
        """Runs one node. `weights` replace constants; `quantized` as in `evaluate`."""
        node: Node = self.graph.nodes[self.place]
        on_the_fly = node.op in evaluate.PRODUCTS and node.inputs[1] in quantized
        for values, dims in zip(self.values, self.dims, strict=True):
            operands = []
            for operand in node.inputs:
                array = None
                if operand is not None:
                    array = weights.get(operand, self.graph.constants.get(operand))
                    array = values[operand] if array is None else array
                operands.append(array)
            values[node.outputs[0]] = evaluate.apply(node, operands, dims, on_the_fly)
            for operand in node.inputs:
                if operand is not None and self.last_read[operand] == self.place and operand not in self.graph.outputs:
                    values.pop(operand, None)
        self.place += 1

    def finish(self, weights: Mapping[str, np.ndarray], quantized: Collection[str]) -> list[Outputs]:
        """Runs what is left; returns the outputs for each feed."""
        while self.place < len(self.graph.nodes):
            self.step(weights, quantized)
        return [{name: values[name] for name in self.graph.outputs} for values in self.values]
