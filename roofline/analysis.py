"""analyze(): a workload under a device's roof."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roofline.hardware import HardwareSpec, load_hardware
from roofline.ops import Attention, Linear, Op
from roofline.workload import Memory, Scenario, Workload

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class OpBound:
    """An op, how often it runs, and its bound.

    Attributes:
        op: The op.
        repeats: How often the scenario runs it.
        peak: Operations per second that its operands allow.
        bandwidth: Byte/s.
    """

    op: Op
    repeats: int
    peak: float
    bandwidth: float

    @property
    def arithmetic_intensity(self) -> float:
        """Operations a byte."""
        return self.op.ops / self.op.bytes if self.op.bytes else float("inf")

    @property
    def bound(self) -> str:
        """``memory`` or ``compute``."""
        return "memory" if self.op.bytes / self.bandwidth > self.op.ops / self.peak else "compute"

    @property
    def time_s(self) -> float:
        """Of one run: the longer of computing and moving."""
        return max(self.op.ops / self.peak, self.op.bytes / self.bandwidth)


@dataclass(frozen=True)
class Analysis:
    """Bounds of every op, and their sum (ops run one after the other)."""

    hardware: HardwareSpec
    ops: tuple[OpBound, ...]
    memory: Memory

    @property
    def time_s(self) -> float:
        """Least time of the whole."""
        return sum(op.repeats * op.time_s for op in self.ops)

    @property
    def fits(self) -> bool:
        """Whether weights, cache and activations fit the device's memory."""
        return self.memory.total <= self.hardware.memory_capacity.value

    def bound_share(self) -> dict[str, float]:
        """Return the share of the time that each bound takes."""
        shares = {"memory": 0.0, "compute": 0.0}
        for op in self.ops:
            shares[op.bound] += op.repeats * op.time_s / self.time_s
        return shares

    def to_frame(self) -> pd.DataFrame:
        """Return one row an op: the keys of the JSON report."""
        import pandas as pd

        return pd.DataFrame(rows(self))


def rows(analysis: Analysis) -> list[dict[str, object]]:
    """Return the ops as the JSON report gives them."""
    own = ("name", "op", "macs", "ops", "weight_bytes", "activation_bytes", "kv_bytes", "bytes")
    return [
        {key: getattr(entry.op, key) for key in own}
        | {
            "count": entry.op.count * entry.repeats,
            "arithmetic_intensity": entry.arithmetic_intensity,
            "bound": entry.bound,
            "time_s": entry.time_s,
        }
        for entry in analysis.ops
    ]


def analyze(work: Workload | Scenario, hardware: HardwareSpec | str | Path) -> Analysis:
    """Return the bounds of a workload on a device.

    Args:
        work: A workload, or a scenario (its parts follow one another).
        hardware: A specification, a built-in name, or a TOML file.
    """
    spec = hardware if isinstance(hardware, HardwareSpec) else load_hardware(hardware)
    parts = work.parts if isinstance(work, Scenario) else ((work, 1),)
    bandwidth, peaks = spec.memory_bandwidth.value, _Peaks(spec)
    bounds = [OpBound(op, n, peaks.of(op), bandwidth) for part, n in parts for op in part.ops]
    return Analysis(spec, tuple(bounds), work.memory)


class _Peaks:
    """Peaks by operand formats, looked up once each."""

    def __init__(self, spec: HardwareSpec) -> None:
        self._spec = spec
        self._known: dict[tuple[object, object], float] = {}

    def of(self, op: Op) -> float:
        activations = getattr(op, "activations", None)
        weights = activations
        if isinstance(op, Linear):
            weights = op.weights
        elif isinstance(op, Attention):
            weights = op.kv
        key = (weights, activations)
        if key not in self._known:
            assert weights is not None
            assert activations is not None
            self._known[key] = self._spec.peak(weights, activations)
        return self._known[key]
