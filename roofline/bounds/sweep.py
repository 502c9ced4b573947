"""sweep(): analyze() over grids of batch, context, formats and devices, vectorised."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from quant.common import arguments
from quant.common.progress import track
from quant.common.sizes import need_memory
from quant.formats.spec import FormatLike, as_spec
from roofline.bounds.rates import rates_of
from roofline.bounds.sweep_kernel import sweep_points
from roofline.calibration.laws import Calibration, load_calibration
from roofline.devices.device import HardwareSpec, load_hardware
from roofline.workloads.amounts import Step
from roofline.workloads.models import Model
from roofline.workloads.quantities import Quantity, activation_bytes, moved_bytes
from roofline.workloads.setting import SweepOptions
from roofline.workloads.template import Template
from roofline.workloads.workload import Phase, Workload, workload

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
BYTES = 1024
"""Of a point, about: the ops' variables of one device and format at a time, and a row."""


class _Formats(NamedTuple):
    """A combination of the axes that need a template of their own, as the user wrote them."""

    weights: FormatLike
    kv: FormatLike
    activations: FormatLike
    tp: int


@dataclass(frozen=True)
class _Coefficients:
    """A template's rows as the kernel takes them, each ``[kinds, expressions]``."""

    ops: Array
    special: Array
    moved: Array
    link: Array
    live: Array
    cached: Array
    counts: Array


def sweep(
    model: Model,
    hardware: Sequence[HardwareSpec | str | Path] = ("h100-sxm",),
    phase: Phase = "decode",
    batch: Sequence[int] = (1,),
    context: Sequence[int] = (2048,),
    weights: Sequence[FormatLike] = ("fp16",),
    kv: Sequence[FormatLike] = ("fp16",),
    activations: Sequence[FormatLike] = ("fp16",),
    tp: Sequence[int] = (1,),
    *,
    calibrated: bool = False,
    **options: Unpack[SweepOptions],
) -> pd.DataFrame:
    """Return one row for every combination; each equals what ``analyze`` gives for it.

    Args:
        model: As for ``workload``.
        hardware: Devices.
        phase: ``prefill`` or ``decode``.
        batch: Sequences.
        context: Tokens; see ``workload``.
        weights: Formats of weights.
        kv: Formats of the KV cache.
        activations: Formats of activations.
        tp: Devices that share every layer.
        calibrated: Expected instead of least times.
        **options: Passed to ``workload``.

    Returns:
        Columns: model, phase, hardware, weights, kv, activations, tp, batch, context, time_s,
        tokens_per_s, memory_bytes, fits, memory_share (of the time, bound by memory).

    Raises:
        RequestError: an empty axis, or a value that ``workload`` does not allow.
    """
    integer, several = arguments.integer, arguments.several
    devices = several("hardware", hardware, _device, 1)
    weights, kv = several("weights", weights, _format, 1), several("kv", kv, _format, 1)
    activations = several("activations", activations, _format, 1)
    batch, context = several("batch", batch, integer, 1), several("context", context, integer, 1)
    tp = several("tp", tp, integer, 1)
    calibrated = arguments.flag("calibrated", calibrated)
    axes = (devices, batch, context, weights, kv, activations, tp)
    points = math.prod(map(len, axes))
    need_memory(BYTES * points, f"a sweep of {points:,} points", "take fewer values")
    specs = list(devices)
    formats = [_Formats(*each) for each in itertools.product(weights, kv, activations, tp)]
    batches, contexts = (axis.ravel() for axis in np.meshgrid(batch, context, indexing="ij"))
    parts, name = [], ""
    for each in track(formats, "sweeping", len(formats)):
        for b, c in ((min(batch), min(context)), (max(batch), max(context))):
            work = workload(model, phase, int(b), int(c), **each._asdict(), **options)
        name = work.model
        steps = _steps(work, batches, contexts)
        for spec in specs:
            law = load_calibration(spec) if calibrated else None
            parts.append(_points(work.template, spec, steps, law))
    return _frame(name, phase, specs, formats, (batches, contexts), steps, parts)


def _device(_: str, value: object) -> HardwareSpec:
    return load_hardware(value)  # type: ignore[arg-type]  # which it checks


