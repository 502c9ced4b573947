"""The graph of imports of the packages, read from the syntax trees: late and typing ones count."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("quant", "roofline", "hwsim")
Graph = Mapping[str, frozenset[str]]


@cache
def modules() -> Mapping[str, Path]:
    """Dotted name of every module of the packages to its file."""
    files = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            files[name.removesuffix(".__init__")] = path
    return files


@cache
def imports() -> Graph:
    """Every module to the modules of the packages that it imports."""
    return {name: frozenset(_targets(name, path)) for name, path in modules().items()}


def _targets(module: str, path: Path) -> Iterator[str]:
    known = modules()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, path, node)
            names = [f"{base}.{alias.name}" for alias in node.names]
            # ``from package.module import function`` means the module.
            names = [name if name in known else base for name in names]
        else:
            continue
        yield from (name for name in names if name in known and name != module)


def _absolute(module: str, path: Path, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    parts = parts if path.name == "__init__.py" else parts[:-1]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def room(module: str) -> str | None:
    """The room of a module, ``package.room``; None for a package's own ``__init__``."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 else None


def rooms() -> Graph:
    """Every room to the other rooms, of any package, that it imports from."""
    arrows: dict[str, set[str]] = {}
    for module, targets in imports().items():
        if (own := room(module)) is not None:
            others = {found for target in targets if (found := room(target)) is not None}
            arrows.setdefault(own, set()).update(others - {own})
    return {own: frozenset(others) for own, others in arrows.items()}


def circle(graph: Graph) -> list[str]:
    """A way that comes back to where it began; empty where there is none."""
    done: set[str] = set()
    way: list[str] = []

    def walk(node: str) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        way.append(node)
        for target in sorted(graph.get(node, ())):
            if found := walk(target):
                return found
        way.pop()
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node))), [])
