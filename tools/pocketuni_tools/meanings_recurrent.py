"""What the recurrent operators of docs/format.md mean. x [time, batch, gates] is what the inputs give to the gates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .meanings import FLOAT, Array, meaning, round_rows, sigmoid


def product(w: Array, bias: Array | None, quantized: bool) -> Callable[[Array], Array]:
    def multiply(h: Array) -> Array:
        if quantized:
            rows, scale = round_rows(h)
            h = rows * scale
        return h @ w.T + (FLOAT(0) if bias is None else bias)

    return multiply


def steps(x: Array, reverse: int) -> list[int]:
    return list(range(len(x)))[:: -1 if reverse else 1]


@meaning("gru")
def gru(
    x: Array,
    w: Array,
    bias: Array | None = None,
    state: Array | None = None,
    *,
    reverse: int = 0,
    reset_after: int = 1,
    quantized: bool = False,
) -> Array:
    """Gates: update, reset, new. -> the state after each step [time, batch, width]."""
    width, multiply = w.shape[1], product(w, bias, quantized)
    y = np.zeros((*x.shape[:2], width), FLOAT)
    h = np.zeros((x.shape[1], width), FLOAT) if state is None else state
    for t in steps(x, reverse):
        given = multiply(h)
        z, r = np.split(sigmoid(x[t, :, : 2 * width] + given[:, : 2 * width]), 2, axis=1)
        new = r * given[:, 2 * width :] if reset_after else multiply(r * h)[:, 2 * width :]
        n = np.tanh(x[t, :, 2 * width :] + new)
        y[t] = h = n + z * (h - n)
    return y


@meaning("lstm")
def lstm(
    x: Array,
    w: Array,
    bias: Array | None = None,
    state: Array | None = None,
    cell: Array | None = None,
    peepholes: Array | None = None,
    *,
    reverse: int = 0,
    quantized: bool = False,
) -> Array:
    """Gates: input, output, forget, cell. -> the state, then the cell, after each step [time, batch, 2 width]."""
    width, multiply = w.shape[1], product(w, bias, quantized)
    y = np.zeros((*x.shape[:2], 2 * width), FLOAT)
    h, c = (np.zeros((x.shape[1], width), FLOAT) if item is None else item for item in (state, cell))
    of_input, of_output, of_forget = (FLOAT(0),) * 3 if peepholes is None else np.split(peepholes, 3)
    for t in steps(x, reverse):
        i, o, f, g = np.split(x[t] + multiply(h), 4, axis=1)
        c = sigmoid(f + of_forget * c) * c + sigmoid(i + of_input * c) * np.tanh(g)
        h = sigmoid(o + of_output * c) * np.tanh(c)
        y[t] = np.concatenate([h, c], axis=1)
    return y


@meaning("rnn")
def rnn(
    x: Array,
    w: Array,
    bias: Array | None = None,
    state: Array | None = None,
    *,
    reverse: int = 0,
    activation: str = "tanh",
    quantized: bool = False,
) -> Array:
    """-> the state after each step [time, batch, width]."""
    width, multiply = w.shape[1], product(w, bias, quantized)
    y = np.zeros((*x.shape[:2], width), FLOAT)
    h = np.zeros((x.shape[1], width), FLOAT) if state is None else state
    for t in steps(x, reverse):
        h = x[t] + multiply(h)
        y[t] = h = np.tanh(h) if activation == "tanh" else np.maximum(h, FLOAT(0))
    return y
