"""How each command line ends: 0 done, 1 the work failed, 2 the request is wrong."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from quant.common.errors import HwsimError, RequestError

# typer's own copy of click names the errors of a command line; its public root is this one.
UsageError: Any = typer.BadParameter.__mro__[1]
INTERRUPTED = "interrupted; finished parts are kept"


def run(app: typer.Typer, name: str) -> None:
    """Run a typer application; errors become one line on standard error and an exit code."""
    try:
        code = app(prog_name=name, standalone_mode=False)
    except RequestError as error:
        _fail(name, error, 2)
    except UsageError as error:
        _fail(name, f"{error.format_message()} (see --help)", 2)
    except typer.Abort:
        _fail(name, INTERRUPTED, 130)
    except HwsimError as error:
        _fail(name, error, 1)
    except OSError as error:
        _fail(name, error, 1)
    except KeyboardInterrupt:
        _fail(name, INTERRUPTED, 130)
    else:
        if isinstance(code, int):
            sys.exit(code)


def to_json(schema: str, content: dict[str, Any]) -> str:
    """Return the JSON envelope that all commands print: ``schema`` first, SI units, raw numbers."""
    return json.dumps({"schema": schema, **content}, indent=2, allow_nan=False)


def _fail(name: str, error: object, code: int) -> None:
    message = " ".join(str(error).split())
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(code)
