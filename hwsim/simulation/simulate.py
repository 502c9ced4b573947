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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import load_accelerator
from hwsim.simulation.energy import _access, _compute_j, _dram_cycles
from hwsim.simulation.result import OpResult, SimulationResult
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import QuantizedTensor
from roofline.workloads.ops import Attention, FlashAttention, Gemm, Linear
from roofline.workloads.template import QUANTITIES
from roofline.workloads.workload import OpWork, Scenario, Workload

if TYPE_CHECKING:
    pass


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
