"""Recognizes attention that is spelled out as products and a softmax, simplifies masks, and packs q, k and v.

Masks: `(1 - mask) * -10000` and the like become the mask itself, nonzero = attend. That changes one thing: a row that
may attend to nothing gives zeros where the source averages over what it was told to ignore.
"""

from __future__ import annotations

import os

import numpy as np

from .ir import Node, Shape, Value
from .rewrite import SHAPE_OPS, View, broadcast, scaled

CLOSED = -9e3  # a score this low has no weight left in float32, whatever the others are


# Attention from products.


def closes(view: View, operand: str) -> bool:
    number = view.scalar(operand)
    return number is not None and number <= CLOSED


def opened_scores(view: View, operand: str) -> tuple[Node, float, list[tuple[str, str]]] | None:
    """(product, factor, masks) behind the operand of a softmax. A mask is ("add" | "keep" | "drop", operand)."""
    factor, masks = 1.0, []
    while True:
        operand, number = scaled(view, operand)
        factor *= number
        node = view.maker(operand, "matmul", "add", "where")
        if node is None or (node.op != "matmul" and factor != 1):
            return None  # the factor would have to be applied to a mask too
        if node.op == "matmul":
            return node, factor * node.attributes.get("scale", 1.0), masks
        if node.op == "where":
            condition, yes, no = node.inputs
            if closes(view, no):
                masks.append(("keep", condition))
                operand = yes
            elif closes(view, yes):
                masks.append(("drop", condition))
                operand = no
            else:
                return None
            continue
        sides = [item for item in node.inputs if opened_scores(view, item) is not None]
        if len(sides) != 1:
            return None
        operand = sides[0]
        masks.append(("add", next(item for item in node.inputs if item != operand)))


def ungrouped(view: View, operand: str, heads: int) -> str:
    """[B, G, T, d] where the operand [B, H, T, d] repeats each of G heads of keys."""
    outer = view.maker(operand, "reshape")
    repeated = view.maker(outer.inputs[0], "expand") if outer is not None else None
    if repeated is None:
        return operand
    narrow, wide = view.shape(repeated.inputs[0]), view.shape(repeated.outputs[0])
    source = view.maker(repeated.inputs[0], "reshape", "unsqueeze")
    if len(narrow) != 5 or narrow[2] != 1 or source is None or view.rank(source.inputs[0]) != 4:
        return operand
    groups = view.shape(source.inputs[0])
    if groups != narrow[:2] + narrow[3:] or wide[1] * wide[2] != heads or wide[3:] != narrow[3:]:
        return operand
    return source.inputs[0]


def attention(view: View, node: Node) -> bool:
    """softmax(q k^T * scale + mask) v with operands [B, H, T, d]."""
    soft = view.maker(node.inputs[0], "softmax") if node.op == "matmul" else None
    if soft is None or node.attributes.get("transpose_b", 0) or node.attributes.get("scale", 1.0) != 1:
        return False
    found = opened_scores(view, soft.inputs[0])
    if found is None or view.rank(node.inputs[0]) != 4 or soft.attributes.get("axis", -1) not in (-1, 3):
        return False
    product, factor, masks = found
    (q, of_q), (k, of_k), v = *(scaled(view, item) for item in product.inputs), node.inputs[1]
    if any(view.rank(item) != 4 or None in view.shape(item) for item in (q, k, v)):
        return False
    if not product.attributes.get("transpose_b", 0):
        k = turned(view, node, k)
    (batch, heads, rows, width), keys = view.shape(q), view.shape(k)[2]
    if not isinstance(heads, int) or not isinstance(width, int):
        return False
    k, v = ungrouped(view, k, heads), ungrouped(view, v, heads)
    groups = view.shape(k)[1]
    if view.shape(k) != (batch, groups, keys, width) or view.shape(v) != view.shape(k):
        return False
    mask = None
    if masks:
        mask = joined_mask(view, node, masks, (batch, heads, rows, keys))
        if mask is None:
            return False
    operands: list[str | None] = [merged_heads(view, node, item) for item in (q, k, v)]
    if mask is not None:
        operands.append(mask)
    value = Value(f"{node.outputs[0]}_heads", "float32", (batch, rows, heads * width))
    flags = {"heads": heads, "kv_heads": groups, "scale": factor * of_q * of_k, "causal": 0}
    out = view.insert(node, "attention", operands, value, **flags)
    split = Value(f"{node.outputs[0]}_split", "float32", (batch, rows, heads, width))
    out = view.insert(node, "reshape", [out], split, shape=list(split.shape))
    view.become(node, "transpose", [out], perm=[0, 2, 1, 3])
    return True


