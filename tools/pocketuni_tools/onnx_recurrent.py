"""Handlers of ONNX recurrent operators: what the inputs give to the gates is one product over all steps, the rest one
operator for each direction."""

from __future__ import annotations

import numpy as np

from .onnx_index import cut, gather
from .onnx_products import linear
from .onnx_sizes import Size
from .onnx_walk import Call, Importer, Known, Operand, handles

FUNCTIONS = {"GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"], "RNN": ["tanh"]}


@handles("GRU", "LSTM", "RNN")
def recurrent(b: Importer, call: Call) -> list[Operand | None]:
    """X [time, batch, inputs], W, R, (B), (lengths), (state), (cell), (peepholes) -> Y, last state, (last cell)."""
    x, weights = call[0], [b.numbers(call[place]) for place in (1, 2)]
    bias = None if call[3] is None else b.numbers(call[3])
    if None in map(type_or_none, weights) or (call[3] is not None and bias is None):
        raise call.unsupported("weights that are not constants")
    directions, width = weights[1].shape[0], weights[1].shape[2]
    batch_first = call.get("layout", 0)
    if batch_first:
        x = b.transpose(x, [1, 0, 2])
    functions = check(b, call, x, directions)
    parts = []
    for place in range(directions):
        reverse = call.get("direction", "forward") == "reverse" or place == 1
        parts.append(one_direction(b, call, x, place, reverse, weights, bias, functions))
    time, batch = b.shape(x)[:2]
    lasts = [last_step(b, part, time, call.get("direction", "forward") == "reverse" or place == 1)
             for place, part in enumerate(parts)]  # fmt: skip
    wide, size = call.op == "LSTM", Size(width)
    states = [cut(b, item, 1, Size(0), size) for item in lasts] if wide else lasts
    rows = [cut(b, item, 2, Size(0), size) for item in parts] if wide else parts
    y = stack(b, [b.reshape(item, (time, Size(1), batch, size)) for item in rows], 1)
    state = stack(b, [b.reshape(item, (Size(1), batch, size)) for item in states], 0)
    results = [b.transpose(y, [2, 0, 1, 3]) if batch_first else y, state]
    if wide:
        cells = [cut(b, item, 1, size, None) for item in lasts]
        results.append(stack(b, [b.reshape(item, (Size(1), batch, size)) for item in cells], 0))
    return [results[0], *(b.transpose(item, [1, 0, 2]) if batch_first else item for item in results[1:])]


def type_or_none(array: np.ndarray | None) -> type | None:
    return None if array is None else np.ndarray


def check(b: Importer, call: Call, x: Operand, directions: int) -> list[str]:
    """Refuses what the operators do not know; returns the functions of the first direction."""
    functions = [item.decode().lower() for item in call.get("activations", [])] or FUNCTIONS[call.op] * directions
    known = [FUNCTIONS[call.op] * directions] + ([["relu"] * directions] if call.op == "RNN" else [])
    if functions not in known:
        raise call.unsupported(f"the functions {functions}")
    if "clip" in call.attributes or call.get("input_forget", 0):
        raise call.unsupported("clip or input_forget")
    time = b.shape(x)[0]
    lengths = None if call[4] is None else b.numbers(call[4])
    if call[4] is not None and (lengths is None or any(time != int(item) for item in lengths)):
        raise call.unsupported("sequences of several lengths")
    return functions


def one_direction(
    b: Importer,
    call: Call,
    x: Operand,
    place: int,
    reverse: bool,
    weights: list[np.ndarray],
    bias: np.ndarray | None,
    functions: list[str],
) -> str:
    width = weights[1].shape[2]
    names = [f"{call[1].name}.{place}", f"{call[2].name}.{place}"]
    of_input = of_state = None
    if bias is not None:
        of_input, of_state = np.split(bias[place], 2)
        if call.op != "GRU":  # both are added to the same sum
            of_input, of_state = of_input + of_state, None
    rows = linear(b, x, Known(weights[0][place], names[0]), False,
                  None if of_input is None else Known(of_input, f"{names[0]}.bias"))  # fmt: skip
    state, cell = (initial(b, call, call[at], place) for at in (5, 6))
    peepholes = None if call[7] is None else b.numbers(call[7])
    if call[7] is not None and peepholes is None:
        raise call.unsupported("peepholes that are not constants")
    operands = [rows, b.operand(Known(weights[1][place], names[1]), "linear"),
                None if of_state is None else Known(of_state, f"{names[1]}.bias"), state]  # fmt: skip
    if call.op == "LSTM":
        operands += [cell, None if peepholes is None else Known(peepholes[place], f"{call[7].name}.{place}")]
    while operands[-1] is None:
        operands.pop()
    options = {"reverse": int(reverse)}
    if call.op == "GRU":
        options["reset_after"] = int(bool(call.get("linear_before_reset", 0)))
    if call.op == "RNN":
        options["activation"] = functions[0]
    shape = (*b.shape(rows)[:2], Size(width * (2 if call.op == "LSTM" else 1)))
    return b.emit({"GRU": "gru", "LSTM": "lstm", "RNN": "rnn"}[call.op], operands, "float32", shape, **options)


def initial(b: Importer, call: Call, value: Operand | None, place: int) -> Operand | None:
    """The state of one direction [batch, width]; None for zeros."""
    if value is None or ((array := b.numbers(value)) is not None and not array.any()):
        return None
    if call.get("layout", 0):
        value = b.transpose(value, [1, 0, 2])
    shape = b.shape(value)
    return b.reshape(cut(b, value, 0, Size(place), Size(place + 1)), shape[1:])


def last_step(b: Importer, y: Operand, time: Size, reverse: bool) -> Operand:
    shape = b.shape(y)
    if reverse or time.constant is not None:
        at = 0 if reverse else time.constant - 1
        return b.reshape(cut(b, y, 0, Size(at), Size(at + 1)), shape[1:])
    return b.reshape(gather(b, y, Known(np.array([-1])), 0), shape[1:])


def stack(b: Importer, parts: list[Operand], axis: int) -> Operand:
    if len(parts) == 1:
        return parts[0]
    shape = list(b.shape(parts[0]))
    shape[axis] = Size(len(parts))
    return b.emit("concat", parts, "float32", shape, axis=axis)
