"""The parts of an accelerator beside its elements: tiles, buffers, vector unit, links, layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from quant.common.sourced import Sourced

Sharing: TypeAlias = Literal["any", "outputs", "tokens"]
Dataflow: TypeAlias = Literal["best", "output", "weight", "input"]
Memory: TypeAlias = Literal["cacti-28nm", "sg13g2"]
MEMORIES: tuple[Memory, ...] = ("cacti-28nm", "sg13g2")
SHARING: tuple[Sharing, ...] = ("any", "outputs", "tokens")
DATAFLOWS: tuple[Dataflow, ...] = ("best", "output", "weight", "input")


@dataclass(frozen=True)
class Tiles:
    """``count`` arrays of ``rows`` output channels x ``columns`` tokens, the same in every phase.

    Attributes:
        count: Arrays.
        rows: Output channels of an array.
        columns: Tokens of an array.
        sharing: How a product is spread over the arrays. ``outputs``: each takes channels of its
            own, inputs are sent to all at once; ``tokens``: each takes tokens of its own, weights
            are sent to all at once; ``any``: each op takes the best grid of the two, and of
            products that share nothing (heads), that has no more arrays than there are.
    """

    count: int
    rows: int
    columns: int
    sharing: Sharing = "any"

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.count * self.rows * self.columns


@dataclass(frozen=True)
class Buffer:
    """An on-chip buffer with one port for reading and one for writing.

    Attributes:
        bytes: Capacity; an operand that is used while the next part of it is loaded takes twice
            its size.
        port_bits: Bits that each port moves in a clock.
        banks: Banks side by side, each with its part of every word.
        memory: Whose numbers it has: ``cacti-28nm`` (one port each way), or ``sg13g2`` (macros of
            one port, of which double buffering reads one and writes another).
    """

    bytes: int
    port_bits: int
    banks: int = 8
    memory: Memory = "cacti-28nm"


@dataclass(frozen=True)
class Vector:
    """The unit of what is no product: softmax, norms, rotary embeddings, scans, quantization.

    Attributes:
        lanes: Operations a clock.
        special_operations: Operations that a special function (exp, root, division) takes.
        operation_j: Joules of an operation.
        area_um2: Area of a lane, before layout.
        leakage_w: Leakage of a lane.
    """

    lanes: int
    special_operations: Sourced
    operation_j: Sourced
    area_um2: Sourced
    leakage_w: Sourced


@dataclass(frozen=True)
class Links:
    """What joins the chip to those that share its layers (``tp``, ``pp``, ``ep`` above 1).

    Attributes:
        bytes_per_s: Bytes that leave a chip in a second.
        joule_per_bit: Energy of a bit sent.
        latency_s: Time of a message of no length.
    """

    bytes_per_s: Sourced
    joule_per_bit: Sourced
    latency_s: Sourced


@dataclass(frozen=True)
class Layout:
    """What placement and routing multiply the numbers of synthesis by.

    Attributes:
        power: Energy and leakage of the elements.
        area: Area of the elements.
    """

    power: Sourced
    area: Sourced
