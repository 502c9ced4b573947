"""The ``quant`` command: formats, and models quantized to them."""

from __future__ import annotations

if __name__ == "__main__":  # the boundary first, then the imports below
    from quant.common.start import start

    start("quant", "quant.cli:main")

from typing import Annotated

import typer

from quant.cli_models import models
from quant.common import options
from quant.common.cli import application, command, run
from quant.common.output import Output, Report, frame_of, stacked
from quant.common.tables import Table, table_of

app = application(
    "quant", "Number formats, and models quantized to them.\n\nExample: quant show bitmod3"
)
app.add_typer(models)


def main() -> None:
    """Run the ``quant`` command."""
    run(app, "quant")


@command(app, "list")
def list_(
    form: options.OutputForm = None, out: options.OutFile = None, quiet: options.Quiet = False
) -> None:
    """List the number formats, the ways to round weights, and the built-in models.

    The table leaves the sources of formats out: `quant show` and the other forms name them.

    Example: quant list --output json
    """
    output = Output.choose(form, out)
    from quant.formats.describe import format_rows
    from quant.methods.registry import method_rows
    from quant.models.catalog import MODELS

    built_in = [
        {
            "name": m.name,
            "hub_id": m.hub_id,
            "license": m.license,
            "offline_package": bool(m.package),
        }
        for m in MODELS.values()
    ]
    rows = {"formats": format_rows(), "methods": method_rows(), "models": built_in}

    def tables() -> list[Table]:
        left_out = {"source", "special_values"}
        short = [{k: v for k, v in row.items() if k not in left_out} for row in rows["formats"]]
        return [table_of(content, name) for name, content in (rows | {"formats": short}).items()]

    output.write(Report("quant list", "quant.list/1", lambda: rows, tables, lambda: stacked(rows)))


@command(app)
def show(
    name: Annotated[
        str, typer.Argument(help="A format such as bitmod3, or a TOML file with a grid of yours.")
    ],
    form: options.OutputForm = None,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Show a format: its levels on a line, and the value of each code in each of its tables.

    Example: quant show bitmod3
    """
    output = Output.choose(form, out)
    from quant.formats.describe import code_rows, number_line
    from quant.formats.spec import parse_spec

    spec = parse_spec(name)
    entry = spec.format
    rows = code_rows(entry)
    bits = spec.effective_bits(4096, 4096)
    facts = {"name": entry.name, "element_bits": entry.element_bits, "effective_bits": bits}
    facts |= {"source": entry.source, "codes": rows}

    def tables() -> list[Table]:
        table = table_of(rows)
        title = f"{spec}: {entry.element_bits} bits a code, {bits:.3f} a weight (4096 x 4096)"
        source = (f"source: {entry.source}",)
        return [Table(table.columns, table.rows, title, number_line(entry), source)]

    output.write(Report(entry.name, "quant.show/1", lambda: facts, tables, lambda: frame_of(rows)))
