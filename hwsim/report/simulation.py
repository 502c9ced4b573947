"""The report of a simulation: a row for the same module of all layers, and the totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hwsim.machines.process import core_factors, memory_factors, scaled_said
from hwsim.report.rooflines import draw_roofline
from hwsim.simulation.result import SimulationResult, op_rows
from quant.common.output import Report
from quant.common.tables import Table, number, table_of
from quant.plan import HEAD

if TYPE_CHECKING:
    import pandas as pd


def simulation_report(
    result: SimulationResult, request: Mapping[str, Any], rest: str = ""
) -> Report:
    """Return the report of a simulation (``hwsim.simulate/1``).

    Args:
        result: Its cycles, energy and area.
        request: What was asked: model, accelerator, prompt, generate, batch, plan, formats.
        rest: What is not in the plan, in a line; empty: no plan, or nothing.
    """
    title = f"{request['model']} on {request['accelerator']}, prompt {request['prompt']}, "
    said = {"rest": rest} if rest else {}
    title += f"generate {request['generate']}, batch {request['batch']}"
    return Report(
        title,
        "hwsim.simulate/1",
        lambda: {**request, **said, **_totals(result), "ops": op_rows(result)},
        lambda: [_table(result, request, title, rest)],
        result.to_frame,
        lambda: draw_roofline(result, title),
    )


def by_module(result: SimulationResult) -> pd.DataFrame:
    """Return one row a module of all layers, phase and bound: cycles and joules, most first."""
    frame = result.to_frame()
    frame["module"] = frame["name"].str.replace(r"\.\d+\.", ".*.", regex=True)
    for key in ("cycles", "energy_j"):
        frame[key] = frame["repeats"] * frame[key]
    grouped = frame.groupby(["module", "phase", "bound"], sort=False)[["cycles", "energy_j"]].sum()
    return grouped.sort_values("cycles", ascending=False).reset_index()


def _table(result: SimulationResult, request: Mapping[str, Any], title: str, rest: str) -> Table:
    rows = [
        {
            "module": row["module"],
            "phase": row["phase"],
            "bound": row["bound"],
            "Mcycles": number(row["cycles"] / 1e6),
            "mJ": number(row["energy_j"] * 1e3),
            "share": f"{row['cycles'] / result.cycles:.1%}",
        }
        for row in by_module(result).to_dict("records")
    ]
    phases = ", ".join(f"{name} {s * 1e3:.4g} ms" for name, s in result.time_by_phase().items())
    energy = ", ".join(f"{name} {j * 1e3:.4g} mJ" for name, j in result.energy_parts_j.items())
    area = ", ".join(f"{name} {a / 1e6:.3f} mm2" for name, a in result.area_parts_um2.items())
    weights = request["plan"] or request.get("codes") or request["weights"]
    notes = [
        f"weights {weights}, activations {request['activations']}, kv {request['kv']}, "
        f"{HEAD} {request['head']}",
        *([rest] if rest else []),
        *_data_said(result),
        *([scaled] if (scaled := scaled_said(result.accelerator.process)) else []),
        f"time {result.time_s * 1e3:.4g} ms ({phases})",
        f"cycles {result.cycles} (compute {result.compute_cycles}, DRAM {result.dram_cycles})",
        f"energy {energy}",
        f"area {area}",
        f"elements work {result.utilisation:.1%} of the time; {result.power_w:.4g} W, "
        f"{result.joule_per_token * 1e3:.4g} mJ a token, {result.tops_per_w:.4g} TOPS/W, "
        f"{result.tops_per_mm2:.4g} TOPS/mm2",
        _fits(result),
    ]
    return table_of(rows, title, notes)


def _data_said(result: SimulationResult) -> list[str]:
    """Where the clocks of products come from, on a machine whose clocks depend on the data."""
    counts = Counter(op.steps_from for op in result.ops if op.steps_from)
    said = ", ".join(f"{count} ops from {source}" for source, count in counts.items())
    return [f"clocks depend on the data: {said}"] if said else []


def _fits(result: SimulationResult) -> str:
    """Whether the memory holds the model, in words."""
    needed = f"{result.memory.total / 1e9:.4g} GB"
    capacity = result.accelerator.dram.capacity_bytes
    if capacity is None:
        return f"needs {needed} of memory; its size is not stated"
    verdict = "fits" if result.fits else "DOES NOT FIT"
    return f"{verdict}: needs {needed} of {capacity.value / 1e9:.4g} GB"


def _totals(result: SimulationResult) -> dict[str, Any]:
    process = result.accelerator.process
    return {
        "scaled": {
            "core": core_factors(process)._asdict(),
            "buffers": memory_factors(process)._asdict(),
        },
        "cycles": result.cycles,
        "compute_cycles": result.compute_cycles,
        "dram_cycles": result.dram_cycles,
        "time_s": result.time_s,
        "energy_j": result.energy_parts_j,
        "area_um2": result.area_parts_um2,
        "time_by_phase_s": result.time_by_phase(),
        "macs": result.macs,
        "dram_bytes": result.dram_bytes,
        "utilisation": result.utilisation,
        "power_w": result.power_w,
        "joule_per_token": result.joule_per_token,
        "tops_per_w": result.tops_per_w,
        "tops_per_mm2": result.tops_per_mm2,
        "memory_bytes": result.memory.total,
        "fits": result.fits,
    }
