"""python -m hwsim.verilog.synth: area and critical path of the Verilog."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from .designs import DESIGNS, RequestError, load, select
from .flow import Result, Settings, run
from .liberty import Library, check_dont_use, read
from .table import NO_LIBERTY, as_json, as_markdown, as_table
from .timing import ABSENT, find_sta, version

FORMATS = {"table": as_table, "json": as_json, "md": as_markdown}
NO_PYOSYS = "pyosys is not installed; it synthesises: pip install -e '.[synth]'"
EXAMPLE = """example:
  python -m hwsim.verilog.synth --liberty sg13g2_stdcell_typ_1p20V_25C.lib --design decoder-all
  python -m hwsim.verilog.synth --liberty a.lib --liberty b.lib.gz --format md -o area.md
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    made = argparse.ArgumentParser(
        prog="python -m hwsim.verilog.synth",
        description="Area (um2, kGE) and critical path (ns) of the Verilog: Yosys and OpenSTA. "
        "Cells only: ideal wires, no placement, no clock tree.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(liberty=[], design=[], dont_use=[])
    add = made.add_argument
    add(
        "--liberty",
        metavar="FILE",
        type=Path,
        action="append",
        help="Liberty file, .lib or .lib.gz; repeat it for more libraries; without one, "
        "transistors are counted",
    )
    add(
        "--design",
        metavar="NAME",
        action="append",
        help="a design or group of the designs file; repeat it for more (default: all)",
    )
    add(
        "--designs",
        metavar="FILE",
        type=Path,
        default=DESIGNS,
        help="TOML file of the designs (default: hwsim/verilog/synth/designs.toml)",
    )
    add(
        "--delay-ps",
        metavar="N",
        type=positive,
        default=10000,
        help="delay that the mapping aims at, ps (default: %(default)s, which puts area first)",
    )
    add(
        "--dont-use",
        metavar="GLOB",
        action="append",
        help="cells that must not be used, such as '*lpflow*'; repeat it for more",
    )
    add(
        "--tries",
        metavar="N",
        type=positive,
        default=1,
        help="netlists with their cells in another order, of which the median is given: shows how "
        "much of a difference is chance (default: %(default)s)",
    )
    add(
        "--jobs",
        metavar="N",
        type=positive,
        default=min(2, os.cpu_count() or 1),
        help="designs at a time (default: %(default)s)",
    )
    add("--format", choices=FORMATS, default="table", help="(default: %(default)s)")
    add("-o", "--output", metavar="FILE", type=Path, help="write there, not to the terminal")
    return made


def positive(text: str) -> int:
    """Return a whole number above 0."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: 0 done, 1 a tool refused a design, 2 the request cannot be done."""
    options = parser().parse_args(arguments)
    try:
        with TemporaryDirectory(prefix="rtl-synth-") as folder:
            return _synthesise(options, Path(folder))
    except RequestError as error:
        print(f"hwsim.verilog.synth: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hwsim.verilog.synth: stopped", file=sys.stderr)
        return 130


def _synthesise(options: argparse.Namespace, folder: Path) -> int:
    designs = select(load(options.designs), options.design)
    if options.output and not options.output.absolute().parent.is_dir():
        raise RequestError(f"-o {options.output}: no folder {options.output.absolute().parent}")
    if importlib.util.find_spec("pyosys") is None:
        raise RequestError(NO_PYOSYS)
    libraries: list[Library | None] = [read(path, folder) for path in options.liberty] or [None]
    check_dont_use(options.dont_use, filter(None, libraries))
    settings = Settings(options.delay_ps, tuple(options.dont_use), find_sta(), options.tries)
    if libraries == [None]:
        print(NO_LIBERTY, file=sys.stderr)
    elif settings.sta is None:
        print(ABSENT, file=sys.stderr)
    results = run(designs, libraries, settings, options.jobs, _progress)
    text = FORMATS[options.format](results, libraries, settings, _tools(settings, libraries))
    if options.output:
        write(options.output, text)
    else:
        print(text, end="")
    return int(any(result.error for result in results))


def _tools(settings: Settings, libraries: Sequence[Library | None]) -> str:
    sta = f", {version(settings.sta)}" if settings.sta and libraries != [None] else ""
    return f"pyosys {importlib.metadata.version('pyosys')}{sta}"


def _progress(result: Result, seconds: float) -> None:
    area = result.area
    where = f"{result.design.name} on {result.library.name}" if result.library else ""
    if result.error or area is None:
        said = f"FAILED: {result.error}"
    elif area.transistors is not None:
        said = f"{area.transistors} transistors"
    else:
        said = f"{area.area_um2:.1f} um2"
    print(f"{where or result.design.name}: {said} ({seconds:.1f} s)", file=sys.stderr, flush=True)


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    with NamedTemporaryFile(
        "w", dir=path.absolute().parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


if __name__ == "__main__":
    sys.exit(main())
