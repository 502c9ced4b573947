"""BitMoD's analytic simulator (HPCA 2025), exactly: what its figures are made of, faults included.

Two versions are known. ``paper`` is the one that the published figures come from, ``head`` a later
one with other attention. ``QUIRKS`` names what either does that a machine would not; our own
simulator has none of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError
from roofline.workloads.models import load_config
from roofline.workloads.workload import workload

FILE = Path(str(resources.files("hwsim.compat") / "bitmod_hpca25.toml"))
Version = Literal["paper", "head"]
Phase = Literal["prefill", "decode"]
WORD = 64
"""Bits that are written at once."""
FLOATS = 16
"""Bits of activations and results."""
QUIRKS = {
    "score-rectangle": "paper: attention's scores have the hidden size for the inputs of every "
    "head, so that a prompt's are counted heads times",
    "weights-in-attention": "paper: attention takes the cycles of the weights' format, and reads "
    "its operands in 16 bits",
    "wide-decode": "in decode one array of 64 x 16, of which one token uses one column",
    "half-ports": "a bit-serial machine reads half of the operands that it computes with",
    "steps-by-bits": "a bit-serial element takes half as many cycles as a code has bits",
    "always-busy": "all elements burn power in every compute cycle, none while they wait",
    "free-waiting": "no leakage, no energy of waiting, none of vector operations",
    "whole-buffers": "an operand that fits its buffer is read once, whatever the other's tiles",
    "two-copies": "the generative task mixes a prompt at 4 bits with decode at 3: two copies",
    "fixed-context": "20 steps at the prompt's context",
    "arithmetic-mean": "the bars named geometric means are arithmetic ones",
}


@dataclass(frozen=True)
class Machine:
    """Facts of the file: sizes of arrays are rows and columns."""

    lanes: int
    bit_serial: bool
    prefill: tuple[int, int]
    decode: tuple[int, int]
    pe_pj: float
    pe_area_um2: float


@dataclass(frozen=True)
class Bits:
    """Of weights, model by model, and of keys and values."""

    prefill: tuple[float, ...]
    decode: tuple[float, ...]
    kv: int


@dataclass(frozen=True)
class Published:
    """Cycles and energies (of the chip, of all; uJ) of each model."""

    prefill: tuple[int, ...]
    prefill_energy_uj: tuple[tuple[int, int], ...]
    decode: tuple[int, ...]
    decode_energy_uj: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Facts:
    """The file."""

    source: str
    models: tuple[str, ...]
    context: int
    generated: int
    buffer_bytes: int
    dram_bits_per_cycle: int
    dram_pj_per_bit: float
    layout_factor: float
    sram: tuple[tuple[int, float, float], ...]
    machines: dict[str, Machine]
    versions: dict[str, dict[str, Bits]]
    published: dict[str, Published]


@lru_cache(maxsize=1)
def facts() -> Facts:
    """Return what the file says."""
    return parse(load_toml(FILE), Facts, FILE.name)


class Port(NamedTuple):
    """Joules of one access of a buffer, all of its port's bits."""

    read_j: float
    write_j: float


@lru_cache(maxsize=64)
def sram_port(bits: int) -> Port:
    """Return a buffer's energies by its port: of the table, or linear between its widths."""
    widths, reads, writes = (list(column) for column in zip(*facts().sram, strict=True))
    if not widths[0] <= bits <= widths[-1]:
        raise RequestError(f"port of {bits} bits: {widths[0]} to {widths[-1]} are known")
    above = next(i for i, width in enumerate(widths) if bits <= width)
    below = max(0, above - 1)
    span = widths[above] - widths[below]
    share = (bits - widths[below]) / span if span else 0.0
    read, write = (c[below] + share * (c[above] - c[below]) for c in (reads, writes))
    return Port(read * 1e-12, write * 1e-12)


@dataclass(frozen=True)
class Layer:
    """A product as the simulator sees it.

    Attributes:
        is_attention: Whether its first operand is keys or values.
        repeats: Of the layer in the model.
        batch: Products side by side, each with operands of its own.
        outputs: Rows of the first operand.
        inputs: Its columns.
        width: Columns of the second operand, as its bytes are counted.
        tokens: Rows of the second operand.
        shared: Batches of tokens that one first operand serves.
    """

    is_attention: bool
    repeats: int
    batch: int
    outputs: int
    inputs: int
    width: int
    tokens: int
    shared: int = 1


@dataclass(frozen=True)
class Cost:
    """Cycles, and energies in uJ."""

    compute_cycles: int
    cycles: int
    compute_uj: float
    sram_read_uj: float
    sram_write_uj: float
    dram_uj: float

    @property
    def onchip_uj(self) -> float:
        """All but the DRAM's."""
        return self.compute_uj + self.sram_read_uj + self.sram_write_uj

    @property
    def total_uj(self) -> float:
        """All."""
        return self.onchip_uj + self.dram_uj


