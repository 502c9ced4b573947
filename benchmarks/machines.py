"""Machines beside one another at equal area, and at equal measured loss; which constants decide.

``python -m benchmarks.machines -o reports/machines.md``: six models, prompts of 256 tokens, 20
generated ones; all machines with fp16's array area, the same buffers, ports, vector unit, memory.
Losses are measured on SmolLM2-135M (some minutes; kept in the cache). Figures go beside the report.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import hwsim
import roofline
from benchmarks.machine_codes import by_codes
from benchmarks.tornado import at_equal_area, draw_tornado, tornado
from hwsim.exploration.compare import compare
from hwsim.machines.accelerator import Accelerator
from hwsim.report.compare import draw_comparison
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common.files import atomic_path, write_text
from quant.common.output import save_figure
from quant.common.tables import Table, table_of, to_markdown
from quant.models.compare import EvaluationSetting
from quant.models.compare import compare as losses

MODELS = ("opt-1.3b", "phi-2", "yi-6b", "llama-2-7b", "llama-2-13b", "llama-3-8b")
MACHINES = (
    "fp16", "int8", "ant", "olive", "bitmod", "bitmod-hpca25", "bitmod-rtl", "figna", "mxfp4",
    "stripes", "pragmatic", "bitwave", "bitvert", "anda",
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
    "bitvert": ["int6:row:fp16", "int8:row:fp16"],
    "bitwave": ["int6:row:fp16", "int8:row:fp16"],
    "anda": ["int4-asym:g128:fp16"],
}
"""Formats of weights that are measured, by machine."""
TESTED = "smollm2-135m"
TOKENS = 4096


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


def report(folder: Path) -> str:
    """Return the report; figures go to a folder."""
    machines = {name: at_equal_area(name) for name in MACHINES}
    frame = compare(list(machines.values()), MODELS, prompt=PROMPT, generate=GENERATED, batch=1)
    figure = draw_comparison(frame, "speed-up and energy ratio over fp16, equal array area")
    with atomic_path(folder / "machines.svg") as part:
        save_figure(figure, part, "svg")
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
    tables.append(
        table_of(
            by_codes(machines, TESTED, PROMPT),
            f"Clocks of a block from the codes of {TESTED}'s layers, means",
        )
    )
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
flows; the last tables say which of them could turn a ranking. Stripes to BitVert are of one
synthesis (BBS, MICRO 2024), Anda's 16 nm are brought to 28 by published factors. M-ANT, LUT Tensor
Core and NVFP4 are missing: no area of their elements was found.

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