def turned(view: View, node: Node, operand: str) -> str:
    """[B, H, d, T] -> [B, H, T, d]."""
    maker = view.maker(operand, "transpose")
    if maker is not None and list(maker.attributes["perm"]) == [0, 1, 3, 2]:
        return maker.inputs[0]
    shape = view.shape(operand)
    value = Value(f"{operand}_turned", "float32", (shape[0], shape[1], shape[3], shape[2]))
    return view.insert(node, "transpose", [operand], value, perm=[0, 1, 3, 2])


def merged_heads(view: View, node: Node, operand: str) -> str:
    """[B, H, T, d] -> [B, T, H d]."""
    batch, heads, rows, width = view.shape(operand)
    value = Value(f"{operand}_rows", "float32", (batch, rows, heads, width))
    rows_first = view.insert(node, "transpose", [operand], value, perm=[0, 2, 1, 3])
    value = Value(f"{operand}_merged", "float32", (batch, rows, heads * width))
    return view.insert(node, "reshape", [rows_first], value, shape=list(value.shape))


def joined_mask(view: View, node: Node, masks: list[tuple[str, str]], scores: Shape) -> str | None:
    """One mask with four dimensions of which the last is that of the keys, or None where they do not fit together."""
    kinds = {"add" if kind == "add" else "bool" for kind, _ in masks}
    if len(kinds) != 1:
        return None
    joined = None
    for kind, operand in masks:
        if kind == "drop":
            value = Value(f"{operand}_kept", "bool", view.shape(operand))
            operand = view.insert(node, "not", [operand], value)
        if joined is None:
            joined = operand
            continue
        shape = broadcast(view.shape(joined), view.shape(operand))
        if shape is None:
            return None
        value = Value(f"{joined}_joined", view.graph.dtype_of(joined), shape)
        joined = view.insert(node, "add" if kind == "add" else "and", [joined, operand], value)
    shape = view.shape(joined)
    shape = (1,) * (4 - len(shape)) + tuple(shape)
    if len(shape) != 4 or any(one not in (1, other) for one, other in zip(shape, scores, strict=True)):
        return None
    dtype = view.graph.dtype_of(joined)
    if shape != view.shape(joined):
        joined = view.insert(node, "reshape", [joined], Value(f"{joined}_full", dtype, shape), shape=list(shape))
    if shape[3] != scores[3]:
        shape = (*shape[:3], scores[3])
        joined = view.insert(node, "expand", [joined], Value(f"{joined}_wide", dtype, shape), shape=list(shape))
    return joined


# Masks.


def indicator(view: View, node: Node, operand: str) -> str | None:
    """The bool or integer operand whose truth a float operand holds as 0 and 1."""
    maker = view.maker(operand, "cast", *SHAPE_OPS)
    if maker is None:
        return None
    if maker.op != "cast":
        inner = indicator(view, node, maker.inputs[0])
        return None if inner is None else same_view(view, node, maker, inner)
    return maker.inputs[0] if view.graph.dtype_of(maker.inputs[0]) != "float32" else None


def same_view(view: View, node: Node, maker: Node, operand: str) -> str:
    """The view that `maker` takes of its operand, taken of another operand of the same shape."""
    if view.graph.dtype_of(operand) == view.graph.dtype_of(maker.inputs[0]) and operand == maker.inputs[0]:
        return maker.outputs[0]
    value = Value(f"{maker.outputs[0]}_kept", view.graph.dtype_of(operand), view.shape(maker.outputs[0]))
    return view.insert(node, maker.op, [operand], value, **maker.attributes)


def kept(view: View, node: Node, operand: str) -> str | None:
    """The bool or integer operand that says where an additive mask lets scores through, or None."""
    maker = view.maker(operand, "mul", "where", *SHAPE_OPS)
    if maker is None:
        return None
    if maker.op == "where":
        condition, yes, no = maker.inputs
        if view.scalar(yes) == 0 and closes(view, no):
            return condition
        if view.scalar(no) == 0 and closes(view, yes):
            value = Value(f"{condition}_kept", "bool", view.shape(condition))
            return view.insert(node, "not", [condition], value)
        return None
    if maker.op == "mul":
        pair = view.split(maker, lambda item: closes(view, item))
        inverse = view.maker(pair[1], "sub") if pair is not None else None
        if inverse is None or view.scalar(inverse.inputs[0]) != 1:
            return None
        return indicator(view, node, inverse.inputs[1])
    inner = kept(view, node, maker.inputs[0])
    return None if inner is None else same_view(view, node, maker, inner)


def mask_place(node: Node) -> int | None:
    """Where an attention node has its mask."""
    place = 1 if node.attributes.get("packed", 0) else 3
    return place if node.op == "attention" and len(node.inputs) > place and node.inputs[place] is not None else None


def replace_mask(view: View, node: Node, mask: str) -> bool:
    inputs = list(node.inputs)
    inputs[mask_place(node)] = mask
    view.become(node, "attention", inputs, **node.attributes)
    return True


