"""Other simulators' numbers, exactly: BitMoD's figures and runs, systolic arrays' closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from hwsim.compat.bitmod_hpca25 import cost, refetch
from hwsim.compat.systolic import ant, scale_sim
from hwsim.report.reproduction import CLAIMS, TASKS, reproduce, reproduction_report
from quant.common.errors import RequestError

GOLDEN = Path(__file__).parent.parent / "golden"


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    "row", golden("bitmod_sim.json")["rows"], ids=lambda r: "-".join(map(str, r[:6]))
)
def test_every_run_of_the_simulator_is_met(row: list[Any]) -> None:
    version, model, machine, phase, batch, context, compute, cycles, onchip, total = row
    found = cost(model, machine, phase, version, batch, context)
    assert (found.compute_cycles, found.cycles) == (compute, cycles)
    assert found.onchip_uj == pytest.approx(onchip, rel=1e-6)
    assert found.total_uj == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("row", golden("bitmod_sim_layers.json")["layers"], ids=lambda r: r["name"])
def test_every_refetch_of_the_simulator_is_met(row: dict[str, Any]) -> None:
    found = refetch(int(row["bytes_w"]), int(row["bytes_i"]), 512 * 1024)
    assert list(found) == row["fetch_w_i"]


def test_all_plotted_numbers_are_met() -> None:
    found = reproduce("paper")
    differ, error = found.differences
    assert len(found.rows) == 60
    assert differ == 0
    assert error < 1


@pytest.mark.parametrize(("rival", "tasks"), [("ant", (1.722, 1.658)), ("olive", (1.558, 1.386))])
def test_the_claims_are_ratios_of_arithmetic_means(rival: str, tasks: tuple[float, float]) -> None:
    found = reproduce("paper")
    ratios = [found.over(rival, task) for task in TASKS]
    assert ratios == pytest.approx(tasks, abs=6e-4)
    assert mean(ratios) == pytest.approx(CLAIMS[rival], abs=0.01)


def test_the_later_version_has_other_attention() -> None:
    paper, head = (cost("llama-2-7b", "fp16", "prefill", version) for version in ("paper", "head"))
    assert head.compute_cycles < paper.compute_cycles


def test_reports_have_every_number_and_name_the_quirks() -> None:
    report = reproduction_report(reproduce("paper"))
    text = report.text("md")
    assert "60 cycle counts, 0 differ" in text
    assert "arithmetic ones" in text
    assert len(report.frame()) == 60
    assert report.figure is not None
    assert len(report.figure().axes) == 2


def test_what_fits_is_read_once() -> None:
    assert refetch(10, 10**6, 10) == (1, 1)
    assert refetch(20, 30, 10) == (1, 2)
    assert refetch(30, 20, 10) == (2, 1)


@pytest.mark.parametrize("row", golden("systolic.json")["scale_sim"])
def test_scale_sims_reports_are_met(row: list[Any]) -> None:
    _, dataflow, m, k, n, rows, columns, cycles = row
    assert scale_sim(dataflow, m, k, n, rows, columns) == cycles


@pytest.mark.parametrize("row", golden("systolic.json")["ant"])
def test_ants_compute_cycles_are_met(row: list[Any]) -> None:
    dataflow, m, k, n, input_bits, weight_bits, cycles = row
    assert ant(dataflow, m, k, n, 32, 32, input_bits, weight_bits) == cycles


@pytest.mark.parametrize(
    ("model", "machine", "said"), [("gpt-2", "fp16", "gpt-2"), ("opt-1.3b", "tpu", "tpu")]
)
def test_other_names_are_refused(model: str, machine: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        cost(model, machine, "prefill")


def test_products_of_no_size_and_other_dataflows_are_refused() -> None:
    with pytest.raises(RequestError, match="m 0"):
        scale_sim("os", 0, 1, 1, 1, 1)
    with pytest.raises(RequestError, match="dataflow 'rs'"):
        scale_sim("rs", 1, 1, 1, 1, 1)  # type: ignore[arg-type]
