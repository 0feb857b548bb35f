"""Products with weights that an index chooses, however they are spelled: they become `expert_linear`.

A model that gathers `table[choice]`, weights [.., A, B] for each choice, and multiplies rows by them would copy weights
for every row. `expert_linear` multiplies by the stored ones, once for all rows of an expert.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ir import Graph, Node
from .packing import PANEL, pad
from .rewrite import View


def panels(table: np.ndarray, inputs_last: bool) -> np.ndarray:
    """A table [E, N, K] (or [E, K, N]) as the weight [E N', K] of `expert_linear`, N' = N rounded up to 16."""
    outputs = table if inputs_last else table.swapaxes(1, 2)
    return np.ascontiguousarray(pad(outputs, 1, PANEL).reshape(-1, outputs.shape[2]), np.float32)


def rows(bias: np.ndarray) -> np.ndarray:
    """A table of biases [E, N] as the bias [E N'] of `expert_linear`."""
    return np.ascontiguousarray(pad(bias, 1, PANEL).reshape(-1), np.float32)


def table_of(graph: Graph, gather: Node | None) -> np.ndarray | None:
    """The constant [E, A, B] that a `gather` looks up, or None."""
    if gather is None or gather.op != "gather" or gather.attributes.get("axis", 0) != 0:
        return None
    table = graph.constants.get(gather.inputs[0])
    return table if table is not None and table.ndim == 3 and table.dtype == np.float32 else None


def einsum_of_experts(row_term: str, table_term: str, out: str, choices: int) -> tuple[list[int], bool] | None:
    """How `row_term,table_term->out` is a product of rows with chosen weights: the order of the row operand's axes that
    puts the summed one last, and whether it is the last one of the table; None where it is no such product.

    choices: rank of the choice. The table's term is the letters of the choice, then those of a weight's two axes.
    """
    index, weight = table_term[:choices], table_term[choices:]
    summed = [letter for letter in weight if letter in row_term and letter not in out]
    if len(weight) != 2 or len(summed) != 1 or len(set(table_term)) != len(table_term):
        return None
    kept = weight.replace(summed[0], "")
    lead = [letter for letter in index if letter in row_term]
    if kept in row_term or out != index + kept or "".join(lead) not in (index, index[:-1]):
        return None
    order = [*lead, summed[0]]
    if sorted(order) != sorted(row_term):
        return None
    return [row_term.index(letter) for letter in order], weight[1] == summed[0]


def swapped(view: View, operand: str) -> Node | None:
    """The `transpose` of the last two axes that makes an operand."""
    node = view.maker(operand, "transpose")
    rank = view.rank(operand)
    return node if node is not None and node.attributes["perm"] == [*range(rank - 2), rank - 1, rank - 2] else None


def gathered_product(view: View, node: Node) -> bool:
    """x [.., 1, K] @ table[choice] -> expert_linear."""
    if node.op != "matmul" or node.attributes.get("scale", 1.0) != 1.0:
        return False
    x, weights = node.inputs
    inputs_last = bool(node.attributes.get("transpose_b", 0))
    if (turn := swapped(view, weights)) is not None:
        weights, inputs_last = turn.inputs[0], not inputs_last
    gather = view.maker(weights, "gather")
    table = table_of(view.graph, gather)
    if gather is None or table is None or view.constant(gather.inputs[1]) is not None:
        return False
    source, choice, shape = gather.inputs[0], view.shape(gather.inputs[1]), view.shape(x)
    if None in choice or len(choice) < 1 or len(shape) != len(choice) + 2 or shape[-2] != 1:
        return False
    lead = shape[:-2]
    shared = lead != choice and lead == (*choice[:-1], 1)
    if lead != choice and not shared:
        return False
    outputs = table.shape[1 if inputs_last else 2]
    weight = view.derived((source, "experts", inputs_last), source, lambda: panels(table, inputs_last))
    return become_experts(view, node, x, weight, gather.inputs[1], len(table), outputs, shared)


def become_experts(view: View, node: Node, x: str, weight: str, choice: str, experts: int, outputs: int,
                   shared: bool) -> bool:  # fmt: skip
    """`node`, whose result is [choice.., 1, outputs], becomes a view of an `expert_linear` in front of it."""
    from .ir import Value

    index = view.shape(choice)
    lead = index[:-1] if shared else index
    flat: Sequence[int | str | None] = (*lead, view.shape(x)[-1])
    width = -(-outputs // PANEL) * PANEL
    name = node.outputs[0]
    x = view.insert(node, "reshape", [x], Value(f"{name}.rows", "float32", tuple(flat)), shape=list(flat))
    y = view.insert(node, "expert_linear", [x, weight, choice], Value(f"{name}.experts", "float32", (*index, width)),
                    experts=experts)  # fmt: skip
    if width != outputs:
        axis = len(index)
        y = view.insert(node, "slice", [y], Value(f"{name}.outputs", "float32", (*index, outputs)), axes=[axis],
                        starts=[0], ends=[outputs], steps=[1])  # fmt: skip
    view.become(node, "reshape", [y], shape=[*index, 1, outputs])
    return True


def expert_bias(view: View, node: Node) -> bool:
    """expert_linear + table[choice] of the same choice -> expert_linear with a bias."""
    if node.op != "add":
        return False
    for operand, other in (node.inputs, node.inputs[::-1]):
        linear, gather = view.maker(operand, "expert_linear"), view.maker(other, "gather")
        if linear is None or gather is None or len(linear.inputs) > 3 or not view.only_once(operand):
            continue
        bias = view.constant(gather.inputs[0])
        same = gather.inputs[1] == linear.inputs[2] and gather.attributes.get("axis", 0) == 0
        width = view.shape(operand)[-1]
        if bias is None or not same or bias.shape != (linear.attributes["experts"], width):
            continue
        if linear.attributes.get("activation", "none") != "none":
            continue
        name = view.derived((gather.inputs[0], "rows"), gather.inputs[0], lambda b=bias: rows(b))
        view.become(node, "expert_linear", [*linear.inputs[:3], name], **linear.attributes)
        return True
    return False


def expert_activation(view: View, node: Node) -> bool:
    """act(expert_linear) -> expert_linear with an activation."""
    linear = view.maker(node.inputs[0], "expert_linear") if node.op in ACTIVATIONS else None
    if linear is None or not view.only_once(node.inputs[0]) or linear.attributes.get("activation", "none") != "none":
        return False
    name = "gelu_tanh" if node.op == "gelu" and node.attributes.get("approximate", 0) else node.op
    view.become(node, "expert_linear", list(linear.inputs), **{**linear.attributes, "activation": name})
    return True


ACTIVATIONS = ("relu", "gelu", "silu", "tanh", "sigmoid")
EXPERT_RULES = (expert_bias, expert_activation)
