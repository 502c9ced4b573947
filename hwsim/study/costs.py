"""What each format of each layer costs in every budget, from simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.simulation.result import SimulationResult
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.study.request import BITS, DECODE, PREFILL, Request
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.formats.spec import FormatSpec
from roofline.workloads.setting import PLAIN
from roofline.workloads.workload import Scenario

PHASES = {"prefill": PREFILL, "decode": DECODE}
_FIXED = ""


def costs(
    machine: Accelerator,
    config: Mapping[str, Any],
    layers: Sequence[str],
    formats: Sequence[FormatSpec],
    request: Request,
) -> tuple[Scenario, dict[str, pd.DataFrame]]:
    """Return the scenario, and each budget's ``[layers, formats]`` with its fixed part spread.

    What no format changes (attention, norms, the head) is divided over the layers, so that the
    sum over layers is the whole time. Columns are named by the formats' texts. Where experts of one
    stack get different formats, they run as several products, whose tiles are rounded up apart.

    Raises:
        RequestError: a layer that the workload has no op for.
    """
    # What gets no format below keeps its own 16 bits; the machine's own default plays no part.
    keywords = machine_formats(machine) | {"weights": PLAIN}
    work = roofline.scenario(
        dict(config), request.prompt, request.generate, request.batch, **keywords
    )
    own: dict[str, dict[str, dict[str, float]]] = {PREFILL: {}, DECODE: {}, BITS: {}}
    matrices = work.parts[0][0].inventory
    if missing := [path for path in layers if path not in matrices]:
        raise RequestError(f"layers that the workload has no op for: {', '.join(missing)}")
    weights = sum(matrices[path].count for path in layers)
    shares = {
        op.name: [path for path in op.paths if path in matrices]
        for part, _ in work.parts
        for op in part.template.ops
    }
    fixed = {PREFILL: 0.0, DECODE: 0.0}
    for spec in track(formats, "simulating formats", len(formats)):
        result = simulate(work.with_weights(dict.fromkeys(layers, spec)), machine)
        times = _times(result, shares, set(layers), request.generate)
        for name in (PREFILL, DECODE):
            own[name][str(spec)] = {path: times[name][path] for path in layers}
            fixed[name] = times[name][_FIXED] / len(layers)
        own[BITS][str(spec)] = {
            path: spec.storage_bits(*matrices[path].shape) / weights for path in layers
        }
    columns = [str(spec) for spec in formats]
    frames = {name: pd.DataFrame(table).loc[list(layers), columns] for name, table in own.items()}
    return work, {name: frame + fixed.get(name, 0.0) for name, frame in frames.items()}


def _times(
    result: SimulationResult, shares: Mapping[str, list[str]], layers: set[str], generate: int
) -> dict[str, dict[str, float]]:
    """Seconds by budget and matrix; everything else under the empty name.

    The experts of a stack run as one op, whose time they share.
    """
    times: dict[str, dict[str, float]] = {name: {_FIXED: 0.0} for name in PHASES.values()}
    for op in result.ops:
        name = PHASES[op.phase]
        share = 1.0 / generate if name == DECODE else 1.0
        seconds = op.repeats * op.cycles / result.accelerator.clock_hz.value
        paths = shares.get(op.name) or [_FIXED]
        for path in paths:
            key = path if path in layers else _FIXED
            times[name][key] = times[name].get(key, 0.0) + share * seconds / len(paths)
    return times
