"""The floor plan: rooms in a fixed order, arrows one way, no circle among files (docs/adr/0009)."""

from __future__ import annotations

import ast
import importlib
from types import ModuleType

import pytest

from tests.import_graph import ROOT, circle, imports, modules, room, rooms

ORDER = {
    "quant": (
        "common", "formats", "cast", "rounding", "tensors", "layers", "methods", "plan",
        "compat", "checkpoints", "models", "cli_models", "cli",
    ),
    "roofline": (
        "devices", "workloads", "calibration", "bounds", "validation", "reports", "compat",
        "cli_measure", "cli",
    ),
    "hwsim": (
        "pe", "tile", "verilog", "machines", "compat", "simulation", "exploration", "study",
        "report", "testing", "loop", "cli_machines", "cli",
    ),
}  # fmt: skip
"""The rooms of each package, lowest first: a room imports from earlier ones alone."""
MOST = {"quant": 13, "roofline": 9, "hwsim": 13}
"""Rooms of a package; files at its top count, but ``__main__``."""
ARROWS = {"quant": {"quant"}, "roofline": {"quant", "roofline"}, "hwsim": {*ORDER}}
"""What a package may import from."""


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_from_earlier_ones_alone(package: str) -> None:
    wrong = [
        (module, target)
        for module, targets in imports().items()
        for target in targets
        if module.split(".")[0] == package and target.split(".")[0] not in ARROWS[package]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ORDER)
def test_rooms_are_the_listed_ones(package: str) -> None:
    found = {name.split(".")[1] for name in rooms() if name.startswith(f"{package}.")}
    found.discard("__main__")
    assert found == set(ORDER[package])
    assert len(found) <= MOST[package]


@pytest.mark.parametrize("package", ORDER)
def test_a_room_imports_from_earlier_rooms_alone(package: str) -> None:
    place = {f"{package}.{name}": i for i, name in enumerate(ORDER[package])}
    wrong = [
        (module, target)
        for module, targets in imports().items()
        for target in targets
        if (own := room(module)) in place and (other := room(target)) in place
        if place[str(other)] > place[str(own)]
    ]
    assert wrong == []


def test_no_circle_among_files() -> None:
    # A package's __init__ gives public names late; what imports the package is no circle of files.
    top = {"quant", "roofline", "hwsim"}
    graph = {m: frozenset(t - top) for m, t in imports().items() if m not in top}
    assert circle(graph) == []


def test_no_circle_among_rooms() -> None:
    assert circle(rooms()) == []


def test_a_circle_would_be_found() -> None:
    graph = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"})}
    assert circle(graph) == ["b", "c", "b"]


def test_every_room_says_what_it_is() -> None:
    folders = {path.parent for path in modules().values()}
    silent = []
    for folder in folders:
        text = (folder / "__init__.py").read_text(encoding="utf-8")
        if not ast.get_docstring(ast.parse(text)):
            silent.append(str(folder.relative_to(ROOT)))
    assert silent == []


def test_the_verilog_imports_nothing() -> None:
    assert list((ROOT / "rtl").rglob("*.py")) == []


def test_the_pe_reference_does_not_import_the_kernels() -> None:
    assert not any("kernels" in target for target in imports()["hwsim.pe.reference"])


def exported(name: str) -> set[str]:
    """The public names that a package gives, but for those that are modules of its own."""
    package = importlib.import_module(name)
    names: set[str] = set(getattr(package, "__all__", ()))
    return {n for n in names if not isinstance(getattr(package, n), ModuleType)}


def test_no_function_is_hidden_by_a_module() -> None:
    # A name that a package exports and that a module beside it has would mean one or the other,
    # depending on what was imported before.
    hidden = [
        f"{name}.{other}"
        for name, path in modules().items()
        if path.name == "__init__.py"
        for other in exported(name)
        if f"{name}.{other}" in modules()
    ]
    assert hidden == []
