"""How far a group's accumulator can be from the exact dot product (docs/pe_error_bound.md).

``error_bound`` is for a concrete group, ``worst_case`` for any group of a length. Both are in
units of the format before the scale; asymmetric formats add ``|2^(b-1) - z|`` times the bound of
``ONES``, the sum of the activations, to that of their recentred codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.activations import Fields
from hwsim.pe.arithmetic import MAX_GROUP, Arithmetic
from hwsim.pe.terms import TermTable
from quant.common import arguments
from quant.common.errors import RequestError

ONES = TermTable(
    format="ones",
    sign=np.zeros((1, 1, 1), np.uint8),
    man=np.ones((1, 1, 1), np.uint8),
    exp=np.zeros((1, 1, 1), np.uint8),
    significance=(0,),
    unit_exponent=0,
    offset=0,
    exponent_bits=2,
    has_value=np.ones((1, 1), np.bool_),
)
"""Terms of a column's activation sum: every weight is 1."""


@dataclass
class _Running:
    """What is known of an accumulator, in units of ``2^-point``.

    Attributes:
        reach: No exact sum of accumulator and step is above this.
        unit: No unit of the accumulator's last place is above this power of two.
        quantum: Every accumulator is a multiple of this power of two; 0 before the first step.
        lost: Truncations and floors so far.
    """

    reach: int = 0
    unit: int = 0
    quantum: int = 0
    lost: int = 0


def error_bound(
    fields: Fields, codes: NDArray[Any], selector: int, table: TermTable, rule: Arithmetic
) -> Fraction:
    """Return what ``|accumulator - exact dot product|`` of one group cannot exceed.

    Args:
        fields: Split activations, each ``[n]``.
        codes: Weight codes ``[n]``.
        selector: The group's table.
        table: Terms of the format.
        rule: Widths.

    Returns:
        The bound in units of the format (``2^unit_exponent``); 0 where no bit can be lost.

    Raises:
        RequestError: arrays of other lengths, a selector or code that the format does not have.
    """
    _check(table, rule)
    arguments.one_of("fields", fields, Fields, "the Fields of activations")
    arguments.one_of("codes", codes, np.ndarray, "an array of codes")
    if codes.dtype.kind not in "iu":
        raise arguments.wrong_type("codes", codes, f"an array of whole numbers, not {codes.dtype},")
    selector = arguments.integer("selector", selector, 0)
    shape = codes.shape
    if codes.ndim != 1 or fields.exponent.shape != shape:
        raise RequestError(f"activations {fields.exponent.shape} and codes {shape}: [n] is needed")
    selectors, count = table.man.shape[:2]
    if not 0 <= selector < selectors or (
        codes.size and not 0 <= codes.min() <= codes.max() < count
    ):
        raise RequestError(f"{table.format} has selectors 0..{selectors - 1}, codes 0..{count - 1}")
    exponent, mantissa = (part.astype(np.int64) for part in (fields.exponent, fields.mantissa))
    state = _Running()
    for start in range(0, len(codes), rule.lanes):
        block = slice(start, start + rule.lanes)
        for step, shift in enumerate(table.significance):
            at = (selector, codes[block], step)
            there = (table.man[at] > 0) & (mantissa[block] > 0)
            places = (exponent[block] + table.exp[at])[there]
            if places.size:
                _step(state, places.tolist(), mantissa[block][there].tolist(), shift, rule)
    return Fraction(state.lost) / Fraction(2) ** rule.point


def _check(table: TermTable, rule: Arithmetic) -> None:
    arguments.one_of("table", table, TermTable, "a TermTable")
    arguments.one_of("rule", rule, Arithmetic, "an Arithmetic")


