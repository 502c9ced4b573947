"""The tile in compiled Verilator: packets in at full speed, results and clocks out.

A program is built once for a tile and kept in the cache; its name is the hash of all that it is
made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.tile.packets import Packet
from hwsim.tile.side_band import SIDE_BITS, rtl_formats
from hwsim.tile.tile import Tile
from hwsim.verilog.sources import INCLUDE, RTL, sources
from hwsim.verilog.toolchain import environment, verilator_version
from quant.common.cache import cache_dir
from quant.common.errors import HwsimError, RequestError
from quant.common.progress import say

TESTBENCH = RTL / "tb/tile_tb.sv"
CONFIGURATION = RTL / "tb/verilator.vlt"
MAX_BEATS = 1 << 18
"""Of a stream in one run."""


class Run(NamedTuple):
    """What a run gave.

    Attributes:
        words: The results ``[beats, columns]`` uint32.
        clocks: From the first beat to the last result.
        cpu_s: CPU seconds of the simulation, files included.
    """

    words: NDArray[np.uint32]
    clocks: int
    cpu_s: float


def program(tile: Tile, formats: Sequence[str] = ()) -> Path:
    """Return the compiled bench of a tile from the cache; the first time it is built (a minute).

    Args:
        tile: The machine.
        formats: What its decoders know; none: all formats of the Verilog. Fewer compile faster.

    Raises:
        RequestError: a format that the Verilog does not have.
        HwsimError: Verilator or a C++ compiler is missing, or the build fails.
    """
    folder = cache_dir() / "verilog" / _name(tile, formats)
    found = folder / "Vtile_tb"
    if found.is_file():
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    say("building the tile in Verilator, once ...")
    with TemporaryDirectory(dir=folder.parent, prefix=".building-") as name:
        build(tile, Path(name) / "build", formats=formats)
        if not folder.exists():  # another process may have been faster
            (Path(name) / "build").replace(folder)
    return found


def build(tile: Tile, folder: Path, trace: bool = False, formats: Sequence[str] = ()) -> Path:
    """Compile the bench for a tile, without assertions or coverage; return the program.

    Args:
        tile: The machine.
        folder: Where it is built.
        trace: Whether a run can write its waves.
        formats: As for ``program``.

    Raises:
        RequestError, HwsimError: as ``program``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["verilator", "--binary", "-O3", "--x-assign", "fast", "--x-initial", "fast"]
    command += ["--no-assert", "-Wno-fatal", "-CFLAGS", "-fcoroutines -O3 -march=native"]
    command += ["--build-jobs", "2", "--Mdir", str(folder), "--top-module", "tile_tb"]
    command += ["--trace"] if trace else []
    settings_of_bench = {**parameters(tile, formats), "MaxBeats": MAX_BEATS}
    command += [f"-G{name}={value}" for name, value in settings_of_bench.items()]
    command += [f"-I{INCLUDE}"]
    settings = {**os.environ, **environment()}
    settings["MAKEFLAGS"] += " OPT_FAST=-O3"
    line = [*command, *map(str, _sources())]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=settings)
    if done.returncode:
        raise HwsimError(f"Verilator failed: {' '.join(done.stderr.split())[:400]}")
    return folder / "Vtile_tb"


def parameters(tile: Tile, formats: Sequence[str] = ()) -> dict[str, int | str]:
    """Return a tile's settings as parameters of the Verilog.

    Raises:
        RequestError: a format that the Verilog does not have.
    """
    known, rule = rtl_formats(), tile.arithmetic
    if strange := [name for name in formats if name not in known]:
        raise RequestError(f"format {strange[0]!r}: the Verilog has {', '.join(known)}")
    mask = sum(1 << known[name] for name in formats or known)
    return {
        # Sized, since the parameter is an enumeration of three bits.
        "Activation": f"3'd{rule.activations.id}",
        "Rows": tile.rows,
        "Columns": tile.columns,
        "Lanes": rule.lanes,
        "ExponentBits": rule.exponent_bits,
        "GuardBits": rule.guard_bits,
        "AccumulatorBits": rule.accumulator_bits,
        "MaxBlocks": tile.max_blocks,
        "DigitBits": tile.digit_bits,
        "SkipZeroSteps": int(tile.skip_zero_steps),
        "Formats": f"{max(known.values()) + 1}'h{mask:x}",
    }


def simulate(
    program: Path,
    packets: Sequence[Packet],
    tile: Tile,
    folder: Path,
    repeats: int = 1,
    trace: Path | None = None,
) -> Run:
    """Run packets through a compiled tile.

    Args:
        program: What ``build`` gave for this tile.
        packets: Of whole jobs, in order.
        tile: The machine.
        folder: For the files of beats.
        repeats: How often they go through; the results are those of the first time.
        trace: File for the waves, of a program that was built for it.

    Raises:
        RequestError: more beats than fit into one run.
        HwsimError: the simulation failed.
    """
    weights = [line for packet in packets for line in weight_lines(packet, tile)]
    acts = [line for packet in packets for line in act_lines(packet, tile)]
    if max(len(weights), len(acts)) > MAX_BEATS:
        raise RequestError(
            f"{max(len(weights), len(acts))} beats of a stream: one run takes {MAX_BEATS}"
        )
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
    """Return the beats of weights as hexadecimal ``{last, user, data}``."""
    tops = [packet.user.word] * len(packet.weights)
    tops[-1] |= 1 << SIDE_BITS
    return _lines(packet.weights, tile.word_bits, tops)


def act_lines(packet: Packet, tile: Tile) -> list[str]:
    """Return the beats of activations as hexadecimal ``{last, data}``."""
    tops = [0] * len(packet.words)
    tops[-1] = 1
    return _lines(packet.words, tile.arithmetic.activations.bits, tops)


def _lines(beats: NDArray[Any], bits: int, tops: Sequence[int]) -> list[str]:
    """What stands above the words of each beat, and the words, the first lowest."""
    rows = packed_words(beats, bits)
    return [f"{top:x}{row.tobytes().hex()}" for top, row in zip(tops, rows, strict=True)]


def packed_words(beats: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return beats of words as bytes, ``[beats, bytes]``, the most significant byte first.

    Args:
        beats: Words ``[beats, ...]``, the first lowest; integers of Python's where they are wide.
        bits: Of a word: 8, 16, or 32 to 128.
    """
    size = bits // 8
    if beats.dtype == object:  # words wider than 64 bits
        packed = b"".join(int(word).to_bytes(size, "little") for word in beats.reshape(-1))
        parts = np.frombuffer(packed, np.uint8)
    else:
        little = np.ascontiguousarray(beats.astype(beats.dtype.newbyteorder("<")))
        parts = little.view(np.uint8).reshape(*beats.shape, -1)[..., :size]
    return parts.reshape(len(beats), -1)[:, ::-1]


def _results(file: Path, tile: Tile) -> NDArray[np.uint32]:
    rows = []
    for line in file.read_text().splitlines():
        value = int(line.split()[1], 16)
        rows.append([value >> (32 * column) & 0xFFFFFFFF for column in range(tile.columns)])
    return np.array(rows, np.uint32)


def _sources() -> list[Path]:
    """The configuration, the modules, the bench: in the order in which they build."""
    return [CONFIGURATION, *sources(), TESTBENCH]


def _name(tile: Tile, formats: Sequence[str]) -> str:
    """A hash of all that a program is made of."""
    files = [*_sources(), *sorted(INCLUDE.glob("*"))]
    made = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    facts = [verilator_version(), parameters(tile, formats), made]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
