"""A layer through compiled Verilog from Python: the kernels' bits, the closed form's clocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hwsim.verilog
import quant
from hwsim.pe import Arithmetic, matmul
from hwsim.pe.operands import weights
from hwsim.pe.product import Output
from hwsim.tile.clocks import clocks
from hwsim.tile.packets import jobs
from hwsim.tile.tile import Tile
from hwsim.verilog import compiled
from quant.common.errors import HwsimError, RequestError

WIDE = Arithmetic(lanes=9, activation="bf16", accumulator_bits=18)
CASES: list[tuple[Tile, str, Output]] = [
    (Tile(rows=2, columns=2), "bitmod4:g32", "fp16"),
    (
        Tile(rows=1, columns=3, skip_zero_steps=True, digit_bits=8, arithmetic=WIDE),
        "int4-asym:g40",
        "fp32",
    ),
]
pytestmark = pytest.mark.rtl


@pytest.mark.parametrize(("tile", "text", "output"), CASES, ids=lambda value: str(value)[:24])
def test_a_layer(tile: Tile, text: str, output: Output) -> None:
    rng = np.random.default_rng(1)
    qt = quant.quantize(rng.standard_normal((5, 70)).astype(np.float32), text, scale="int8")
    x = np.where(rng.random((4, 70)) < 0.3, 0, rng.standard_normal((4, 70))).astype(np.float32)
    ran = hwsim.verilog.run(tile, qt, x, output)
    y, _ = matmul(qt, x, arithmetic=tile.arithmetic, output=output)
    assert ran.y.dtype == y.dtype
    assert ran.y.tobytes() == y.tobytes()
    operand, rule = weights(qt, tile.arithmetic)
    found = jobs(operand, rule.activations.words(x), tile, output)
    assert ran.clocks == clocks([p for job in found for p in job.packets], tile)


def test_a_program_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tile, text, _ = CASES[0]
    first = compiled.program(tile, [text.partition(":")[0]])
    monkeypatch.setattr(compiled, "build", lambda *_, **__: pytest.fail("built again"))
    assert compiled.program(tile, ["bitmod4"]) == first


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tile = Tile(rows=1, columns=1)
    qt = quant.quantize(np.ones((2, 64), np.float32), "int4", group_size=32, scale="int8")
    with pytest.raises(RequestError, match=r"nf4.*the Verilog has "):
        compiled.program(tile, ["nf4"])
    with pytest.raises(RequestError, match=r"\[tokens, 64\] is needed"):
        hwsim.verilog.run(tile, qt, np.ones((1, 63)))
    operand, rule = weights(qt, tile.arithmetic)
    found = list(jobs(operand, rule.activations.words(np.ones((1, 64))), tile))
    packets = [packet for job in found for packet in job.packets]
    monkeypatch.setattr(compiled, "MAX_BEATS", 4)
    with pytest.raises(RequestError, match="beats of a stream: one run takes 4"):
        compiled.simulate(tmp_path / "none", packets, tile, tmp_path)
    monkeypatch.setattr("hwsim.verilog.toolchain.shutil.which", lambda _: None)
    with pytest.raises(HwsimError, match="no C\\+\\+ compiler was found"):
        compiled.build(tile, tmp_path / "build")
