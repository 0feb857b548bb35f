"""Handlers of PyTorch's GRU, LSTM and RNN: what the inputs give to the gates is one product over all steps, the rest
one operator for each layer and direction."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from .torch_conv import arranged
from .torch_walk import Importer, handles

Node = torch.fx.Node
Args = SimpleNamespace
GATES = {"gru": [1, 0, 2], "lstm": [0, 3, 1, 2], "rnn": [0]}  # ours, in PyTorch's order


def gates_of(b: Importer, tensor: torch.Tensor, op: str) -> torch.Tensor:
    """A weight or bias with its gates in our order."""
    order = GATES[op]
    return arranged(b, tensor, f"gates of {op}", lambda w: torch.cat([w.chunk(len(order))[gate] for gate in order]))


def initial(b: Importer, state: object, place: int) -> str | None:
    """The state of one layer and direction [batch, width]; None for zeros."""
    constant = b.constant(state)
    if constant is not None and not constant.any():
        return None
    x = b.operand(state, "float32")
    count, batch, width = b.graph.shape_of(x)
    if count != 1:
        options = {"axes": [0], "starts": [place], "ends": [place + 1], "steps": [1]}
        x = b.emit("slice", [x], "float32", (1, batch, width), **options)
    return b.reshape(x, (batch, width))


def one_direction(
    b: Importer, op: str, x: str, params: list[torch.Tensor], biases: bool, states: list[str | None], options: dict
) -> str:
    time, batch, _ = b.graph.shape_of(x)
    weights = [gates_of(b, tensor, op) for tensor in params]
    rows, width = weights[1].shape
    operands = [x, b.operand(weights[0], role="gemm"), *([b.operand(weights[2])] if biases else [])]
    given = b.emit("linear", operands, "float32", (time, batch, rows))
    bias = b.operand(weights[3]) if biases else None
    inputs = [given, b.operand(weights[1], role="gemm"), bias, *states]
    while inputs[-1] is None:
        inputs.pop()
    return b.emit(op, inputs, "float32", (time, batch, width * (2 if op == "lstm" else 1)), **options)


def part(b: Importer, x: str, axis: int, begin: int, end: int) -> str:
    shape = list(b.graph.shape_of(x))
    shape[axis] = end - begin
    options = {"axes": [axis], "starts": [begin], "ends": [end], "steps": [1]}
    return b.emit("slice", [x], "float32", tuple(shape), **options)


def last(b: Importer, y: str, reverse: int) -> str:
    """The state after the last step, [batch, width]."""
    time, batch, width = b.graph.shape_of(y)
    if reverse or isinstance(time, int):
        at = 0 if reverse else time - 1
        return b.reshape(part(b, y, 0, at, at + 1), (batch, width))
    index = b.operand(b.keep(torch.tensor(-1), "last"))
    return b.emit("gather", [y, index], "float32", (batch, width), axis=0)


def joined(b: Importer, parts: list[str], axis: int) -> str:
    if len(parts) == 1:
        return parts[0]
    shape = list(b.graph.shape_of(parts[0]))
    shape[axis] = sum(b.graph.shape_of(item)[axis] for item in parts)
    return b.emit("concat", parts, "float32", tuple(shape), axis=axis)


@handles("gru", "lstm", "rnn_tanh", "rnn_relu")
def recurrent(b: Importer, node: Node, a: Args) -> list[str]:
    """-> all states of the last layer, the last states of all layers, (their last cells)."""
    name = node.target._schema.name
    op, hx = name.partition("_")[0].removeprefix("aten::"), getattr(a, "hx", None)
    if not hasattr(a, "batch_first") or hx is None:
        raise b.unsupported("packed sequences")
    if a.train and a.dropout:
        raise b.unsupported("dropout: call eval() on the module")
    params = [b.constant(item) for item in a.params]
    if any(item is None for item in params):
        raise b.unsupported("weights that are computed")
    x = b.operand(a.input, "float32")
    x = b.transpose(x, [1, 0, 2]) if a.batch_first else x
    sources = list(hx) if op == "lstm" else [hx]
    directions, each = (2 if a.bidirectional else 1), (4 if a.has_biases else 2)
    if len(params) != a.num_layers * directions * each:
        raise b.unsupported("projections")
    ends: list[list[str]] = [[], []]
    for layer in range(a.num_layers):
        results = []
        for reverse in range(directions):
            place = layer * directions + reverse
            options: dict = {"reverse": reverse}
            if op == "rnn":
                options["activation"] = name.partition("_")[2]
            states = [initial(b, state, place) for state in sources]
            y = one_direction(b, op, x, params[place * each : (place + 1) * each], a.has_biases, states, options)
            final = last(b, y, reverse)
            batch, wide = b.graph.shape_of(final)
            width = wide // (2 if op == "lstm" else 1)
            for kind in range(len(sources)):
                state = part(b, final, 1, kind * width, (kind + 1) * width) if op == "lstm" else final
                ends[kind].append(b.reshape(state, (1, batch, width)))
            results.append(part(b, y, 2, 0, width) if op == "lstm" else y)
        x = joined(b, results, 2)
    x = b.transpose(x, [1, 0, 2]) if a.batch_first else x
    return [x, *(joined(b, ends[kind], 0) for kind in range(len(sources)))]
