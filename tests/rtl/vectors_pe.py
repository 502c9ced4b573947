"""Vectors of the PE, clock by clock, with results by ``hwsim.pe.reference``."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hwsim.pe import reference
from hwsim.pe.arithmetic import Arithmetic
from tests.rtl.lanes import packed
from tests.rtl.vectors import Case


def element(rule: Arithmetic, clocks: int) -> Iterator[Case]:
    """The PE clock by clock: random control that the tile could give, by ``hwsim.pe.reference``."""
    rng, form = random.Random(5), rule.activations
    mantissa_bits, exponent_bits = rule.accumulator_bits + 1, rule.accumulator_exponent_bits
    step: tuple[int, int] | None = None
    partial: reference.Partial | None = None
    chain: reference.Partial | None = None
    center = 1 + form.largest_exponent // 2
    for clock in range(clocks):
        if rng.random() < 0.05:
            center = rng.randint(1, form.largest_exponent)
        spread = rng.choice([0, 1, 2, 4, 12, form.largest_exponent])
        given, result = _operands(rng, center, spread, rule)
        first = clock == 1 or rng.random() < 0.12
        accumulate = clock > 0 and (first or rng.random() < 0.85)
        significance = rng.randrange(7)
        # Now and then equal powers of two: their sums reach the least number of the width.
        since = clock % 16
        if since < 4:
            given, result = _powers(rng, center, rule)
        if 1 <= since <= 4:
            first, accumulate, significance = since == 1, True, 6
        load = (first or not accumulate) and rng.random() < 0.6
        shift = rng.random() < 0.5
        half = 1 << rule.accumulator_bits
        incoming = reference.Partial(rng.randrange(-half, half), rng.getrandbits(exponent_bits))
        given |= {
            "step_control_i.load": int(load), "step_control_i.significance": significance,
            "step_control_i.first": int(first), "step_control_i.accumulate": int(accumulate),
            "shift_i": int(shift), "chain_mantissa_i": incoming.mantissa & (1 << mantissa_bits) - 1,
            "chain_exponent_i": incoming.exponent,
        }  # fmt: skip
        wanted = {}
        if chain is not None:
            wanted = {"chain_mantissa_o": chain.mantissa & (1 << mantissa_bits) - 1}
            wanted["chain_exponent_o"] = chain.exponent
        yield given, wanted
        chain = partial if load else incoming if shift else chain
        if accumulate:
            partial = reference.Partial() if first else partial
            if step is not None and partial is not None:
                partial = reference.accumulate(partial, step[0] << significance, step[1], rule)
        step = result


def _operands(
    rng: random.Random, center: int, spread: int, rule: Arithmetic
) -> tuple[dict[str, int], tuple[int, int] | None]:
    """Lanes' operands as ports, and what stages 1 and 2 make of them."""
    lanes: list[reference.Activation] = []
    terms: list[tuple[int, int, int]] = []
    dense = rng.random() < 0.9
    bits, top = rule.activations.mantissa_bits, rule.activations.largest_exponent
    for _ in range(rule.lanes):
        exponent = max(1, min(top, center + rng.randint(-spread, spread)))
        any_of = [
            0,
            1,
            1 << bits - 1,
            (1 << bits) - 1,
            rng.getrandbits(bits),
            rng.getrandbits(bits),
        ]
        mantissa = rng.choice(any_of)
        if rule.activation == "int8":
            mantissa = min(mantissa, 128)
        lanes.append(reference.Activation(rng.getrandbits(1), exponent, mantissa))
        man = int(rng.random() < (0.8 if dense else 0.1))
        terms.append((rng.getrandbits(1), man, rng.getrandbits(rule.exponent_bits)))
    return _ports(lanes, terms, rule), reference.multiply(lanes, terms, rule)


def _powers(
    rng: random.Random, center: int, rule: Arithmetic
) -> tuple[dict[str, int], tuple[int, int] | None]:
    """Lanes of one power of two, seldom as large as they can be, or one small one."""
    bits = rule.activations.mantissa_bits
    power = 1 << bits - 1 >> (rng.random() < 0.1)
    sign, exponent = center % 2, 1
    if center % 3 == 0:  # as large as they can be, step after step
        power = 128 if rule.activation == "int8" else (1 << bits) - 1
        center, exponent = rule.activations.largest_exponent, (1 << rule.exponent_bits) - 1
    lanes = [reference.Activation(0, center, power)] * rule.lanes
    terms = [(sign, 1, exponent)] * rule.lanes
    if rng.random() < 0.3:
        lanes = [reference.Activation(0, center, 0)] * rule.lanes
        lanes[-1] = reference.Activation(0, center, 1 << rng.randrange(bits))
        terms[-1] = (rng.getrandbits(1), 1, exponent)
    return _ports(lanes, terms, rule), reference.multiply(lanes, terms, rule)


def _ports(
    lanes: list[reference.Activation], terms: list[tuple[int, int, int]], rule: Arithmetic
) -> dict[str, int]:
    form = rule.activations
    return {
        "act_sign_i": packed((a.sign for a in lanes), 1),
        "act_exponent_i": packed((a.exponent for a in lanes), form.exponent_bits),
        "act_mantissa_i": packed((a.mantissa for a in lanes), form.mantissa_bits),
        "act_nonzero_i": packed((int(a.mantissa > 0) for a in lanes), 1),
        "term_sign_i": packed((t[0] for t in terms), 1),
        "term_man_i": packed((t[1] for t in terms), 1),
        "term_exponent_i": packed((t[2] for t in terms), rule.exponent_bits),
    }
