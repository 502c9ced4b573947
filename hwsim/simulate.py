"""simulate(): cycles and energy of a workload on an accelerator, op by op.

The model (BitMoD's, spec of its simulator, with its accounting slips put right):
a product of ``[m, k] x [k, n]`` runs as ``ceil(k/lanes) * ceil(n/rows) * ceil(m/columns)`` tiles of
``steps`` cycles; DRAM traffic overlaps with computing inside an op, not across ops; element-wise
ops take no cycles in the array but move their operands. Attention multiplies whole score
rectangles: the array does not skip masked pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.accelerator import Accelerator, load_accelerator
from hwsim.sram import sram_cost
from quant.spec import FormatSpec
from quant.tensor import QuantizedTensor
from roofline.ops import Attention, FlashAttention, Gemm, Linear
from roofline.template import QUANTITIES
from roofline.workload import OpWork, Scenario, Workload

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


def simulate(
    work: Workload | Scenario,
    accelerator: Accelerator | str | Path,
    codes: Mapping[str, QuantizedTensor] | None = None,
) -> SimulationResult:
    """Return what a workload costs on an accelerator.

    Args:
        work: A workload or scenario; its weight formats must be ones that the machine runs.
        accelerator: A design, a built-in name, or a TOML file.
        codes: Quantized layers by module path: their formats replace the workload's.

    Raises:
        RequestError: a format that the machine does not run.
    """
    machine = accelerator if isinstance(accelerator, Accelerator) else load_accelerator(accelerator)
    if codes:
        work = work.with_weights({path: tensor.spec for path, tensor in codes.items()})
    parts = work.parts if isinstance(work, Scenario) else ((work, 1),)
    ops = [_run(op, part.phase, n, machine) for part, n in parts for op in unfused(part)]
    return SimulationResult(machine, tuple(ops))


def machine_formats(machine: Accelerator, weights: str | None = None) -> dict[str, Any]:
    """Return the keywords of ``roofline.workload`` for what a machine runs."""
    chosen = machine.spec(weights or _default_weights(machine))
    return {
        "weights": str(chosen),
        "activations": machine.activations,
        "kv": machine.kv,
        "head": machine.head,
        "flash": False,
    }


def tiles(gemm: Gemm, rows: int, columns: int, lanes: int) -> int:
    """Return the tiles of a product."""
    along_k, along_n = math.ceil(gemm.k / lanes), math.ceil(gemm.n / rows)
    return math.ceil(gemm.batch * along_k * along_n * math.ceil(gemm.m / columns))


def area_um2(machine: Accelerator) -> dict[str, float]:
    """Return area by part: array, buffers, total."""
    pes = max(machine.prefill.pes, machine.decode.pes)
    buffers = (machine.weight_buffer, machine.activation_buffer)
    area = {
        "array": pes * machine.pe.area_um2.value,
        "buffers": sum(sram_cost(b.bytes, b.port_bits).area_um2 for b in buffers),
    }
    return area | {"total": sum(area.values())}


def _default_weights(machine: Accelerator) -> str:
    return "bitmod4" if "bitmod4" in machine.weights else machine.weights[0]


def _run(op: OpWork, phase: str, repeats: float, machine: Accelerator) -> OpResult:
    gemm, weights = op.gemm, _weights(op)
    if gemm is None or weights is None:
        return _move(op, phase, repeats, machine)
    array, steps = machine.array(phase), machine.steps(weights)
    count = tiles(gemm, array.rows, array.columns, machine.pe.lanes)
    stationary = op.kv_bytes if isinstance(op.definition, Attention) else op.weight_bytes
    outputs = op.bytes - stationary - op.input_bytes
    f_weights, f_inputs = refetch(stationary, op.input_bytes, gemm.batch, machine)
    loaded_weights, loaded_inputs = stationary * f_weights, op.input_bytes * f_inputs
    moved = loaded_weights + loaded_inputs + outputs
    compute = count * steps
    weight_bits = array.rows * machine.pe.lanes * weights.format.element_bits
    input_bits = array.columns * machine.pe.lanes * 16
    sram = _access(machine, "weight", count * weight_bits, loaded_weights * 8)
    sram += _access(machine, "activation", count * input_bits, (loaded_inputs + outputs) * 8)
    return OpResult(
        op.name,
        op.op,
        phase,
        repeats,
        compute,
        _dram_cycles(moved, machine),
        moved,
        _compute_j(compute, array.pes, machine),
        sram,
        moved * 8 * machine.dram.joule_per_bit.value,
    )


def unfused(work: Workload) -> Iterator[OpWork]:
    """Yield the ops as an array without fused attention runs them: scores go through memory."""
    for op in work.ops:
        definition = op.definition
        if isinstance(definition, FlashAttention):
            for part in definition.parts():
                yield OpWork(
                    part,
                    op.step,
                    *(getattr(part, quantity).at(op.step) for quantity in QUANTITIES),
                )
        else:
            yield op


def _weights(op: OpWork) -> FormatSpec | None:
    definition = op.definition
    if isinstance(definition, Linear):
        return definition.weights
    return definition.kv if isinstance(definition, Attention) else None


def _move(op: OpWork, phase: str, repeats: float, machine: Accelerator) -> OpResult:
    """An op that only moves its operands."""
    energy = op.bytes * 8 * machine.dram.joule_per_bit.value
    cycles = _dram_cycles(op.bytes, machine)
    return OpResult(op.name, op.op, phase, repeats, 0, cycles, op.bytes, 0.0, 0.0, energy)


def refetch(
    weight_bytes: float, input_bytes: float, batch: float, machine: Accelerator
) -> tuple[int, int]:
    """Return how often weights and inputs are read when neither fits its buffer.

    Each of ``batch`` products is decided alone (keys and values of one head after the other).
    """
    each_w, each_i = weight_bytes / batch, input_bytes / batch
    if each_w <= machine.weight_buffer.bytes or each_i <= machine.activation_buffer.bytes:
        return 1, 1
    n_w = math.ceil(each_i / machine.activation_buffer.bytes)
    n_i = math.ceil(each_w / machine.weight_buffer.bytes)
    return (n_w, 1) if n_w * each_w + each_i < n_i * each_i + each_w else (1, n_i)


def _dram_cycles(moved: float, machine: Accelerator) -> int:
    return math.ceil(moved * 8 / machine.dram.bits_per_cycle.value)


def _compute_j(cycles: int, pes: int, machine: Accelerator) -> float:
    """Every PE is charged for every cycle of the array, used or not."""
    power = machine.pe.power_w.value * machine.pe.layout_factor.value
    return cycles * pes * power / machine.clock_hz.value


def _access(machine: Accelerator, which: str, read_bits: float, written_bits: float) -> float:
    """Energy of the accesses of a port's width that reading and writing so many bits takes."""
    buffer = machine.weight_buffer if which == "weight" else machine.activation_buffer
    cost = sram_cost(buffer.bytes, buffer.port_bits)
    return (read_bits * cost.read_j + written_bits * cost.write_j) / buffer.port_bits
