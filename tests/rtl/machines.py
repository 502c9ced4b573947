"""Tiles as their Verilog builds them, and machines drawn at random over all parameters."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from hwsim.pe.activations import ACTIVATIONS
from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.terms import NARROWEST, WIDEST, term_table
from hwsim.tile.side_band import rtl_formats
from hwsim.tile.tile import MAX_LANES, Tile
from hwsim.tile.timing import DIGITS
from hwsim.verilog.compiled import parameters
from quant.common.errors import RequestError

T = TypeVar("T")
LARGEST = 36
"""Products of a drawn machine in a clock, at most: larger ones take long to compile."""


class Machine(NamedTuple):
    """A tile of the Verilog.

    Attributes:
        tile: The array.
        formats: What its decoders know.
        has_correction: Whether it has the PEs that add activations up.
    """

    tile: Tile
    formats: tuple[str, ...]
    has_correction: bool = True

    @property
    def taken(self) -> list[str]:
        """The formats that it can multiply by: asymmetric ones need the sums of activations."""
        return [name for name in self.formats if self.has_correction or not is_asymmetric(name)]

    @property
    def parameters(self) -> dict[str, int | str]:
        """Of ``axis_tile``, for Verilator's command line."""
        found = parameters(self.tile, self.formats)
        return {**found, "HasCorrection": int(self.has_correction)}

    @property
    def values(self) -> dict[str, int | str]:
        """Of ``axis_tile``, as Verilog text."""
        return {**self.parameters, "Activation": constant(self.tile.arithmetic.activation)}

    def __str__(self) -> str:
        """All parameters, on one line."""
        return " ".join(f"{name}={value}" for name, value in self.parameters.items())


def machine(settings: dict[str, Any], formats: Sequence[str]) -> Machine:
    """Return a machine of settings as a test writes them: arithmetic beside the rest."""
    own = {key: value for key, value in settings.items() if key != "arithmetic"}
    tile = Tile(**own, arithmetic=Arithmetic(**settings.get("arithmetic", {})))
    return Machine(tile, tuple(formats))


JUDGE = machine(
    {
        "rows": 3, "columns": 2, "max_group": 10, "digit_bits": 2, "skip_zero_steps": True,
        "arithmetic": {"lanes": 3, "accumulator_bits": 14},
    },
    ("bitmod4", "int4-asym", "nvfp4", "int8", "fp3"),
)  # fmt: skip
"""The tile whose mutants are judged, by the script below."""
JUDGE_SEED, JUDGE_CLOCKS = 16, 60_000
"""Of the script that judges; the tests replay it on the RTL."""


def seed_of_run() -> int:
    """``HWSIM_SEED``, or one that is drawn: of what a run of the tests draws."""
    return int(os.environ.get("HWSIM_SEED") or int.from_bytes(os.urandom(3)))


def constant(activation: str) -> str:
    """Return the enumeration constant of a format of activations."""
    return "pe_pkg::Act" + "".join(part.capitalize() for part in activation.split("-"))


def is_asymmetric(name: str) -> bool:
    """Whether codes of a format are recentred."""
    return term_table(name).offset > 0


EVERY = [
    machine(
        {"rows": 1, "columns": 1, "max_group": 33, "arithmetic": {"lanes": 1, "exponent_bits": e}},
        list(rtl_formats(e)),
    )
    for e in (NARROWEST, WIDEST)
]
"""One PE each, for all formats of the narrowest and of the widest terms."""


