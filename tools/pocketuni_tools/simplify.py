"""Rules that take away what changes nothing: chains of views, casts, broadcasts, repeated and constant expressions."""

from __future__ import annotations

from . import evaluate
from .ir import Graph, Node, Value
from .rewrite import View, apply, broadcast

BROADCASTING = {"add", "sub", "mul", "div", "pow", "minimum", "maximum", "where", "and", "or"} | {
    "equal", "less", "less_equal", "greater", "greater_equal",
}  # fmt: skip
FOLDED_BYTES = 1 << 20  # a constant may grow to this size, whatever it is made from


def one_reshape(view: View, node: Node) -> bool:
    """Views become reshapes, of several in a row one is left, and none where the shape stays."""
    if node.op not in ("reshape", "squeeze", "unsqueeze"):
        return False
    shape = view.shape(node.outputs[0])
    if list(shape).count(None) > 1:
        return False
    source = node.inputs[0]
    while (maker := view.maker(source, "reshape", "squeeze", "unsqueeze")) is not None:
        source = maker.inputs[0]
    if view.shape(source) == shape and None not in shape:
        return view.forward(node, source)
    if source == node.inputs[0] and node.op == "reshape":
        return False
    view.become(node, "reshape", [source], shape=list(shape))
    return True


def one_transpose(view: View, node: Node) -> bool:
    if node.op != "transpose":
        return False
    source, perm = node.inputs[0], list(node.attributes["perm"])
    if (maker := view.maker(source, "transpose")) is not None:
        source, perm = maker.inputs[0], [maker.attributes["perm"][axis] for axis in perm]
    if perm == sorted(perm):
        return view.forward(node, source)
    if source == node.inputs[0]:
        return False
    view.become(node, "transpose", [source], perm=perm)
    return True


def batched_turn(view: View, node: Node) -> bool:
    """Leading dimensions joined, the last two swapped, leading dimensions split again: one transpose."""
    turn = view.maker(node.inputs[0], "transpose") if node.op == "reshape" else None
    joined = view.maker(turn.inputs[0], "reshape") if turn is not None else None
    if joined is None:
        return False
    rank, x = view.rank(joined.outputs[0]), joined.inputs[0]
    if list(turn.attributes["perm"]) != [*range(rank - 2), rank - 1, rank - 2]:
        return False
    shape, target = view.shape(x), view.shape(node.outputs[0])
    if None in shape or shape[-2:] != view.shape(joined.outputs[0])[-2:]:
        return False
    if target != (*shape[:-2], shape[-1], shape[-2]):
        return False
    count = len(shape)
    view.become(node, "transpose", [x], perm=[*range(count - 2), count - 1, count - 2])
    return True


def moves_ones_only(view: View, node: Node) -> bool:
    """A transpose that moves nothing but dimensions of size 1 is a reshape."""
    if node.op != "transpose":
        return False
    shape = view.shape(node.inputs[0])
    kept = [axis for axis in node.attributes["perm"] if shape[axis] != 1]
    target = view.shape(node.outputs[0])
    if kept != sorted(kept) or list(target).count(None) > 1:
        return False
    view.become(node, "reshape", list(node.inputs), shape=list(target))
    return True


def no_cast(view: View, node: Node) -> bool:
    """Drops a cast to the type that is there, and the inner one of two where it loses nothing."""
    if node.op != "cast":
        return False
    source = node.inputs[0]
    if view.graph.dtype_of(source) == node.attributes["to"]:
        return view.forward(node, source)
    inner = view.maker(source, "cast")
    if inner is None:
        return False
    widens = {("bool", "int32"), ("bool", "int64"), ("bool", "float32"), ("int32", "int64")}
    if (view.graph.dtype_of(inner.inputs[0]), inner.attributes["to"]) not in widens:
        return False
    view.become(node, "cast", [inner.inputs[0]], to=node.attributes["to"])
    return True


