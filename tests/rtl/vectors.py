"""Vectors: what stands at a module's inputs in a clock, and what its outputs show before the edge.

``tests.rtl.designs`` lists the modules that have some, ``tests.rtl.vector_bench`` runs them: on the
RTL in every run of the tests, on mutants and on netlists in the verification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

Case = tuple[dict[str, int], dict[str, int]]
"""Inputs, and outputs; those that are not named are not compared."""


@dataclass(frozen=True)
class Design:
    """A module with its vectors.

    Attributes:
        name: What tests call it.
        top: The module.
        inputs: Widths of its inputs, but for the clock; ``PORT.FIELD`` is a field of a packed port,
            whose fields stand in their order, the highest first.
        outputs: Widths of its outputs.
        cases: Its vectors; sequential modules start from the first. They may be endless.
        count: How many of them run, at most.
        parameters: Values, as Verilog text.
        clocked: Whether it has the port ``clk_i``.
    """

    name: str
    top: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    cases: Callable[[], Iterator[Case]]
    count: int = 1 << 20
    parameters: Mapping[str, str] = field(default_factory=dict)
    clocked: bool = False

    def vectors(self) -> list[str]:
        """Return a line of hexadecimal a case: inputs, wanted outputs, mask; the first highest."""
        return [self._line(*case) for case in islice(self.cases(), self.count)]

    def _line(self, given: dict[str, int], wanted: dict[str, int]) -> str:
        word = 0
        for name, bits in self.inputs.items():
            word = word << bits | given.get(name, 0)
        for name, bits in self.outputs.items():
            word = word << bits | wanted.get(name, 0)
        for name, bits in self.outputs.items():
            word = word << bits | ((1 << bits) - 1 if name in wanted else 0)
        return f"{word:x}"

    @property
    def width(self) -> int:
        """Bits of a line."""
        return sum(self.inputs.values()) + 2 * sum(self.outputs.values())

    @property
    def connections(self) -> list[str]:
        """Ports and the parts of ``vector`` and ``got`` that they are connected to."""
        found: dict[str, list[int]] = {}
        place = self.width
        for name, bits in (*self.inputs.items(), *self.outputs.items()):
            if name == next(iter(self.outputs)):
                place = sum(self.outputs.values())
            ends = found.setdefault(name.split(".")[0], [place - 1, place])
            place -= bits
            ends[1] = place
        return [
            f".{port}({'vector' if self._is_input(port) else 'got'}[{high}:{low}])"
            for port, (high, low) in found.items()
        ]

    def _is_input(self, port: str) -> bool:
        return any(name.split(".")[0] == port for name in self.inputs)
