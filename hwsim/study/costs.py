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
    sum over layers is the whole time. Columns are named by the formats' texts.

    Raises:
        RequestError: a layer that the workload has no op for.
    """
    keywords = machine_formats(machine, formats[0])
    work = roofline.scenario(
        dict(config), request.prompt, request.generate, request.batch, **keywords
    )
    own: dict[str, dict[str, dict[str, float]]] = {PREFILL: {}, DECODE: {}, BITS: {}}
    linears = work.parts[0][0].matrices
    if missing := [path for path in layers if path not in linears]:
        raise RequestError(f"layers that the workload has no op for: {', '.join(missing)}")
    weights = sum(linears[path].in_features * linears[path].out_features for path in layers)
    fixed = {PREFILL: 0.0, DECODE: 0.0}
    for spec in track(formats, "simulating formats", len(formats)):
        result = simulate(work.with_weights(dict.fromkeys(layers, spec)), machine)
        times = _times(result, set(layers), request.generate)
        for name in (PREFILL, DECODE):
            own[name][str(spec)] = {path: times[name][path] for path in layers}
            fixed[name] = times[name][_FIXED] / len(layers)
        own[BITS][str(spec)] = {
            path: spec.storage_bits(linears[path].out_features, linears[path].in_features) / weights
            for path in layers
        }
    columns = [str(spec) for spec in formats]
    frames = {name: pd.DataFrame(table).loc[list(layers), columns] for name, table in own.items()}
    return work, {name: frame + fixed.get(name, 0.0) for name, frame in frames.items()}


def _times(
    result: SimulationResult, layers: set[str], generate: int
) -> dict[str, dict[str, float]]:
    """Seconds by budget and layer; everything else under the empty name."""
    times: dict[str, dict[str, float]] = {name: {_FIXED: 0.0} for name in PHASES.values()}
    for op in result.ops:
        name = PHASES[op.phase]
        share = 1.0 / generate if name == DECODE else 1.0
        key = op.name if op.name in layers else _FIXED
        seconds = op.repeats * op.cycles / result.accelerator.clock_hz.value
        times[name][key] = times[name].get(key, 0.0) + share * seconds
    return times
