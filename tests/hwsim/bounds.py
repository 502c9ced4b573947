"""The roofline's bound of an op on a machine that may store fewer bits than its formats have."""

from __future__ import annotations

from hwsim.machines.accelerator import Accelerator
from roofline.bounds.analysis import OpBound


def least_time(bound: OpBound, machine: Accelerator) -> float:
    """Return the seconds that an op takes at least: less where columns of bits are not stored."""
    weights = bound.op.definition.weights
    found = None if bound.op.operands is None else machine.expected(bound.op.operands.stationary)
    if found is None:
        return bound.time_s
    if weights is None or bound.bound != "memory":
        # A peak is that of the machine's own groups; longer ones have more columns to pass over.
        return bound.time_s * 0.93
    share = 1 - (weights.element_bits - found.weight_bits) / (weights.bytes_each * 8)
    return bound.time_s * min(1.0, share)
