"""Numbers in the Verilog's packets are data: what joins a registry moves no other's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quant
from hwsim.pe.activations import ACTIVATIONS
from hwsim.pe.operands import weights
from hwsim.tile.packets import jobs
from hwsim.tile.side_band import FORMAT_BITS, KIND_BITS, SideBand, format_id, rtl_formats, scale_id
from hwsim.tile.tile import Tile
from hwsim.verilog.export import files, identifier
from hwsim.verilog.sources import RTL
from hwsim.verilog.toolchain import environment
from quant.common.errors import RequestError
from quant.formats import registry
from quant.formats.elements import Codebook
from quant.formats.format import Format
from quant.formats.scales import E8M0, SCALES, E8M0Scale, register_scale
from tests.rtl.simulator import ROOT

pytestmark = pytest.mark.rtl
SIGNS = Codebook(2, (0.0, 1.0, 2.0, -1.0))


def told(folder: Path, *words: str) -> dict[str, Any]:
    """What ``tests.rtl.ids`` writes, by a process of its own."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.rtl.ids", str(folder), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("proved") == (2 if words else 0)
    found: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The folder of the registries that others joined, and the facts before and after."""
    folder = tmp_path_factory.mktemp("ids")
    return folder / "joined", told(folder / "own"), told(folder / "joined", "joined")


def test_what_joins_in_front_changes_nothing_of_the_others(
    joined: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    _, before, after = joined
    assert len(before["packets"]) == 51
    assert len(before["functions"]) == 3 * 51
    sizes = {"NumFormats", "NumRows"}
    for part, facts in before.items():
        changed = {name for name, fact in facts.items() if after[part][name] != fact}
        assert changed <= (sizes if part == "constants" else set()), part
    assert after["constants"]["FmtNewFour"] == 53
    assert after["constants"]["NumFormats"] == 57
    assert "FmtNewNone" not in after["constants"]
    assert set(after["packets"]) - set(before["packets"]) == {"new-four", "new-one"}


def test_the_verilog_may_have_gaps_among_the_numbers(
    joined: tuple[Path, dict[str, Any], dict[str, Any]],
) -> None:
    """It is clean; ``joined`` has the proof that numbers without a format decode to nothing."""
    folder = joined[0] / "rtl"
    parts = sorted(folder.glob("[gp]*/*_pkg.sv"))  # generated ones first: pe_pkg needs none
    parts += sorted(path for path in folder.glob("[gpa]*/*.sv") if path not in parts)
    options = ["--lint-only", "-Wall", "--assert", "--top-module", "tile", f"-I{folder}/include"]
    done = subprocess.run(
        ["verilator", *options, *map(str, parts)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment()},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_numbers_differ_and_fit() -> None:
    numbers = [entry.id for entry in registry.FORMATS.values() if entry.id is not None]
    assert len(set(numbers)) == len(numbers) >= 51
    assert all(0 <= number < 1 << FORMAT_BITS for number in numbers)
    kinds = [kind.id for kind in SCALES.values() if kind.id is not None]
    assert len(set(kinds)) == len(kinds) >= 3
    assert all(0 <= number < 1 << KIND_BITS for number in kinds)


def test_the_packages_have_the_same_numbers() -> None:
    text = (RTL / "pe/pe_pkg.sv").read_text(encoding="utf-8")
    found = {name: int(number) for name, number in re.findall(r"(\w+) += \d'd(\d+)", text)}
    acts = {f"Act{identifier(name)[3:]}": form.id for name, form in ACTIVATIONS.items()}
    kinds = {f"Scale{name.capitalize()}": SCALES[name].id for name in ("int8", "e8m0", "e4m3")}
    assert found == acts | kinds
    own = files()["terms_pkg.sv"]
    for name, number in rtl_formats().items():
        assert f"{identifier(name)} = {FORMAT_BITS}'d{number}" in own


@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("final", [False, True])
def test_a_side_band_is_a_word_and_back(fp16: bool, final: bool) -> None:
    band = SideBand(50, 2, fp16, final)
    assert band.word == final << 9 | fp16 << 8 | 2 << 6 | 50
    assert SideBand.of(band.word) == band


def first_packet(format_: Format, scale: str) -> SideBand:
    weight = np.ones((2, 8), np.float32)
    operand, rule = weights(quant.quantize(weight, format_.name, scale=scale), None)
    words = rule.activations.words(np.ones((1, 8)))
    job = next(jobs(operand, words, Tile(rows=2, columns=1, arithmetic=rule)))
    return job.packets[0].user


@pytest.fixture(autouse=True)
def own_registries() -> Iterator[None]:
    """What a test registers is gone after it."""
    formats, kinds = dict(registry.FORMATS), dict(SCALES)
    yield
    registry.FORMATS.clear()
    registry.FORMATS.update(formats)
    SCALES.clear()
    SCALES.update(kinds)


def test_a_format_of_ones_own_needs_a_number() -> None:
    entry = registry.register(Format("mine", SIGNS, "test"))
    with pytest.raises(RequestError, match=r"format 'mine' has no number .* an id in 0\.\.63"):
        first_packet(entry, "int8")
    assert "mine" not in rtl_formats()


def test_a_format_of_ones_own_with_a_number_runs() -> None:
    entry = registry.register(Format("mine", SIGNS, "test", id=60))
    assert first_packet(entry, "int8").format == rtl_formats()["mine"] == 60
    assert "FmtMine = 6'd60" in files()["terms_pkg.sv"]


@pytest.mark.parametrize(("number", "said"), [(64, r"id 64: 0\.\.63"), (-1, r"id -1: 0\.\.63")])
def test_a_number_must_fit(number: int, said: str) -> None:
    entry = registry.register(Format("mine", SIGNS, "test", id=number))
    for action in (lambda: format_id("mine"), files, lambda: first_packet(entry, "int8")):
        with pytest.raises(RequestError, match=said):
            action()


def test_a_number_belongs_to_one_format() -> None:
    with pytest.raises(RequestError, match="'int4' has id 3"):
        registry.register(Format("mine", SIGNS, "test", id=3))
    registry.FORMATS["mine"] = Format("mine", SIGNS, "test", id=3)
    with pytest.raises(RequestError, match="'int4' and 'mine' both have id 3"):
        files()


def test_a_kind_of_scale_of_ones_own_needs_a_number() -> None:
    mine = register_scale(E8M0Scale("mine", 8, multiplied_bits=1))
    with pytest.raises(RequestError, match=r"scale 'mine' has no number .* an id in 0\.\.3"):
        first_packet(registry.FORMATS["int4"], "mine")
    with pytest.raises(RequestError, match=r"id 4: 0\.\.3"):
        scale_id(E8M0Scale("wide", 8, multiplied_bits=1, id=4))
    with pytest.raises(RequestError, match="'e8m0' has id 1"):
        register_scale(E8M0Scale("other", 8, multiplied_bits=1, id=E8M0.id))
    assert mine.id is None