def boolean_mask(view: View, node: Node) -> bool:
    """An additive mask of 0 and "never" becomes the truth that it was made from."""
    if (place := mask_place(node)) is None or view.graph.dtype_of(node.inputs[place]) != "float32":
        return False
    truth = kept(view, node, node.inputs[place])
    if truth is None or view.shape(truth) != view.shape(node.inputs[place]):
        return False
    return replace_mask(view, node, truth)


def bare_mask(view: View, node: Node) -> bool:
    """Takes casts, broadcasts and added dimensions off a mask that attention reads as it is."""
    if (place := mask_place(node)) is None or view.graph.dtype_of(node.inputs[place]) == "float32":
        return False
    mask = node.inputs[place]
    maker = view.maker(mask, "cast", "expand", "reshape", "unsqueeze")
    if maker is None:
        return False
    source, shape = maker.inputs[0], view.shape(mask)
    inner = view.shape(source)
    if maker.op == "cast":
        return view.graph.dtype_of(source) != "float32" and replace_mask(view, node, source)
    if maker.op == "expand":
        return len(inner) == len(shape) and inner[-1] == shape[-1] and replace_mask(view, node, source)
    batch, keys = view.shape(node.inputs[0])[0], shape[-1]
    if view.graph.dtype_of(source) != "float32" and inner == (batch, keys) and shape == (batch, 1, 1, keys):
        return replace_mask(view, node, source)
    return cast_outside(view, node, maker)


def counted_mask(view: View, node: Node) -> bool:
    """not (x == 0), for integers x, is x itself to attention."""
    place = mask_place(node)
    negation = view.maker(node.inputs[place], "not") if place is not None else None
    test = view.maker(negation.inputs[0], "equal") if negation is not None else None
    pair = view.split(test, lambda item: view.scalar(item) == 0) if test is not None else None
    if pair is None or view.graph.dtype_of(pair[1]) not in ("int32", "int64"):
        return False
    return view.shape(pair[1]) == view.shape(node.inputs[place]) and replace_mask(view, node, pair[1])


def cast_outside(view: View, node: Node, maker: Node) -> bool:
    """view(cast(x)) -> view(x), for a mask whose truth the cast does not change."""
    inner = view.maker(maker.inputs[0], "cast")
    if inner is None or view.graph.dtype_of(inner.inputs[0]) == "float32":
        return False
    return replace_mask(view, node, same_view(view, node, maker, inner.inputs[0]))


# q, k and v of one input.


def common_name(names: list[str], middle: str) -> str:
    """`a.query.w`, `a.key.w` -> `a.<middle>.w`."""
    head = os.path.commonprefix(names)
    tail = os.path.commonprefix([name[len(head) :][::-1] for name in names])[::-1]
    return f"{head}{middle}{tail}"


def pack_qkv(view: View, node: Node) -> bool:
    """Three products of one input that only attention reads become one, and attention reads its parts in place."""
    if node.op != "attention" or node.attributes.get("packed", 0):
        return False
    linears = [view.maker(item, "linear") for item in node.inputs[:3]]
    if None in linears or len({item.inputs[0] for item in linears}) != 1:
        return False
    for linear in linears:
        plain = linear.attributes.get("activation", "none") == "none" and len(linear.inputs) < 4
        if not plain or not view.only_once(linear.outputs[0]) or view.constant(linear.inputs[1]) is None:
            return False
    names = [linear.inputs[1] for linear in linears]
    if len(set(names)) != 3:
        return False
    biases = [linear.inputs[2] if len(linear.inputs) > 2 else None for linear in linears]
    if any(name is not None and view.constant(name) is None for name in biases):
        return False
    operands: list[str | None] = [linears[0].inputs[0]]
    stack = [view.constant(name) for name in names]
    operands.append(view.derived(("qkv", *names), common_name(names, "qkv"), lambda: np.concatenate(stack)))
    if any(name is not None for name in biases):
        zeros = [np.zeros(len(weight), np.float32) for weight in stack]
        rows = [zero if name is None else view.constant(name) for name, zero in zip(biases, zeros, strict=True)]
        label = common_name([name for name in biases if name is not None], "qkv")
        operands.append(view.derived(("qkv", *biases), label, lambda: np.concatenate(rows)))
    shape = (*view.shape(node.inputs[0])[:-1], sum(len(weight) for weight in stack))
    packed = view.insert(node, "linear", operands, Value(f"{node.outputs[0]}_qkv", "float32", shape))
    view.become(node, "attention", [packed, *node.inputs[3:4]], **node.attributes, packed=1)
    return True


ATTENTION_RULES = (attention,)
MASK_RULES = (boolean_mask, bare_mask, counted_mask)
PACK_RULES = (pack_qkv,)
