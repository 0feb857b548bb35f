"""Puts what follows a convolution into it: factors and shifts of channels (batch norms), activations, residuals."""

from __future__ import annotations

import numpy as np

from .ir import Node
from .rewrite import View

DENSE = ("conv1d", "conv2d")
DEPTHWISE = ("depthwise_conv1d", "depthwise_conv2d")
ACTIVATION_OPS = ("relu", "gelu", "silu", "tanh", "sigmoid")


def bare(view: View, operand: str, *ops: str) -> Node | None:
    """The convolution (or product) behind an operand that nothing else reads and that has nothing behind it yet."""
    node = view.maker(operand, *(ops or (*DENSE, *DEPTHWISE, "linear")))
    if node is None or not view.only_once(operand):
        return None
    plain = node.attributes.get("activation", "none") == "none" and (len(node.inputs) < 4 or node.inputs[3] is None)
    return node if plain else None


def channel_row(view: View, node: Node, operand: str, other: str) -> np.ndarray | None:
    """A constant as one number for each channel of an operand, or None."""
    array, width = view.constant(other), view.shape(operand)[-1]
    if array is None or array.dtype != np.float32 or view.shape(node.outputs[0]) != view.shape(operand):
        return None
    if array.size == 1:
        return np.broadcast_to(array.reshape(-1), (width,))
    return array.reshape(-1) if array.size == width and array.shape[-1:] == (width,) else None


def bias_name(node: Node) -> str | None:
    return node.inputs[2] if len(node.inputs) > 2 else None


def conv_scale(view: View, node: Node) -> bool:
    """(convolution) * row: into weight and bias, where the weight serves this convolution alone."""
    if node.op != "mul":
        return False
    pair = view.split(node, lambda item: bare(view, item) is not None)
    row = None if pair is None else channel_row(view, node, *pair)
    if pair is None or row is None:
        return False
    conv = view.maker(pair[0])
    names = [conv.inputs[1], bias_name(conv)]
    if len(view.readers[names[0]]) != 1 or any(name is not None and view.constant(name) is None for name in names):
        return False
    weight = view.constant(names[0])
    columns = row if conv.op in DEPTHWISE else row[:, None]  # [taps, channels] or [outputs, inputs]
    operands = [conv.inputs[0], view.derived((names[0], "times", pair[1]), names[0], lambda: weight * columns)]
    if names[1] is not None:
        bias = view.constant(names[1])
        operands.append(view.derived((names[1], "times", pair[1]), names[1], lambda: bias * row))
    view.become(node, conv.op, operands, **conv.attributes)
    return True


def conv_bias(view: View, node: Node) -> bool:
    if node.op not in ("add", "sub"):
        return False
    pair = view.split(node, lambda item: bare(view, item, *DENSE, *DEPTHWISE) is not None)
    row = None if pair is None else channel_row(view, node, *pair)
    if pair is None or row is None or (node.op == "sub" and pair[0] != node.inputs[0]):
        return False
    conv = view.maker(pair[0])
    old = bias_name(conv)
    if old is not None and view.constant(old) is None:
        return False
    shift = -row if node.op == "sub" else row

    def bias() -> np.ndarray:
        return np.ascontiguousarray(shift if old is None else view.constant(old) + shift)

    name = view.derived((pair[1], old, node.op, "bias", len(row)), pair[1], bias)
    view.become(node, conv.op, [*conv.inputs[:2], name], **conv.attributes)
    return True


def conv_activation(view: View, node: Node) -> bool:
    if node.op not in ACTIVATION_OPS or (conv := bare(view, node.inputs[0], *DENSE, *DEPTHWISE)) is None:
        return False
    name = "gelu_tanh" if node.op == "gelu" and node.attributes.get("approximate", 0) else node.op
    view.become(node, conv.op, list(conv.inputs), **{**conv.attributes, "activation": name})
    return True


def conv_residual(view: View, node: Node) -> bool:
    """convolution + x of the same shape. The convolution moves behind whatever makes x."""
    if node.op != "add":
        return False
    for operand, other in (node.inputs, node.inputs[::-1]):
        conv = view.maker(operand, *DENSE)
        if conv is None or not view.only_once(operand) or len(conv.inputs) > 3:
            continue
        shape = view.shape(operand)
        if view.constant(other) is None and None not in shape and shape == view.shape(other):
            view.become(node, conv.op, [*conv.inputs[:2], bias_name(conv), other], **conv.attributes)
            return True
    return False


CONV_RULES = (conv_scale, conv_bias, conv_activation, conv_residual)