def _format(name: str, value: object) -> FormatLike:
    """Check a format, which stays as the user wrote it: the frame says it so."""
    as_spec(value, name)  # type: ignore[arg-type]  # which it checks
    return value  # type: ignore[return-value]  # checked


def _steps(work: Workload, batches: npt.NDArray[Any], contexts: npt.NDArray[Any]) -> Step:
    """Return the variables of every point, with arrays for numbers; the rest as in one of them."""
    size, batch = np.ones(len(batches)), batches.astype(np.float64)
    tokens = contexts.astype(np.float64)
    if work.phase == "prefill":
        return Step(batch, tokens, size * work.step.past)  # type: ignore[arg-type]  # arrays
    return Step(batch, size * work.step.queries, tokens)  # type: ignore[arg-type]  # arrays


def _points(
    template: Template, spec: HardwareSpec, steps: Step, law: Calibration | None
) -> tuple[Array, Array, Array]:
    """Return seconds, seconds bound by memory, and resident bytes of every point."""
    rates = rates_of(template, spec)
    size = len(np.asarray(steps.batch))
    values = template.basis.over(
        (*(np.asarray(axis) for axis in steps[:3]), np.full(size, rates.onchip))
    )
    c, kinds = _coefficients(template), len(template.kinds)
    laws = np.ones((4, kinds))
    floors = np.zeros(kinds)
    if law is not None:
        own = law.laws(template, bool(np.max(steps.queries) > 1))
        floors = np.bincount(template.index, own.floors, kinds).astype(np.float64)
        laws = np.stack((own.per_compute, own.per_memory, own.sharpness, own.bounded))
    per = np.array([rates.per_special, rates.per_byte, rates.per_link_byte])
    rows = np.stack((c.ops, c.special, c.moved, c.link, c.live))
    out = np.empty((size, 4))
    sweep_points(
        values, rows, c.cached, c.counts, rates.per_op, per, laws, floors, law is not None, out
    )
    resident = template.stored_bytes + out[:, 2] / template.pp + out[:, 3]
    return out[:, 0], out[:, 1], resident


def _coefficients(template: Template) -> _Coefficients:
    table = template.basis.coefficients
    kinds = table[:-1].reshape(len(template.kinds), len(Quantity), -1)
    columns = (Quantity.OPS, Quantity.SPECIAL_OPS, Quantity.LINK_BYTES)
    ops, special, link = (np.ascontiguousarray(kinds[:, column]) for column in columns)
    moved, live = moved_bytes(kinds), activation_bytes(kinds)
    return _Coefficients(ops, special, moved, link, live, table[-1], template.counts)


def _frame(
    name: str,
    phase: str,
    specs: list[HardwareSpec],
    formats: list[_Formats],
    points: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    steps: Step,
    parts: list[tuple[Array, Array, Array]],
) -> pd.DataFrame:
    """Lay the parts (formats outer, devices inner, points innermost) out as columns."""
    import pandas as pd

    size, combos = len(points[0]), len(parts)

    def column(values: list[str]) -> pd.Categorical[str]:
        levels = list(dict.fromkeys(values))
        codes = np.repeat([levels.index(value) for value in values], size)
        return pd.Categorical.from_codes(codes, categories=pd.Index(levels))

    seconds, bound, resident = (np.concatenate([part[i] for part in parts]) for i in range(3))
    capacity = np.repeat([spec.memory_capacity.value for spec in specs] * len(formats), size)
    new = np.tile(np.asarray(steps.batch) * np.asarray(steps.queries), combos)
    rows = [row for row in formats for _ in specs]
    return pd.DataFrame(
        {
            "model": column([name] * combos),
            "phase": column([phase] * combos),
            "hardware": column([spec.name for spec in specs] * len(formats)),
            "weights": column([str(row.weights) for row in rows]),
            "kv": column([str(row.kv) for row in rows]),
            "activations": column([str(row.activations) for row in rows]),
            "tp": np.repeat([row.tp for row in rows], size),
            "batch": np.tile(points[0], combos),
            "context": np.tile(points[1], combos),
            "time_s": seconds,
            "tokens_per_s": new / seconds,
            "memory_bytes": resident,
            "fits": resident <= capacity,
            "memory_share": bound / seconds,
        }
    )
