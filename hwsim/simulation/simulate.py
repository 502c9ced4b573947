"""simulate(): cycles and energy of a workload on an accelerator, op by op.

The model (BitMoD's, spec of its simulator, with its accounting slips put right):
a product of ``[m, k] x [k, n]`` runs as ``ceil(k/lanes) * ceil(n/rows) * ceil(m/columns)`` tiles of
``steps`` cycles; DRAM traffic overlaps with computing inside an op, not across ops; ops without
multiply-accumulates (element-wise functions, embeddings) take no cycles in the array but move their
operands. Attention multiplies whole score rectangles: the array does not skip masked pairs. An op
that the machine has nothing for (other formats, links to other devices) is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import load_accelerator
from hwsim.simulation.energy import array_energy_j, buffer_energy_j, dram_cycles, dram_energy_j
from hwsim.simulation.own import with_own_formats
from hwsim.simulation.result import OpResult, SimulationResult
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import QuantizedTensor
from roofline.workloads.models import Model, is_model
from roofline.workloads.op_work import OpWork
from roofline.workloads.ops import Gemm, Operands
from roofline.workloads.workload import Scenario, Workload, as_scenario

ROUNDING = 1e-9
"""How far rounding may put the bytes of an op below those of its operands."""


def simulate(
    work: Workload | Scenario | Model,
    accelerator: Accelerator | str | Path,
    codes: Mapping[str, QuantizedTensor] | None = None,
) -> SimulationResult:
    """Return what a workload costs on an accelerator.

    Args:
        work: A workload or scenario; its formats must be ones that the machine runs. Fused
            attention runs as its parts: scores go through memory. A model (a name, a folder, a
            config) stands for a prompt of 256 tokens and 32 generated ones in the formats that the
            machine has where none is asked for, as ``hwsim simulate`` runs it.
        accelerator: A design, a built-in name, or a TOML file.
        codes: Quantized matrices by path: their formats replace the workload's. Routers, which no
            plan names, run in 16 bits, or as the machine runs heads where it has nothing for those.

    Raises:
        RequestError: an op that the machine cannot run; the message names its path and kind. An
            unknown model or machine, or an argument of a wrong type.

    Example:
        >>> import roofline
        >>> formats = {"weights": "bitmod3:g128:int8", "kv": "int8:g128:int8"}
        >>> work = roofline.workload("smollm2-135m", "decode", head="int8:g128:int8", **formats)
        >>> simulate(work, "bitmod").cycles
        3124536
    """
    machine = load_accelerator(accelerator)
    run = scenario_on(work, machine)
    if codes is not None:
        tensors = arguments.table("codes", codes, _tensor)
        for part, _ in run.parts:
            _check_codes(part, tensors)
        run = run.with_weights({path: tensor.spec for path, tensor in tensors.items()})
    run = with_own_formats(run, machine)
    ops = (result for part, n in run.parts for result in _results(part, n, machine))
    return SimulationResult(machine, tuple(ops))


def scenario_on(work: Workload | Scenario | Model, machine: Accelerator) -> Scenario:
    """Return what runs on a machine, as a scenario; a model runs in the machine's own formats.

    Raises:
        RequestError: as ``roofline.workloads.workload.as_scenario``.
    """
    return as_scenario(work, **(machine_formats(machine) if is_model(work) else {}))


def machine_formats(
    machine: Accelerator, weights: str | FormatSpec | None = None
) -> dict[str, Any]:
    """Return the keywords of ``roofline.workload`` for what a machine runs.

    Args:
        machine: The machine.
        weights: Format of the block layers; None: the machine's default.

    Raises:
        RequestError: a format that the machine does not run.
    """
    return {
        "weights": str(machine.spec(weights or machine.default_weights)),
        "activations": str(machine.activations),
        "kv": str(machine.kv),
        "head": str(machine.head),
        "flash": False,
    }


def _tensor(name: str, value: object) -> QuantizedTensor:
    return arguments.one_of(name, value, QuantizedTensor, "a QuantizedTensor")


def tiles(gemm: Gemm, rows: int, columns: int, lanes: int) -> int:
    """Return the tiles of a product."""
    along_k, along_n = math.ceil(gemm.k / lanes), math.ceil(gemm.n / rows)
    return math.ceil(gemm.batch * along_k * along_n * math.ceil(gemm.m / columns))


def _results(work: Workload, repeats: float, machine: Accelerator) -> Iterator[OpResult]:
    """The ops of a workload; those that differ in their names alone are simulated once."""
    known: dict[int, list[OpResult]] = {}
    for op, kind in zip(work.ops, work.template.index.tolist(), strict=True):
        if kind not in known:
            known[kind] = [_run(part, work.phase, repeats, machine) for part in op.unfused()]
        for part, result in zip(op.definition.unfused(), known[kind], strict=True):
            yield replace(result, name=part.name)


def _check_codes(work: Workload, codes: Mapping[str, QuantizedTensor]) -> None:
    """Refuse codes of a layer that the workload does not have, or of another shape."""
    matrices = work.inventory
    for path, tensor in codes.items():
        if path not in matrices:
            raise unknown_name("layer", path, matrices)
        shape = matrices[path].shape
        if tensor.shape != shape:
            raise RequestError(f"codes of {path} have shape {tensor.shape}: {shape} is needed")


def _run(op: OpWork, phase: str, repeats: float, machine: Accelerator) -> OpResult:
    try:
        if op.link_bytes > 0:
            raise RequestError(f"{machine.name} has no links: tp, pp and ep of 1 are allowed")
        gemm, operands = op.gemm, op.operands
        if gemm is not None and operands is not None:
            return _multiply(op, gemm, operands, phase, repeats, machine)
        if gemm is not None or op.macs > 0:
            raise RequestError("multiplies, but gives no product of two operands in formats")
        if op.ops > 0 and op.bytes == 0:
            raise RequestError("operates on nothing that it moves: its cost is not known")
    except RequestError as error:
        raise RequestError(f"{op.name} ({op.op}): {error}") from None
    return _move(op, phase, repeats, machine)


def _multiply(
    op: OpWork,
    gemm: Gemm,
    operands: Operands,
    phase: str,
    repeats: float,
    machine: Accelerator,
) -> OpResult:
    """A product in the array."""
    array, steps = machine.array(phase), machine.steps(operands.stationary)
    count = tiles(gemm, array.rows, array.columns, machine.pe.lanes)
    stationary = operands.stationary_bytes.at(op.step)
    moving = operands.moving_bytes.at(op.step)
    outputs = op.bytes - stationary - moving
    if outputs < -ROUNDING * op.bytes:
        read = f"{stationary + moving:.9g} bytes"
        raise RequestError(f"its operands have {read}, but it moves only {op.bytes:.9g}")
    f_weights, f_inputs = refetch(stationary, moving, gemm.batch, machine)
    loaded_weights, loaded_inputs = stationary * f_weights, moving * f_inputs
    moved = loaded_weights + loaded_inputs + outputs
    compute = count * steps
    weight_bits = array.rows * machine.pe.weight_bits(operands.stationary)
    input_bits = array.columns * machine.activation_bits(operands.moving)
    sram = buffer_energy_j(machine.weight_buffer, count * weight_bits, loaded_weights * 8)
    sram += buffer_energy_j(
        machine.activation_buffer, count * input_bits, (loaded_inputs + outputs) * 8
    )
    return OpResult(
        op.name,
        op.op,
        phase,
        repeats,
        compute,
        dram_cycles(machine, moved),
        moved,
        array_energy_j(machine, compute, array.pes),
        sram,
        dram_energy_j(machine, moved),
    )


def _move(op: OpWork, phase: str, repeats: float, machine: Accelerator) -> OpResult:
    """An op that only moves its operands."""
    energy, cycles = dram_energy_j(machine, op.bytes), dram_cycles(machine, op.bytes)
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
