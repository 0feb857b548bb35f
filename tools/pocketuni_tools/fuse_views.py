"""Unites chains of reshapes, transposes and slices, moves them behind products with constant matrices, and lets
attention read q, k and v that are parts of one product.

A chain is followed by what it does to the axes of its root: each axis of the result is a list of atoms, and an atom is
a part of one axis of the root. PyTorch's nn.MultiheadAttention spells one product of [time, batch, 3 heads width] in
nine such steps for each of q, k and v, with batch and heads merged in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .ir import Node, Shape, Value
from .rewrite import View, scaled

VIEW_OPS = ("reshape", "squeeze", "unsqueeze", "transpose", "slice")


class Atom(NamedTuple):
    """The places `offset + i * stride` of an axis, i < size; a named size only as a whole axis."""

    axis: int
    stride: int
    size: int | str


@dataclass
class Layout:
    """What a chain makes of its root: atoms of each axis, first places of the root's axes, nodes in the chain."""

    root: str
    shape: Shape  # of the root
    axes: list[list[Atom]]
    offsets: dict[int, int] = field(default_factory=dict)
    steps: int = 0


def split(atom: Atom, inner: int) -> tuple[Atom, Atom]:
    """An atom as an outer one and one of size `inner`."""
    return Atom(atom.axis, atom.stride * inner, atom.size // inner), Atom(atom.axis, atom.stride, inner)


def take(atoms: deque[Atom], size: int | str, last: bool) -> list[Atom] | None:
    """Takes the atoms of one axis of this size from the front, or from the back."""
    if isinstance(size, str):
        if not atoms or atoms[-1 if last else 0].size != size:
            return None
        return [atoms.pop() if last else atoms.popleft()]
    taken: list[Atom] = []
    while size != 1:
        if not atoms or size == 0:
            return None
        atom = atoms.pop() if last else atoms.popleft()
        if not isinstance(atom.size, int):
            return None
        if size % atom.size == 0:
            size //= atom.size
        elif atom.size % size == 0:
            outer, inner = split(atom, size if last else atom.size // size)
            (atoms.append if last else atoms.appendleft)(outer if last else inner)
            atom, size = (inner if last else outer), 1
        else:
            return None
        taken.append(atom)
    return taken[::-1] if last else taken


def regrouped(axes: Sequence[list[Atom]], shape: Shape) -> list[list[Atom]] | None:
    """The atoms of a tensor, in groups as a reshape makes them; one size may be computed."""
    atoms = deque(atom for axis in axes for atom in axis)
    middle = shape.index(None) if None in shape else len(shape)
    if None in shape[middle + 1 :]:
        return None
    front = [take(atoms, size, last=False) for size in shape[:middle]]
    back = [take(atoms, size, last=True) for size in shape[:middle:-1]][::-1]
    if None in front or None in back:
        return None
    if middle < len(shape):
        return [*front, list(atoms), *back]
    return None if atoms else front


def sliced(layout: Layout, attributes: dict[str, Any]) -> bool:
    """Applies a slice between fixed places that takes whole inner atoms."""
    for axis, start, end, step in zip(*(attributes[key] for key in ("axes", "starts", "ends", "steps")), strict=True):
        atoms = layout.axes[axis % len(layout.axes)]
        if step != 1 or not atoms or any(not isinstance(size, int) for size in (start, end, *(a.size for a in atoms))):
            return False
        inner = 1
        for atom in atoms[1:]:
            inner *= atom.size
        end = min(end, inner * atoms[0].size)
        if start % inner or end % inner or start >= end:
            return False
        outer = atoms[0]
        layout.offsets[outer.axis] = layout.offsets.get(outer.axis, 0) + start // inner * outer.stride
        kept = outer._replace(size=(end - start) // inner)
        layout.axes[axis % len(layout.axes)] = ([kept] if kept.size != 1 else []) + atoms[1:]
    return True


def trace(view: View, operand: str) -> Layout | None:
    """The longest chain of views behind an operand that can be followed; None where there is none."""
    chain: list[Node] = []
    while (node := view.maker(operand, *VIEW_OPS)) is not None:
        chain.append(node)
        operand = node.inputs[0]
    layout = None
    for node in reversed(chain):
        if layout is None:
            shape = view.shape(node.inputs[0])
            if None in shape:
                continue
            axes = [[Atom(axis, 1, size)] if size != 1 else [] for axis, size in enumerate(shape)]
            layout = Layout(node.inputs[0], shape, axes)
        if node.op == "transpose":
            layout.axes = [layout.axes[axis] for axis in node.attributes["perm"]]
        elif node.op == "slice":
            if not sliced(layout, node.attributes):
                layout = None
                continue
        else:
            axes = regrouped(layout.axes, view.shape(node.outputs[0]))
            if axes is None:
                layout = None
                continue
            layout.axes = axes
        layout.steps += 1
    return layout


def merged(atoms: Sequence[Atom]) -> list[Atom]:
    """Neighbours that are neighbours in the root as well become one."""
    result: list[Atom] = []
    for atom in atoms:
        last = result[-1] if result else None
        whole = last is not None and isinstance(last.size, int) and isinstance(atom.size, int)
        if whole and last.axis == atom.axis and last.stride == atom.stride * atom.size:
            result[-1] = Atom(atom.axis, atom.stride, last.size * atom.size)
        else:
            result.append(atom)
    return result


def size_of(atoms: Sequence[Atom]) -> int | str | None:
    if len(atoms) == 1:
        return atoms[0].size
    size = 1
    for atom in atoms:
        if not isinstance(atom.size, int):
            return None
        size *= atom.size
    return size


def plan(layout: Layout) -> list[tuple[str, dict[str, Any], Shape]] | None:
    """The fewest nodes that make a layout: (op, attributes, shape of the result); None where atoms leave gaps."""
    nodes: list[tuple[str, dict[str, Any], Shape]] = []
    shape = list(layout.shape)
    axes = [merged(atoms) for atoms in layout.axes]
    flat = [atom for atoms in axes for atom in atoms]
    for axis, size in enumerate(layout.shape):
        parts, covered = sorted((atom for atom in flat if atom.axis == axis), key=lambda atom: atom.stride), 1
        if isinstance(size, str):
            if parts != [Atom(axis, 1, size)]:
                return None
            continue
        for atom in parts:
            if atom.stride != covered:
                return None
            covered *= atom.size
        if covered != size:
            start, shape[axis] = layout.offsets.get(axis, 0), covered
            places = {"axes": [axis], "starts": [start], "ends": [start + covered], "steps": [1]}
            nodes.append(("slice", places, tuple(shape)))
    target = tuple(size_of(atoms) for atoms in axes)
    order = sorted(flat, key=lambda atom: (atom.axis, -atom.stride))

    def reshaped(to: Sequence) -> None:
        nonlocal shape
        if list(to) != shape:
            nodes.append(("reshape", {"shape": list(to)}, tuple(to)))
            shape = list(to)

    if flat != order:
        reshaped([atom.size for atom in order])
        shape = [atom.size for atom in flat]
        nodes.append(("transpose", {"perm": [order.index(atom) for atom in flat]}, tuple(shape)))
    reshaped(target)
    return nodes if target.count(None) <= 1 else None


def build(view: View, node: Node, layout: Layout, nodes: Sequence[tuple[str, dict[str, Any], Shape]]) -> str:
    """Inserts the planned nodes before another."""
    operand = layout.root
    for op, attributes, shape in nodes:
        value = Value(f"{operand}_view", view.graph.dtype_of(operand), shape)
        operand = view.insert(node, op, [operand], value, **attributes)
    return operand


def put(view: View, node: Node, layout: Layout, nodes: Sequence[tuple[str, dict[str, Any], Shape]]) -> bool:
    """Makes `node` the last of the planned nodes."""
    if not nodes:
        return view.forward(node, layout.root)
    op, attributes, _ = nodes[-1]
    view.become(node, op, [build(view, node, layout, nodes[:-1])], **attributes)
    return True


def united(view: View, node: Node) -> bool:
    """A chain of views, where fewer nodes do the same."""
    if node.op not in VIEW_OPS:
        return False
    (output,) = node.outputs
    readers = view.readers[output]
    if readers and output not in view.graph.outputs and all(reader.op in VIEW_OPS for reader in readers):
        return False  # the end of the chain is further on
    layout = trace(view, output)
    nodes = plan(layout) if layout is not None else None
    return nodes is not None and len(nodes) < layout.steps and put(view, node, layout, nodes)


def behind_linear(view: View, node: Node) -> bool:
    """linear(view(x)) -> view(linear(x)), where the view leaves the last axis alone."""
    if node.op != "linear" or len(node.inputs) > 3:
        return False
    layout = trace(view, node.inputs[0])
    width = view.shape(node.outputs[0])[-1]
    if layout is None or width == 1 or not layout.shape or layout.offsets:
        return False
    last = len(layout.shape) - 1
    if layout.axes[-1:] != [[Atom(last, 1, layout.shape[-1])]] or None in view.shape(layout.root):
        return False
    shape = (*layout.shape[:-1], width)
    moved = Layout("", shape, [*layout.axes[:-1], [Atom(last, 1, width)]])
    nodes = plan(moved)
    if not nodes:
        return False
    value = Value(f"{node.outputs[0]}_product", "float32", shape)
    moved.root = view.insert(node, "linear", [layout.root, *node.inputs[1:]], value, **node.attributes)
    return put(view, node, moved, nodes)


def packed_parts(view: View, node: Node) -> bool:
    """Attention whose q, k and v lie side by side in the last axis of one tensor reads that."""
    if node.op != "attention" or node.attributes.get("packed", 0):
        return False
    layouts = [trace(view, operand) for operand in node.inputs[:3]]
    if None in layouts or len({layout.root for layout in layouts}) != 1:
        return False
    q = layouts[0]
    last, place = len(q.shape) - 1, 0
    for layout in layouts:
        tail = merged(layout.axes[-1])
        whole = len(tail) == 1 and tail[0][:2] == (last, 1) and isinstance(tail[0].size, int)
        if not whole or layout.axes[:-1] != q.axes[:-1] or any(layout.offsets.get(axis) for axis in range(last)):
            return False
        if layout.offsets.get(last, 0) != place:
            return False
        place += tail[0].size
    whole = Layout(q.root, q.shape, [*q.axes[:-1], [Atom(last, 1, q.shape[-1])]])
    nodes = plan(whole) if place == q.shape[-1] else None
    if nodes is None:
        return False
    packed = build(view, node, whole, nodes)
    view.become(node, "attention", [packed, *node.inputs[3:4]], **node.attributes, packed=1)
    return True


def heads_apart(view: View, node: Node) -> bool:
    """softmax(q k^T) v with batch and heads merged into one axis gets axes of their own for the two."""
    soft = view.maker(node.inputs[0], "softmax") if node.op == "matmul" else None
    product = view.maker(soft.inputs[0], "matmul") if soft is not None else None
    if product is None or view.rank(node.outputs[0]) != 3 or soft.attributes.get("axis", -1) not in (-1, 2):
        return False
    if not view.only_once(soft.outputs[0]) or not view.only_once(product.outputs[0]):
        return False
    (q, of_q), (k, of_k), v = *(scaled(view, item) for item in product.inputs), node.inputs[1]
    layouts = [trace(view, operand) for operand in (q, k, v)]
    if None in layouts or any(len(layout.axes[0]) < 2 for layout in layouts):
        return False
    sizes = []
    for layout in layouts:
        *batch, heads = layout.axes[0]
        layout.axes = [batch, [heads], *layout.axes[1:]]
        sizes.append(tuple(size_of(axis) for axis in layout.axes))
    plans = [plan(layout) for layout in layouts]
    if None in plans or len({size[:2] for size in sizes}) != 1 or any(None in size for size in sizes):
        return False
    q, k, v = (build(view, node, layout, nodes) for layout, nodes in zip(layouts, plans, strict=True))
    factor = of_q * of_k * product.attributes.get("scale", 1.0)
    transposed = product.attributes.get("transpose_b", 0)
    scores = (*sizes[0][:3], sizes[1][2 if transposed else 3])
    out = f"{node.outputs[0]}_heads"
    operand = view.insert(node, "matmul", [q, k], Value(out, "float32", scores), transpose_b=transposed, scale=factor)
    operand = view.insert(node, "softmax", [operand], Value(out, "float32", scores), axis=-1)
    result = (*scores[:3], sizes[2][3])
    operand = view.insert(node, "matmul", [operand, v], Value(out, "float32", result), **node.attributes)
    view.become(node, "reshape", [operand], shape=list(view.shape(node.outputs[0])))
    return True


HEAD_RULES = (heads_apart,)
VIEW_RULES = (united, behind_linear, packed_parts)
