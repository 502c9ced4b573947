"""python -m hwsim.verilog.synth: area and critical path of the Verilog."""

from __future__ import annotations

if __name__ == "__main__":  # the boundary first, then the imports below
    from quant.common.start import start

    start("python -m hwsim.verilog.synth", "hwsim.verilog.synth.__main__:main")

import importlib.metadata
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from hwsim.verilog.synth.designs import DESIGNS, load, select
from hwsim.verilog.synth.flow import Result, Settings, run
from hwsim.verilog.synth.liberty import Library, check_dont_use, read
from hwsim.verilog.synth.table import NO_LIBERTY, as_json, as_markdown, as_table
from hwsim.verilog.synth.timing import ABSENT, find_sta, version
from quant.common import cli
from quant.common.errors import HwsimError
from quant.common.extras import require
from quant.common.options import LISTS, Quiet, listed, out_option, output_option
from quant.common.output import Output
from quant.common.progress import say

NAME = "python -m hwsim.verilog.synth"
FORMS = {"table": as_table, "json": as_json, "md": as_markdown}
app = typer.Typer(
    pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None, name=NAME
)


@cli.command(app)
def synthesise(
    liberty: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Liberty file, .lib or .lib.gz, such as sg13g2.lib. {LISTS}.",
            show_default="none: transistors are counted",
        ),
    ] = None,
    design: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Design or group of the designs file, such as pe. {LISTS}.", show_default="all"
        ),
    ] = None,
    designs: Annotated[
        Path,
        typer.Option(
            help="TOML file of the designs, such as mine.toml.",
            show_default="hwsim/verilog/synth/designs.toml",
        ),
    ] = DESIGNS,
    delay_ps: Annotated[
        int, typer.Option(help="Delay that the mapping aims at, ps; a long one: area first.", min=1)
    ] = 10000,
    dont_use: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Cells that must not be used, such as '*lpflow*'. {LISTS}.", show_default="none"
        ),
    ] = None,
    tries: Annotated[
        int,
        typer.Option(
            help="Netlists with their cells in another order, such as 5, of which the median is "
            "given: shows how much of a difference is chance.",
            min=1,
        ),
    ] = 1,
    prove: Annotated[
        bool, typer.Option("--prove", help="Prove each netlist equal to its RTL (ABC).")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Designs at a time.", min=1)] = min(
        2, os.cpu_count() or 1
    ),
    output: Annotated[Literal["table", "json", "md"] | None, output_option(tuple(FORMS))] = None,
    out: Annotated[Path | None, out_option(tuple(FORMS))] = None,
    quiet: Quiet = False,
) -> None:
    """Area (um2, kGE) and critical path (ns) of the Verilog, by Yosys and OpenSTA.

    Cells only: ideal wires, no placement, no clock tree.

    Example: python -m hwsim.verilog.synth --liberty sg13g2.lib --design decoder-all -o area.md
    """
    place = Output.choose(output, out, tuple(FORMS))
    chosen = select(load(designs), listed(design, what="--design"))
    require("pyosys")
    bans = tuple(listed(dont_use, what="--dont-use"))
    with TemporaryDirectory(prefix="rtl-synth-") as folder:
        libraries = _libraries(listed(liberty, what="--liberty"), Path(folder))
        check_dont_use(bans, filter(None, libraries))
        settings = Settings(delay_ps, bans, find_sta(), tries, prove)
        _say_what_is_missing(libraries, settings)
        results = run(chosen, libraries, settings, jobs, _tell)
    place.write_text(FORMS[place.form](results, libraries, settings, _tools(settings, libraries)))
    failed = [result.design.name for result in results if result.error]
    if failed:
        raise HwsimError(f"not synthesised: {', '.join(dict.fromkeys(failed))}")


def _libraries(files: Sequence[str], folder: Path) -> list[Library | None]:
    """Liberty files, unpacked into the folder; one None where transistors are counted."""
    return [read(Path(file), folder) for file in files] or [None]


def _say_what_is_missing(libraries: Sequence[Library | None], settings: Settings) -> None:
    if None in libraries:
        say(NO_LIBERTY)
    elif settings.sta is None:
        say(ABSENT)


def _tools(settings: Settings, libraries: Sequence[Library | None]) -> str:
    sta = f", {version(settings.sta)}" if settings.sta and None not in libraries else ""
    return f"pyosys {importlib.metadata.version('pyosys')}{sta}"


def _tell(result: Result, seconds: float) -> None:
    area = result.area
    where = f"{result.design.name} on {result.library.name}" if result.library else ""
    if result.error or area is None:
        said = f"FAILED: {result.error}"
    elif area.transistors is not None:
        said = f"{area.transistors} transistors"
    else:
        said = f"{area.area_um2:.1f} um2"
    proof = f", {result.proof}" if result.proof else ""
    say(f"{where or result.design.name}: {said}{proof} ({seconds:.1f} s)")


def main() -> None:
    """Run the command: 0 done, 1 a tool refused a design, 2 the request cannot be done."""
    cli.run(app, NAME)
