"""Write docs/cli.md, the reference of the three commands, from the commands themselves.

``python scripts/cli_reference.py`` writes it; with ``--check`` it says whether it is up to date.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/cli.md"
COMMANDS = ("quant", "roofline", "hwsim")
SCHEMAS = {
    "quant.list/1": ("quant list", "formats, methods, models"),
    "quant.show/1": ("quant show", "name, element_bits, effective_bits, source, codes"),
    "quant.eval/2": (
        "quant eval",
        "model, tokens, context, activations, kv, kv_rounding (keys, recent, sinks, rotary), head, "
        "results (weights, method, perplexity, ln_ppl, se, delta_ln_ppl, delta_se, "
        "effective_bits)",
    ),
    "roofline.report/1": (
        "roofline report",
        "model, phase, batch, context, formats, hardware, time_s, ideal_s, memory_bytes, fits, "
        "largest, bound_share, ops; rest: what a --plan leaves; with --compat llm_viewer",
    ),
    "roofline.compare/1": ("roofline compare", "model, phase, batch, context, rows"),
    "roofline.sweep/1": (
        "roofline sweep",
        "rows: a combination each; rest: what a --plan leaves",
    ),
    "roofline.serve/2": (
        "roofline serve",
        "model, hardware, prompt, generate, batch, formats, plan, calibrated, ttft_s, tpot_s, "
        "decode_s, tokens_per_s, expected_error, fits; rest: what a --plan leaves",
    ),
    "roofline.list/1": ("roofline list", "models or hardware"),
    "roofline.validation/1": ("roofline validate", "kernels, serving"),
    "hwsim.list/1": ("hwsim list", "accelerators, dram"),
    "hwsim.simulate/1": (
        "hwsim simulate",
        "model, accelerator, prompt, generate, batch, plan, formats, cycles, compute_cycles, "
        "dram_cycles, time_s, energy_j, area_um2, time_by_phase_s, macs, dram_bytes, utilisation, "
        "power_w, joule_per_token, tops_per_w, tops_per_mm2, memory_bytes, fits, ops; "
        "rest: what a --plan leaves",
    ),
    "hwsim.timeline/1": ("hwsim timeline", "machine, weights, inputs, jobs, clocks, spans"),
    "hwsim.show/1": ("hwsim show", "machine, numbers, area, notes"),
    "hwsim.sweep/1": (
        "hwsim sweep",
        "model, prompt, generate, batch, designs, misfits, limits, objectives, front; of a folder: "
        "`manifest.json`: what it was made for, hashes, how many designs are left out and why",
    ),
    "hwsim.compare/1": (
        "hwsim compare",
        "accelerators, models, iso, prompt, generate, batch, rows",
    ),
    "hwsim.reproduce/1": ("hwsim reproduce", "version, claims, rows, quirks"),
    "hwsim.codesign/1": (
        "hwsim codesign",
        "`manifest.json` of the folder: what it was made for, hashes, whether the plan is proved "
        "optimal",
    ),
    "hwsim.journal/1": (
        "all that resume",
        "`journal.json` in `.NAME.part`: request, steps that are done, hashes of their files",
    ),
    "hwsim.evaluation/1": ("quant eval", "in the cache: rows that were measured"),
    "hwsim.sensitivity/1": ("hwsim codesign", "in the cache: expected losses"),
    "hwsim.model/1": ("all that load models", "in the cache: a converted GGUF model"),
    "hwsim.package/1": ("all that load models", "in the cache: files of a package"),
    "hwsim.export/1": (
        "quant export",
        "`manifest.json` of the folder ([exports](export.md))",
    ),
    "hwsim.compressed/1": (
        "`quant.export_compressed_tensors`",
        "`manifest.json` of the folder",
    ),
    "hwsim.checkpoint/2": (
        "quant quantize",
        "`manifest.json` of the folder ([checkpoints](checkpoints.md))",
    ),
}
"""JSON schemas: which command prints or writes one, and its keys."""
HEAD = """\
# Commands

Made by `python scripts/cli_reference.py` from the commands' own help; edit that, not this.

**Number formats** are `--weights`, `--activations`, `--kv` and `--head` in all three commands: a
format in one string (`NAME[:gGROUP|row][:SCALE][:RULE]`, [formats](formats.md)), or plain bits: 2
to 6 and 8 are integers, 16 is fp16.

**Form and place.** `--output table|json|csv|md|html` is the form of a result, `-o PATH` the file.
Without `--output` the file's suffix chooses: `.txt` (table), `.json`, `.csv`, `.md`, `.html`,
`.parquet` (with `pip install 'hwsim[parquet]'`), and where there is a figure `.svg`, `.png`, `.pdf`
(`'hwsim[codesign]'`). A suffix that contradicts `--output`, or that a command does not offer, is
refused before any work is done. With `--output`
any other name will do (`-o /dev/stdout`).

**Files** are whole or absent, whenever a run is cut. Devices, FIFOs and open streams are written
to, links stay links. Where the result is a folder (`quant quantize`, `hwsim codesign`), PATH is the
folder: a run that was cut goes on when the same is asked again, a finished one is left as it is,
and another request into it needs `--overwrite`. Only files that the folder's manifest lists are
replaced; a folder that is not one of ours is refused. While it is made, the result is in
`.NAME.part` beside it, which also keeps two runs out of one place.

