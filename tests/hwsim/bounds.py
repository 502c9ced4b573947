"""The roofline's bound of an op on a machine that may store fewer bits than its formats have."""

from __future__ import annotations

import math

from hwsim.machines.accelerator import Accelerator
from roofline.bounds.analysis import OpBound


def least_time(bound: OpBound, machine: Accelerator) -> float:
    """Return the seconds that an op takes at least: less where columns of bits are not stored."""
    weights, operands, gemm = bound.op.definition.weights, bound.op.operands, bound.op.gemm
    if weights is None or operands is None or gemm is None or bound.bound != "memory":
        return bound.time_s
    found = machine.expected(operands.stationary, math.ceil(gemm.k))
    if found is None:
        return bound.time_s
    share = 1 - (weights.element_bits - found.weight_bits) / (weights.bytes_each * 8)
    return bound.time_s * min(1.0, share)
