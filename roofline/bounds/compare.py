"""Devices and formats side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quant.formats.spec import FormatLike
from roofline.bounds.analysis import analyze
from roofline.bounds.limits import limits
from roofline.calibration.laws import load_calibration
from roofline.devices.device import load_hardware
from roofline.workloads.models import Model
from roofline.workloads.workload import Phase, workload

if TYPE_CHECKING:
    import pandas as pd


def compare_frame(
    model: Model,
    hardware: Sequence[str],
    phase: Phase,
    batch: int,
    context: int,
    weights: Sequence[FormatLike],
    calibrated: bool = False,
) -> pd.DataFrame:
    """Return one row a device and format; ``speedup`` is over the first row.

    Raises:
        RequestError: as ``workload`` and ``load_hardware``.
    """
    import pandas as pd

    rows = []
    for device in hardware:
        spec = load_hardware(device)
        law = load_calibration(spec) if calibrated else None
        for format_ in weights:
            work = workload(model, phase, batch, context, weights=format_)
            analysis = analyze(work, spec, law)
            rows.append(
                {
                    "hardware": spec.name,
                    "weights": str(format_),
                    "time_s": analysis.time_s,
                    "memory_share": analysis.bound_share()["memory"],
                    "memory_bytes": analysis.memory.total,
                    "fits": analysis.fits,
                    "largest_batch": limits(work, spec).batch,
                }
            )
    frame = pd.DataFrame(rows)
    frame.insert(3, "speedup", frame["time_s"].iloc[0] / frame["time_s"])
    return frame
