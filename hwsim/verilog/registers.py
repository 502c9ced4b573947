"""The registers of ``axil_tile`` as data: the Verilog's package and the table of the docs."""

from __future__ import annotations

from typing import Literal, NamedTuple

from hwsim.tile.side_band import FORMAT_BITS, KIND_BITS

Access = Literal["RO", "RW", "WO"]
"""Read; read and write while nothing runs; write (reads as 0)."""
DATA_BITS = 32
ADDRESS_BITS = 12
"""The registers take 4 KiB, the least that one AXI4 subordinate has."""
IDENTITY = int.from_bytes(b"hwsi", "big")
VERSION = 1
"""Of this map: it counts up when a register changes its place or its meaning."""


class Field(NamedTuple):
    """Bits of a register; those of no field read as 0.

    Attributes:
        name: In lower case.
        low: The lowest bit.
        width: How many bits.
        meaning: In plain English.
    """

    name: str
    low: int
    width: int
    meaning: str

    @property
    def bits(self) -> str:
        """The bits as documents write them: ``7:6``, or ``8``."""
        return f"{self.low + self.width - 1}:{self.low}" if self.width > 1 else str(self.low)


class Register(NamedTuple):
    """A word of 32 bits.

    Attributes:
        name: In lower case.
        offset: Of its first byte.
        access: Who may do what.
        meaning: In plain English.
        fields: Its parts; none: a number.
    """

    name: str
    offset: int
    access: Access
    meaning: str
    fields: tuple[Field, ...] = ()


GEOMETRY = (
    Field("rows", 0, 8, "`Rows`"),
    Field("columns", 8, 8, "`Columns`"),
    Field("lanes", 16, 8, "`Lanes`"),
    Field("activation", 24, 3, "`Activation`"),
)
ARITHMETIC = (
    Field("exponent_bits", 0, 4, "`ExponentBits`"),
    Field("guard_bits", 4, 8, "`GuardBits`"),
    Field("accumulator_bits", 12, 8, "`AccumulatorBits`"),
    Field("digit_bits", 20, 4, "`DigitBits`"),
    Field("has_correction", 24, 1, "`HasCorrection`"),
    Field("skip_zero_steps", 25, 1, "`SkipZeroSteps`"),
)
CONTROL = (
    Field(
        "start", 0, 1,
        "1: a run begins; refused while one runs, if `jobs` is 0, or if the tile does not take the "
        "format or the kind of scale of `format`",
    ),
    Field("clear", 1, 1, "1: all counters become 0"),
)  # fmt: skip
STATUS = (
    Field("running", 0, 1, "streams are taken"),
    Field("done", 1, 1, "the last result of a run has left, and none was started since; writing 1 "
          "clears it; it is the interrupt"),
    Field("error", 2, 1, "a packet was longer than the tile's buffers: weights and activations are "
          "not taken any more; only a reset clears it"),
)  # fmt: skip
FORMAT = (
    Field("number", 0, FORMAT_BITS, "the format's number"),
    Field("scale", FORMAT_BITS, KIND_BITS, "the scale kind's number"),
    Field("fp16", FORMAT_BITS + KIND_BITS, 1, "1: results are rounded to FP16, not to FP32"),
)

COUNTERS = (
    Register("clocks", 0x40, "RO", "clocks of runs, the one of the last result included"),
    Register("weight_packets", 0x44, "RO", "packets of weights that were taken to their last beat"),
    Register("act_packets", 0x48, "RO", "packets of activations that were taken so"),
    Register("result_beats", 0x4C, "RO", "beats of results that have left"),
    Register("weight_stalls", 0x50, "RO", "clocks with TREADY but no TVALID of weights"),
    Register("act_stalls", 0x54, "RO", "clocks with TREADY but no TVALID of activations"),
    Register("result_stalls", 0x58, "RO", "clocks with TVALID but no TREADY of results"),
)
"""They go on from run to run until they are cleared, modulo 2^32."""
REGISTERS = (
    Register("identity", 0x00, "RO", f'0x{IDENTITY:08x}, which is "hwsi"'),
    Register("version", 0x04, "RO", f"{VERSION}: the version of this map"),
    Register("geometry", 0x08, "RO", "the tile's size", GEOMETRY),
    Register("arithmetic", 0x0C, "RO", "its further parameters", ARITHMETIC),
    Register("max_blocks", 0x10, "RO", "`MaxBlocks`"),
    Register("formats_low", 0x14, "RO", "bit n: the tile takes the format of number n"),
    Register("formats_high", 0x18, "RO", "bit n: it takes the format of number n + 32"),
    Register("control", 0x20, "WO", "what to do", CONTROL),
    Register("status", 0x24, "RW", "what is being done; may be written at any time", STATUS),
    Register("format", 0x28, "RW", "side band of every packet of weights of a run", FORMAT),
    Register("jobs", 0x2C, "RW", "how many packets of results (with TLAST) end a run"),
    *COUNTERS,
)
"""What no entry has is refused with SLVERR, as is a write of what is RO."""

_PACKAGE = """\
// The registers of axil_tile.

package registers_pkg;
"""


def package() -> str:
    """Return the Verilog of the map: addresses of words, and each register's fields as a type."""
    lines = [f"  parameter int unsigned AddressBits = {ADDRESS_BITS};"]
    lines += ["", "  // What the first two say.", "  typedef enum logic [31:0] {"]
    lines += [f"    Identity = 32'h{IDENTITY:08x},", f"    Version = 32'd{VERSION}"]
    lines += ["  } constant_e;", ""]
    lines += ["  // Addresses of words.", "  typedef enum logic [AddressBits-3:0] {"]
    entries = [f"    {constant(r)} = {ADDRESS_BITS - 2}'h{r.offset // 4:x}" for r in REGISTERS]
    lines += [",\n".join(entries), "  } register_e;"]
    for register in REGISTERS:
        if register.fields:
            lines += ["", *_type(register.name, _members(register.fields))]
    lines += ["", *_type("counters", [(r.name, DATA_BITS) for r in COUNTERS])]
    return "\n".join([_PACKAGE, *lines, "", "endpackage", ""])


def constant(register: Register) -> str:
    """Return the constant of a register's address, such as ``RegMaxBlocks``."""
    return "Reg" + "".join(part.capitalize() for part in register.name.split("_"))


def _members(fields: tuple[Field, ...]) -> list[tuple[str, int]]:
    """Names and widths, the highest first, gaps included."""
    found: list[tuple[str, int]] = []
    top = DATA_BITS
    for field in reversed(fields):
        if gap := top - field.low - field.width:
            found.append(("reserved" if top == DATA_BITS else f"reserved{field.low}", gap))
        found.append((field.name, field.width))
        top = field.low
    return found


def _type(name: str, members: list[tuple[str, int]]) -> list[str]:
    widths = [f"[{width - 1}:0]" if width > 1 else "" for _, width in members]
    pad = max(map(len, widths))
    lines = [
        f"    logic {width:<{pad}} {member};"
        for width, (member, _) in zip(widths, members, strict=True)
    ]
    return ["  typedef struct packed {", *lines, f"  }} {name}_t;"]