EXTREMES = [
    machine(
        {"rows": 9, "columns": 1, "max_group": 40, "digit_bits": 8,
         "arithmetic": {"lanes": 1, "accumulator_bits": 28}},
        ("int8-asym", "int4-asym", "int8", "bitmod4"),
    ),
    machine(
        {"rows": 1, "columns": 3, "max_group": 80, "digit_bits": 4, "skip_zero_steps": True,
         "arithmetic": {"lanes": 2, "guard_bits": 16, "activation": "fp8-e5m2"}},
        ("int8-asym", "mxfp4", "int3"),
    ),
    machine(
        {"rows": 1, "columns": 1, "max_group": 512,
         "arithmetic": {"lanes": 16, "accumulator_bits": 8, "exponent_bits": 5}},
        ("pot6", "fp8-e5m2", "fp8-e4m3"),
    ),
    machine(
        {"rows": 1, "columns": 1, "max_group": 512, "digit_bits": 1,
         "arithmetic": {"lanes": 16, "accumulator_bits": 28}},
        ("int8", "int8-asym"),
    ),
    machine(
        {"rows": 2, "columns": 1, "max_group": 2,
         "arithmetic": {"lanes": 1, "exponent_bits": 5, "activation": "bf16"}},
        ("int8", "fp8-e5m2", "int8-asym"),
    ),
]  # fmt: skip
"""Machines at the ends of ranges: many rows, columns or blocks, the narrowest and the widest."""


def drawn_machines(seed: int, count: int) -> list[Machine]:
    """Draw machines; together they have every value of the small parameters in turn.

    Those of one width of terms have the same decoders, which are what takes long to compile.
    """
    rng = random.Random(seed)
    widths = range(NARROWEST, WIDEST + 1)
    formats = {bits: _formats(rng, bits) for bits in widths}
    decks: dict[str, Iterator[Any]] = {
        "activation": _deck(rng, list(ACTIVATIONS)),
        "digit_bits": _deck(rng, DIGITS),
        "skip": _deck(rng, (False, True)),
        "correction": _deck(rng, (True, True, False, True)),
        "lanes": _deck(rng, range(1, MAX_LANES + 1)),
        "exponent_bits": _deck(rng, widths),
        "blocks": _deck(rng, (1, 2, 3, 5, 9, 17, 33, 65)),
        "accumulator_bits": _deck(rng, (8, 9, 14, 22, 28, 28)),
        "guard_bits": _deck(rng, (0, 3, 16)),
    }
    drawn = [{name: next(deck) for name, deck in decks.items()} for _ in range(count)]
    return [_drawn(rng, at, formats[at["exponent_bits"]]) for at in drawn]


def _deck(rng: random.Random, values: Sequence[T]) -> Iterator[T]:
    """The values in random order, again and again."""
    while True:
        yield from rng.sample(list(values), len(values))


def _drawn(rng: random.Random, at: dict[str, Any], formats: tuple[str, ...]) -> Machine:
    """A machine of drawn parameters; widths that do not go together are drawn again."""
    pes = LARGEST // at["lanes"]
    columns = min(pes, rng.choice([1, 2, 3, 4, 5]))
    rows = min(pes // columns, rng.choice([1, 2, 3, 5, 7, 9, 17]))
    accumulator, guard = at["accumulator_bits"], at["guard_bits"]
    while True:
        try:
            rule = Arithmetic(
                at["lanes"], guard, accumulator, at["exponent_bits"], at["activation"]
            )
            tile = Tile(
                rows, columns, at["blocks"] * at["lanes"], at["digit_bits"], at["skip"], rule
            )
        except RequestError:
            guard, accumulator = rng.randrange(17), rng.randrange(8, 29)
            continue
        return Machine(tile, formats, at["correction"])


def _formats(rng: random.Random, exponent_bits: int) -> tuple[str, ...]:
    """Eight formats of a width of terms: of both kinds, and some that need all of it."""
    names = list(rtl_formats(exponent_bits))
    wide = [
        name for name in names if term_table(name, exponent_bits).exponent_bits == exponent_bits
    ]
    chosen = rng.sample(wide, min(len(wide), 3))
    chosen += rng.sample([n for n in names if is_asymmetric(n) and n not in chosen], 1)
    symmetric = [name for name in names if not is_asymmetric(name) and name not in chosen]
    chosen += rng.sample(symmetric, 2)
    rest = [name for name in names if name not in chosen]
    return tuple(chosen + rng.sample(rest, 8 - len(chosen)))
