"""Objects answer: outside of ``formats`` and ``compat`` nothing compares a kind with text.

A kind is an attribute of a format, layout, scale, rule, method, op or element (docs/adr/0009).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.import_graph import ROOT, modules

KINDS = {
    "base", "calibration", "element", "format", "kind", "layout", "method", "name", "rule",
    "rules", "scale", "scale_kind", "scale_rule", "scales", "scope", "selection", "specials",
    "ties", "what",
}  # fmt: skip
"""Attributes that say which kind something is."""
FREE = {"formats", "compat"}
"""Rooms whose affair the text is."""
OTHERS: dict[tuple[str, str], str] = {
    ("quant.checkpoints.compressed_sources", "own.format"): "a word of compressed-tensors' config",
}
"""(Module, compared expression) to why it is none of those kinds."""


def is_text(node: ast.expr) -> bool:
    """Whether an expression is text, or a collection of texts."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return bool(node.elts) and all(is_text(part) for part in node.elts)
    if isinstance(node, ast.Call):  # str(x.scale) == "int8" is the same thing in disguise
        return isinstance(node.func, ast.Name) and node.func.id == "frozenset"
    return False


def kind_attribute(node: ast.expr) -> bool:
    """Whether an expression reads an attribute that says which kind something is."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str":
        return len(node.args) == 1 and kind_attribute(node.args[0])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in {"lower", "strip", "startswith", "endswith", "removeprefix"}:
            return kind_attribute(node.func.value)
        return False
    if not isinstance(node, ast.Attribute) or node.attr not in KINDS:
        return False
    owner = node.value
    return not (isinstance(owner, ast.Attribute) and owner.attr == "dtype")  # numpy's own


def comparisons(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield every expression that holds such an attribute against text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_text, sides)):
                yield from filter(kind_attribute, sides)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            asks = node.func.attr in {"startswith", "endswith"}
            if asks and kind_attribute(node.func.value) and any(map(is_text, node.args)):
                yield node.func.value
        elif isinstance(node, ast.Match) and kind_attribute(node.subject):
            values = [case.pattern for case in node.cases]
            if any(isinstance(v, ast.MatchValue) and is_text(v.value) for v in values):
                yield node.subject


def test_no_kind_is_compared_with_text() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for name, path in modules().items()
        if not FREE & set(name.split("."))
        for node in comparisons(ast.parse(path.read_text(encoding="utf-8")))
        if (name, ast.unparse(node)) not in OTHERS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "code",
    [
        "spec.format.layout == 'grid'",
        "'int8' != spec.scale",
        "spec.scale in {'e8m0', 'e4m3'}",
        "entry.scope not in ('layer', 'block')",
        "str(spec.scale) == 'int8'",
        "spec.format.name.startswith('bitmod')",
        "machine.kind.lower() == 'bit-serial'",
        "match op.kind:\n case 'Norm':\n  pass",
    ],
)
def test_a_comparison_would_be_found(code: str) -> None:
    assert list(comparisons(ast.parse(code)))


@pytest.mark.parametrize("code", ["spec.scale == INT8", "text == 'int8'", "x.size == 'a'"])
def test_objects_and_plain_text_may_be_compared(code: str) -> None:
    assert not list(comparisons(ast.parse(code)))
