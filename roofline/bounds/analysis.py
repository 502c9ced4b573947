"""analyze(): a workload under a device's roof."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quant.common import arguments
from roofline.bounds.rates import components, onchip_bytes, operand_of, rates_of
from roofline.calibration.laws import Calibration
from roofline.devices.device import HardwareSpec, load_hardware
from roofline.workloads.models import Model
from roofline.workloads.op_work import OpWork
from roofline.workloads.workload import Memory, Scenario, Workload, as_scenario

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
BOUNDS = ("compute", "memory", "link")


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
        table: Numbers of every op on this device, ``[ops, quantities]``.
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

    @cached_property
    def unheld(self) -> tuple[str, ...]:
        """Operands of products that no type of the device holds: a loose peak stands in for them.

        See ``HardwareSpec.peak``.
        """
        products = {
            operand_of(op): op.operands for part in self.parts for op in part.work.template.kinds
        }
        return tuple(
            text
            for text, operands in products.items()
            if operands is not None
            and not self.hardware.holds(operands.stationary, operands.moving)
        )

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
        definitions = part.work.template.ops
        step = part.work.step._replace(onchip=onchip_bytes(self.hardware))
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
    work: Workload | Scenario | Model,
    hardware: HardwareSpec | str | Path,
    calibration: Calibration | None = None,
) -> Analysis:
    """Return the bounds of a workload on a device.

    Args:
        work: A workload, or a scenario (its parts follow one another), or a model, which stands
            for its scenario of 256 prompt tokens and 32 generated ones in fp16.
        hardware: A specification, a built-in name, or a TOML file.
        calibration: Measured efficiencies (``roofline.calibration.laws``): expected instead
            of least times.

    Raises:
        RequestError: an unknown model or device, or an argument of a wrong type.

    Example:
        >>> import roofline
        >>> bound = analyze(roofline.workload("llama-2-7b", phase="decode"), "h100-sxm")
        >>> round(bound.time_s, 5), bound.bound_share()
        (0.00427, {'compute': 0.0, 'memory': 1.0})
    """
    spec = load_hardware(hardware)
    if calibration is not None:
        arguments.one_of("calibration", calibration, Calibration, "a Calibration or None")
    parts = as_scenario(work).parts
    return Analysis(spec, tuple(_part(w, n, spec, calibration) for w, n in parts), calibration)


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
