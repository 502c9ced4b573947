"""Proofs of the RTL: SAT for combinational modules, k-induction for handshakes.

The properties are in ``rtl/formal``; the levels that the weight decoder is compared with are made
here, from the formats' tables. ``NOT_PROVED`` says what is left to simulation.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwsim.tile.side_band import rtl_formats
from quant.common.progress import say
from quant.formats.elements import IntType
from quant.formats.registry import FORMATS
from tests.verification.finding import Finding
from tests.verification.yosys import RTL, Done, model_check, read, yosys

PART = "Formal proofs of the RTL"
DEPTH = 8
"""Clocks of the induction; the base case is checked to twice as many."""
NOT_PROVED = (
    "float_rounder and fp32_adder (simulated against rationals and SoftFloat)",
    "dequantizer, column_output, pe_column and the tile as a whole (simulated in lock-step with "
    "the model)",
    "that an accumulator's exponent stays within its width over a whole group: proved is that it "
    "rises above the operands' only when the mantissa is full, the rest is the bound in "
    "hwsim.pe.arithmetic",
    "widths other than those named; the decoder for term exponents of 3 and 4 bits",
    "the state before the first reset; the order of packets between the two operand buffers",
)


@dataclass(frozen=True)
class Proof:
    """A claim.

    Attributes:
        name: Module of ``rtl/formal`` without ``_proof``.
        claim: What it says of that module.
        outputs: Outputs that are never 1, for SAT; none: the module's assertions, by induction.
        parameters: ``name=value`` for the top module.
        slow: Takes more than a few seconds.
    """

    name: str
    claim: str
    outputs: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    slow: bool = False

    @property
    def engine(self) -> str:
        """Who proves it."""
        return "SAT" if self.outputs else f"k-induction, k = {DEPTH}"


@dataclass(frozen=True)
class Outcome:
    """Whether a proof holds; the tool's words and seconds."""

    proof: Proof
    holds: bool
    text: str
    seconds: float


ACCUMULATOR = ("bad_sum_o", "bad_normal_o", "bad_range_o", "not_full_o")
BUFFER = "no full bank is written, what is shown stays, lengths and every beat are right"
STEPS = "each needed step once and in order, bounded, the last one only with a free drain"
DRAIN = "results stay until taken and are not overwritten, busy while working, it ends"
PROOFS = (
    Proof("weight_decoder", "terms add up to every level of every format, 2-bit exponents",
          ("bad_o",), ("ExponentBits=2",)),
    Proof("weight_decoder", "terms add up to every level of every format, 5-bit exponents",
          ("bad_o",), ("ExponentBits=5",)),
    Proof("exponent_match", "equals a search through the lanes; never overflows", ("bad_o",)),
    Proof("serial_multiply", "equals divisions by powers of two; never overflows; 2 lanes",
          ("bad_o",), ("Lanes=2",)),
    Proof("serial_multiply", "equals divisions by powers of two; never overflows; 4 lanes",
          ("bad_o",), slow=True),
    Proof("group_accumulator", "equals two shifters and a count of bits; never overflows; 14 bits",
          ACCUMULATOR, ("AccumulatorBits=14",)),
    Proof("group_accumulator", "equals two shifters and a count of bits; never overflows; 22 bits",
          ACCUMULATOR, ("AccumulatorBits=22",)),
    Proof("ping_pong_buffer", f"{BUFFER}; 3 beats", (), ("Depth=3",)),
    Proof("ping_pong_buffer", f"{BUFFER}; 8 beats", (), ("Depth=8",)),
    Proof("step_sequencer", f"{STEPS}; all steps", (), ("SkipZeroSteps=0",)),
    Proof("step_sequencer", f"{STEPS}; zero steps skipped", (), ("SkipZeroSteps=1",)),
    Proof("drain_sequencer", f"{DRAIN}; 3 rows, 2 bits a clock", (), ("Rows=3", "DigitBits=2")),
    Proof("drain_sequencer", f"{DRAIN}; 8 rows, 2 bits a clock", (), ("Rows=8", "DigitBits=2")),
    Proof("drain_sequencer", f"{DRAIN}; 1 row, 1 bit a clock", (), ("Rows=1", "DigitBits=1")),
    Proof("drain_sequencer", f"{DRAIN}; 2 rows, 8 bits a clock", (), ("Rows=2", "DigitBits=8")),
)  # fmt: skip


