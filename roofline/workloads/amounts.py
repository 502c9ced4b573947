"""Amounts of work as data: linear combinations of small expressions in the step's variables.

An op says once how its work grows with the step (sequences, new and cached tokens, on-chip
bytes). The same data is evaluated for one step, for a million steps at once, and by the HTML
page, which gets it as JSON: there is no second copy of a formula.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Expr: TypeAlias = "str | float | tuple[Any, ...]"
"""A variable, a number, or ``(operator, operand, operand)``; JSON arrays mean the same."""

VARIABLES = ("batch", "queries", "past", "onchip")
UNBOUNDED = 1e30
"""On-chip bytes of a machine that keeps everything: each operand crosses once."""


class Step(NamedTuple):
    """What one forward pass does.

    Attributes:
        batch: Sequences.
        queries: New tokens of each sequence.
        past: Cached tokens of each sequence.
        onchip: Bytes that stay on the chip between uses (decides what is read again).
    """

    batch: float
    queries: float
    past: float
    onchip: float = UNBOUNDED


@dataclass(frozen=True)
class Amount:
    """``sum(coefficient * expression)``; adds, and multiplies by numbers."""

    terms: tuple[tuple[Expr, float], ...] = ()

    def __add__(self, other: Amount) -> Amount:
        """Return the sum; equal expressions are gathered."""
        gathered = dict(self.terms)
        for expr, value in other.terms:
            gathered[expr] = gathered.get(expr, 0.0) + value
        return Amount(tuple((expr, value) for expr, value in gathered.items() if value))

    def __sub__(self, other: Amount) -> Amount:
        """Return the difference."""
        return self + other * -1.0

    def __mul__(self, factor: float) -> Amount:
        """Return the amount times a number."""
        if not factor:
            return NOTHING
        return Amount(tuple((expr, value * factor) for expr, value in self.terms))

    __rmul__ = __mul__

    def at(self, step: Step) -> float:
        """Return the number for one step."""
        return float(sum(value * _compiled(expr, False)(step) for expr, value in self.terms))


NOTHING = Amount()


def amount(expr: Expr) -> Amount:
    """Return one expression as an amount."""
    return Amount(((expr, 1.0),))


ONE = amount(1.0)
SEQUENCES = amount("batch")
TOKENS = amount(("*", "batch", "queries"))
LENGTH: Expr = ("+", "past", "queries")

Function: TypeAlias = Callable[[Any], Any]
_SCALAR: Mapping[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "floor": math.floor,
    "ceil": math.ceil,
    "pow": math.pow,
}
_ARRAY: Mapping[str, Callable[..., Any]] = {
    "min": np.minimum,
    "max": np.maximum,
    "floor": np.floor,
    "ceil": np.ceil,
    "pow": np.power,
}
_ARITHMETIC: Mapping[str, Callable[[Function, Function], Function]] = {
    "+": lambda a, b: lambda step: a(step) + b(step),
    "-": lambda a, b: lambda step: a(step) - b(step),
    "*": lambda a, b: lambda step: a(step) * b(step),
    "/": lambda a, b: lambda step: a(step) / b(step),
}


@cache
def _compiled(expr: Expr, arrays: bool) -> Function:
    """Return a function of the step: nested closures, nothing is executed from text."""
    if isinstance(expr, str):
        return operator.itemgetter(VARIABLES.index(expr))
    if not isinstance(expr, tuple):
        number = float(expr)
        return lambda step: number
    name, *rest = expr
    operands = [_compiled(operand, arrays) for operand in rest]
    if name in _ARITHMETIC:
        return _ARITHMETIC[name](*operands)
    function = (_ARRAY if arrays else _SCALAR)[name]
    if len(operands) == 1:
        (inner,) = operands
        return lambda step: function(inner(step))
    first, second = operands
    return lambda step: function(first(step), second(step))


class Basis:
    """The expressions that a set of amounts uses, and the amounts as rows of coefficients."""

    def __init__(self, amounts: Iterable[Amount]) -> None:
        """Gather the expressions of ``amounts``."""
        rows = list(amounts)
        self.exprs = tuple(dict.fromkeys(expr for row in rows for expr, _ in row.terms)) or (1.0,)
        index = {expr: i for i, expr in enumerate(self.exprs)}
        self.coefficients = np.zeros((len(rows), len(self.exprs)))
        for i, row in enumerate(rows):
            for expr, value in row.terms:
                self.coefficients[i, index[expr]] = value
        self._scalar = [_compiled(expr, False) for expr in self.exprs]
        self._array = [_compiled(expr, True) for expr in self.exprs]

    def at(self, step: Step) -> npt.NDArray[np.float64]:
        """Return the expressions' values for one step, ``[expressions]``."""
        return np.array([function(step) for function in self._scalar])

    def over(self, steps: tuple[npt.NDArray[np.float64], ...]) -> npt.NDArray[np.float64]:
        """Return the values for arrays of the variables, ``[points, expressions]``."""
        out = np.empty((len(steps[0]), len(self.exprs)))
        for i, function in enumerate(self._array):
            out[:, i] = function(steps)
        return out


