"""Built-in designs, and designs from TOML files, checked before anything runs."""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from pathlib import Path

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.checks import file_faults
from hwsim.machines.elements.base import element_kind
from hwsim.machines.file import file_shape
from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name

FOLDER = resources.files("hwsim.machines") / "builtin"


@cache
def accelerator_names() -> list[str]:
    """Return the names of the built-in designs."""
    return sorted(Path(entry.name).stem for entry in FOLDER.iterdir())


def load_accelerator(name: str | Path | Accelerator) -> Accelerator:
    """Return a built-in design, or one from a TOML file of the same form; a design as it is.

    Raises:
        RequestError: an unknown name, or a file with faults; all that can be seen together are
            listed, each with its key.

    Example:
        >>> machine = load_accelerator("bitmod")
        >>> machine.kind, machine.steps(machine.spec("bitmod3"))
        ('bit-serial', 2)
    """
    if isinstance(name, Accelerator):
        return name
    if not isinstance(name, str | os.PathLike):
        raise arguments.wrong_type("accelerator", name, "a name, a TOML file or an Accelerator")
    path = arguments.path("accelerator", name)
    if path.suffix != ".toml":
        if str(name).lower() not in accelerator_names():
            raise unknown_name("accelerator", str(name), accelerator_names())
        path = Path(str(FOLDER / f"{str(name).lower()}.toml"))
    data = load_toml(path)
    try:
        element = element_kind(str(data.get("kind", "")))
    except RequestError as error:
        raise RequestError(f"{path}: kind: {error}") from None
    file = parse(data, file_shape(element), str(path))
    if faults := file_faults(file):
        raise RequestError(f"{path}: {'; '.join(faults)}")
    return file.accelerator()