def prove(proof: Proof, folder: Path, rtl: Path = RTL) -> Outcome:
    """Try a proof; the folder takes the files in between.

    The RTL may be a changed copy of the tree; the properties are always those of the repository.
    """
    say(f"proving {proof.name} ...")
    extra = [RTL / "formal" / f"{proof.name}_proof.sv"]
    if proof.name == "weight_decoder":
        width = int(proof.parameters[0].split("=")[1])
        extra = [RTL / "formal/weight_decoder_sum.sv", folder / "levels.sv"]
        extra[1].write_text(levels(width), encoding="utf-8")
    top = f"{proof.name}_proof"
    before = [read(top, rtl, extra, proof.parameters), f"prep -flatten -top {top}"]
    done = _by_sat(before, proof, folder) if proof.outputs else _by_induction(before, folder)
    return Outcome(proof, done.code == 0, done.text, done.seconds)


def _by_sat(before: list[str], proof: Proof, folder: Path) -> Done:
    claims = " ".join(f"-prove {name} 0" for name in proof.outputs)
    return yosys([*before, "memory_map", "opt -full", f"sat -verify -show-inputs {claims}"], folder)


def _by_induction(before: list[str], folder: Path) -> Done:
    model = ["async2sync", "formalff -clk2ff", "chformal -lower", "memory_map -formal", "dffunmap"]
    made = yosys([*before, *model, "opt_clean", "write_smt2 -wires model.smt2"], folder)
    if made.code:
        return made
    base = model_check("model.smt2", ["-t", str(2 * DEPTH)], folder)
    step = model_check("model.smt2", ["-i", "-t", str(DEPTH)], folder)
    seconds = made.seconds + base.seconds + step.seconds
    return Done(base.code or step.code, base.text + step.text, seconds)


def levels(exponent_bits: int) -> str:
    """Return the module ``weight_decoder_proof``: the decoder's sums against the formats' levels.

    The levels come from ``quant.formats.registry`` as integers of the largest common unit; nothing
    of the terms is used. Codes without a value, and formats that the machine does not take, give 0.
    """
    lines = [_HEAD.replace("EXPONENT_BITS", str(exponent_bits))]
    for name, number in rtl_formats(exponent_bits).items():
        lines += _format(number, name)
    return "\n".join([*lines, _TAIL])


def _format(number: int, name: str) -> Iterable[str]:
    entry = FORMATS[name]
    tables = entry.tables.astype(np.float64)
    element = entry.element
    if isinstance(element, IntType) and not element.symmetric:
        tables = tables - 2 ** (entry.element_bits - 1)
    finite = tables[np.isfinite(tables)]
    unit = next(n for n in range(40, -41, -1) if np.all(finite / 2.0**n % 1 == 0))
    bits = tables.shape[1].bit_length() - 1
    yield f"      {number}: begin"
    yield f"        unit = {unit}; known = 32'(selector_i) < {len(tables)};"
    yield f"        case ({{selector_i, code_i[{bits - 1}:0]}})"
    for at in np.argwhere(np.isfinite(tables) & (tables != 0)):
        value = int(tables[tuple(at)] / 2.0**unit)
        key = int(at[0]) << bits | int(at[1])
        literal = f"{'-' if value < 0 else ''}48'sd{abs(value)}"
        yield f"          {bits + 2}'d{key}: level = {literal};"
    yield from ("          default: ;", "        endcase", "      end")


_HEAD = """\
module weight_decoder_proof #(parameter int unsigned ExponentBits = EXPONENT_BITS) (
  input  logic [terms_pkg::FormatWidth-1:0] format_i,
  input  logic [1:0]                        selector_i,
  input  logic [7:0]                        code_i,
  output logic                              bad_o
);
  logic signed [47:0] sum, level;
  logic signed [5:0]  unit, got;
  logic               terms, narrow, known;
  weight_decoder_sum #(.ExponentBits(ExponentBits)) u_sum (
    .format_i(terms_pkg::format_e'(format_i)), .selector_i(selector_i), .code_i(code_i),
    .sum_o(sum), .unit_o(got), .terms_o(terms), .narrow_o(narrow)
  );
  always_comb begin
    level = '0; unit = '0; known = 1'b1;
    case (32'(format_i))
"""
_TAIL = """\
      default: ;
    endcase
  end
  assign bad_o = known && (!terms || !narrow || sum != level || got != unit);
endmodule
"""


def run(scale: str) -> list[Finding]:
    """Prove everything; ``quick`` leaves the slow proofs out."""
    findings = []
    for proof in PROOFS:
        if proof.slow and scale == "quick":
            continue
        with tempfile.TemporaryDirectory() as folder:
            done = prove(proof, Path(folder))
        note = f"{done.seconds:.1f} s"
        findings.append(
            Finding(
                PART, f"{proof.name}: {proof.claim}", 1, proof.engine, int(not done.holds), note
            )
        )
    left = "; ".join(NOT_PROVED)
    findings.append(Finding(PART, "not proved", len(NOT_PROVED), "claims", 0, left))
    return findings


if __name__ == "__main__":
    for finding in run(sys.argv[1] if len(sys.argv) > 1 else "quick"):
        print("FAILED" if finding.failures else "proved", finding.what, finding.unit, finding.note)
