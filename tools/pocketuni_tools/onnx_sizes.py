"""Arithmetic on sizes of dimensions, as ONNX graphs compute them: `Shape`, `Gather`, `Mul`, `Concat`, `Reshape`.

A size is a polynomial of named dimensions with integer coefficients. What is none (a quotient that does not come out
even, say) becomes a symbol of its own, so that the same computation gives the same size again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

OPAQUE = "?"  # starts the name of a symbol that is not a named dimension


class Undecided(ValueError):
    """A question about sizes has different answers for different inputs."""


class Size:
    """terms: names of the factors (sorted) -> coefficient; the empty tuple holds the constant. Named dimensions are
    never negative, which is used to decide comparisons."""

    __slots__ = ("terms",)

    def __init__(self, value: int | str | dict[tuple[str, ...], int]):
        if isinstance(value, str):
            value = {(value,): 1}
        elif not isinstance(value, dict):
            value = {(): int(value)}
        self.terms = {factors: number for factors, number in value.items() if number}

    @property
    def constant(self) -> int | None:
        """The number that this size is for all inputs, or None."""
        return self.terms.get((), 0) if self.terms.keys() <= {()} else None

    @property
    def dim(self) -> int | str | None:
        """A number, the name of a dimension, or None, as `ir.Shape` has it."""
        if self.constant is not None:
            return self.constant
        ((factors, number), *rest) = self.terms.items()
        plain = not rest and number == 1 and len(factors) == 1 and not factors[0].startswith(OPAQUE)
        return factors[0] if plain else None

    def __add__(self, other: Size | int) -> Size:
        terms = dict(self.terms)
        for factors, number in size(other).terms.items():
            terms[factors] = terms.get(factors, 0) + number
        return Size(terms)

    def __neg__(self) -> Size:
        return Size({factors: -number for factors, number in self.terms.items()})

    def __sub__(self, other: Size | int) -> Size:
        return self + -size(other)

    def __mul__(self, other: Size | int) -> Size:
        terms: dict[tuple[str, ...], int] = {}
        for left, a in self.terms.items():
            for right, b in size(other).terms.items():
                factors = tuple(sorted(left + right))
                terms[factors] = terms.get(factors, 0) + a * b
        return Size(terms)

    def __floordiv__(self, other: Size | int) -> Size:
        other = size(other)
        if self.constant is not None and other.constant:
            return Size(self.constant // other.constant)
        exact = self._exact(other)
        return exact if exact is not None else Size(f"{OPAQUE}({self}) / ({other})")

    def _exact(self, other: Size) -> Size | None:
        """The quotient where the divisor is one product that divides every term."""
        if self.terms and self.terms == other.terms:
            return Size(1)
        if len(other.terms) != 1:
            return None
        ((divisor, number),) = other.terms.items()
        terms = {}
        for factors, coefficient in self.terms.items():
            left = list(factors)
            for name in divisor:
                if name not in left:
                    return None
                left.remove(name)
            if coefficient % number:
                return None
            terms[tuple(left)] = coefficient // number
        return Size(terms)

    def sign(self) -> int:
        """-1, 0 or 1 where it is the same for all sizes of the dimensions, else raises `Undecided`."""
        numbers = set(np.sign(list(self.terms.values())))
        if not numbers:
            return 0
        if len(numbers) == 1 and () in self.terms:
            return int(numbers.pop())
        raise Undecided(f"whether {self} is zero or negative depends on the inputs")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Size, int)) and self.terms == size(other).terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __str__(self) -> str:
        parts = []
        for factors, number in sorted(self.terms.items(), reverse=True):
            names = " ".join(name.removeprefix(OPAQUE) for name in factors)
            parts.append(names if number == 1 and names else f"{number} {names}".strip())
        return " + ".join(parts) or "0"

    __repr__ = __str__


def size(value: Size | int | str) -> Size:
    return value if isinstance(value, Size) else Size(value)


def product(sizes: Iterable[Size]) -> Size:
    result = Size(1)
    for item in sizes:
        result = result * item
    return result


def broadcast(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """NumPy's rule. Of two names, either may turn out to be 1: that gives a symbol. Raises ValueError for sizes that
    never fit."""
    result: list[Size] = []
    for shape in shapes:
        result = [Size(1)] * (len(shape) - len(result)) + result
        for place, other in enumerate(shape, len(result) - len(shape)):
            mine = result[place]
            if mine == other or other == 1:
                continue
            if mine == 1 or (other.constant is not None and mine.constant is None):
                result[place] = other
            elif mine.constant is None and other.constant is None:
                result[place] = Size(f"{OPAQUE}({mine}) with ({other})")
            elif mine.constant is not None and other.constant is not None:
                raise ValueError(f"sizes {mine} and {other} do not broadcast")
    return tuple(result)


# Arrays of sizes: NumPy arrays of dtype object, whose elements are `Size`.


def sizes_array(values: Any) -> np.ndarray:
    """Ints, Sizes or an integer array -> an object array of the same shape."""
    source = np.asarray(values, dtype=object)
    result = np.empty(source.shape, dtype=object)
    for index in np.ndindex(source.shape):
        result[index] = size(source[index])
    return result


def settle(array: np.ndarray) -> np.ndarray:
    """An object array as int64 or bool where every element is known, else as it is."""
    items = [item.constant if isinstance(item, Size) else item for item in array.reshape(-1)]
    if any(item is None for item in items):
        return array
    flags = bool(items) and all(isinstance(item, (bool, np.bool_)) for item in items)
    return np.array(items, dtype=bool if flags else np.int64).reshape(array.shape)


def divide(a: Size, b: Size) -> Size:
    if b.constant == 0:
        raise Undecided("a size is divided by zero")
    if a.constant is not None and b.constant is not None:  # ONNX rounds towards zero
        return Size(abs(a.constant) // abs(b.constant) * (1 if a.constant * b.constant >= 0 else -1))
    return a // b


def smaller(a: Size, b: Size) -> Size:
    return a if a == b or (a - b).sign() < 0 else b


def larger(a: Size, b: Size) -> Size:
    return a if a == b or (a - b).sign() > 0 else b


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": divide,
    "Min": smaller,
    "Max": larger,
    "Neg": lambda a: -a,
    "Equal": lambda a, b: (a - b).sign() == 0,
    "Less": lambda a, b: (a - b).sign() < 0,
    "LessOrEqual": lambda a, b: (a - b).sign() <= 0,
    "Greater": lambda a, b: (a - b).sign() > 0,
    "GreaterOrEqual": lambda a, b: (a - b).sign() >= 0,
}


def compute(op: str, *arrays: np.ndarray) -> np.ndarray:
    """One of `FUNCTIONS`, element by element with broadcasting. Raises `Undecided`."""
    operands = [sizes_array(array) for array in arrays]
    return settle(np.asarray(np.frompyfunc(FUNCTIONS[op], len(operands), 1)(*operands), dtype=object))
