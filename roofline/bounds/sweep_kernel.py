"""The inner loop of ``sweep``: ``analysis.components`` and the laws of kernels, point by point."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from quant.common.jit import parallel

Array = npt.NDArray[np.float64]
TINY = 1e-300


@parallel
def sweep_points(
    values: Array,
    rows: Array,
    cached: Array,
    counts: Array,
    per_op: Array,
    per: Array,
    laws: Array,
    floors: Array,
    calibrated: bool,
    out: Array,
) -> None:
    """Fill ``out[points, 4]``: seconds, seconds bound by memory, cached bytes, live bytes.

    Args:
        values: Expressions of every point, ``[points, expressions]``.
        rows: Coefficients of operations, special functions, moved, sent and live bytes,
            ``[5, kinds, expressions]``.
        cached: Coefficients of the bytes in the cache, ``[expressions]``.
        counts: Ops of each kind.
        per_op: Seconds per operation of each kind.
        per: Seconds per special function, byte of memory, byte of the link.
        laws: 1 / share of the peak, 1 / share of the bandwidth, sharpness (see
            ``calibration.measured.Kernel``), whether the least time bounds, ``[4, kinds]``.
        floors: Seconds of launches of all ops of a kind.
        calibrated: Whether the laws apply.
        out: Filled.
    """
    kinds, width = rows.shape[1], rows.shape[2]
    for i in numba.prange(values.shape[0]):
        total, bound, most = 0.0, 0.0, 0.0
        for k in range(kinds):
            work, functions, traffic, sent, held = 0.0, 0.0, 0.0, 0.0, 0.0
            for j in range(width):
                value = values[i, j]
                work += rows[0, k, j] * value
                functions += rows[1, k, j] * value
                traffic += rows[2, k, j] * value
                sent += rows[3, k, j] * value
                held += rows[4, k, j] * value
            compute = max(work * per_op[k], functions * per[0])
            memory, exchange = traffic * per[1], sent * per[2]
            most = max(most, held)
            ideal = max(compute, memory, exchange)
            seconds = counts[k] * ideal
            # What moves nothing is inside another kernel: its least time, no launch.
            if calibrated and traffic + sent > 0:
                a = compute * laws[0, k]
                b = max(memory, exchange) * laws[1, k]
                longer = max(a, b, TINY)
                power = laws[2, k]
                body = longer * (1 + (min(a, b) / longer) ** power) ** (1 / power)
                seconds = counts[k] * max(body, ideal * laws[3, k]) + floors[k]
            total += seconds
            if memory > compute and memory >= exchange:
                bound += seconds
        kept = 0.0
        for j in range(width):
            kept += cached[j] * values[i, j]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = total, bound, kept, most
