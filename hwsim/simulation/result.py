"""What a simulation gives: cycles, bytes and energy of every op."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.area import area_um2
from roofline.workloads.workload import Memory, Workload

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("compute", "sram", "vector", "dram", "link", "leakage")
"""Where energy goes."""
BOUNDS = ("compute", "memory", "port", "vector", "link")
"""What may take an op's time."""


@dataclass(frozen=True, slots=True)
class OpResult:
    """One op, once; of experts, what is expected.

    Attributes:
        name: Torch module path.
        op: Kind.
        phase: Of its workload.
        repeats: How often it runs.
        cycles: All of its clocks.
        compute_cycles: Clocks of the slowest tile.
        port_cycles: Clocks of the slower of the buffers' ports.
        vector_cycles: Clocks of the vector unit.
        dram_cycles: Clocks of the memory interface, the wait for its first byte apart.
        link_cycles: Clocks of the links to other chips.
        dram_bytes: Bytes moved, with those that are moved again.
        macs: Multiply-accumulates.
        utilisation: Share of the elements' clocks, over all of ``cycles``, in which they work on
            multiply-accumulates of the op; 0 where it has none.
        compute_j: Energy of the array.
        sram_j: Energy of the buffers.
        vector_j: Energy of the vector unit.
        dram_j: Energy of the DRAM.
        link_j: Energy of the links.
        leakage_j: Leakage of the chip meanwhile.
        mapping: Tiles and loops of a product; empty for other ops.
        on_chip: Whether attention's scores stayed on the chip.
        steps: Clocks of a block of weights, a mean where they depend on the data; 0: no product.
        steps_from: Whence that mean comes: ``codes`` (its own), ``normal weights``, or both where
            only some matrices of a stack have codes; empty where the format alone says it.
    """

    name: str
    op: str
    phase: str
    repeats: float
    cycles: float
    compute_cycles: float
    port_cycles: float
    vector_cycles: float
    dram_cycles: float
    link_cycles: float
    dram_bytes: float
    macs: float
    utilisation: float
    compute_j: float
    sram_j: float
    vector_j: float
    dram_j: float
    link_j: float
    leakage_j: float
    mapping: str
    on_chip: bool
    steps: float = 0.0
    steps_from: str = ""

    @property
    def busy_cycles(self) -> float:
        """Clocks in which all elements together would do the op's multiply-accumulates."""
        return self.cycles * self.utilisation

    @property
    def bound(self) -> str:
        """What takes the most clocks: one of ``BOUNDS``."""
        clocks = (
            self.compute_cycles,
            self.dram_cycles,
            self.port_cycles,
            self.vector_cycles,
            self.link_cycles,
        )
        return BOUNDS[clocks.index(max(clocks))]

    def named(self, name: str) -> OpResult:
        """Return the same result under another path."""
        return replace(self, name=name)

    @property
    def energy_j(self) -> float:
        """All energy, once."""
        return sum(float(getattr(self, f"{part}_j")) for part in PARTS)


@dataclass(frozen=True)
class PhaseResult:
    """A workload's ops by kind: those that differ in their names alone are one kind.

    Attributes:
        work: The workload.
        repeats: How often it runs.
        kinds: What each kind runs as.
        index: Which of ``kinds`` each op of ``work.template`` is; those of unlike codes differ.
    """

    work: Workload
    repeats: float
    kinds: tuple[tuple[OpResult, ...], ...]
    index: tuple[int, ...]

    def ops(self) -> Iterator[OpResult]:
        """Yield every op, in order, under its own name."""
        for op, kind in zip(self.work.template.ops, self.index, strict=True):
            for part, result in zip(op.unfused(), self.kinds[kind], strict=True):
                yield result.named(part.name)

    def total(self, key: str) -> float:
        """Return the sum of a number over all ops, each as often as it runs."""
        counts = np.bincount(self.index)
        each = [sum(float(getattr(part, key)) for part in kind) for kind in self.kinds]
        return self.repeats * float(np.dot(counts, each))


