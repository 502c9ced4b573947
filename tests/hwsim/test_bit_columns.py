"""Bit-column elements against a walk over real codes, and against what their papers say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

import quant
from hwsim.machines.elements.activation_serial import ActivationSerial
from hwsim.machines.elements.bit_column import BitColumn
from hwsim.machines.load import load_accelerator
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec

RNG = np.random.default_rng(28)
AREAS = {"stripes": 532.8, "pragmatic": 923.1, "bitwave": 702.4, "bitvert": 739.6}
"""um2 of a PE of eight bit-serial multipliers, 28 nm: BBS (MICRO 2024), Table V."""


def nonzero_columns(block: Sequence[int], bits: int) -> int:
    """Columns of magnitudes with a one in them."""
    return sum(any(abs(w) >> i & 1 for w in block) for i in range(bits))


def own_sign(block: Sequence[int], bits: int) -> int:
    """Columns of two's complement, less up to three after the first that repeat it everywhere."""
    redundant = 0
    while redundant < 3 and all(
        (w >> bits - 2 - redundant & 1) == (w >> bits - 1 & 1) for w in block
    ):
        redundant += 1
    return bits - redundant


def slowest_ones(block: Sequence[int], bits: int) -> int:
    """Ones of the largest number of them in a magnitude."""
    return max(abs(w).bit_count() for w in block)


WALKS: dict[str, tuple[Callable[[Sequence[int], int], int], int]] = {
    "bitwave": (nonzero_columns, 8 + 8),  # the index, and the signs of eight weights
    "bitvert": (own_sign, 4),
    "pragmatic": (slowest_ones, -1),
}


@pytest.mark.parametrize("bits", [4, 6, 8])
@pytest.mark.parametrize("name", WALKS)
def test_clocks_are_those_of_a_walk_over_the_codes(name: str, bits: int) -> None:
    """Mean over blocks of the slowest row of the array; stored bits are each row's own."""
    machine = load_accelerator(name)
    walk, beside = WALKS[name]
    lanes, rows = machine.pe.lanes, machine.tiles.rows
    for scale in (1.0, 0.1):  # small weights beside one large one: most columns are empty
        weights = RNG.standard_normal((20, 100)).astype(np.float32) * scale
        weights[:, 0] = 4
        codes = quant.quantize(weights, f"int{bits}:row:fp16")
        levels = codes.levels().astype(int)
        clocks, stored, blocks = 0, 0, 0
        for first in range(0, 20, rows):
            for low in range(0, 100, lanes):
                block = levels[first : first + rows, low : low + lanes].tolist()
                each = [walk(row, bits) for row in block]
                clocks += max(1, *each)
                stored += sum(each) * lanes + beside * len(each)
                blocks += 1
        found = machine.measured(codes)
        assert found is not None
        assert found.steps == pytest.approx(clocks / blocks, rel=1e-12)
        wanted = bits if beside < 0 else min(bits, stored / weights.size)
        assert found.weight_bits == pytest.approx(wanted, rel=1e-12)


def test_no_clock_is_passed_over_twice() -> None:
    """Stripes takes every column; nothing takes more, nor less than a clock."""
    for name in AREAS:
        machine = load_accelerator(name)
        for text in machine.weights:
            spec = machine.spec(f"{text}:row:fp16")
            assert 1 <= machine.timing(spec).steps <= machine.steps(spec) == spec.element_bits
            zeros = machine.measured(quant.quantize(np.zeros((16, 64), np.float32), spec))
            if name in ("bitwave", "pragmatic"):
                assert zeros is not None
                assert zeros.steps == 1
    assert load_accelerator("stripes").expected(parse_spec("int8:row:fp16")) is None


def test_bitvert_over_stripes_is_near_its_paper() -> None:
    """2.48 and 3.03 times Stripes with 2 and 4 columns pruned of 90 and 80 % of the channels.

    With the arrays' clocks alone, whole layers and no memory: 4 and 10 % above the paper's means.
    """
    stripes, bitvert = load_accelerator("stripes"), load_accelerator("bitvert")

    def weights_a_clock(machine: object, bits: int) -> float:
        spec = parse_spec(f"int{bits}:row:fp16")
        return machine.pe.lanes / machine.pe.steps(spec)  # type: ignore[attr-defined, no-any-return]

    base = weights_a_clock(stripes, 8)
    for published, share, kept, above in ((2.48, 0.1, 6, 1.05), (3.03, 0.2, 4, 1.11)):
        clocks = share / weights_a_clock(bitvert, 8) + (1 - share) / weights_a_clock(bitvert, kept)
        assert published < 1 / clocks / base < published * above


def test_areas_are_those_of_one_synthesis() -> None:
    for name, area in AREAS.items():
        assert load_accelerator(name).pe.area_um2.value == area


def test_only_symmetric_integers_and_known_columns() -> None:
    machine = load_accelerator("bitwave")
    with pytest.raises(RequestError, match="takes symmetric integers"):
        machine.pe.steps(parse_spec("bitmod4:g128:int8"))
    with pytest.raises(RequestError, match="takes symmetric integers"):
        machine.pe.steps(parse_spec("int4-asym:g128:fp16"))
    assert isinstance(machine.pe, BitColumn)
    broken = replace(machine.pe, columns="odd", index_bits=99)  # type: ignore[arg-type]
    faults = broken.faults(machine.activations, 128)
    assert "pe.columns = 'odd': all, nonzero, own-sign, ones is allowed" in faults
    assert "pe.index_bits = 99: 0 to 0 is allowed (odd)" in faults
    assert not replace(broken, columns="nonzero", index_bits=64).faults(machine.activations, 128)


def test_anda_takes_a_clock_a_bit_of_its_activations() -> None:
    """Its published efficiencies fall as the bits and one more: 69.45 over them (Fig. 15)."""
    machine = load_accelerator("anda")
    assert isinstance(machine.pe, ActivationSerial)
    published = {13: 4.96, 11: 5.79, 8: 7.72, 6: 9.92, 5: 11.58, 4: 13.89}
    for bits, efficiency in published.items():
        element = replace(machine.pe, mantissa_bits=bits)
        assert 69.45 / element.steps(parse_spec("int4:g128:fp16")) == pytest.approx(
            efficiency, rel=0.002
        )
        assert element.steps(parse_spec("int8:g128:fp16")) == 2 * (bits + 1)