def visible(window: int | None = None, chunk: int | None = None, causal: bool = True) -> Expr:
    """Return the query-key pairs that the mask leaves, of one head of one sequence.

    Args:
        window: A token sees itself and the ``window - 1`` before it.
        chunk: A token sees the tokens of its own chunk up to itself (Llama 4).
        causal: Whether later tokens are masked.
    """
    if not causal:
        return ("*", "queries", LENGTH)
    if chunk:
        return ("-", _chunk_pairs(LENGTH, chunk), _chunk_pairs("past", chunk))
    if not window:
        return ("*", "queries", ("+", "past", ("/", ("+", "queries", 1.0), 2.0)))
    early: Expr = ("min", ("max", ("-", float(window), "past"), 0.0), "queries")
    triangle: Expr = ("*", early, ("+", "past", ("/", ("+", early, 1.0), 2.0)))
    return ("+", triangle, ("*", ("-", "queries", early), float(window)))


def keys_read(window: int | None = None, chunk: int | None = None) -> Expr:
    """Return how many keys of one sequence the new tokens see together."""
    if chunk:
        start: Expr = ("*", float(chunk), ("floor", ("/", "past", float(chunk))))
        return ("-", LENGTH, start)
    if not window:
        return LENGTH
    return ("+", ("min", "past", float(window - 1)), "queries")


def _chunk_pairs(length: Expr, chunk: int) -> Expr:
    whole: Expr = ("floor", ("/", length, float(chunk)))
    rest: Expr = ("-", length, ("*", whole, float(chunk)))
    full = chunk * (chunk + 1) / 2
    return ("+", ("*", whole, full), ("/", ("*", rest, ("+", rest, 1.0)), 2.0))


def blocked_keys(
    row_bytes: float, window: int | None = None, chunk: int | None = None, causal: bool = True
) -> Expr:
    """Return the keys of one sequence that flash attention reads, block of queries by block.

    A block has ``onchip / (4 * row_bytes)`` queries (Dao et al. 2022, algorithm 1: a quarter each
    for Q, K, V and O) and reads all keys up to its last query (later ones are skipped).

    Args:
        row_bytes: Bytes of one head's key.
        window: As for ``visible``.
        chunk: As for ``visible``.
        causal: As for ``visible``.
    """
    rows: Expr = ("max", ("floor", ("/", "onchip", 4.0 * row_bytes)), 1.0)
    blocks: Expr = ("max", ("ceil", ("/", "queries", rows)), 1.0)
    once = keys_read(window, chunk)
    if not causal:
        return ("*", blocks, once)
    before: Expr = ("-", blocks, 1.0)
    earlier: Expr = ("+", "past", ("/", ("*", rows, blocks), 2.0))
    total: Expr = ("+", LENGTH, ("*", before, earlier))
    limit = window or chunk
    if not limit:
        return total
    return ("min", total, ("+", ("*", before, float(limit)), once))


def distinct_experts(experts: int, chosen: int, replicas: float = 1.0) -> Expr:
    """Return the expected number of experts that the new tokens use, routed evenly.

    Args:
        experts: Experts.
        chosen: Experts of a token.
        replicas: Groups of devices whose tokens meet at the experts, each with its own batch.
    """
    tokens: Expr = ("*", ("*", "batch", "queries"), float(replicas))
    missed: Expr = ("pow", 1.0 - chosen / experts, tokens)
    return ("*", float(experts), ("-", 1.0, missed))


def per_sequence(expr: Expr) -> Amount:
    """Return an expression of one sequence times the sequences."""
    return amount(("*", "batch", expr))


def as_expr(value: Amount) -> Expr:
    """Return an amount as one expression."""
    parts: list[Expr] = [("*", expr, float(c)) if c != 1 else expr for expr, c in value.terms]
    whole: Expr = parts[0] if parts else 0.0
    for part in parts[1:]:
        whole = ("+", whole, part)
    return whole


def round_up(value: Amount, multiple: int) -> Amount:
    """Return an amount rounded up to whole multiples."""
    return amount(("*", ("ceil", ("/", as_expr(value), float(multiple))), float(multiple)))


def substitute(value: Amount, names: Mapping[str, Expr]) -> Amount:
    """Return an amount with expressions in the place of variables."""

    def swap(expr: Expr) -> Expr:
        if isinstance(expr, str):
            return names.get(expr, expr)
        if isinstance(expr, tuple):
            return (expr[0], *(swap(operand) for operand in expr[1:]))
        return expr

    return Amount(tuple((swap(expr), number) for expr, number in value.terms))