def layers(
    model: str, phase: Phase, version: Version, batch: int = 1, context: int = 256
) -> Iterator[Layer]:
    """Yield the products of a model, each with how often it is there."""
    tokens = context if phase == "prefill" else 1
    items = batch if phase == "prefill" else 1
    rows = tokens if phase == "prefill" else batch
    matrices = workload(model, "prefill", context=context).inventory
    for matrix in matrices.values():
        if matrix.apart != "embedding":
            outputs, inputs = matrix.shape
            yield Layer(False, 1, 1, outputs, inputs, inputs, rows, items)
    _, config = load_config(model)
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    blocks, size = config["num_hidden_layers"], hidden // heads
    if version == "head":
        groups, asked = batch * kv_heads, heads // kv_heads * tokens
        yield Layer(True, blocks, groups, context, size, size, asked)
        yield Layer(True, blocks, groups, size, context, context, asked)
    else:
        yield Layer(True, blocks, 1, tokens, hidden, kv_heads * size, heads * tokens)
        yield Layer(True, blocks, 1, heads * tokens, context, kv_heads * size, tokens)


def cost(
    model: str,
    machine: str,
    phase: Phase,
    version: Version = "paper",
    batch: int = 1,
    context: int | None = None,
) -> Cost:
    """Return what the simulator says of a model on a machine.

    Args:
        model: One of the file's, by the name that ``roofline`` has for it.
        machine: ``fp16``, ``ant``, ``olive``, ``bitmod-lossless`` or ``bitmod-lossy``.
        phase: A prompt, or one step after it.
        version: Of the simulator.
        batch: Sequences.
        context: Tokens of the prompt; None: 256.

    Raises:
        RequestError: a name that is none of these.
    """
    known = facts()
    arguments.choice("model", model, known.models)
    arguments.choice("machine", machine, tuple(known.machines))
    arguments.choice("phase", phase, get_args(Phase))
    arguments.choice("version", version, get_args(Version))
    design, bits = known.machines[machine], known.versions[version][machine]
    weight_bits = getattr(bits, phase)[known.models.index(model)]
    shape = getattr(design, phase)
    total = _Total(design, shape, weight_bits)
    for layer in layers(model, phase, version, batch, context or known.context):
        stored = weight_bits
        if layer.is_attention:
            stored = bits.kv if version == "head" else FLOATS
        written = bits.kv if layer.is_attention and version == "head" else weight_bits
        total.add(layer, stored, written)
    return total.cost()


class _Total:
    """Sums over layers."""

    def __init__(self, design: Machine, shape: tuple[int, int], weight_bits: float) -> None:
        self.design, self.rows, self.columns = design, *shape
        halved = 2 if design.bit_serial else 1
        lane_bits = 4 * math.ceil(weight_bits / 4)
        ports = design.lanes * lane_bits * self.rows, design.lanes * FLOATS * self.columns
        self.ports = [bits // halved for bits in ports]
        self.buffers = [sram_port(bits) for bits in self.ports]
        self.compute = self.cycles = self.tiles = self.bits = 0
        self.written_j = 0.0

    def add(self, layer: Layer, stored: float, written: float) -> None:
        """Add a layer: bits of its first operand in memory; in the buffer and by the clock."""
        n, known = layer.repeats, facts()
        first = math.ceil(layer.inputs * stored / 8) * layer.outputs * layer.batch
        columns = layer.tokens * layer.shared * layer.batch
        second = math.ceil(layer.width * FLOATS / 8) * columns
        out = math.ceil(layer.outputs * FLOATS / 8) * columns
        again_first, again_second = refetch(first, second, known.buffer_bytes)
        tiles = math.ceil(layer.inputs / self.design.lanes) * math.ceil(layer.outputs / self.rows)
        tiles *= math.ceil(layer.tokens / self.columns) * layer.batch * layer.shared
        compute = tiles * (math.ceil(int(written) / 2) if self.design.bit_serial else 1)
        moved = 8 * (first * again_first + second * again_second + out)
        self.compute += n * compute
        self.cycles += n * max(compute, moved // known.dram_bits_per_cycle)
        self.tiles += n * tiles
        self.bits += n * moved
        words = [math.ceil(layer.inputs * written / WORD) * layer.outputs * again_first]
        words += [math.ceil(layer.width * FLOATS / WORD) * layer.tokens * layer.shared]
        results = math.ceil(layer.outputs * FLOATS / WORD) * layer.tokens * layer.shared
        words[1] = words[1] * again_second + results
        a_word = [b.write_j * WORD / bits for b, bits in zip(self.buffers, self.ports, strict=True)]
        self.written_j += n * layer.batch * sum(w * j for w, j in zip(words, a_word, strict=True))

    def cost(self) -> Cost:
        """Return all of it."""
        known, pes = facts(), self.rows * self.columns
        compute = known.layout_factor * self.design.pe_pj * pes * self.compute * 1e-6
        read = self.tiles * sum(buffer.read_j for buffer in self.buffers) * 1e6
        dram = self.bits * known.dram_pj_per_bit * 1e-6
        return Cost(self.compute, self.cycles, compute, read, self.written_j * 1e6, dram)


def refetch(first: int, second: int, buffer: int) -> tuple[int, int]:
    """Return how often two operands are read of which neither fits its buffer; else once."""
    if first <= buffer or second <= buffer:
        return 1, 1
    again_first, again_second = math.ceil(second / buffer), math.ceil(first / buffer)
    if again_first * first + second < again_second * second + first:
        return again_first, 1
    return 1, again_second
