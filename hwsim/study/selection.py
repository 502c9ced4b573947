"""Exact choice of one format a layer under budgets: a mixed-integer linear program."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from quant.common.errors import HwsimError, RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIME_LIMIT_S = 120.0
GAP = 1e-6
"""Share of the loss at which the solver (HiGHS) is done."""
PROVED = 2e-6
"""Share of the loss below which a choice counts as optimal: ``GAP`` and the solver's rounding."""
TOLERANCE = 1e-7
"""HiGHS' dual feasibility tolerance: what a layer's loss may be off in its bounds."""
RESCALINGS = 4


@dataclass(frozen=True)
class Selection:
    """A choice of one format a layer; its text says how good it is known to be.

    Attributes:
        formats: Format of each layer, as the tables name it.
        loss: Its total loss.
        gap: The share of ``loss`` by which the best choice may lie below it.
        stopped: Whether the time was over before the solver was done.
        time_limit_s: Seconds that the solver was given.
    """

    formats: dict[str, str]
    loss: float
    gap: float
    stopped: bool
    time_limit_s: float

    @property
    def proved(self) -> bool:
        """Whether it is proved optimal, to two parts in a million of its loss."""
        return not self.stopped and self.gap <= PROVED

    def __str__(self) -> str:
        if self.proved:
            return "proved optimal"
        within = f"within {np.ceil(self.gap * 1e4) / 100:g} % of optimal"
        if self.stopped:
            return f"stopped after {self.time_limit_s:g} s, {within}"
        return f"{within}, which is as far as the solver's precision goes"


def select(
    loss: pd.DataFrame,
    costs: Mapping[str, pd.DataFrame],
    budgets: Mapping[str, float],
    *,
    time_limit_s: float = TIME_LIMIT_S,
) -> Selection:
    """Choose the formats with the least total loss whose total costs keep every budget.

    Args:
        loss: ``[layers, formats]``.
        costs: Name of a cost to ``[layers, formats]``, in the budget's unit.
        budgets: Name of a cost to the largest total allowed, kept to one part in a million.
        time_limit_s: Seconds after which the solver (HiGHS) gives the best choice that it has;
            the result says so, and how far from optimal that may be.

    Raises:
        RequestError: a budget below the smallest possible total, which the message states, or a
            time limit that is not above 0.
        HwsimError: the time was over before there was any choice.
    """
    if not time_limit_s > 0:
        raise RequestError(f"time limit {time_limit_s:g} s: above 0 is needed")
    check_budgets(costs, budgets)
    program = _Program(loss, costs, budgets, time_limit_s)
    columns, bound, stopped = program.solve()
    formats = {
        str(path): str(loss.columns[column])
        for path, column in zip(loss.index, columns, strict=True)
    }
    total = program.total(columns)
    gap = 0.0 if total <= bound else (total - bound) / max(abs(total), 1e-300)
    return Selection(formats, total, gap, stopped, time_limit_s)


def check_budgets(costs: Mapping[str, pd.DataFrame], budgets: Mapping[str, float]) -> None:
    """Refuse budgets that no choice can keep.

    Raises:
        RequestError: a budget below the smallest possible total, which the message states.
    """
    for name, budget in budgets.items():
        least = float(costs[name].min(axis=1).sum())
        if budget < least:
            raise RequestError(
                f"{name} {budget:g} is infeasible: the smallest feasible is {least:.6g}"
            )


class _OutOfTimeError(HwsimError):
    """The time was over before there was any choice."""


class _Program:
    """The losses and budgets of one selection, ready for the solver."""

    def __init__(
        self,
        loss: pd.DataFrame,
        costs: Mapping[str, pd.DataFrame],
        budgets: Mapping[str, float],
        time_limit_s: float,
    ) -> None:
        self.values = loss.to_numpy(np.float64)
        self.budgets, self.time_limit_s = budgets, time_limit_s
        self.deadline = 0.0
        # Scaled to about one: HiGHS' feasibility tolerance is absolute.
        self.shares = [
            costs[name].loc[loss.index, loss.columns].to_numpy().ravel() / budget
            for name, budget in budgets.items()
        ]

    def total(self, columns: NDArray[np.intp]) -> float:
        """Return the loss of one column a row."""
        return float(self.values[np.arange(len(self.values)), columns].sum())

    def solve(self) -> tuple[NDArray[np.intp], float, bool]:
        """Return the column of each row, a bound of the loss, and whether the time was over.

        HiGHS takes losses below its absolute tolerance for nothing. Where those in question are
        that small beside the median that they are measured in, it goes on from its choice in
        finer units.
        """
        self.deadline = time.monotonic() + self.time_limit_s
        scale = max(float(np.median(self.values)), 1e-12)
        columns, bound, stopped = self._run(self.values / scale)
        bound = self._safe(bound, scale)
        least = self.values.min(axis=1, keepdims=True)
        for _ in range(RESCALINGS):
            total = self.total(columns)
            above = total - float(least.sum())
            if stopped or total - bound <= PROVED * abs(total) or not above > 0:
                break
            # No better choice has a layer that alone loses more than all layers of this one.
            scale, allowed = above / len(self.values), self.values - least <= above * (1 + GAP)
            try:
                columns, finer, stopped = self._run((self.values - least) / scale, allowed)
            except _OutOfTimeError:
                stopped = True
            else:
                bound = max(bound, float(least.sum()) + self._safe(finer, scale))
        return columns, max(bound, float(least.sum())), stopped

    def _time_left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _safe(self, bound: float, scale: float) -> float:
        """A bound in the loss's unit that HiGHS' tolerance cannot have raised."""
        return (bound - TOLERANCE * len(self.values)) * scale

    def _run(
        self, values: NDArray[np.float64], allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], float, bool]:
        from scipy import optimize, sparse

        layers, formats = values.shape
        one_each = sparse.kron(sparse.eye(layers), np.ones((1, formats)), format="csr")
        limits = [optimize.LinearConstraint(one_each, 1, 1)]
        limits += [optimize.LinearConstraint(row[None], -np.inf, 1.0) for row in self.shares]
        with _quiet_stdout():
            solved: Any = optimize.milp(
                values.ravel(),
                integrality=np.ones(values.size, np.int64),
                bounds=optimize.Bounds(0, 1 if allowed is None else allowed.ravel().astype(float)),
                constraints=limits,
                options={"mip_rel_gap": GAP, "time_limit": self._time_left()},
            )
        if solved.status == 2:
            wanted = ", ".join(f"{name} {budget:g}" for name, budget in self.budgets.items())
            raise RequestError(f"{wanted} together are infeasible, though each alone is not")
        if solved.x is None and solved.status == 1:
            raise _OutOfTimeError(
                f"the solver had no choice after {self.time_limit_s:g} s: allow it more time"
            )
        if solved.x is None:
            raise HwsimError(f"the solver has no choice: {solved.message}")
        columns = solved.x.reshape(layers, formats).argmax(axis=1)
        return columns, float(solved.mip_dual_bound), solved.status != 0


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Drop what C code prints: HiGHS (1.12) says some of its steps where results are piped."""
    try:
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no standard output
        yield
        return
    flush = ctypes.CDLL(None).fflush
    try:
        sys.stdout.flush()
        flush(None)
        os.dup2(nowhere, 1)
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
