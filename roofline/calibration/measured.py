"""The law with few parameters that is fitted to a table of measured kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quant.common.errors import RequestError
from roofline.calibration.table import BYTES, COLUMNS
from roofline.devices.device import HardwareSpec, load_hardware
from roofline.workloads.ops.kernels import DECODE, GEMM, PREFILL, RINGS

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
PEAKS = {"fp16": "fp16", "bf16": "bf16", "fp8": "fp8", "fp8_block": "fp8", "nvfp4": "fp4"}
PEAKS |= {"w4": "fp16", "w8": "fp16"}
LEAST_CASES = 5
"""Fewer measurements than this do not make a class of kernels."""
FOLDS = 10
"""Parts of the measurements that are held out in turn."""
NO_COMPUTE = 1e-12
"""Seconds: kernels that only move; above 0 for logarithms."""


@dataclass(frozen=True)
class Kernel:
    """The law of a class of kernels: ``floor + (c^s + m^s)^(1/s)``.

    ``c`` and ``m`` are the least times of computing and moving, each divided by the share of the
    peak that such kernels reach.

    Attributes:
        compute: Share of the peak operations.
        memory: Share of the bandwidth (of memory, or of the link).
        floor_s: Seconds that the shortest kernel takes.
        sharpness: 1: computing and moving follow one another; large: the longer hides the other.
        per_rank_s: Seconds that every further rank of a collective adds.
        error: Median relative error of measurements that the fit did not see.
        cases: Measurements.
        device: Where they were taken.
    """

    compute: float
    memory: float
    floor_s: float
    sharpness: float
    per_rank_s: float = 0.0
    error: float = 0.0
    cases: int = 0
    device: str = ""


@dataclass(frozen=True)
class Cases:
    """Measurements of one class of kernels on one device, as arrays.

    Attributes:
        compute: Least seconds of computing.
        memory: Least seconds of moving.
        ranks: Devices that take part.
        source: Index of who measured.
        seconds: Measured.
    """

    compute: Array
    memory: Array
    ranks: Array
    source: npt.NDArray[np.intp]
    seconds: Array

    def without(self, hidden: npt.NDArray[np.bool_]) -> Cases:
        """Return the cases that are not hidden."""
        kept = ~hidden
        times = (self.compute[kept], self.memory[kept], self.ranks[kept])
        return Cases(*times, self.source[kept], self.seconds[kept])


def class_of(kernel: str, dtype: str) -> str:
    """Return the class of a measured kernel: products are told apart by data type."""
    if kernel != GEMM:
        return kernel
    return f"{GEMM}:{'fp16' if dtype in {'fp16', 'bf16'} else dtype}"


def cases_of(frame: pd.DataFrame, spec: HardwareSpec) -> dict[str, Cases]:
    """Return the measurements of one device by class, beside their least times."""
    rows = frame[frame["device"] == spec.name]
    names = [class_of(k, str(d)) for k, d in zip(rows["kernel"], rows["dtype"], strict=True)]
    out = {}
    for name in dict.fromkeys(names):
        part = rows[[entry == name for entry in names]]
        compute, memory = _least(part, spec)
        sources, index = np.unique(part["source"].astype(str), return_inverse=True)
        ranks = part["ranks"].fillna(1).to_numpy(float)
        seconds = part["seconds"].to_numpy(float)
        assert len(sources)
        out[name] = Cases(compute, memory, ranks, index, seconds)
    return out


def _least(rows: pd.DataFrame, spec: HardwareSpec) -> tuple[Array, Array]:
    """Return least seconds of computing and of moving."""
    kernel = str(rows["kernel"].iloc[0])
    column = {name: rows[name].to_numpy(float) for name in COLUMNS[4:]}
    bandwidth = spec.memory_bandwidth.value
    nothing = np.full(len(rows), NO_COMPUTE)
    if kernel == GEMM:
        m, n, k = column["m"], column["n"], column["k"]
        return least_products(m, n, k, str(rows["dtype"].iloc[0]), spec)
    if kernel in {PREFILL, DECODE}:
        return _attention(column, _peak(spec, "fp16"), bandwidth, prefill=kernel == PREFILL)
    if kernel in RINGS:
        if spec.link is None:
            raise RequestError(f"{spec.name} has no link: it cannot be measured with {kernel}")
        others = (column["ranks"] - 1) / column["ranks"] * RINGS[kernel]
        return nothing, column["bytes"] * others / spec.link.bandwidth.value
    return nothing, column["bytes"] / bandwidth


def least_products(
    m: Array, n: Array, k: Array, dtype: str, spec: HardwareSpec
) -> tuple[Array, Array]:
    """Return least seconds of computing and moving of ``[m, k] x [k, n]``."""
    weight, activation = BYTES[dtype]
    moved = weight * n * k + activation * m * k + 2 * m * n
    return 2 * m * n * k / _peak(spec, PEAKS[dtype]), moved / spec.memory_bandwidth.value


def _attention(
    column: dict[str, Array], peak: float, bandwidth: float, *, prefill: bool
) -> tuple[Array, Array]:
    batch, heads, width = column["batch"], column["heads"], column["head_dim"]
    keys = column["context"]
    pairs = batch * (keys * (keys + 1) / 2 if prefill else keys)
    queries = batch * (keys if prefill else 1)
    moved = 4 * width * (batch * keys * column["kv_heads"] + queries * heads)
    return 4 * pairs * heads * width / peak, moved / bandwidth


def _peak(spec: HardwareSpec, kind: str) -> float:
    """Return the peak of a type, or the 16-bit one of a device that has no units for it."""
    for name in (kind, "bf16", "fp16"):
        if name in spec.peak_ops:
            return spec.peak_ops[name].value
    have = ", ".join(spec.peak_ops)
    raise RequestError(f"{spec.name} has no {kind} peak, nor a 16-bit one (peaks: {have})")


def fit(cases: Cases, device: str) -> Kernel:
    """Fit a law to measurements, and say how well it predicts those it has not seen.

    Every source has a floor of its own, since a harness adds its launch; the least of them is the
    device's. The loss is robust (soft L1 of the logarithm), because tables hold slow outliers.
    """
    compute, memory, sharpness, per_rank, *floors = _solve(cases)
    used = [floors[i] for i in np.unique(cases.source)]
    error = float(np.median(held_out(cases)))
    return Kernel(
        compute, memory, min(used), sharpness, per_rank, error, len(cases.seconds), device
    )


def held_out(cases: Cases) -> Array:
    """Return the relative error of every measurement, predicted by a fit that did not see it."""
    folds = np.arange(len(cases.seconds)) % min(FOLDS, len(cases.seconds))
    errors = np.empty(len(folds))
    for fold in range(folds.max() + 1):
        hidden = folds == fold
        guess = _predict(_solve(cases.without(hidden)), cases)
        errors[hidden] = np.abs(guess[hidden] / cases.seconds[hidden] - 1)
    return errors


_START = {"compute": 0.7, "memory": 0.7, "sharpness": 2.0, "per_rank": 1e-6, "floor": 4e-6}
_LEAST = (0.02, 0.02, 1.0, 1e-9)
_MOST = (1.0, 1.2, 8.0, 1e-4)
_FLOORS = (1e-7, 1e-3)


def _solve(cases: Cases) -> list[float]:
    """Return compute, memory, sharpness, time per rank, and one floor a source."""
    from scipy.optimize import least_squares

    sources = int(cases.source.max()) + 1
    start = [*list(_START.values())[:4], *[_START["floor"]] * sources]
    low = [*_LEAST, *[_FLOORS[0]] * sources]
    high = [*_MOST, *[_FLOORS[1]] * sources]
    logs = np.log(cases.seconds)

    def miss(logarithms: Array) -> Array:
        return np.log(_predict(np.exp(logarithms).tolist(), cases)) - logs

    bounds = (np.log(low), np.log(high))
    fitted = least_squares(miss, np.log(start), loss="soft_l1", f_scale=0.1, bounds=bounds)
    return [float(value) for value in np.exp(fitted.x)]


def _predict(parameters: list[float], cases: Cases) -> Array:
    compute, memory, sharpness, per_rank, *floors = parameters
    body = combine(cases.compute / compute, cases.memory / memory, np.array(sharpness))
    own: Array = np.array(floors)[cases.source] + per_rank * (cases.ranks - 1)
    return own + body


def combine(compute: Array, memory: Array, sharpness: Array) -> Array:
    """Return the time of computing and moving that overlap in part: a generalized mean."""
    longer = np.maximum(np.maximum(compute, memory), 1e-300)
    shorter = np.minimum(compute, memory) / longer
    out: Array = longer * (1 + shorter**sharpness) ** (1 / sharpness)
    return out


def fit_device(spec: HardwareSpec, frame: pd.DataFrame) -> dict[str, Kernel]:
    """Return the laws of the classes that are measured on a device."""
    return {
        name: fit(cases, spec.name)
        for name, cases in cases_of(frame, spec).items()
        if len(cases.seconds) >= LEAST_CASES
    }


def measured_devices(frame: pd.DataFrame) -> list[HardwareSpec]:
    """Return the devices that a table has measurements of."""
    return [load_hardware(str(name)) for name in dict.fromkeys(frame["device"])]
