"""A PE's registers in Python, and vectors for ``pe_tb.v``: stimuli and what follows."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.reference import Activation, Partial, accumulate, multiply
from tests.rtl.lanes import Term, nonzero, operands, packed


class Control(NamedTuple):
    """Of one clock. ``load`` never comes with a step that goes on with a group."""

    accumulate: bool
    first: bool
    significance: int
    load: bool
    shift: bool


@dataclass
class Pe:
    """The registers of ``bit_serial_pe``; None: not known yet."""

    rule: Arithmetic
    sum: tuple[int, int] | None = None
    partial: Partial | None = None
    chain: Partial | None = None

    def clock(
        self, acts: list[Activation], terms: list[Term], control: Control, link: Partial
    ) -> None:
        """One edge."""
        if control.load:
            self.chain = self.partial
        elif control.shift:
            self.chain = link
        if control.accumulate:
            start = Partial() if control.first else self.partial
            if self.sum is not None and start is not None:
                total, exponent = self.sum
                start = accumulate(start, total << control.significance, exponent, self.rule)
            self.partial = start
        self.sum = multiply(acts, terms, self.rule)


def controls(rng: random.Random, known: bool) -> Control:
    """Return the control of a clock; the first step that counts begins a group."""
    accumulates = rng.random() < 0.85
    first = rng.random() < 0.05 or not known
    load = rng.random() < 0.1 and (first or not accumulates)
    return Control(accumulates, first, rng.randint(0, 6), load and known, rng.random() < 0.3)


def write_vectors(path: Path, rule: Arithmetic, clocks: int, seed: int) -> None:
    """Write a line a clock."""
    rng, pe = random.Random(seed), Pe(rule)
    width, exponent_bits = rule.accumulator_bits + 1, rule.accumulator_exponent_bits
    lines = []
    for _ in range(clocks):
        acts, terms = operands(rng, rule)
        control = controls(rng, pe.partial is not None)
        link = Partial(rng.getrandbits(width), rng.getrandbits(exponent_bits))
        pe.clock(acts, terms, control, link)
        fields = [word_of_acts(acts), word_of_terms(terms), word_of_control(control)]
        fields += [word_of_chain(link, rule), 0]
        if pe.chain is not None:
            fields[-1] = 1 << (width + exponent_bits) | word_of_chain(pe.chain, rule)
        lines.append(" ".join(f"{number:x}" for number in fields))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def word_of_acts(acts: list[Activation]) -> int:
    """Pack the activations: signs, exponents, mantissas, nonzero."""
    has = nonzero(acts, [(0, 1, 0)] * len(acts))
    parts = packed((a.sign for a in acts), 1) | packed((a.exponent for a in acts), 5) << 4
    return parts | packed((a.mantissa for a in acts), 11) << 24 | packed(has, 1) << 68


def word_of_terms(terms: list[Term]) -> int:
    """Pack the terms: signs, mans, exponents."""
    signs, mans, exponents = zip(*terms, strict=True)
    return packed(signs, 1) | packed(mans, 1) << 4 | packed(exponents, 2) << 8


def word_of_control(control: Control) -> int:
    """Pack the control, from ``accumulate`` up."""
    low = control.accumulate | control.first << 1 | control.significance << 2
    return low | control.load << 5 | control.shift << 6


def word_of_chain(link: Partial, rule: Arithmetic) -> int:
    """Pack mantissa and exponent."""
    width = rule.accumulator_bits + 1
    return packed([link.mantissa], width) | link.exponent << width
