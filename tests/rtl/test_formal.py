"""The RTL is proved, and a wrong one is refuted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.verification.formal import PROOFS, Proof, prove
from tests.verification.yosys import RTL

pytestmark = pytest.mark.rtl
FAULTS = {
    "weight_decoder": ("pe", "3'b110: return '{sign: 1'b1", "3'b110: return '{sign: 1'b0"),
    "exponent_match": ("pe", "!difference[other][lane][Bits]", "difference[other][lane][Bits]"),
    "serial_multiply": ("pe", ">> gap_i[lane]", ">> (gap_i[lane] | GapBits'(1))"),
    "group_accumulator": ("pe", "is_power = |is_power_at", "is_power = 1'b0"),
    "ping_pong_buffer": ("array", "ready_o = !full_q[write_bank_q]", "ready_o = 1'b1"),
    "step_sequencer": ("array", "valid_i && !(last_o && drain_busy_i)", "valid_i"),
    "drain_sequencer": ("array", "!(leaving_q && out_valid_q && !out_ready_i)", "1'b1"),
}  # fmt: skip


def identity(proof: Proof) -> str:
    return "-".join([proof.name, *proof.parameters])


@pytest.mark.parametrize("proof", [p for p in PROOFS if not p.slow], ids=identity)
def test_a_claim_holds(proof: Proof, tmp_path: Path) -> None:
    outcome = prove(proof, tmp_path)
    assert outcome.holds, outcome.text[-3000:]


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_module_is_refuted(name: str, tmp_path: Path) -> None:
    part, right, wrong = FAULTS[name]
    shutil.copytree(RTL, tmp_path / "rtl")
    path = tmp_path / "rtl" / part / f"{name}.sv"
    text = path.read_text(encoding="utf-8")
    assert text.count(right) == 1, right
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    proof = next(p for p in PROOFS if p.name == name)
    outcome = prove(proof, tmp_path, tmp_path / "rtl")
    assert not outcome.holds
    # By a counterexample, not by an error.
    assert "model found: FAIL" in outcome.text or "Status: FAILED" in outcome.text
