"""Machines beside one another at equal area, and at equal measured loss; which constants decide.

``python -m benchmarks.machines -o reports/machines.md``: six models, prompts of 256 tokens, 20
generated ones; all machines with fp16's array area, the same buffers, ports, vector unit, memory.
Losses are measured on SmolLM2-135M (some minutes; kept in the cache). Figures go beside the report.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import hwsim
import roofline
from hwsim.exploration.axes import changed
from hwsim.exploration.compare import compare
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.area import area_um2
from hwsim.machines.solve import at_area
from hwsim.report.compare import draw_comparison
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common.files import atomic_path, write_text
from quant.common.tables import Table, table_of, to_markdown
from quant.models.compare import EvaluationSetting
from quant.models.compare import compare as losses

MODELS = ("opt-1.3b", "phi-2", "yi-6b", "llama-2-7b", "llama-2-13b", "llama-3-8b")
MACHINES = (
    "fp16", "int8", "ant", "olive", "bitmod", "bitmod-hpca25", "bitmod-rtl", "figna", "mxfp4",
)  # fmt: skip
PROMPT, GENERATED = 256, 20
CONTEXTS, BATCHES = (256, 2048, 8192, 32768), (1, 8, 64)
FORMATS: Mapping[str, Sequence[str]] = {
    "int8": ["int8:row:fp16"],
    "ant": ["ant4:row:fp16", "flint5:row:fp16", "flint6:row:fp16", "int8:row:fp16"],
    "olive": ["olive-int4:row:fp16", "olive-int8:row:fp16", "int8:row:fp16"],
    "bitmod": ["bitmod3:g128:int8", "bitmod4:g128:int8"],
    "figna": ["int4-asym:g128:fp16", "int8:g128:fp16"],
    "mxfp4": ["mxfp4:g32:e8m0"],
}
"""Formats of weights that are measured, by machine."""
TESTED = "smollm2-135m"
TOKENS = 4096
FACTORS: Mapping[str, tuple[float, float, str]] = {
    "pe.area_um2": (0.84, 1.3, "the element's area: 1,507.7 to 1,793.7 um2 were stated for one PE"),
    "pe.step_j": (0.5, 2.0, "its energy: published, or a ratio of an abstract"),
    "pe.idle_share": (0.1, 1.0, "energy of elements without work"),
    "dram.joule_per_bit": (0.2, 1.0, "energy of the memory: 3.5 to 18.75 pJ a bit are stated"),
    "dram.bytes_per_s": (0.5, 4.0, "its bandwidth"),
    "layout.area": (1.0, 1.5, "area after layout"),
    "layout.power": (1.0, 2.0, "energy after layout"),
}
"""How far each constant of a machine may be off, and why."""


RIVAL_AREA = (
    0.8,
    1.92,
    "the rival's element: FIGNA's source has an FP16 unit of 1,029 um2, BitMoD's of 1,968.7",
)
"""How far the area of the other machine's element may be off, and why."""


def at_equal_area(name: str) -> Accelerator:
    """Return a machine with as many tiles as bring its array nearest to fp16's."""
    wanted = area_um2(hwsim.load_accelerator("fp16"))["array"]
    return at_area(hwsim.load_accelerator(name), wanted, "array")


