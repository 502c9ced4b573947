"""compare(): machines beside one another on the same models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.area import area_um2
from hwsim.machines.load import load_accelerator
from hwsim.machines.solve import at_area
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.progress import track
from roofline.workloads.models import Model
from roofline.workloads.workload import scenario

if TYPE_CHECKING:
    import pandas as pd

Iso = Literal["none", "area", "array"]


def compare(
    machines: Sequence[str | Path | Accelerator],
    models: Sequence[Model],
    *,
    prompt: int = 256,
    generate: int = 20,
    batch: int = 1,
    iso: Iso = "none",
) -> pd.DataFrame:
    """Simulate each machine on each model, in the machine's own formats.

    Args:
        machines: Designs; the first is what the others are compared with.
        models: Models, as ``roofline.workload`` takes them.
        prompt: Tokens of the prompt.
        generate: Tokens generated after it; 0: none.
        batch: Sequences.
        iso: ``area``: each machine gets as many tiles as bring it nearest to the first one's area;
            ``array``: to the area of its array, buffers and vector unit apart; ``none``: as it is.

    Returns:
        One row a machine and model: tiles, formats, area, seconds of the prompt, of a generated
        token and of both together, joules of both, J a token, watts, utilisation, whether the model
        fits the memory, and ``speedup`` and ``energy_ratio`` over the first machine.

    Raises:
        RequestError: no machine or model, no number of tiles of that area, what a machine cannot
            run.
    """
    iso = arguments.choice("iso", iso, ("none", "area", "array"))  # type: ignore[assignment]
    if not machines or not models:
        raise RequestError("compare: at least one machine and one model are needed")
    import pandas as pd

    designs = [load_accelerator(machine) for machine in machines]
    if iso != "none":
        part = "total" if iso == "area" else "array"
        wanted = area_um2(designs[0])[part]
        designs = [designs[0], *(at_area(one, wanted, part) for one in designs[1:])]
    rows = [
        _row(machine, model, prompt, generate, batch)
        for model in track(models, "comparing", len(models))
        for machine in designs
    ]
    frame = pd.DataFrame(rows)
    first = frame.groupby("model", sort=False)[["time_s", "energy_j"]].transform("first")
    frame["speedup"] = first["time_s"] / frame["time_s"]
    frame["energy_ratio"] = first["energy_j"] / frame["energy_j"]
    return frame


def _row(
    machine: Accelerator, model: Model, prompt: int, generate: int, batch: int
) -> dict[str, Any]:
    formats = machine_formats(machine)
    work = scenario(model, prompt, generate, batch, **formats)
    found = simulate(work, machine)
    phases = found.time_by_phase()
    return {
        "model": work.parts[0][0].model,
        "machine": machine.name,
        "tiles": machine.tiles.count,
        "weights": formats["weights"],
        "kv": formats["kv"],
        "area_um2": found.area_um2,
        "prefill_s": phases["prefill"],
        "token_s": phases["decode"] / generate if generate else None,
        "time_s": found.time_s,
        "energy_j": found.energy_j,
        "joule_per_token": found.joule_per_token,
        "power_w": found.power_w,
        "utilisation": found.utilisation,
        "tops_per_w": found.tops_per_w,
        "tops_per_mm2": found.tops_per_mm2,
        "fits": found.fits,
    }
