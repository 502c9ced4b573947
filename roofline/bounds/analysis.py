"""analyze(): a workload under a device's roof."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roofline.devices.device import HardwareSpec, load_hardware
from roofline.workloads.amounts import UNBOUNDED
from roofline.workloads.ops import Attention, Op
from roofline.workloads.template import QUANTITIES, Template
from roofline.workloads.workload import Memory, OpWork, Scenario, Workload

if TYPE_CHECKING:
    import pandas as pd

    from roofline.calibration.laws import Calibration

Array = npt.NDArray[np.float64]
BOUNDS = ("compute", "memory", "link")
_OPS, _SPECIAL = QUANTITIES.index("ops"), QUANTITIES.index("special_ops")
_LINK = QUANTITIES.index("link_bytes")
_MOVED = slice(QUANTITIES.index("weight_bytes"), QUANTITIES.index("kv_bytes") + 1)


@dataclass(frozen=True, slots=True)
class OpBound:
    """An op, how often it runs, and its bound.

    Attributes:
        op: The op.
        repeats: How often the scenario runs it.
        peak: Operations per second that its operands allow.
        bandwidth: Byte/s.
        bound: ``compute``, ``memory`` or ``link``: what takes longest.
        ideal_s: Least time of one run: the longest of computing, moving and exchanging.
        time_s: The same; with a calibration, the expected time.
    """

    op: OpWork
    repeats: float
    peak: float
    bandwidth: float
    bound: str
    ideal_s: float
    time_s: float

    @property
    def arithmetic_intensity(self) -> float:
        """Operations a byte; 0 for ops that do not touch memory (exchanges)."""
        return self.op.ops / self.op.bytes if self.op.bytes else 0.0


@dataclass(frozen=True)
class Part:
    """One workload of an analysis, as arrays over its ops.

    Attributes:
        work: The workload.
        repeats: How often it runs.
        table: Numbers of every op on this device, ``[ops, len(QUANTITIES)]``.
        peaks: Operations per second, ``[ops]``.
        bounds: Index into ``BOUNDS``, ``[ops]``.
        ideal: Least times, s, ``[ops]``.
        times: Expected times, s, ``[ops]``; without a calibration the least.
    """

    work: Workload
    repeats: float
    table: Array
    peaks: Array
    bounds: npt.NDArray[np.intp]
    ideal: Array
    times: Array


@dataclass(frozen=True)
class Analysis:
    """Bounds of every op, and their sum (ops run one after the other)."""

    hardware: HardwareSpec
    parts: tuple[Part, ...]
    calibration: Calibration | None = None

    @cached_property
    def memory(self) -> Memory:
        """Resident bytes: the largest of the parts."""
        return max((part.work.memory for part in self.parts), key=lambda memory: memory.total)

    @cached_property
    def time_s(self) -> float:
        """Time of the whole: the least, or with a calibration the expected."""
        return float(sum(part.repeats * part.times.sum() for part in self.parts))

    @property
    def ideal_s(self) -> float:
        """Least time of the whole."""
        return float(sum(part.repeats * part.ideal.sum() for part in self.parts))

    @property
    def expected_error(self) -> float:
        """Median relative errors of the kernels' laws, weighted by time; 0 uncalibrated."""
        if self.calibration is None:
            return 0.0
        weighted = sum(
            part.repeats
            * float(
                part.times @ self.calibration.errors(part.work.template, part.work.step.queries)
            )
            for part in self.parts
        )
        return weighted / (self.time_s or 1.0)

    @cached_property
    def ops(self) -> tuple[OpBound, ...]:
        """Every op, in order."""
        return tuple(bound for part in self.parts for bound in self._bounds(part))

    @property
    def fits(self) -> bool:
        """Whether weights, cache and activations fit the device's memory."""
        return self.memory.total <= self.hardware.memory_capacity.value

    def bound_share(self) -> dict[str, float]:
        """Return the share of the time that each bound takes."""
        total = self.time_s or 1.0
        shares = dict.fromkeys(BOUNDS, 0.0)
        for part in self.parts:
            for i, name in enumerate(BOUNDS):
                shares[name] += part.repeats * float(part.times[part.bounds == i].sum()) / total
        return {name: share for name, share in shares.items() if share or name != "link"}

    def to_frame(self) -> pd.DataFrame:
        """Return one row an op: the keys of the JSON report."""
        import pandas as pd

        return pd.DataFrame(rows(self))

    def _bounds(self, part: Part) -> list[OpBound]:
        definitions, step = part.work.template.ops, part.work.step
        bandwidth = self.hardware.memory_bandwidth.value
        columns = (part.table, part.peaks, part.bounds, part.ideal, part.times)
        numbers = zip(definitions, *(column.tolist() for column in columns), strict=True)
        return [
            OpBound(
                OpWork(op, step, *row), part.repeats, peak, bandwidth, BOUNDS[bound], ideal, time
            )
            for op, row, peak, bound, ideal, time in numbers
        ]


