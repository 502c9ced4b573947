"""Optional packages: the table of extras is that of pyproject.toml, and covers every import."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from quant.common import extras
from quant.common.errors import RequestError
from quant.common.extras import EXTRAS, missing_extra, require
from quant.common.output import NEEDS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]
OURS = {"quant", "roofline", "hwsim"}
BROUGHT = {"llvmlite": "numba"}
"""Modules of the base installation that come along with a distribution of it."""
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[(.*)\])?")


def distributions(requirements: list[str]) -> set[str]:
    return {REQUIREMENT.match(text)[1] for text in requirements}  # type: ignore[index]  # all match


def test_the_table_is_that_of_pyproject() -> None:
    for extra in EXTRAS:
        declared = OPTIONAL[extra.name]
        own = distributions(declared) - {"hwsim"}
        assert set(extra.modules.values()) == own, extra.name
        included = [REQUIREMENT.match(text)[2] or "" for text in declared]  # type: ignore[index]
        assert set(",".join(filter(None, included)).split(",")) - {""} == set(extra.includes)


def test_every_import_is_of_the_base_installation_or_in_the_table() -> None:
    base = {name.replace("-", "_") for name in distributions(PROJECT["dependencies"])}
    optional = {module for extra in EXTRAS for module in extra.modules}
    allowed = OURS | set(sys.stdlib_module_names) | base | set(BROUGHT) | optional
    unknown = {}
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                for name in names:
                    if name.partition(".")[0] not in allowed:
                        unknown[name] = str(path.relative_to(ROOT))
    assert not unknown


def test_forms_of_a_result_need_what_an_extra_brings() -> None:
    assert set(NEEDS.values()) <= {module for extra in EXTRAS for module in extra.modules}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the base installation is found."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module", name="torch"), "needs torch: pip install 'hwsim[models]"),
        (ModuleNotFoundError("No module", name="torch.nn"), "pip install 'hwsim[models]'"),
        (ModuleNotFoundError("No module", name="scipy.optimize"), "pip install 'hwsim[codesign]'"),
        (ModuleNotFoundError("No module", name="pyarrow"), "pip install 'hwsim[parquet]'"),
        (ModuleNotFoundError("No module", name="PIL"), "pip install 'hwsim[vision]'"),
        (ImportError("AutoModel requires the PyTorch library"), "pip install 'hwsim[models]'"),
        (ImportError("`device_map` requires Accelerate: install it"), "accelerate: pip install"),
        (ImportError("Unable to find a usable engine; tried pyarrow"), "pip install 'hwsim[par"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(error: ImportError, message: str) -> None:
    said = missing_extra(error)
    assert said is not None
    assert message in str(said)
    assert "\n" not in str(said)


@pytest.mark.usefixtures("bare")
def test_one_extra_is_named_for_all_that_is_missing() -> None:
    with pytest.raises(RequestError, match=r"torch, scipy: pip install 'hwsim\[codesign\]'$"):
        require("torch", "scipy")
    with pytest.raises(RequestError, match=r"pip install 'hwsim\[models,parquet\]'$"):
        require("torch", "pyarrow")


def test_what_no_extra_brings_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_extra(ModuleNotFoundError("No module", name="quant.nowhere")) is None
    assert missing_extra(ModuleNotFoundError("No module", name="someone_elses")) is None
    assert missing_extra(ImportError("a shared library is missing")) is None
    monkeypatch.setattr(extras, "is_missing", lambda module: False)
    assert missing_extra(ImportError("cannot import name", name="torch")) is None
    said = missing_extra(ModuleNotFoundError("No module", name="transformers.models.new"))
    assert "pip install -U 'hwsim[models]'" in str(said)


COMMANDS = {
    "quant eval smollm2-135m --weights bitmod3": "models",
    "quant quantize smollm2-135m --weights bitmod4 -o out": "models",
    "quant list -o a.parquet": "parquet",
    "roofline report llama-2-7b h100-sxm -o a.svg": "codesign",
    "roofline report some/model h100-sxm": "models",
    "roofline validate": "codesign",
    "roofline calibrate h100-sxm -o a.toml": "codesign",
    "hwsim codesign smollm2-135m bitmod --max-effective-bits 3.7": "codesign",
    "hwsim margins smollm2-135m bitmod": "codesign",
}
HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
import importlib.util as util
there = util.find_spec
util.find_spec = lambda name, *a: None if name.partition(".")[0] in {names!r} else there(name, *a)
sys.meta_path.insert(0, Hidden())
from importlib import import_module
for line in {lines!r}:
    sys.argv = line.split()
    try:
        import_module(sys.argv[0] + ".cli").main()
        code = 0
    except SystemExit as end:
        code = end.code
    print("code", code, file=sys.stderr, flush=True)
"""


def test_commands_say_which_extra_they_need(tmp_path: Path) -> None:
    names = sorted({module for extra in EXTRAS for module in extra.modules})
    program = HIDDEN.format(names=names, lines=list(COMMANDS))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=True,
        env=None,
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 2 * len(COMMANDS), done.stderr
    for i, (command, extra) in enumerate(COMMANDS.items()):
        assert lines[2 * i].endswith(f": pip install 'hwsim[{extra}]'"), (command, lines[2 * i])
        assert lines[2 * i + 1] == "code 2", command
    assert not list(tmp_path.iterdir())
