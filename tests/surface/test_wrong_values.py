"""Every public callable with a wrong value for each of its arguments: done, or our own error."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quant.common.errors import HwsimError
from tests.surface.calls import calls
from tests.surface.surface import methods, parameters, public

WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "object": object,
    "text": lambda: "x",
    "empty text": str,
    "odd text": lambda: "a\0b\ud800",
    "bytes": lambda: b"x",
    "-1": lambda: -1,
    "0": lambda: 0,
    "1.5": lambda: 1.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "complex": lambda: 1j,
    "huge": lambda: 10**30,
    "enormous": lambda: 10**400,
    "True": lambda: True,
    "empty list": list,
    "list of None": lambda: [None],
    "list of lists": lambda: [[1], [2, 3]],
    "empty dict": dict,
    "dict with a number": lambda: {1: 2},
    "dict with None": lambda: {"x": None},
    "type": lambda: int,
    "function": lambda: len,
    "torch scalar": lambda: torch.tensor(3),
    "torch vector": lambda: torch.zeros(3),
    "meta tensor": lambda: torch.empty(2, 2, device="meta"),
    "numpy scalar": lambda: np.int64(3),
    "numpy bool": lambda: np.bool_(True),
    "array of objects": lambda: np.array([[object()]]),
    "array of texts": lambda: np.array(["x"]),
    "empty array": lambda: np.empty((0, 3)),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], dict[str, Any]]]:
    return calls(tmp_path_factory.mktemp("surface"))


def test_everything_public_has_a_call(table: dict[str, Any]) -> None:
    assert {*public(), *methods()} <= table.keys()


@pytest.mark.parametrize("name", [*public(), *methods()])
def test_wrong_values_are_done_or_our_own_error(
    name: str,
    table: dict[str, Callable[[], dict[str, Any]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    function = {**public(), **methods()}[name]
    faults = []
    for parameter in parameters(function):
        for label, wrong in WRONG.items():
            arguments = table[name]()
            own = [arguments.pop("self")] if "self" in arguments else []
            try:
                _call(function, own, arguments | {parameter: wrong()})
            except HwsimError as error:
                if not _is_a_line(str(error)):
                    faults.append(f"{parameter} = {label}: {error!r:.300}")
            except Exception as error:
                faults.append(f"{parameter} = {label}: {error!r:.200}")
    assert not faults, "\n".join(faults)


def _call(function: Callable[..., Any], own: list[Any], arguments: dict[str, Any]) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        result = function(*own, **arguments)
        if isinstance(result, contextlib.AbstractContextManager) and hasattr(result, "gen"):
            with result:
                pass


def _is_a_line(message: str) -> bool:
    return bool(message) and len(message) < 2000 and message.isprintable()
