"""Rates: what a device offers each kind of op, and the least times that follow."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quant.formats.spec import FormatSpec
from roofline.devices.device import HardwareSpec
from roofline.workloads.amounts import UNBOUNDED
from roofline.workloads.ops import Op
from roofline.workloads.quantities import Quantity, moved_bytes
from roofline.workloads.setting import PLAIN
from roofline.workloads.template import Template

Array = npt.NDArray[np.float64]
RATES_KEPT = 512


@dataclass(frozen=True)
class Rates:
    """What a device offers each kind of op of a template, as arrays over the kinds.

    Attributes:
        peaks: Operations per second.
        per_op: Seconds per operation.
        per_special: Seconds per special function.
        per_byte: Seconds per byte of memory.
        per_link_byte: Seconds per byte of the link.
        onchip: Bytes that the outermost level on the chip keeps.
    """

    peaks: Array
    per_op: Array
    per_special: float
    per_byte: float
    per_link_byte: float
    onchip: float


def components(kinds: Array, rates: Rates) -> Array:
    """Return least seconds of computing, moving and exchanging, ``[3, kinds]``."""
    out = np.empty((3, len(kinds)))
    np.multiply(kinds[:, Quantity.OPS], rates.per_op, out=out[0])
    if rates.per_special:
        np.maximum(out[0], kinds[:, Quantity.SPECIAL_OPS] * rates.per_special, out=out[0])
    np.multiply(moved_bytes(kinds), rates.per_byte, out=out[1])
    np.multiply(kinds[:, Quantity.LINK_BYTES], rates.per_link_byte, out=out[2])
    return out


_RATES: OrderedDict[tuple[int, int], tuple[Template, HardwareSpec, Rates]] = OrderedDict()


def rates_of(template: Template, spec: HardwareSpec) -> Rates:
    """Return the rates of a template's kinds on a device; ``RATES_KEPT`` pairs are remembered."""
    key = (id(template), id(spec))
    entry = _RATES.get(key)
    if entry is None:
        entry = (template, spec, _rates(template, spec))
        _RATES[key] = entry
        if len(_RATES) > RATES_KEPT:
            _RATES.popitem(last=False)
    return entry[2]


def _rates(template: Template, spec: HardwareSpec) -> Rates:
    known: dict[str, float] = {}
    for op in template.kinds:
        key = operand_of(op)
        if key not in known:
            known[key] = peak_of(op, spec)
    peaks = np.array([known[operand_of(op)] for op in template.kinds])
    special = 1 / spec.special_ops.value if spec.special_ops else 0.0
    link = 1 / spec.link.bandwidth.value if spec.link else 0.0
    per_byte = 1 / spec.memory_bandwidth.value
    return Rates(peaks, 1 / peaks, special, per_byte, link, onchip_bytes(spec))


def operand_of(op: Op) -> str:
    """Return what decides an op's peak: its operands' formats, or that it is no product."""
    operands = op.operands
    if operands is None:
        return f"vector {op.activations}"
    return f"{operands.stationary} x {operands.moving}"


def peak_of(op: Op, spec: HardwareSpec) -> float:
    """Return operations per second: matrix units multiply, all else runs on the ordinary cores.

    Where a device's file does not tell the cores' peak, all else runs at that of the matrix
    units, in 16 bits at least.
    """
    if op.operands is None and spec.vector_ops is not None:
        return spec.vector_ops.value
    return spec.peak(*_multiplied(op))


def _multiplied(op: Op) -> tuple[FormatSpec, FormatSpec]:
    """The formats that the matrix units multiply for an op; 16 bits at least where it is none."""
    operands = op.operands
    return (PLAIN, op.activations) if operands is None else (operands.stationary, operands.moving)


def onchip_bytes(spec: HardwareSpec) -> float:
    """Return the bytes that the outermost level on the chip keeps; all, where none is known."""
    return spec.levels[0].capacity.value if spec.levels else UNBOUNDED
