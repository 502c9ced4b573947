"""A layer's clocks in closed form equal those of its packets, whatever the layer and the tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwsim.pe.operands import Weights
from hwsim.pe.terms import term_table
from hwsim.tile import layer
from hwsim.tile.clocks import clocks
from hwsim.tile.layer import layer_clocks
from hwsim.tile.packets import jobs
from hwsim.tile.side_band import rtl_formats
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.formats.scales import SCALES
from tests.rtl.machines import drawn_machines

LAYERS = 2_000
KINDS = [kind for kind in SCALES.values() if kind.id is not None]


def drawn_layer(
    rng: np.random.Generator, tile: Tile, name: str, size: int, shape: tuple[int, int]
) -> Weights:
    """Weights of zeros: their lengths alone count."""
    table = term_table(name, tile.arithmetic.exponent_bits)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    groups = (shape[0], -(-shape[1] // size))
    codes = np.zeros(shape, np.uint8)
    ones = np.ones(groups, np.int32)
    zeros = ones if table.offset else None
    factors = np.ones(shape[0], np.float32)
    few = np.zeros(groups, np.uint8)
    return Weights(table, codes, size, kind, few, few + 1, ones, 0 * ones, zeros, factors)


def test_layers_take_the_clocks_of_their_packets() -> None:
    rng = np.random.default_rng(17)
    tiles = [replace(each.tile, skip_zero_steps=False) for each in drawn_machines(17, 100)]
    for _ in range(LAYERS):
        tile = tiles[int(rng.integers(len(tiles)))]
        name = str(rng.choice(list(rtl_formats(tile.arithmetic.exponent_bits))))
        size = int(rng.integers(1, tile.max_group + 1))
        outputs, inputs = int(rng.integers(1, 4 * tile.rows)), int(rng.integers(1, 7 * size))
        tokens = int(rng.integers(1, 4 * tile.columns))
        weight = drawn_layer(rng, tile, name, size, (outputs, inputs))
        words = np.zeros((tokens, inputs), np.uint16)
        packets = [packet for job in jobs(weight, words, tile) for packet in job.packets]
        found = layer_clocks(
            tile, (outputs, inputs, tokens), size, weight.table.steps, weight.scale_kind,
            weight.zero_points is not None,
        )  # fmt: skip
        assert found == clocks(packets, tile), (tile, name, size, outputs, inputs, tokens)


def test_the_compiled_function_is_its_python() -> None:
    rng, plain = np.random.default_rng(3), layer.total.py_func  # type: ignore[attr-defined]
    for _ in range(200):
        given = [int(rng.integers(1, high)) for high in (50, 40, 40, 40, 5, 300, 300)]
        assert layer.total(*given) == plain(*given), given


def test_what_depends_on_the_data_is_refused() -> None:
    with pytest.raises(RequestError, match="skips zero steps"):
        layer_clocks(Tile(skip_zero_steps=True), (8, 8, 8), 8, 2, SCALES["int8"])


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "8"])
def test_a_layer_of_no_size_is_refused(wrong: object) -> None:
    with pytest.raises(RequestError, match="inputs"):
        layer_clocks(Tile(), (8, wrong, 8), 8, 2, SCALES["int8"])  # type: ignore[arg-type]
