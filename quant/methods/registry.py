"""The methods by name."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.methods.base import Method
from quant.methods.builtin import BUILTIN

DEFAULT_METHOD = "rtn"
METHODS: dict[str, Method] = {method.name: method for method in BUILTIN}
"""The methods that come along, and those that ``register`` added."""


def get_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        RequestError: no such method; the message gives the nearest names.
    """
    if arguments.text("method", name) not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def register(method: Method) -> Method:
    """Add a method of yours for this process, and return it.

    Raises:
        RequestError: no method, a name that is taken, or one that would be read as something else.
    """
    if not isinstance(method, Method):
        raise arguments.wrong_type(
            "method", method, "an instance of a subclass of LayerMethod, BlockMethod or ModelMethod"
        )
    name = getattr(method, "name", "")
    if not name or name != name.strip().lower() or name.endswith(".py"):
        raise RequestError(f"method name {name!r}: lower-case letters are needed, no '.py'")
    if METHODS.setdefault(name, method) is not method:
        raise RequestError(f"method {name!r} is taken: choose another name")
    return method


def load_method(path: str | Path) -> Method:
    """Run a Python file of yours, once in a process, and return the method that it registers.

    Raises:
        RequestError: no such file, one that fails, or that registers none or several methods.
    """
    path = arguments.path("path", path)
    file = path.resolve()
    module = f"method_{path.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:8]}"
    if module not in sys.modules:
        _run_file(path, file, module)
    own = [method for method in METHODS.values() if type(method).__module__ == module]
    if len(own) != 1:
        raise RequestError(f"{path}: {len(own)} methods are registered in it: one is needed")
    return own[0]


def method_rows() -> list[dict[str, Any]]:
    """Return one row a method."""
    return [
        {"name": m.name, "calibration": m.calibration.value, "scope": m.scope, "source": m.source}
        for m in METHODS.values()
    ]


def _run_file(path: Path, file: Path, name: str) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise RequestError(f"{path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file of the user's raises
        del sys.modules[name]
        for known in [k for k, method in METHODS.items() if type(method).__module__ == name]:
            del METHODS[known]
        raise RequestError(f"{path}: {type(error).__name__}: {error}") from error