**Tables** take the width that they have: files and pipes get whole columns, terminals their own
width; `COLUMNS` in the environment sets it for terminals and pipes. What does not fit is folded, or
written as a block of lines a row; nothing is cut. Signs that the terminal's encoding lacks are
written with those that it has.

**Lists.** An option that may be given several times also takes commas: `--weights int4 --weights
bitmod4` is `--weights int4,bitmod4`; so do lists of devices. `--batch`, `--context` and `--tp` of a
sweep take ranges too, `FIRST:LAST[:STEP]`, the last included.

**Scenarios.** `--prompt`, `--generate` and `--batch` are 256, 32 and 1 in every command that does
not say why not. `--context` is the tokens that a sequence holds in one pass through the model.

**All commands** have `--help`, `--version` and `--quiet` (no progress on standard error). Exit
codes: 0 done, 1 the work failed, 2 the request is wrong (one line says what, and what is allowed),
130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP: finished parts are kept, temporary files
are removed. Nothing shows a traceback; a fault of the program asks for a report on one line.

**Environment.** `HWSIM_TRACEBACK=1` shows the calls that led to an error. `HWSIM_MEMORY_LIMIT`
(`24GiB`; `none`) is the memory that one piece of work may take; without it, what the machine, its
control group and `ulimit` have left. `HWSIM_CACHE` is the folder of downloads and of what is made
of them; without it the user's cache folder, and without a home one in the folder of temporary
files. Compiled kernels are kept beside the sources, else in `NUMBA_CACHE_DIR` or the cache. A line
says what cannot be kept.
"""


def reference() -> str:
    """Return the page."""
    parts = [HEAD, *(text for name in COMMANDS for text in _application(name)), _schemas()]
    return "\n".join(parts)


def schemas_in_sources() -> set[str]:
    """Return the schemas that the packages' sources name."""
    pattern = re.compile(r'"((?:quant|roofline|hwsim)\.\w+/\d+)"')
    files = (path for name in COMMANDS for path in (ROOT / name).rglob("*.py"))
    return {found for path in files for found in pattern.findall(path.read_text("utf-8"))}


def _application(name: str) -> Iterator[str]:
    group: Any = typer.main.get_command(importlib.import_module(f"{name}.cli").app)
    yield f"## {name}\n\n{_prose(group.help)}\n"
    for sub, command in group.commands.items():
        yield f"### {name} {sub}\n\n{_prose(command.help)}\n"
        needed = [_argument(p) for p in command.params if _is_argument(p)]
        needed += [
            f"{p.opts[0]} PATH" for p in command.params if p.required and not _is_argument(p)
        ]
        yield f"`{' '.join([name, sub, *needed])}`\n"
        yield "| argument or option | meaning | default |\n|---|---|---|"
        yield "".join(f"{_row(p)}\n" for p in command.params)
        yield f"{_example(command.epilog)}\n"


def _prose(text: str) -> str:
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _is_argument(parameter: Any) -> bool:  # noqa: ANN401  typer's copy of click's
    return bool(parameter.param_type_name == "argument")


def _argument(parameter: Any) -> str:  # noqa: ANN401  as above
    text = parameter.name.upper() + ("..." if parameter.nargs != 1 else "")
    return text if parameter.required else f"[{text}]"


def _row(parameter: Any) -> str:  # noqa: ANN401  as above
    names = ", ".join(parameter.opts)
    if parameter.secondary_opts:
        names += f"/{parameter.secondary_opts[0]}"
    shown = _argument(parameter) if _is_argument(parameter) else names
    meaning = " ".join(parameter.help.split()).replace("|", "\\|")
    return f"| `{shown}` | {meaning} | {default_of(parameter)} |"


def default_of(parameter: Any) -> str:  # noqa: ANN401  as above
    """Return the words for what holds when a parameter is not given."""
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.secondary_opts:
        chosen = parameter.opts if parameter.default else parameter.secondary_opts
        return f"`{chosen[0]}`"
    return f"`{parameter.default}`"


def _example(epilog: str) -> str:
    return f"Example: `{epilog.partition('Example: ')[2].strip()}`"


def _schemas() -> str:
    rows = [f"| `{name}` | `{by}` | {keys} |" for name, (by, keys) in SCHEMAS.items()]
    text = "JSON begins with `schema`; the number counts up when a key changes. Units are SI "
    text += "unless the key names another; numbers are raw, and what is no finite number is null."
    return "\n".join(
        ["## JSON", "", text, "", "| schema | command | keys |", "|---|---|---|", *rows, ""]
    )


def main() -> None:
    """Write the page, or check it."""
    if "--check" in sys.argv:
        if PAGE.read_text("utf-8") != reference():
            sys.exit(f"{PAGE} is not up to date: python scripts/cli_reference.py")
        if schemas_in_sources() != set(SCHEMAS):
            sys.exit(f"SCHEMAS and the sources differ: {schemas_in_sources() ^ set(SCHEMAS)}")
    else:
        PAGE.write_text(reference(), "utf-8")


if __name__ == "__main__":
    main()