def no_expand(view: View, node: Node) -> bool:
    """Drops broadcasts that change nothing or that the reader does itself, and looks up ids before repeating them."""
    if node.op == "expand":
        shape = view.shape(node.outputs[0])
        return None not in shape and view.shape(node.inputs[0]) == shape and view.forward(node, node.inputs[0])
    if node.op == "embedding":
        ids = view.maker(node.inputs[0], "expand")
        if ids is None or view.rank(ids.inputs[0]) != view.rank(ids.outputs[0]):
            return False
        shape = view.shape(node.outputs[0])
        narrow = Value(f"{node.outputs[0]}_narrow", "float32", (*view.shape(ids.inputs[0]), shape[-1]))
        looked_up = view.insert(node, "embedding", [ids.inputs[0], node.inputs[1]], narrow)
        view.become(node, "expand", [looked_up], shape=list(shape))
        return True
    if node.op in BROADCASTING:
        for place, operand in enumerate(node.inputs):
            maker = view.maker(operand, "expand")
            if maker is None:
                continue
            inputs = [*node.inputs[:place], maker.inputs[0], *node.inputs[place + 1 :]]
            shape = ()
            for item in inputs:
                shape = None if shape is None else broadcast(shape, view.shape(item))
            if shape is not None and shape == view.shape(node.outputs[0]):
                view.become(node, node.op, inputs, **node.attributes)
                return True
    return False


def neutral(view: View, node: Node) -> bool:
    """x + 0, x - 0, x * 1, x / 1 and x^1 are x."""
    number = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}.get(node.op)
    if number is None:
        return False
    sides = [node.inputs] if node.op in ("sub", "div", "pow") else [node.inputs, node.inputs[::-1]]
    for x, other in sides:
        if view.scalar(other) == number and view.constant(x) is None and view.shape(x) == view.shape(node.outputs[0]):
            return view.forward(node, x)
    return False


def double_negation(view: View, node: Node) -> bool:
    """not not x is x."""
    inner = view.maker(node.inputs[0], "not") if node.op == "not" else None
    return inner is not None and view.forward(node, inner.inputs[0])


def share_repeated(graph: Graph) -> int:
    """Of nodes that compute the same from the same operands, the first stands for all."""
    seen: dict[tuple, str] = {}
    view, changes = View(graph), 0
    for node in list(graph.nodes):
        key = (node.op, tuple(node.inputs), repr(sorted(node.attributes.items())))
        if len(node.outputs) == 1 and key in seen and node.outputs[0] not in graph.outputs:
            changes += view.forward(node, seen[key])
        elif len(node.outputs) == 1:
            seen[key] = node.outputs[0]
    graph.prune()
    return changes


def share_equal_constants(graph: Graph) -> None:
    """Small constants (masks' numbers, epsilons) that are equal become one, so that what reads them compares equal.
    Weights keep their names: a matrix of `linear` and a table of `embedding` must not be one constant."""
    first: dict[tuple, str] = {}
    for name, array in list(graph.constants.items()):
        if array.size <= 16 and array.ndim < 2:
            key = (str(array.dtype), array.shape, array.tobytes())
            if first.setdefault(key, name) != name:
                graph.replace_uses(name, first[key])
    graph.prune()


def fold_constants(graph: Graph) -> int:
    """Computes nodes whose operands are all constants, unless that would blow the file up."""
    changes = 0
    for node in list(graph.nodes):
        if not node.inputs or any(item is not None and item not in graph.constants for item in node.inputs):
            continue
        numbers = [item for values in node.attributes.values() if isinstance(values, list) for item in values]
        if any(isinstance(item, str) or item is None for item in numbers):
            continue
        if any(output in graph.outputs for output in node.outputs):
            continue
        arrays = [evaluate.apply(node, [None if item is None else graph.constants[item] for item in node.inputs], {})]
        before = sum(graph.constants[item].nbytes for item in node.inputs if item is not None)
        if sum(array.nbytes for array in arrays) > max(before, FOLDED_BYTES):
            continue
        for output, array in zip(node.outputs, arrays, strict=True):
            name = graph.add_constant(f"{output}_folded", array.astype(graph.values[output].dtype))
            graph.replace_uses(output, name)
        changes += 1
    graph.prune()
    return changes


RULES = (one_reshape, one_transpose, batched_turn, moves_ones_only, no_cast, no_expand, neutral, double_negation)


def simplify(graph: Graph) -> None:
    """Applies every rule of this file until none applies."""
    while fold_constants(graph) + apply(graph, *RULES):
        pass
    share_equal_constants(graph)
    while share_repeated(graph) + apply(graph, *RULES):
        pass
