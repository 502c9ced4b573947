"""Real codes of a model's matrices, and what they take on a machine whose clocks depend on them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.skipping import Measured
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.tensors.tensor import QuantizedTensor
from roofline.workloads.ops import Op
from roofline.workloads.workload import Workload

Tensors: TypeAlias = Mapping[str, QuantizedTensor]
MEASURED, EXPECTED = "codes", "normal weights"
"""Whence mean steps come: from codes of the op's own, or from drawn ones of its format."""


class Taken(NamedTuple):
    """What an op's weights take in an array whose clocks depend on them.

    Attributes:
        found: Mean steps and stored bits.
        source: ``MEASURED`` or ``EXPECTED``.
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


def check_codes(work: Workload, codes: Tensors) -> None:
    """Refuse codes of a layer that the workload does not have, or of another shape.

    Raises:
        RequestError: the message names the layer.
    """
    matrices = work.inventory
    for path, tensor in codes.items():
        if path not in matrices:
            raise unknown_name("layer", path, matrices)
        shape = matrices[path].shape
        if tensor.shape != shape:
            raise RequestError(f"codes of {path} have shape {tensor.shape}: {shape} is needed")


def measured_codes(codes: Tensors, machine: Accelerator) -> dict[str, Measured]:
    """Return what codes take on a machine, by path; empty where data make no difference to it."""
    found = {path: machine.measured(tensor) for path, tensor in codes.items()}
    return {path: one for path, one in found.items() if one is not None}


def taken(op: Op, machine: Accelerator, codes: Mapping[str, Measured]) -> Taken | None:
    """Return what an op's weights take, the mean over its matrices that have codes.

    None: the machine takes all steps whatever the data.
    """
    own = [codes[path] for path in op.paths if path in codes]
    if own:
        return Taken(_mean(own), MEASURED)
    operands = op.operands
    found = machine.expected(operands.stationary) if operands is not None else None
    return None if found is None else Taken(found, EXPECTED)


def _mean(found: Sequence[Measured]) -> Measured:
    steps = sum(one.steps for one in found) / len(found)
    return Measured(steps, sum(one.weight_bits for one in found) / len(found))


def _tensor(name: str, value: object) -> QuantizedTensor:
    return arguments.one_of(name, value, QuantizedTensor, "a QuantizedTensor")
