"""Machines to build ``axil_tile`` as, and layers for them with the results of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import quant
from hwsim.pe import matmul
from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.operands import weights
from hwsim.pe.product import Output
from hwsim.pe.terms import pe_formats, term_table
from hwsim.tile.packets import Packet, jobs
from hwsim.tile.side_band import rtl_formats
from hwsim.tile.tile import Tile


class Machine(NamedTuple):
    """A tile as it is built: ``formats`` are those that it knows."""

    tile: Tile
    formats: tuple[str, ...]
    has_correction: bool = True

    @property
    def taken(self) -> int:
        """Bit n: the tile takes the format of number n."""
        width, numbers = self.tile.arithmetic.exponent_bits, rtl_formats()
        found = [name for name in self.formats if name in rtl_formats(width)]
        if not self.has_correction:
            found = [name for name in found if not term_table(name, width).offset]
        return sum(1 << numbers[name] for name in found)


MACHINES = {
    "every-format": Machine(Tile(rows=2, columns=2, max_group=32), tuple(pe_formats(2))),
    "few": Machine(
        Tile(
            rows=3, columns=1, max_group=40, digit_bits=8, skip_zero_steps=True,
            arithmetic=Arithmetic(lanes=5, activation="bf16", guard_bits=2, accumulator_bits=20),
        ),
        ("int4", "int4-asym", "bitmod3", "fp8-e4m3", "int8"),
        has_correction=False,
    ),
}  # fmt: skip


class Layer(NamedTuple):
    """A layer's beats.

    Attributes:
        format: What the register must say.
        packets: Of all jobs.
        weights: Data, final, last.
        acts: Data, last.
        results: Data, last.
    """

    format: int
    packets: list[Packet]
    weights: list[tuple[int, int, int]]
    acts: list[tuple[int, int]]
    results: list[tuple[int, int]]

    @property
    def jobs(self) -> int:
        """Packets of results."""
        return sum(last for _, last in self.results)


def layer_of(machine: Machine, name: str, seed: int) -> Layer:
    """Draw a layer in a format; its results are the kernels'."""
    rng, tile = np.random.default_rng(seed), machine.tile
    size = int(rng.choice([8, 16, tile.max_group]))
    shape = int(rng.integers(1, 2 * tile.rows + 1)), int(rng.integers(1, 3 * size))
    scale = str(rng.choice(["int8", "e8m0", "e4m3"]))
    weight = (rng.standard_normal(shape) * 0.02).astype(np.float32)
    qt = quant.quantize(weight, name, group_size=size, scale=scale)
    operand, rule = weights(qt, tile.arithmetic)
    x = np.rint(rng.standard_normal((int(rng.integers(1, 2 * tile.columns + 1)), shape[1])) * 20)
    output: Output = "fp16" if rng.random() < 0.4 else "fp32"
    y, _ = matmul(qt, x, arithmetic=tile.arithmetic, output=output)
    found = list(jobs(operand, rule.activations.words(x), tile, output))
    packets = [packet for job in found for packet in job.packets]
    results: list[tuple[int, int]] = []
    for job in found:
        part = y[job.columns, job.rows]
        whole = np.zeros((tile.columns, tile.rows), y.dtype)
        whole[: part.shape[0], : part.shape[1]] = part
        words = whole.view(np.uint16 if output == "fp16" else np.uint32)
        results += [(packed(words[:, r], 32), int(r == tile.rows - 1)) for r in range(tile.rows)]
    return Layer(
        packets[0].user._replace(final=False).word,
        packets,
        weight_beats(packets, tile, rng),
        [
            (packed(beat.reshape(-1), rule.activations.bits), last)
            for packet in packets
            for beat, last in ends(packet.words)
        ],
        results,
    )


def weight_beats(
    packets: Sequence[Packet], tile: Tile, rng: np.random.Generator
) -> list[tuple[int, int, int]]:
    """Data, final, last: final of a packet's later beats is noise."""
    found = []
    for packet in packets:
        finals = rng.integers(0, 2, len(packet.weights)).tolist()
        finals[0] = int(packet.final)
        beats = zip(ends(packet.weights), finals, strict=True)
        found += [(packed(beat, tile.word_bits), final, last) for (beat, last), final in beats]
    return found


def ends(beats: NDArray[Any]) -> list[tuple[Any, int]]:
    """Each beat, and whether it is the last one."""
    return [(beat, int(index == len(beats) - 1)) for index, beat in enumerate(beats)]


def packed(values: Any, bits: int) -> int:  # noqa: ANN401  any sequence of numbers
    """One number of many, the first lowest."""
    return sum(int(value) << (bits * index) for index, value in enumerate(values))
