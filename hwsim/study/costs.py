"""What a co-design run is asked, and what each format of each layer costs in its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.simulation.result import SimulationResult
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.study.request import BITS, DECODE, PREFILL, Request
from quant.common.progress import track
from quant.formats.spec import parse_spec
from roofline.workloads.workload import Scenario


def costs(
    machine: Accelerator,
    config: Mapping[str, Any],
    layers: list[str],
    formats: list[str],
    request: Request,
) -> tuple[Scenario, dict[str, pd.DataFrame]]:
    """Return the scenario, and each budget's ``[layers, formats]`` with its fixed part spread.

    What no format changes (attention, norms, the head) is divided over the layers, so that the
    sum over layers is the whole time.
    """
    keywords = machine_formats(machine, formats[0])
    work = roofline.scenario(
        dict(config), request.prompt, request.generate, request.batch, **keywords
    )
    own: dict[str, dict[str, dict[str, float]]] = {PREFILL: {}, DECODE: {}, BITS: {}}
    linears = work.parts[0][0].matrices
    weights = sum(linears[path].in_features * linears[path].out_features for path in layers)
    fixed = {PREFILL: 0.0, DECODE: 0.0}
    for text in track(formats, "simulating formats", len(formats)):
        spec = parse_spec(text)
        result = simulate(work.with_weights(dict.fromkeys(layers, spec)), machine)
        times = _times(result, set(layers), request.generate)
        for name in (PREFILL, DECODE):
            own[name][text] = {path: times[name].get(path, 0.0) for path in layers}
            fixed[name] = times[name][""] / len(layers)
        own[BITS][text] = {
            path: spec.storage_bits(linears[path].out_features, linears[path].in_features) / weights
            for path in layers
        }
    frames = {name: pd.DataFrame(table).loc[layers, formats] for name, table in own.items()}
    return work, {name: frame + fixed.get(name, 0.0) for name, frame in frames.items()}


def _times(
    result: SimulationResult, layers: set[str], generate: int
) -> dict[str, dict[str, float]]:
    """Seconds by phase and layer; everything else under the empty name."""
    times: dict[str, dict[str, float]] = {PREFILL: {"": 0.0}, DECODE: {"": 0.0}}
    for op in result.ops:
        share = 1.0 if op.phase == "prefill" else 1.0 / generate
        table = times[PREFILL if op.phase == "prefill" else DECODE]
        key = op.name if op.name in layers else ""
        seconds = op.repeats * op.cycles / result.accelerator.clock_hz.value
        table[key] = table.get(key, 0.0) + share * seconds
    return times
