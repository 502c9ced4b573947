"""Real codes of a model's matrices, and what they take on a machine whose clocks depend on them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.skipping import Measured
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import QuantizedTensor
from roofline.workloads.op_work import OpWork
from roofline.workloads.ops import Op
from roofline.workloads.workload import Workload

Row: TypeAlias = dict[str, float]
Tensors: TypeAlias = Mapping[str, QuantizedTensor]
MOST_FAULTS = 8
"""Wrong codes that an error names."""
MEASURED, EXPECTED = "codes", "normal weights"
"""Whence mean steps come: from codes of the op's own, or from drawn ones of its format."""


class Taken(NamedTuple):
    """What an op's weights take in an array whose clocks depend on them.

    Attributes:
        found: Mean steps and stored bits.
        source: ``MEASURED``, ``EXPECTED``, or how many matrices of a stack are the first.
    """

    found: Measured
    source: str


def as_tensors(codes: Tensors | str | Path) -> dict[str, QuantizedTensor]:
    """Return codes by path, read where they are a checkpoint's folder.

    Raises:
        RequestError: no checkpoint, or no table of tensors.
    """
    if isinstance(codes, str | os.PathLike):
        from quant.checkpoints.folder import load_quantized

        return load_quantized(arguments.path("codes", codes))
    return arguments.table("codes", codes, _tensor)


def check_codes(work: Workload, codes: Tensors, machine: Accelerator) -> None:
    """Refuse codes that a workload or a machine has nothing for.

    Raises:
        RequestError: layers that the workload does not have, codes of another shape, formats that
            the machine does not run: all of them, each with its path.
    """
    matrices = work.inventory
    faults = []
    for path, tensor in codes.items():
        try:
            if path not in matrices:
                raise unknown_name("layer", path, matrices)
            if tensor.shape != (shape := matrices[path].shape):
                raise RequestError(f"codes of shape {tensor.shape}: {shape} is needed")
            machine.steps(tensor.spec)
        except RequestError as error:
            faults.append(str(error) if path not in matrices else f"{path}: {error}")
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise RequestError("; ".join(faults[:MOST_FAULTS]) + more)


def measured_codes(codes: Tensors, machine: Accelerator) -> dict[str, Measured]:
    """Return what codes take on a machine, by path; empty where data make no difference to it."""
    found = {path: machine.measured(tensor) for path, tensor in codes.items()}
    return {path: one for path, one in found.items() if one is not None}


def taken(op: OpWork, machine: Accelerator, codes: Mapping[str, Measured]) -> Taken | None:
    """Return what an op's weights take, the mean over its matrices: of codes, or expected.

    None: the machine takes all steps whatever the data, or the op multiplies nothing.

    Args:
        op: The op.
        machine: The machine.
        codes: What the codes of matrices take, by path.
    """
    gemm, operands, paths = op.gemm, op.operands, op.definition.paths
    if gemm is None or operands is None:
        return None
    own = [codes[path] for path in paths if path in codes]
    missing = max(1, len(paths)) - len(own)
    if not missing:
        return Taken(_mean(own), MEASURED)
    found = machine.expected(operands.stationary, max(1, math.ceil(gemm.k)))
    if found is None:
        return None
    source = f"{MEASURED} ({len(own)} of {len(paths)}), {EXPECTED}" if own else EXPECTED
    return Taken(_mean([*own, *[found] * missing]), source)


def of_codes(row: Mapping[str, float], found: Measured, spec: FormatSpec, op: Op) -> Row:
    """Return what codes change of an op's row: clocks of a block, bits that are stored.

    Args:
        row: The op's row with the bits of its format (``records.OP``).
        found: What its codes take.
        spec: Their format.
        op: The op.
    """
    if op.weights is None:
        return {"steps": found.steps}  # keys and values come too late to be compressed
    saved = spec.element_bits - found.weight_bits
    outputs, inputs = op.matrix_shape
    read = row["weight_bytes"] / (spec.storage_bits(outputs, inputs) / 8)  # of a stack, those used
    return {
        "steps": found.steps,
        "held_bits": row["held_bits"] - saved,
        "weight_bytes": row["weight_bytes"] - read * saved * outputs * inputs / 8,
    }


def _mean(found: Sequence[Measured]) -> Measured:
    steps = sum(one.steps for one in found) / len(found)
    return Measured(steps, sum(one.weight_bits for one in found) / len(found))


def _tensor(name: str, value: object) -> QuantizedTensor:
    return arguments.one_of(name, value, QuantizedTensor, "a QuantizedTensor")
