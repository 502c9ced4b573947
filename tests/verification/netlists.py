"""Netlists after synthesis, each proved equal to its RTL by ABC."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hwsim.verilog.synth.designs import load
from hwsim.verilog.synth.proof import prove
from hwsim.verilog.synth.yosys import ToolError, synthesise
from tests.verification.finding import Finding

PART = "Netlists after synthesis"
QUICK = ("pe-14", "dequantizer-15x8", "decoder-machine", "column-14")


def run(scale: str) -> list[Finding]:
    """Return a line a design; the whole columns take minutes each."""
    chosen = [design for design in load() if scale == "full" or design.name in QUICK]
    findings = []
    for design in chosen:
        with TemporaryDirectory() as folder:
            try:
                synthesise(design, None, 10_000, (), 0, Path(folder))
                note, failures = prove(design, None, Path(folder)), 0
            except ToolError as error:
                note, failures = str(error), 1
        findings.append(Finding(PART, f"{design.name}: {design.note}", 1, "proof", failures, note))
    return findings
