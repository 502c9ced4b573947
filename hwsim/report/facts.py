"""What a co-design run says about its machine and its plan, gathered before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import pandas as pd

from hwsim.machines.accelerator import Accelerator
from hwsim.simulation.result import SimulationResult
from hwsim.study.request import DECODE, PREFILL
from hwsim.study.result import CodesignResult
from quant.formats.spec import FormatSpec


@dataclass(frozen=True)
class UniformTimes:
    """What one format for all block layers takes in one of the times.

    Attributes:
        name: Which time.
        fastest: Its name and seconds.
        slowest: As above.
        same_cycles: The largest spread among formats whose blocks take the same cycles: slowest
            over fastest, less 1; None: no two formats do.
        same_width: As above, among formats with elements of the same width.
    """

    name: str
    fastest: tuple[str, float]
    slowest: tuple[str, float]
    same_cycles: float | None
    same_width: float | None


@dataclass(frozen=True)
class Alternative:
    """What one cost alone would choose, allowed no more of it than the plan takes.

    Attributes:
        name: Which cost.
        allowed: The plan's total.
        changed: Layers whose format would be another; None: the solver had no choice in time.
        loss: Its expected loss, nat per token.
        quality: How good the choice is known to be; empty where it is proved optimal.
    """

    name: str
    allowed: float
    changed: int | None
    loss: float
    quality: str


def steps_of_formats(machine: Accelerator, formats: Sequence[FormatSpec]) -> dict[int, list[str]]:
    """Return the formats by the cycles that a block of weights takes on a machine, few first."""
    by_steps: dict[int, list[str]] = {}
    for spec in formats:
        by_steps.setdefault(machine.steps(spec), []).append(spec.name)
    return {steps: by_steps[steps] for steps in sorted(by_steps)}


def memory_share(simulation: SimulationResult) -> dict[str, float]:
    """Return the share of each phase's cycles that is spent in ops bound by memory."""
    cycles: dict[str, float] = {}
    bound: dict[str, float] = {}
    for op in simulation.ops:
        spent = op.repeats * op.cycles
        cycles[op.phase] = cycles.get(op.phase, 0.0) + spent
        bound[op.phase] = bound.get(op.phase, 0.0) + (spent if op.bound == "memory" else 0.0)
    return {phase: bound[phase] / max(total, 1e-300) for phase, total in cycles.items()}


def uniform_times(result: CodesignResult) -> list[UniformTimes]:
    """Return what uniform formats take in prefill and in decode."""
    return [_uniform(result, name) for name in (PREFILL, DECODE)]


def alternatives(result: CodesignResult) -> list[Alternative]:
    """Return what the costs that were not the only budget would choose alone."""
    rows = []
    for name, selection in result.alternatives.items():
        planned = result.selection.formats
        allowed = _total(result.costs[name], planned)
        if selection is None:
            rows.append(Alternative(name, allowed, None, float("nan"), ""))
            continue
        changed = sum(selection.formats[path] != text for path, text in planned.items())
        quality = "" if selection.proved else str(selection)
        rows.append(Alternative(name, allowed, changed, selection.loss, quality))
    return rows


def _uniform(result: CodesignResult, name: str) -> UniformTimes:
    totals = result.costs[name].sum()
    seconds = {spec: float(totals[str(spec)]) for spec in result.formats}
    ordered = sorted(seconds, key=lambda spec: seconds[spec])
    return UniformTimes(
        name,
        (ordered[0].name, seconds[ordered[0]]),
        (ordered[-1].name, seconds[ordered[-1]]),
        _spread(seconds, result.machine.steps),
        _spread(seconds, lambda spec: spec.element_bits),
    )


def _spread(
    seconds: dict[FormatSpec, float], alike: Callable[[FormatSpec], Hashable]
) -> float | None:
    """The largest spread of seconds among formats that are alike."""
    groups: dict[Hashable, list[float]] = {}
    for spec, value in seconds.items():
        groups.setdefault(alike(spec), []).append(value)
    spreads = [max(group) / min(group) - 1 for group in groups.values() if len(group) > 1]
    return max(spreads, default=None)


def _total(frame: pd.DataFrame, formats: dict[str, str]) -> float:
    table = frame.to_dict("index")
    return float(sum(table[path][text] for path, text in formats.items()))
