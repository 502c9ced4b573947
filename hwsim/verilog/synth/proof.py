"""Proves that a netlist does what its RTL does: combinationally by ABC's ``cec``, else ``dsec``.

Registers become inputs (what they hold) and outputs (what comes), so that equality holds from every
state. Where synthesis found that registers always agree and merged them, that does not hold: such
netlists are proved equal as machines that start from zeros.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

from hwsim.verilog.synth.designs import Design
from hwsim.verilog.synth.liberty import Library
from hwsim.verilog.synth.yosys import LIBERTY, RTLIL, ToolError, elaboration, run_passes

EVERY_STATE, FROM_ZEROS = "equal from every state", "equal from zeros"
SECONDS = 900
PLAIN = ["techmap", "dfflegalize -cell $_DFF_P_ 01", "opt_clean -purge"]
"""Gates and plain flip-flops, with the ports' names where a signal has several."""


def prove(design: Design, library: Library | None, folder: Path) -> str:
    """Prove the netlist in a folder, that ``synthesise`` left there; return how it is equal.

    Raises:
        ToolError: it is not equal, or the proof does not end.
    """
    run_passes(_passes(design, library), folder)
    if "Networks are equivalent" in _abc("cec gold.blif gate.blif", folder):
        return EVERY_STATE
    said = _abc("dsec gold_machine.blif gate_machine.blif", folder)
    if "Networks are equivalent" not in said:
        last = said.strip().splitlines()[-1:] or ["ABC says nothing"]
        raise ToolError(f"the netlist of {design.name} is not proved equal to its RTL: {last[0]}")
    return FROM_ZEROS


def _passes(design: Design, library: Library | None) -> list[str]:
    """Both as gates, with their registers and with these as ports."""
    functions = [f"read_liberty -overwrite {LIBERTY}", "flatten"] if library else []
    gold = [elaboration(design.top)[0], f"hierarchy -top {design.top}", "proc", "flatten"]
    gold += ["opt_expr", "opt_clean", "memory_map", "alumacc"]
    passes = [*gold, *PLAIN, f"rename {design.top} gold", "write_rtlil gold.il"]
    passes += ["aigmap", "write_blif gold_machine.blif", "design -reset"]
    passes += [f"read_rtlil {RTLIL}", *functions, f"hierarchy -top {design.top}", *PLAIN]
    passes += [f"rename {design.top} gate", "write_rtlil gate.il"]
    passes += ["aigmap", "write_blif gate_machine.blif", "design -reset"]
    passes += ["read_rtlil gold.il", "read_rtlil gate.il"]
    passes += ["expose -dff -evert-dff -shared gold gate", "opt_clean", "aigmap"]
    passes += ["write_rtlil both.il", "delete gate", "write_blif gold.blif", "design -reset"]
    return [*passes, "read_rtlil both.il", "delete gold", "write_blif gate.blif"]


def _abc(command: str, folder: Path) -> str:
    """Run a command of the ABC that comes with Yosys; return what it says."""
    spec = importlib.util.find_spec("pyosys")
    assert spec is not None  # the passes ran in it
    assert spec.submodule_search_locations
    program = Path(spec.submodule_search_locations[0]) / "yosys-abc"
    try:
        done = subprocess.run(
            [str(program), "-c", command],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {SECONDS} s"
    return done.stdout + done.stderr
