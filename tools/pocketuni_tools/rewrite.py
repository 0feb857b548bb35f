"""What the passes on graphs share: who writes and who reads each operand, and putting one node in the place of many.

A rule is a function `rule(view, node) -> bool` that may change `node` in place and says whether it did. It never moves
a node forward, so execution order holds; what nobody reads any more is dropped when the sweep ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from .ir import Graph, Node, Shape, Value, check_node

SHAPE_OPS = ("reshape", "unsqueeze", "squeeze", "expand", "transpose")
DERIVED = "~"  # marks names of constants that passes compute, until `fuse` gives them their final ones


class View:
    """A graph with its makers and readers, kept up to date by the methods that change it."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.makers = {output: node for node in graph.nodes for output in node.outputs}
        self.readers: dict[str, list[Node]] = defaultdict(list)
        self.memo: dict[tuple, str] = {}  # derived constants by origin: a shared weight stays shared
        self.dead: set[int] = set()
        for node in graph.nodes:
            for operand in node.inputs:
                if operand is not None:
                    self.readers[operand].append(node)

    def maker(self, operand: str | None, *ops: str) -> Node | None:
        """The node that writes an operand, if its op is one of `ops` (any, when none is named)."""
        node = self.makers.get(operand) if operand is not None else None
        return node if node is not None and (not ops or node.op in ops) else None

    def only_once(self, operand: str) -> bool:
        """Whether exactly one node reads an operand, and the graph does not return it."""
        return len(self.readers[operand]) == 1 and operand not in self.graph.outputs

    def constant(self, operand: str | None) -> np.ndarray | None:
        return self.graph.constants.get(operand) if operand is not None else None

    def scalar(self, operand: str | None) -> float | None:
        """The number that a constant of one element holds, else None."""
        array = self.constant(operand)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def shape(self, operand: str) -> Shape:
        return tuple(self.graph.shape_of(operand))

    def rank(self, operand: str) -> int:
        return len(self.graph.shape_of(operand))

    def split(self, node: Node, test: Callable[[str], Any]) -> tuple[str, str] | None:
        """(operand that passes the test, other operand) of a node with two, or None."""
        first, second = node.inputs
        if test(first):
            return first, second
        return (second, first) if test(second) else None

    # Changes.

    def derived(self, key: tuple, name: str, make: Callable[[], np.ndarray]) -> str:
        """A constant computed from others, made once for each key."""
        if key not in self.memo:
            self.memo[key] = self.graph.add_constant(name.partition(DERIVED)[0] + DERIVED, make())
        return self.memo[key]

    def become(self, node: Node, op: str, inputs: list[str | None], **attributes: Any) -> None:
        """Turns a node into another that writes the same value."""
        old = [operand for operand in node.inputs if operand is not None]
        if node.name.startswith(f"{node.op}:"):
            node.name = f"{op}:{node.name.removeprefix(f'{node.op}:')}"
        node.op, node.inputs, node.attributes = op, list(inputs), attributes
        check_node(node)
        for operand in node.inputs:
            if operand is not None:
                self.readers[operand].append(node)
        self._release(node, old)

    def insert(self, before: Node, op: str, inputs: list[str | None], value: Value, **attributes: Any) -> str:
        """Adds a node before another and returns the name of its output."""
        place = next(index for index, node in enumerate(self.graph.nodes) if node is before)
        (name,) = self.graph.add_node(op, inputs, [value], **attributes)
        node = self.graph.nodes.pop()
        self.graph.nodes.insert(place, node)
        self.makers[name] = node
        for operand in inputs:
            if operand is not None:
                self.readers[operand].append(node)
        return name

    def forward(self, node: Node, source: str) -> bool:
        """Lets `source` stand for the output of a node that changes nothing. Keeps the names of the graph's outputs;
        False where that is impossible (an input that is returned as it is)."""
        graph, (output,) = self.graph, node.outputs
        if output in graph.outputs:
            if source in graph.outputs or source not in self.makers:
                return False
            graph.replace_uses(output, source)
            del graph.values[output], self.makers[output]
            node.outputs = [graph.add_value(f"{output}_dropped", *self._type(source))]
            self.makers[node.outputs[0]] = node
            self._rename(source, output)
            source = output
        else:
            graph.replace_uses(output, source)
        self.readers[source] += self.readers.pop(output, []) if output != source else []
        self._release(node, [operand for operand in node.inputs if operand is not None])
        self.dead.add(id(node))
        return True

    def _type(self, operand: str) -> tuple[str, Shape]:
        return self.graph.dtype_of(operand), self.shape(operand)

    def _rename(self, old: str, new: str) -> None:
        self.graph.rename(old, new)
        self.makers[new] = self.makers.pop(old)
        self.readers[new] = self.readers.pop(old, []) + self.readers.pop(new, [])

    def _release(self, node: Node, operands: list[str]) -> None:
        """`node` stops reading operands; makers that nobody reads any more stop reading theirs."""
        for operand in operands:
            readers = self.readers[operand]
            for place, reader in enumerate(readers):
                if reader is node:
                    del readers[place]
                    break
            maker = self.makers.get(operand)
            if maker is None or id(maker) in self.dead:
                continue
            if not any(self.readers[output] or output in self.graph.outputs for output in maker.outputs):
                self.dead.add(id(maker))
                self._release(maker, [item for item in maker.inputs if item is not None])


Rule = Callable[[View, Node], bool]


def apply(graph: Graph, *rules: Rule) -> int:
    """Applies rules to every node, again and again until none applies; returns how often one did."""
    total = 0
    while True:
        view, changes = View(graph), 0
        for node in list(graph.nodes):
            for rule in rules:
                if id(node) in view.dead:
                    break
                changes += rule(view, node)
        graph.prune()
        total += changes
        if not changes:
            return total


def is_last_axis(view: View, node: Node) -> bool:
    """Whether a reduction goes over the last axis alone and keeps it."""
    rank = view.rank(node.inputs[0])
    return list(node.attributes["axes"]) in ([-1], [rank - 1]) and node.attributes.get("keepdims", 0) == 1


def broadcast(left: Shape, right: Shape) -> Shape | None:
    """The shape of an elementwise result, or None where it cannot be told."""
    rank = max(len(left), len(right))
    left, right = (1,) * (rank - len(left)) + tuple(left), (1,) * (rank - len(right)) + tuple(right)
    result = []
    for one, other in zip(left, right, strict=True):
        if one is None or other is None or (one != other and 1 not in (one, other)):
            return None
        result.append(other if one == 1 else one)
    return tuple(result)


def scaled(view: View, operand: str) -> tuple[str, float]:
    """(base, factor) with operand = base * factor: goes through products with and quotients by single numbers."""
    factor = 1.0
    while (node := view.maker(operand, "mul", "div")) is not None:
        pair = view.split(node, lambda item: view.scalar(item) is not None)
        if pair is None or view.shape(pair[1]) != view.shape(node.outputs[0]):
            break
        number = view.scalar(pair[0])
        if node.op == "div" and (pair[0] == node.inputs[0] or number == 0):
            break
        factor = factor * number if node.op == "mul" else factor / number
        operand = pair[1]
    return operand, factor
