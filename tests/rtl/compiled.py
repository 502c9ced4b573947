"""The tile in compiled Verilator: a layer's packets in at full speed, results and clocks out."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.tile.packets import Packet
from hwsim.tile.side_band import SIDE_BITS, format_id, rtl_formats
from hwsim.tile.tile import Tile
from quant.common.errors import HwsimError
from tests.rtl.simulator import ARRAY, INCLUDES, PACKAGES, PE, ROOT, environment

CONFIGURATION = ROOT / "tests/rtl/verilator.vlt"
TESTBENCH = ROOT / "tests/rtl/tile_tb.sv"


class Run(NamedTuple):
    """What a run gave.

    ``words`` are the results ``[beats, columns]`` uint32, ``clocks`` those of the whole run, and
    ``cpu_s`` the CPU seconds of the simulation, files included.
    """

    words: NDArray[np.uint32]
    clocks: int
    cpu_s: float


FORMATS = ("int4", "int8", "int4-asym", "bitmod3", "bitmod4", "mxfp4", "nvfp4")
"""What the compiled machine takes: those that users compare; fewer compile faster."""


def build(tile: Tile, folder: Path, trace: bool = False) -> Path:
    """Compile the bench for a tile, without assertions or coverage; return the program."""
    folder.mkdir(parents=True, exist_ok=True)
    rule, count = tile.arithmetic, max(rtl_formats().values()) + 1
    parameters = {
        "Rows": tile.rows,
        "Columns": tile.columns,
        "AccumulatorBits": rule.accumulator_bits,
        "DigitBits": tile.digit_bits,
        "Formats": f"{count}'h{sum(1 << format_id(name) for name in FORMATS):x}",
    }
    command = ["verilator", "--binary", "-O3", "--x-assign", "fast", "--x-initial", "fast"]
    command += ["--no-assert", "-Wno-fatal", "-CFLAGS", "-fcoroutines -O3 -march=native"]
    command += ["--build-jobs", "2", "--Mdir", str(folder), "--top-module", "tile_tb"]
    command += ["--trace"] if trace else []
    command += [f"-G{name}={value}" for name, value in parameters.items()]
    command += [f"-I{include}" for include in INCLUDES]
    sources = [CONFIGURATION, *PACKAGES, *PE, *ARRAY, TESTBENCH]
    settings = {**os.environ, **environment()}
    settings["MAKEFLAGS"] += " OPT_FAST=-O3"
    done = subprocess.run(
        [*command, *map(str, sources)], capture_output=True, text=True, check=False, env=settings
    )
    if done.returncode:
        raise HwsimError(f"Verilator failed: {done.stderr.strip().splitlines()[:3]}")
    return folder / "Vtile_tb"


def simulate(
    program: Path,
    packets: Sequence[Packet],
    tile: Tile,
    folder: Path,
    repeats: int = 1,
    trace: Path | None = None,
) -> Run:
    """Run packets through a compiled tile (``repeats`` times over; results of the first)."""
    weights = [line for packet in packets for line in weight_lines(packet, tile)]
    acts = [line for packet in packets for line in act_lines(packet, tile)]
    results = tile.rows * sum(packet.final for packet in packets)
    for name, lines in (("weights", weights), ("acts", acts)):
        (folder / name).write_text("\n".join(lines) + "\n")
    arguments = [f"+{name}={folder / name}" for name in ("weights", "acts", "results")]
    arguments += [f"+weight_beats={len(weights)}", f"+act_beats={len(acts)}"]
    arguments += [f"+result_beats={results}", f"+repeats={repeats}"]
    arguments += [f"+trace={trace}"] if trace else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, check=False, cwd=folder
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"clocks (\d+)", done.stdout)
    if done.returncode or not found:
        raise HwsimError(f"the simulation failed: {(done.stdout + done.stderr).strip()[:300]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(_results(folder / "results", tile), int(found[1]), cpu)


def weight_lines(packet: Packet, tile: Tile) -> list[str]:
    """Beats as hexadecimal ``{last, user, data}``."""
    tops = [packet.user.word] * len(packet.weights)
    tops[-1] |= 1 << SIDE_BITS
    return _lines(packet.weights, tile.word_bits, tops)


def act_lines(packet: Packet, tile: Tile) -> list[str]:
    """Beats as hexadecimal ``{last, data}``."""
    tops = [0] * len(packet.words)
    tops[-1] = 1
    return _lines(packet.words, tile.arithmetic.activations.bits, tops)


def _lines(beats: NDArray[Any], bits: int, tops: Sequence[int]) -> list[str]:
    """What stands above the words of each beat, and the words, the first lowest."""
    count, size = len(beats), bits // 8
    if beats.dtype == object:  # words wider than 64 bits
        packed = b"".join(int(word).to_bytes(size, "little") for word in beats.reshape(-1))
        parts = np.frombuffer(packed, np.uint8)
    else:
        little = np.ascontiguousarray(beats.astype(beats.dtype.newbyteorder("<")))
        parts = little.view(np.uint8).reshape(*beats.shape, -1)[..., :size]
    rows = parts.reshape(count, -1)[:, ::-1]
    return [f"{top:x}{row.tobytes().hex()}" for top, row in zip(tops, rows, strict=True)]


def _results(file: Path, tile: Tile) -> NDArray[np.uint32]:
    rows = []
    for line in file.read_text().splitlines():
        value = int(line.split()[1], 16)
        rows.append([value >> (32 * column) & 0xFFFFFFFF for column in range(tile.columns)])
    return np.array(rows, np.uint32)
