"""How each command line starts and ends: 0 done, 1 the work failed, 2 the request is wrong."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from quant.common.boundary import guarded
from quant.common.errors import HwsimError, RequestError
from quant.common.options import Quiet
from quant.common.progress import silence_libraries

# typer's own copy of click names the errors of a command line; its public root is this one.
UsageError: Any = typer.BadParameter.__mro__[1]
EXAMPLE = "Example: "
"""Begins the last paragraph of the docstring of every command."""


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        print(f"{context.find_root().info_name} {version()}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Print the version and stop.",
        callback=_print_version,
        is_eager=True,
        show_default="off",
    ),
]
Command = TypeVar("Command", bound=Callable[..., Any])


def application(name: str, summary: str) -> typer.Typer:
    """Return the application of a command line, with the options that all three have.

    Args:
        name: Of the command.
        summary: What it does, and an example in the last paragraph.
    """
    text, example = _split(summary)
    app = typer.Typer(
        name=name,
        help=text,
        epilog=example,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode=None,  # plain help: quicker, and examples stay whole on their lines
    )

    @app.callback()
    def start(
        context: typer.Context,
        version: Version = False,
        quiet: Quiet = False,
    ) -> None:
        if context.invoked_subcommand is None:
            print(context.get_help())

    return app


def version() -> str:
    """Return the version of the installed package.

    Raises:
        HwsimError: it is not installed.
    """
    from importlib import metadata

    try:
        return metadata.version("hwsim")
    except metadata.PackageNotFoundError:
        raise HwsimError("hwsim is not installed: its version is unknown") from None


def command(app: typer.Typer, name: str | None = None) -> Callable[[Command], Command]:
    """Return a decorator that adds a command whose help ends with its docstring's example.

    Args:
        app: Takes the command.
        name: On the command line; None: the function's.
    """

    def add(function: Command) -> Command:
        text, example = _split(inspect.getdoc(function) or "")
        short = " ".join(text.partition("\n\n")[0].split())
        app.command(name, help=text, short_help=short, epilog=example)(function)
        return function

    return add


def run(app: typer.Typer, name: str) -> None:
    """Run a typer application; errors become one line on standard error and an exit code."""
    guarded(name, lambda: _call(app, name))


def _call(app: typer.Typer, name: str) -> int:
    """Parse the command line and run the command; return the exit code.

    Not by typer's own ``main``, which takes the early end of a file (EOFError) for Ctrl-C.
    """
    if not sys.stderr.isatty():
        silence_libraries()
    group = typer.main.get_command(app)
    try:
        with group.make_context(name, sys.argv[1:]) as context:
            code = group.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except UsageError as error:
        raise RequestError(f"{_said(error)} (see --help)") from None
    return code if isinstance(code, int) else 0


def _split(text: str) -> tuple[str, str]:
    """Return a docstring without its example, and the example as a line that is not wrapped."""
    said, _, example = text.rpartition(f"\n\n{EXAMPLE}")
    return said, f"\b\n{EXAMPLE}{example}"


def _said(error: Any) -> str:  # noqa: ANN401  typer's copy of click's UsageError
    """Return what is wrong with a command line, the value that is wrong included."""
    message = str(error.format_message()).rstrip(".").replace("Value error, ", "")
    faults = getattr(error.__cause__, "errors", None)  # typer checks values with pydantic
    value = repr(faults()[0]["input"]) if faults else ""
    return message if value in message else f"{message}, not {value}"