def geomean(values: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def over_fp16(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return speed-ups and energy ratios over fp16, geometric means over the models."""
    base = frame[frame["machine"] == "fp16"].set_index("model")
    rows = []
    for name, part in frame.groupby("machine", sort=False):
        own = part.set_index("model")
        ratios = {
            key: base[key] / own[key] for key in ("prefill_s", "token_s", "time_s", "energy_j")
        }
        rows.append(
            {
                "machine": name,
                "tiles": int(own["tiles"].iloc[0]),
                "weights": own["weights"].iloc[0],
                "mm2": f"{own['area_um2'].iloc[0] / 1e6:.3f}",
                "prefill": f"{geomean(list(ratios['prefill_s'])):.2f}",
                "token": f"{geomean(list(ratios['token_s'])):.2f}",
                "both": f"{geomean(list(ratios['time_s'])):.2f}",
                "energy": f"{geomean(list(ratios['energy_j'])):.2f}",
                "used": f"{own['utilisation'].mean():.1%}",
            }
        )
    return rows


def decode_s(
    machine: Accelerator, model: str, context: int, batch: int, weights: str = ""
) -> float:
    """Return the seconds of a decode step."""
    formats = machine_formats(machine, weights or None)
    work = roofline.workload(model, "decode", batch, context, **formats)
    return simulate(work, machine).time_s


def by_context(machines: Mapping[str, Accelerator]) -> list[dict[str, object]]:
    """Return decode steps of Llama-2-7B over fp16's, by context and batch."""
    rows = []
    for context in CONTEXTS:
        for batch in BATCHES:
            times = {
                name: decode_s(m, "llama-2-7b", context, batch) for name, m in machines.items()
            }
            ratios = {name: f"{times['fp16'] / time:.2f}" for name, time in times.items()}
            rows.append(
                {"context": context, "batch": batch, "fp16 ms": f"{times['fp16'] * 1e3:.1f}"}
                | ratios
            )
    return rows


@dataclass(frozen=True)
class Loss:
    """What a machine's format loses on the tested model, nat, and its standard error."""

    machine: str
    weights: str
    loss: float
    error: float


def measured_losses() -> list[Loss]:
    """Return the loss of every format of ``FORMATS``, in its machine's other formats, too."""
    found = []
    for name, texts in FORMATS.items():
        machine = hwsim.load_accelerator(name)
        own = machine_formats(machine)
        plain = own["activations"] == "fp16"
        setting = EvaluationSetting(
            tokens=TOKENS, activations=None if plain else own["activations"], kv=own["kv"]
        )
        choices = {text: {"*": text, "lm_head": own["head"]} for text in texts}
        rows = {row["format"]: row for row in losses(TESTED, choices, setting)}
        found += [
            Loss(name, text, rows[text]["delta_ln_ppl"], rows[text]["delta_se"]) for text in texts
        ]
    return found


def at_equal_loss(
    machines: Mapping[str, Accelerator], found: Sequence[Loss]
) -> list[dict[str, object]]:
    """Return each machine in its fastest format that loses no more than bitmod4 on bitmod."""
    allowed = next(one for one in found if one.weights.startswith("bitmod4"))
    base = decode_s(machines["fp16"], "llama-2-7b", PROMPT, 1)
    first = _prefill_s(machines["fp16"], "")
    rows: list[dict[str, object]] = []
    for name in FORMATS:
        good = [
            one for one in found if one.machine == name and one.loss <= allowed.loss + 2 * one.error
        ]
        if not good:
            rows.append({"machine": name, "weights": "none loses so little"})
            continue
        best = min(
            good, key=lambda one: decode_s(machines[name], "llama-2-7b", PROMPT, 1, one.weights)
        )
        token = decode_s(machines[name], "llama-2-7b", PROMPT, 1, best.weights)
        rows.append(
            {
                "machine": name,
                "weights": best.weights,
                "loss, nat": f"{best.loss:.3f} ({best.error:.3f})",
                "prefill": f"{first / _prefill_s(machines[name], best.weights):.2f}",
                "token": f"{base / token:.2f}",
            }
        )
    return rows


def _prefill_s(machine: Accelerator, weights: str) -> float:
    formats = machine_formats(machine, weights or None)
    return simulate(
        roofline.workload("llama-2-7b", "prefill", 1, PROMPT, **formats), machine
    ).time_s


def tornado(one: str, other: str, measure: Callable[[Accelerator], float]) -> list[dict[str, Any]]:
    """Return how a ratio of two machines moves when a constant is off, at equal array area."""
    wanted = area_um2(hwsim.load_accelerator("fp16"))["array"]
    base = measure(at_equal_area(other)) / measure(at_equal_area(one))
    rows = []
    for key, (low, high, why) in FACTORS.items():
        moved = []
        for factor in (low, high):
            machine = hwsim.load_accelerator(one)
            value = machine
            for part in key.split("."):
                value = getattr(value, part)
            shared = key.startswith("dram")  # the memory is the same one for both
            rival = hwsim.load_accelerator(other)
            changed_to = {key: value.value * factor}  # type: ignore[attr-defined]
            tried = at_area(changed(machine, changed_to), wanted, "array", 0.2)
            beside = at_area(changed(rival, changed_to) if shared else rival, wanted, "array")
            moved.append(measure(beside) / measure(tried))
        rows.append({"constant": key, "low": moved[0], "high": moved[1], "base": base, "why": why})
    moved = []
    rival = hwsim.load_accelerator(other)
    for factor in (RIVAL_AREA[0], RIVAL_AREA[1]):
        area = rival.pe.area_um2.value * factor
        beside = at_area(changed(rival, {"pe.area_um2": area}), wanted, "array", 0.2)
        moved.append(measure(beside) / measure(at_equal_area(one)))
    row = {"constant": f"pe.area_um2 of {other}", "low": moved[0], "high": moved[1], "base": base}
    rows.append(row | {"why": RIVAL_AREA[2]})
    return sorted(rows, key=lambda row: -abs(row["high"] - row["low"]))


def draw_tornado(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw the ranges of a ratio by constant, the widest on top; the line at 1 is a tie."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(reversed(rows)):
        low, high = sorted((row["low"], row["high"]))
        axes.barh(place, high - low, left=low, color="C0")
    axes.axvline(rows[0]["base"], color="black", label="as stated")
    axes.axvline(1.0, color="C3", linestyle="--", label="a tie")
    axes.set_yticks(range(len(rows)), [row["constant"] for row in reversed(rows)])
    axes.set(xlabel=title)
    axes.legend(fontsize=8)
    with atomic_path(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None})


def report(folder: Path) -> str:
    """Return the report; figures go to a folder."""
    machines = {name: at_equal_area(name) for name in MACHINES}
    frame = compare(list(machines.values()), MODELS, prompt=PROMPT, generate=GENERATED, batch=1)
    figure = draw_comparison(frame, "speed-up and energy ratio over fp16, equal array area")
    with atomic_path(folder / "machines.svg") as part:
        figure.savefig(part, format="svg", metadata={"Date": None})
    found = measured_losses()
    lost = [
        {"machine": o.machine, "weights": o.weights, "loss, nat": f"{o.loss:.3f} ({o.error:.3f})"}
        for o in found
    ]

    def energy(machine: Accelerator) -> float:
        work = roofline.scenario("llama-2-7b", PROMPT, GENERATED, 1, **machine_formats(machine))
        return simulate(work, machine).energy_j

    def time(machine: Accelerator) -> float:
        work = roofline.scenario("llama-2-7b", PROMPT, GENERATED, 1, **machine_formats(machine))
        return simulate(work, machine).time_s

    tables: list[Table] = [
        table_of(over_fp16(frame), "Over fp16 at equal array area, geometric means of six models"),
        table_of(
            by_context(machines), "A decode step of Llama-2-7B over fp16's, by context and batch"
        ),
        table_of(lost, f"Loss on {TESTED}, {TOKENS} tokens, weights rounded to nearest"),
        table_of(
            at_equal_loss(machines, found), "At equal area and equal loss, Llama-2-7B over fp16"
        ),
    ]
    for rival in ("figna", "ant"):
        for name, measure in (("time", time), ("energy", energy)):
            rows = tornado("bitmod", rival, measure)
            title = f"{name} of {rival} over bitmod, Llama-2-7B, {PROMPT} + {GENERATED} tokens"
            draw_tornado(rows, title, folder / f"tornado-{rival}-{name}.svg")
            shown = [
                {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()}
                for row in rows
            ]
            turned = [
                r["constant"]
                for r in rows
                if min(r["low"], r["high"]) < 1 < max(r["low"], r["high"])
            ]
            note = f"could turn it: {', '.join(turned)}" if turned else "none of them turns it"
            tables.append(table_of(shown, title, [note]))
    return HEADER + "\n".join(to_markdown(table, 2) for table in tables)


HEADER = f"""# Machines at equal area and at equal loss

`python -m benchmarks.machines -o reports/machines.md`. Every machine has as many tiles of 8 x 8 as
bring its array (elements, before layout) nearest to fp16's, and the same buffers (512 KiB twice,
ports of 1,024 bits), vector unit and memory (32 GB/s, 18.75 pJ a bit). Prompts of {PROMPT} tokens,
{GENERATED} generated, batch 1. Mappings are searched, scores stay on the chip, keys and values have
8 bits on all but fp16 and mxfp4. One copy of the weights serves both phases: a 4-bit prefill with a
3-bit decode, as in BitMoD's figures, needs two. Areas of elements come from different sources and
flows; the last tables say which of them could turn a ranking. BitVert, BitWave, Stripes, M-ANT,
Anda and LUT Tensor Core are missing: no area of their elements was found.

![speed-ups](machines.svg)

"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report and its figures."""
    parser = argparse.ArgumentParser("benchmarks.machines", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="such as reports/machines.md")
    out: Path = parser.parse_args(arguments).out
    write_text(out, report(out.parent))


if __name__ == "__main__":
    main()
