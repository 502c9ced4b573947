"""How each command line ends: 0 done, 1 the work failed, 2 the request is wrong."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from quant.common.errors import HwsimError, RequestError


def run(app: typer.Typer, name: str) -> None:
    """Run a typer application; errors become one line on standard error and an exit code."""
    try:
        app(prog_name=name)
    except RequestError as error:
        _fail(name, error, 2)
    except HwsimError as error:
        _fail(name, error, 1)
    except OSError as error:
        _fail(name, error, 1)
    except KeyboardInterrupt:
        _fail(name, "interrupted; finished parts are kept", 130)


def to_json(schema: str, content: dict[str, Any]) -> str:
    """Return the JSON envelope that all commands print: ``schema`` first, SI units, raw numbers."""
    return json.dumps({"schema": schema, **content}, indent=2, allow_nan=False)


def _fail(name: str, error: object, code: int) -> None:
    message = " ".join(str(error).split())
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(code)