@dataclass(frozen=True)
class SimulationResult:
    """Cycles, energy and area of a workload on an accelerator.

    Attributes:
        accelerator: The machine.
        phases: Its workloads.
        memory: Bytes that must be resident.
        tokens: Tokens that come out: generated, or of the prompts where none are.
    """

    accelerator: Accelerator
    phases: tuple[PhaseResult, ...]
    memory: Memory
    tokens: float

    @cached_property
    def ops(self) -> tuple[OpResult, ...]:
        """Every op of every workload."""
        return tuple(op for phase in self.phases for op in phase.ops())

    def _sum(self, key: str) -> float:
        return sum(phase.total(key) for phase in self.phases)

    @cached_property
    def cycles(self) -> int:
        """Of all ops, one after the other."""
        return round(self._sum("cycles"))

    @cached_property
    def compute_cycles(self) -> int:
        """Of the array."""
        return round(self._sum("compute_cycles"))

    @cached_property
    def dram_cycles(self) -> int:
        """Of the memory interface."""
        return round(self._sum("dram_cycles"))

    @cached_property
    def dram_bytes(self) -> float:
        """Bytes that cross the memory interface."""
        return self._sum("dram_bytes")

    @cached_property
    def macs(self) -> float:
        """Multiply-accumulates."""
        return self._sum("macs")

    @property
    def time_s(self) -> float:
        """At the accelerator's clock."""
        return self.cycles / self.accelerator.clock_hz.value

    @cached_property
    def energy_parts_j(self) -> dict[str, float]:
        """Energy by part, and total."""
        parts = {part: self._sum(f"{part}_j") for part in PARTS}
        return parts | {"total": sum(parts.values())}

    @property
    def energy_j(self) -> float:
        """All energy."""
        return self.energy_parts_j["total"]

    @property
    def power_w(self) -> float:
        """Energy over time."""
        return self.energy_j / self.time_s

    @property
    def joule_per_token(self) -> float:
        """Energy of a token."""
        return self.energy_j / self.tokens

    @cached_property
    def area_parts_um2(self) -> dict[str, float]:
        """Area by part: array, buffers, vector, total."""
        return area_um2(self.accelerator)

    @property
    def area_um2(self) -> float:
        """All area."""
        return self.area_parts_um2["total"]

    @property
    def ops_per_s(self) -> float:
        """Operations a second, two a multiply-accumulate."""
        return 2 * self.macs / self.time_s

    @property
    def tops_per_w(self) -> float:
        """10^12 operations a joule, the DRAM's energy included."""
        return 2e-12 * self.macs / self.energy_j

    @property
    def tops_per_mm2(self) -> float:
        """10^12 operations a second and mm2."""
        return self.ops_per_s / self.area_um2 * 1e-6

    @cached_property
    def utilisation(self) -> float:
        """Share of the elements' clocks that is spent on multiply-accumulates."""
        return self._sum("busy_cycles") / max(self._sum("cycles"), 1e-300)

    @property
    def fits(self) -> bool | None:
        """Whether the DRAM holds weights, cache and activations; None: its size is not stated."""
        capacity = self.accelerator.dram.capacity_bytes
        return None if capacity is None else self.memory.total <= capacity.value

    def time_by_phase(self) -> dict[str, float]:
        """Return seconds by phase."""
        cycles: dict[str, float] = {}
        for phase in self.phases:
            name = phase.work.phase
            cycles[name] = cycles.get(name, 0) + phase.total("cycles")
        return {phase: n / self.accelerator.clock_hz.value for phase, n in cycles.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return one row an op."""
        import pandas as pd

        return pd.DataFrame(op_rows(self))


def op_rows(result: SimulationResult) -> list[dict[str, object]]:
    """Return the ops as the JSON report gives them; each number is for one run of the op."""
    own = ["name", "op", "phase", "repeats", "cycles", "compute_cycles", "port_cycles"]
    own += ["vector_cycles", "dram_cycles", "link_cycles", "dram_bytes", "macs", "utilisation"]
    own += ["bound", *(f"{part}_j" for part in PARTS), "energy_j", "mapping", "on_chip"]
    own += ["steps", "steps_from"]
    return [{key: getattr(op, key) for key in own} for op in result.ops]
