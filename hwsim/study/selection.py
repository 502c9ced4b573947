"""Exact choice of one format a layer under budgets: a mixed-integer linear program."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from quant.common.errors import HwsimError, RequestError


def select(
    loss: pd.DataFrame, costs: Mapping[str, pd.DataFrame], budgets: Mapping[str, float]
) -> dict[str, str]:
    """Choose the formats with the least total loss whose total costs keep every budget.

    Args:
        loss: ``[layers, formats]``.
        costs: Name of a cost to ``[layers, formats]``, in the budget's unit.
        budgets: Name of a cost to what it may come to in total.

    Returns:
        The format of each layer; proved optimal (HiGHS).

    Raises:
        RequestError: a budget below the smallest possible total, which the message states.
    """
    from scipy import optimize, sparse

    check_budgets(costs, budgets)
    layers, formats = loss.shape
    one_each = sparse.kron(sparse.eye(layers), np.ones((1, formats)), format="csr")
    limits = [optimize.LinearConstraint(one_each, 1, 1)]
    for name, budget in budgets.items():
        # Scaled to about one: HiGHS' feasibility tolerance is absolute.
        row = costs[name].loc[loss.index, loss.columns].to_numpy().ravel() / budget
        limits.append(optimize.LinearConstraint(row[None], -np.inf, 1.0))
    weights = loss.to_numpy().ravel()
    solved = optimize.milp(
        weights / max(float(np.median(weights)), 1e-12),
        integrality=np.ones(weights.size, np.int64),
        bounds=optimize.Bounds(0, 1),
        constraints=limits,
        options={"mip_rel_gap": 1e-6, "time_limit": 120.0},
    )
    if solved.status == 2:
        wanted = ", ".join(f"{name} {budget:g}" for name, budget in budgets.items())
        raise RequestError(f"{wanted} together are infeasible, though each alone is not")
    if solved.x is None:
        raise HwsimError(f"the solver found no plan: {solved.message}")
    chosen = solved.x.reshape(layers, formats).argmax(axis=1)
    return {path: str(loss.columns[i]) for path, i in zip(loss.index, chosen, strict=True)}


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
