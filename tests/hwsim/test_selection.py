"""Selection: the best of all choices, and the truth about how good a choice is known to be."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hwsim.study.selection import PROVED, Selection, select
from quant.common.errors import HwsimError, RequestError


def random_case(
    seed: int, layers: int = 5, formats: int = 3, budgets: int = 2
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    rng = np.random.default_rng(seed)
    index, columns = [f"l{i}" for i in range(layers)], [f"f{i}" for i in range(formats)]
    frames = [pd.DataFrame(rng.random((layers, formats)), index, columns) for _ in range(budgets)]
    loss = pd.DataFrame(rng.random((layers, formats)), index, columns)
    return loss, {f"cost {i}": frame for i, frame in enumerate(frames)}


def budgets_of(costs: dict[str, pd.DataFrame], share: float = 1.0) -> dict[str, float]:
    """A share of what a choice costs on average."""
    return {name: share * float(frame.mean(axis=1).sum()) for name, frame in costs.items()}


def total(frame: pd.DataFrame, chosen: dict[str, str]) -> float:
    places = [(list(frame.index).index(p), list(frame).index(t)) for p, t in chosen.items()]
    return float(sum(frame.to_numpy()[at] for at in places))


def best_of_all(
    loss: pd.DataFrame, costs: dict[str, pd.DataFrame], budgets: dict[str, float]
) -> float:
    best = np.inf
    layers, formats = loss.shape
    for choice in itertools.product(range(formats), repeat=layers):
        at = (np.arange(layers), np.array(choice))
        if all(costs[name].to_numpy()[at].sum() <= budgets[name] for name in costs):
            best = min(best, loss.to_numpy()[at].sum())
    return float(best)


@pytest.mark.parametrize("seed", range(8))
def test_selection_is_the_best_of_all(seed: int) -> None:
    loss, costs = random_case(seed)
    budgets = budgets_of(costs)
    chosen = select(loss, costs, budgets)
    assert chosen.loss == total(loss, chosen.formats)
    assert chosen.loss == pytest.approx(best_of_all(loss, costs, budgets), rel=1e-6)
    assert chosen.proved
    assert str(chosen) == "proved optimal"
    for name, frame in costs.items():
        assert total(frame, chosen.formats) <= budgets[name] * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("large", [1.0, 1e3, 1e9])
def test_losses_far_below_the_median_are_compared_too(seed: int, large: float) -> None:
    """HiGHS takes costs below 1e-7 for nothing, in whatever unit it is given them."""
    loss, costs = random_case(seed, formats=6)
    loss = loss * 1e-9
    loss.iloc[:, 3:] += large
    budgets = budgets_of({name: frame.iloc[:, :3] for name, frame in costs.items()})
    chosen = select(loss, costs, budgets)
    assert chosen.loss == pytest.approx(best_of_all(loss, costs, budgets), rel=1e-5)
    assert chosen.proved


def test_a_choice_without_loss_is_optimal() -> None:
    loss, costs = random_case(0)
    chosen = select(loss * 0, costs, budgets_of(costs))
    assert (chosen.loss, chosen.gap, chosen.proved) == (0.0, 0.0, True)


def test_a_solver_that_is_stopped_says_how_far_from_optimal_it_may_be() -> None:
    from scipy import optimize

    loss, costs = random_case(0, 200, 10, 4)
    budgets = budgets_of(costs, 0.8)
    stopped = None
    for seconds in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0):  # a proof would take far longer
        with contextlib.suppress(HwsimError):  # a busy machine has no choice yet
            stopped = select(loss, costs, budgets, time_limit_s=seconds)
            break
    assert stopped is not None
    assert stopped.stopped
    assert not stopped.proved
    assert stopped.gap > PROVED
    assert str(stopped).startswith(f"stopped after {seconds:g} s, within ")
    said = float(str(stopped).split("within ")[1].split(" %")[0])
    assert said / 100 >= stopped.gap
    for name, frame in costs.items():
        assert total(frame, stopped.formats) <= budgets[name] * (1 + 1e-6)
    # The truth, from outside: any choice that more time finds keeps within the stated distance,
    # and the optimum without integrality, which is below all choices, is not far below it.
    better = select(loss, costs, budgets, time_limit_s=2 * seconds + 2)
    assert stopped.loss * (1 - stopped.gap) <= better.loss <= stopped.loss
    rows = np.array([costs[name].to_numpy().ravel() / budgets[name] for name in costs])
    each = np.kron(np.eye(200), np.ones((1, 10)))
    relaxed = optimize.linprog(
        loss.to_numpy().ravel(), A_ub=rows, b_ub=np.ones(4), A_eq=each, b_eq=np.ones(200)
    )
    least = relaxed.fun
    assert least is not None
    assert better.loss >= least
    assert better.gap <= 1.1 * (better.loss - least) / better.loss + PROVED


def test_no_time_for_any_choice_is_an_error_that_says_so() -> None:
    loss, costs = random_case(0, 200, 10, 4)
    with pytest.raises(HwsimError, match="no choice after 1e-06 s: allow it more time"):
        select(loss, costs, budgets_of(costs, 0.8), time_limit_s=1e-6)
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(RequestError, match=r"time limit .*: above 0 is needed"):
            select(loss, costs, budgets_of(costs), time_limit_s=seconds)


def test_the_text_follows_the_facts() -> None:
    def selection(gap: float, stopped: bool) -> Selection:
        return Selection({"l": "a"}, 1.0, gap, stopped, 5.0)

    assert str(selection(1e-7, False)) == "proved optimal"
    assert str(selection(0.01231, True)) == "stopped after 5 s, within 1.24 % of optimal"
    assert "precision" in str(selection(1e-3, False))
    # Stopped on the way to a proof: the choice may be optimal, but that is not proved.
    assert not selection(1e-7, True).proved


def test_what_the_solver_prints_is_dropped(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HiGHS tells of some of its steps by C's printf: results are piped from standard output."""
    from scipy import optimize

    milp = optimize.milp

    def talkative(*args: Any, **options: Any) -> Any:  # noqa: ANN401  scipy's own
        ctypes.CDLL(None).printf(b"HighsMipSolverData::transform\n")
        return milp(*args, **options)

    monkeypatch.setattr(optimize, "milp", talkative)
    loss, costs = random_case(0)
    print("before")
    select(loss, costs, budgets_of(costs))
    print("after")
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == "before\nafter\n"


def test_infeasible_budgets_say_the_smallest() -> None:
    loss, costs = random_case(0)
    least = costs["cost 0"].min(axis=1).sum()
    with pytest.raises(RequestError, match=f"cost 0 0.1 is infeasible: .* {least:.6g}"):
        select(loss, costs, {"cost 0": 0.1})
    # Each budget alone is feasible, both together are not.
    one = pd.DataFrame([[0.0, 1.0]], ["l"], ["a", "b"])
    with pytest.raises(RequestError, match="together are infeasible"):
        select(one, {"x": one, "y": 1 - one + 1e-9}, {"x": 0.5, "y": 0.5})