def rows(analysis: Analysis) -> list[dict[str, object]]:
    """Return the ops as the JSON report gives them."""
    own = ("name", "op", "macs", "ops", "weight_bytes", "activation_bytes", "kv_bytes", "bytes")
    return [
        {key: _plain(getattr(entry.op, key)) for key in own}
        | {
            "count": _plain(entry.op.count * entry.repeats),
            "arithmetic_intensity": entry.arithmetic_intensity,
            "bound": entry.bound,
            "time_s": entry.time_s,
        }
        | ({"link_bytes": _plain(entry.op.link_bytes)} if entry.op.link_bytes else {})
        for entry in analysis.ops
    ]


def _plain(value: object) -> object:
    """Give whole counts as integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def analyze(
    work: Workload | Scenario,
    hardware: HardwareSpec | str | Path,
    calibration: Calibration | None = None,
) -> Analysis:
    """Return the bounds of a workload on a device.

    Args:
        work: A workload, or a scenario (its parts follow one another).
        hardware: A specification, a built-in name, or a TOML file.
        calibration: Measured efficiencies (``roofline.calibration.laws``): expected instead
            of least times.
    """
    spec = hardware if isinstance(hardware, HardwareSpec) else load_hardware(hardware)
    parts = work.parts if isinstance(work, Scenario) else ((work, 1),)
    return Analysis(spec, tuple(_part(w, n, spec, calibration) for w, n in parts), calibration)


def onchip_bytes(spec: HardwareSpec) -> float:
    """Return the bytes that the outermost level on the chip keeps; all, where none is known."""
    return spec.levels[0].capacity.value if spec.levels else UNBOUNDED


def _part(
    work: Workload, repeats: float, spec: HardwareSpec, calibration: Calibration | None
) -> Part:
    template = work.template
    rates = rates_of(template, spec)
    kinds = template.by_kind(work.step._replace(onchip=rates.onchip))
    parts = components(kinds, rates)
    ideal = parts.max(axis=0)
    index = template.index
    bounds, least = parts.argmax(axis=0)[index], ideal[index]
    times = least
    if calibration is not None:
        times = calibration.times(template, kinds, parts, work.step.queries)
    return Part(work, repeats, kinds[index], rates.peaks[index], bounds, least, times)


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
    np.multiply(kinds[:, _OPS], rates.per_op, out=out[0])
    if rates.per_special:
        np.maximum(out[0], kinds[:, _SPECIAL] * rates.per_special, out=out[0])
    np.multiply(kinds[:, _MOVED].sum(axis=1), rates.per_byte, out=out[1])
    np.multiply(kinds[:, _LINK], rates.per_link_byte, out=out[2])
    return out


_RATES: OrderedDict[tuple[int, int], tuple[Template, HardwareSpec, Rates]] = OrderedDict()


def rates_of(template: Template, spec: HardwareSpec) -> Rates:
    """Return the rates of a template's kinds on a device; the last 512 pairs are remembered."""
    key = (id(template), id(spec))
    found = _RATES.get(key)
    if found is None:
        found = (template, spec, _rates(template, spec))
        _RATES[key] = found
        if len(_RATES) > 512:
            _RATES.popitem(last=False)
    return found[2]


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
    if op.product is None:
        return f"vector {op.activations}"
    weights = op.kv if isinstance(op, Attention) else getattr(op, "weights", op.activations)
    return f"{weights} x {op.activations}"


def peak_of(op: Op, spec: HardwareSpec) -> float:
    """Return operations per second: matrix units multiply, all else runs on the ordinary cores."""
    if op.product is None and spec.vector_ops is not None:
        return spec.vector_ops.value
    weights = op.kv if isinstance(op, Attention) else getattr(op, "weights", op.activations)
    return spec.peak(weights, op.activations)