def _step(
    state: _Running, places: list[int], mantissas: list[int], shift: int, rule: Arithmetic
) -> None:
    """Take one step that has a product: product ``i`` is ``mantissas[i] * 2^places[i]``."""
    largest, guard = max(places), rule.guard_bits
    exact = [m << (v + guard) for m, v in zip(mantissas, places, strict=True)]
    cut = sum(
        min(p, (1 << largest) - (1 << (v + guard)))
        for p, v in zip(exact, places, strict=True)
        if v + guard < largest
    )
    quantum = 1 << (min(max(v + guard, largest) for v in places) + shift)
    state.quantum = min(state.quantum or quantum, quantum)
    state.reach += sum(exact) << shift
    normalized = 2 * state.reach // (2**rule.accumulator_bits - 1)
    state.unit = max(state.unit, 1 << largest, 1 << normalized.bit_length() >> 1)
    floor = max(0, state.unit - state.quantum)
    state.reach += floor
    state.lost += (cut << shift) + floor


def worst_case(rule: Arithmetic, table: TermTable, group: int) -> float:
    """Return what the error of any group of that many weights cannot exceed.

    It is relative to the sum of ``|activation * weight|`` of the group; 0 where INT8 activations
    fit the accumulator whole.

    Raises:
        RequestError: a group of fewer weights than 1 or more than ``MAX_GROUP``.
    """
    _check(table, rule)
    group = arguments.integer("group", group, 1, MAX_GROUP)
    if _is_exact(rule, table, group):
        return 0.0
    steps = -(-group // rule.lanes) * table.steps
    unit, epsilon = relative_unit(rule, table), 2 / (2**rule.accumulator_bits - 1)
    terms, last = longest_sum(table), unit * coarsest_unit(table)
    linear = min(steps, math.ceil((last / epsilon - terms) / last)) if last > terms * epsilon else 0
    reach = terms + linear * last
    growth = math.expm1((steps - linear) * math.log1p(epsilon))
    truncated = (min(rule.lanes, group) - 1) * unit * terms
    return truncated + linear * last + growth * reach


def relative_unit(rule: Arithmetic, table: TermTable) -> float:
    """Return the largest unit of a step over its largest product, where bits below it can be lost.

    A normal mantissa has its leading one; subnormals and integers may be 1, but then the exponents
    of products that lose bits can only differ by those of the terms.
    """
    used = table.exp[table.man > 0]
    spread = int(used.max()) - int(used.min()) if used.size else 0
    small = 2.0**-rule.guard_bits if spread > rule.guard_bits else 0.0
    if rule.activations.element is None:
        return small
    return max(small, 2.0 ** -(rule.guard_bits + rule.activations.mantissa_bits - 1))


def _is_exact(rule: Arithmetic, table: TermTable, group: int) -> bool:
    """Whether integers lose no bit: neither in the alignment nor by a normalization."""
    if rule.activations.element is not None or relative_unit(rule, table) > 0:
        return False
    largest = group * 128 * int(_sizes(table).sum(axis=2).max())
    return largest << rule.guard_bits < 1 << rule.accumulator_bits


def _sizes(table: TermTable) -> NDArray[np.int64]:
    """Magnitudes of all terms, ``[selectors, codes, steps]``."""
    places = table.exp.astype(np.int64) + np.array(table.significance, np.int64)
    return table.man.astype(np.int64) << places


def longest_sum(table: TermTable) -> float:
    """Return the largest ``sum of |terms| / |level|`` of a code: 3 for Booth digits (2 = 4 - 2)."""
    total, level = _sizes(table).sum(axis=2), _levels(table)
    return float((total[level > 0] / level[level > 0]).max())


def coarsest_unit(table: TermTable) -> float:
    """Return the largest ``2^exp / |level|`` of a code, significances left out: mostly 1."""
    powers = (table.man.astype(np.int64) << table.exp).max(axis=2)
    level = _levels(table)
    return float((powers[level > 0] / level[level > 0]).max())


def _levels(table: TermTable) -> NDArray[np.int64]:
    """Magnitudes of all levels, ``[selectors, codes]``."""
    sizes = _sizes(table)
    return np.asarray(np.abs(np.where(table.sign > 0, -sizes, sizes).sum(axis=2)))
