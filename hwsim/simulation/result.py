"""What a simulation gives: cycles, bytes and energy of every op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwsim.machines.accelerator import Accelerator
from hwsim.simulation.energy import area_um2

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class OpResult:
    """One op, once.

    Attributes:
        name: Torch module path.
        op: Kind.
        phase: Of its workload.
        repeats: How often it runs.
        compute_cycles: Cycles of the array.
        dram_cycles: Cycles of the memory interface.
        dram_bytes: Bytes moved, with refetches.
        compute_j: Energy of the array, once.
        sram_j: Energy of the buffers, once.
        dram_j: Energy of the DRAM, once.
    """

    name: str
    op: str
    phase: str
    repeats: float
    compute_cycles: int
    dram_cycles: int
    dram_bytes: float
    compute_j: float
    sram_j: float
    dram_j: float

    @property
    def cycles(self) -> int:
        """The longer of computing and moving."""
        return max(self.compute_cycles, self.dram_cycles)

    @property
    def bound(self) -> str:
        """``compute`` or ``memory``."""
        return "compute" if self.compute_cycles >= self.dram_cycles else "memory"

    @property
    def energy_j(self) -> float:
        """All energy, once."""
        return self.compute_j + self.sram_j + self.dram_j


@dataclass(frozen=True)
class SimulationResult:
    """Cycles, energy and area of a workload on an accelerator."""

    accelerator: Accelerator
    ops: tuple[OpResult, ...]

    @property
    def cycles(self) -> int:
        """Of all ops, one after the other."""
        return round(sum(op.repeats * op.cycles for op in self.ops))

    @property
    def compute_cycles(self) -> int:
        """Of the array."""
        return round(sum(op.repeats * op.compute_cycles for op in self.ops))

    @property
    def dram_cycles(self) -> int:
        """Of the memory interface."""
        return round(sum(op.repeats * op.dram_cycles for op in self.ops))

    @property
    def time_s(self) -> float:
        """At the accelerator's clock."""
        return self.cycles / self.accelerator.clock_hz.value

    @property
    def energy_parts_j(self) -> dict[str, float]:
        """Energy by part: compute, sram, dram, total."""
        parts = {
            "compute": sum(op.repeats * op.compute_j for op in self.ops),
            "sram": sum(op.repeats * op.sram_j for op in self.ops),
            "dram": sum(op.repeats * op.dram_j for op in self.ops),
        }
        return parts | {"total": sum(parts.values())}

    @property
    def energy_j(self) -> float:
        """All energy."""
        return self.energy_parts_j["total"]

    @property
    def area_parts_um2(self) -> dict[str, float]:
        """Area by part: array (PEs, before layout), buffers, total."""
        return area_um2(self.accelerator)

    @property
    def area_um2(self) -> float:
        """All area."""
        return self.area_parts_um2["total"]

    def time_by_phase(self) -> dict[str, float]:
        """Return seconds by phase."""
        cycles: dict[str, float] = {}
        for op in self.ops:
            cycles[op.phase] = cycles.get(op.phase, 0) + op.repeats * op.cycles
        return {phase: n / self.accelerator.clock_hz.value for phase, n in cycles.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return one row an op."""
        import pandas as pd

        return pd.DataFrame(op_rows(self))


def op_rows(result: SimulationResult) -> list[dict[str, object]]:
    """Return the ops as the JSON report gives them; each number is for one run of the op."""
    own = ["name", "op", "phase", "repeats", "cycles", "compute_cycles", "dram_cycles"]
    own += ["dram_bytes", "bound", "compute_j", "sram_j", "dram_j", "energy_j"]
    return [{key: getattr(op, key) for key in own} for op in result.ops]
