"""Laws from published percentiles of efficiency, where the measurements themselves are not at hand.

A summary gives the 10th, 50th and 90th percentile of (least time / measured time) over a grid of
products. The law whose percentiles over the same grid come nearest is the class's law. On classes
that have both, the laws agree (16-bit products on the H100: shares of the peaks within 0.06).
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roofline.calibration.measured import Array, Kernel, class_of, combine, least_products
from roofline.devices.device import HardwareSpec

if TYPE_CHECKING:
    import pandas as pd

SUMMARIES = resources.files("roofline.calibration") / "efficiencies.csv"
WIDTHS = (2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 14336, 16384, 65536)
TOKENS = (*range(1, 17), *range(24, 129, 8), *range(144, 289, 16))
TOKENS += tuple(int(m) for m in np.geomspace(320, 16384, 35))
"""The tables' grid: 195 of the 14 x 14 widths of at least 2048, 40 token counts that are bound by
memory and 35 by computing (the published numbers of cases); the counts themselves are a guess."""
PERCENTILES = (0.1, 0.5, 0.9)
REGIONS = ("memory", "compute", "memory_m1", "compute_m4096")
MANY = 4096


def read_summaries() -> pd.DataFrame:
    """Return the table of published percentiles."""
    import pandas as pd

    return pd.read_csv(str(SUMMARIES))


def fit_summaries(spec: HardwareSpec, frame: pd.DataFrame) -> dict[str, Kernel]:
    """Return a law for every class of products that a device has summaries of.

    Of several libraries, the one that computes fastest stands: a server picks the best it has.
    """
    laws: dict[str, Kernel] = {}
    for row in frame[frame["device"] == spec.name].to_dict("records"):
        dtype = str(row["dtype"])
        names = [f"{region}_p{round(100 * p)}" for region in REGIONS for p in PERCENTILES]
        wanted = np.array([float(row[name]) for name in names])
        law = _fit(wanted, dtype, spec)
        name = class_of("gemm", dtype)
        if name not in laws or law.compute > laws[name].compute:
            laws[name] = law
    return laws


def _fit(wanted: Array, dtype: str, spec: HardwareSpec) -> Kernel:
    """Find the law whose percentiles are nearest in logarithm; leave out regions without data."""
    from scipy.optimize import least_squares

    m, n, k = (axis.ravel() for axis in np.meshgrid(TOKENS, WIDTHS, WIDTHS, indexing="ij"))
    kept = (n != WIDTHS[-1]) | (k != WIDTHS[-1])
    m, n, k = (axis[kept].astype(np.float64) for axis in (m, n, k))
    compute, memory = least_products(m, n, k, dtype, spec)
    regions = _regions(m, compute, memory)
    known = np.isfinite(wanted)

    def miss(logarithms: Array) -> Array:
        shares = _shares(np.exp(logarithms), compute, memory, regions)
        out: Array = np.log(shares[known]) - np.log(wanted[known])
        return out

    start, low, high = (0.6, 0.7, 2.0, 5e-6), (0.02, 0.02, 1.0, 1e-7), (1.0, 1.2, 8.0, 1e-3)
    bounds = (np.log(low), np.log(high))
    fitted = least_squares(miss, np.log(start), bounds=bounds, x_scale=0.3, diff_step=[1e-3])
    share, bandwidth, sharpness, floor = (float(value) for value in np.exp(fitted.x))
    error = float(np.median(np.abs(np.expm1(miss(fitted.x)))))
    return Kernel(share, bandwidth, floor, sharpness, 0.0, error, len(m), spec.name)


def _regions(m: Array, compute: Array, memory: Array) -> list[npt.NDArray[np.bool_]]:
    bound = memory >= compute
    return [bound, ~bound, bound & (m == 1), ~bound & (m >= MANY)]


def _shares(
    law: Array, compute: Array, memory: Array, regions: list[npt.NDArray[np.bool_]]
) -> Array:
    """Return the percentiles of least over expected time, region by region."""
    expected = law[3] + combine(compute / law[0], memory / law[1], law[2])
    share = np.maximum(compute, memory) / expected
    return np.concatenate([np.quantile(share[region], PERCENTILES) for region in regions])
