"""Optional packages: which extra of ours brings each, and the line that says so."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass

from quant.common.errors import RequestError


@dataclass(frozen=True)
class Extra:
    """An extra of this distribution, as ``pyproject.toml`` declares it (a test compares the two).

    Attributes:
        name: In ``pip install 'hwsim[NAME]'``.
        modules: Names of import to the distributions that bring them.
        includes: Other extras that come along.
    """

    name: str
    modules: dict[str, str]
    includes: tuple[str, ...] = ()


EXTRAS = (
    Extra(
        "models",
        {
            "torch": "torch",
            "transformers": "transformers",
            "huggingface_hub": "transformers",
            "tokenizers": "transformers",
            "safetensors": "safetensors",
            "accelerate": "accelerate",
            "gguf": "gguf",
        },
    ),
    Extra("parquet", {"pyarrow": "pyarrow"}),
    Extra("codesign", {"scipy": "scipy", "matplotlib": "matplotlib"}, ("models",)),
    Extra(
        "vision",
        {"efficientnet_lite_pytorch": "efficientnet-lite-pytorch", "PIL": "pillow"},
        ("models",),
    ),
    Extra("synth", {"pyosys": "pyosys"}),
)
"""Every optional package that the three packages import; earlier ones are proposed first."""
_OTHER_NAMES = {"pytorch": "torch", "pillow": "PIL"}
"""How messages of libraries call a module."""


def missing_extra(error: ImportError) -> RequestError | None:
    """Return the error that says which extra brings what an import lacks.

    Args:
        error: An import's failure; its module may be any part of an optional package. A library
            that needs another one (transformers without torch) raises it without a module's name:
            then it is a module that the message names and that is not installed.

    Returns:
        The request's error; None: no extra brings it, or it is installed and cannot be loaded.
    """
    name, _, part = (error.name or "").partition(".")
    another = part and isinstance(error, ModuleNotFoundError)
    if another and name in _modules() and not is_missing(name):
        extra = _modules()[name].name  # of another version than ours was made for
        return RequestError(
            f"the installed {name} has no {error.name}: pip install -U 'hwsim[{extra}]'"
        )
    if name:
        names = [name] if name in _modules() and is_missing(name) else []
    else:
        words = {word.lower() for word in re.findall(r"\w+", str(error))}
        words |= {_OTHER_NAMES[word].lower() for word in words & _OTHER_NAMES.keys()}
        names = [module for module in _modules() if module.lower() in words and is_missing(module)]
    return needed(names) if names else None


def require(*modules: str) -> None:
    """Check that optional packages are there, before the work that will need them.

    Args:
        modules: Names of import.

    Raises:
        RequestError: some are not installed; it says which, and the extra that brings them.
    """
    missing = [module for module in modules if is_missing(module)]
    if missing:
        raise needed(missing)


def needed(modules: Iterable[str], what: str = "this") -> RequestError:
    """Return the error of packages that are not installed.

    Args:
        modules: Names of import.
        what: That needs them.

    Raises:
        RequestError: no extra has them.
    """
    wanted = dict.fromkeys(modules)
    known = _modules()
    for module in wanted:
        if module not in known:
            raise RequestError(f"module {module!r}: no extra has it, only {', '.join(known)}")
    whole = [extra.name for extra in EXTRAS if wanted.keys() <= _brought(extra).keys()]
    names = whole[:1] or sorted({known[module].name for module in wanted})
    return RequestError(f"{what} needs {', '.join(wanted)}: pip install 'hwsim[{','.join(names)}]'")


def is_missing(module: str) -> bool:
    """Return whether a package cannot be found (one that is found may still fail to load)."""
    return importlib.util.find_spec(module) is None


def _modules() -> dict[str, Extra]:
    """Module to the extra whose own it is."""
    return {module: extra for extra in EXTRAS for module in extra.modules}


def _brought(extra: Extra) -> dict[str, str]:
    """Modules of an extra and of those that come along."""
    every = {other.name: other for other in EXTRAS}
    parts = [extra.modules, *(_brought(every[name]) for name in extra.includes)]
    return {module: source for part in parts for module, source in part.items()}
