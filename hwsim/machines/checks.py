"""What is wrong with a machine's file: each fault with its key, all that can be seen together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TypeVar

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.dram import MOST as MOST_OF_DRAM
from hwsim.machines.file import MachineFile
from hwsim.machines.parts import DATAFLOWS, MEMORIES, SHARING, Buffer
from hwsim.machines.process import MOST_CLOCK_HZ
from hwsim.machines.sram import sram_cost
from quant.common.errors import RequestError, unknown_name
from quant.common.sourced import Sourced
from quant.formats.registry import get_format
from quant.formats.scales import SCALES
from quant.formats.spec import parse_spec

T = TypeVar("T")
MOST = {
    "group_size": 1 << 20,
    "clock_hz": MOST_CLOCK_HZ,
    "pe.lanes": 1024,
    "pe.area_um2": 1e9,
    "tiles.count": 1 << 20,
    "tiles.rows": 1 << 12,
    "tiles.columns": 1 << 12,
    "weight_buffer.bytes": 1 << 40,
    "weight_buffer.port_bits": 1 << 24,
    "weight_buffer.banks": 1 << 16,
    "activation_buffer.bytes": 1 << 40,
    "activation_buffer.port_bits": 1 << 24,
    "activation_buffer.banks": 1 << 16,
    "vector.lanes": 1 << 20,
    "vector.special_operations": 1e4,
    "vector.operation_j": 1.0,
    "vector.area_um2": 1e9,
    "layout.power": 100.0,
    "layout.area": 100.0,
}
"""Keys whose numbers must be above 0, and the most that can be meant."""
LEAST = {"clock_hz": 1.0}
"""Keys whose numbers must be above another least than 0."""
WORDS = {
    "tiles.sharing": SHARING,
    "dataflow": DATAFLOWS,
    "weight_buffer.memory": MEMORIES,
    "activation_buffer.memory": MEMORIES,
}
"""Keys that are one of some words."""
LINKS = ("bytes_per_s", "joule_per_bit", "latency_s")
"""Those of ``[links]``."""
ROUNDING = 1e-9
"""How far rounding may put a clock above the fastest."""


def file_faults(file: MachineFile) -> list[str]:
    """Return what is wrong with a file, stage by stage: what one finds would mislead the next.

    Sizes, scales and activations; the element's limits; formats; what the machine runs of them.
    """
    for stage in (_sizes, _texts, _element, _formats, _machine):
        if faults := stage(file):
            return faults
    return []


def machine_faults(machine: Accelerator, *, clocked: bool = True) -> list[str]:
    """Return what is wrong with a machine that was changed: numbers, buffers, sides.

    Args:
        machine: The machine.
        clocked: Whether its clock must be one that its supply allows.
    """
    dram = machine.dram
    numbers = {"bytes_per_s": dram.bytes_per_s, "latency_s": dram.latency_s}
    numbers["joule_per_bit"] = dram.joule_per_bit
    wrong = [
        f"dram.{key} = {number.value}: above 0 and at most {MOST_OF_DRAM[key]:g} is needed"
        for key, number in numbers.items()
        if not 0 < number.value <= MOST_OF_DRAM[key]
    ]
    wrong += _numbers(machine) + (_clock(machine) if clocked else [])
    return wrong or _sides(machine) + machine.pe.faults(machine.activations, machine.group_size)


def _sizes(file: MachineFile) -> list[str]:
    """Numbers that make no machine."""
    return _numbers(file) + _clock(file) + file.dram.faults()


def _numbers(file: MachineFile | Accelerator) -> list[str]:
    """Sizes out of range, buffers that no bank is known for, words that are none."""
    values = {key: attrgetter(key)(file) for key in MOST}
    if file.links is not None:
        values |= {f"links.{key}": getattr(file.links, key) for key in LINKS}
    sizes = {k: v.value if isinstance(v, Sourced) else v for k, v in values.items()}
    faults = [
        f"{key} = {size}: above 0 and at most {MOST.get(key, math.inf):g} is needed"
        for key, size in sizes.items()
        if not LEAST.get(key, 0.0) < size <= min(MOST.get(key, math.inf), 1e300)
    ]
    leakage = file.vector.leakage_w.value
    if not 0 <= leakage < math.inf:
        faults.append(f"vector.leakage_w = {leakage}: 0 or more is needed")
    for key, known in WORDS.items():
        word = attrgetter(key)(file)
        if word not in known:
            faults.append(f"{key} = {word!r}: {', '.join(known)} is allowed")
    return faults + _buffers(file) + ([] if file.process is None else file.process.faults())


def _clock(file: MachineFile | Accelerator) -> list[str]:
    """A clock that the supply does not allow."""
    if file.process is None or file.process.faults():
        return []
    most, clock = file.process.most_clock_hz, file.clock_hz.value
    if clock <= most * (1 + ROUNDING):
        return []
    volts = file.process.volts.value
    return [f"clock_hz = {clock:g}: at most {most:.6g} at {volts:g} V (process) is allowed"]


def _buffers(file: MachineFile | Accelerator) -> list[str]:
    """Buffers that no bank is known for."""
    faults = []
    for key in ("weight_buffer", "activation_buffer"):
        buffer: Buffer = getattr(file, key)
        if min(buffer.bytes, buffer.port_bits, buffer.banks) > 0 and buffer.memory in MEMORIES:
            faults += _faults(key, [buffer], sram_cost)
    return faults


def _texts(file: MachineFile) -> list[str]:
    """Scales that are unknown or that the element does not take, and unknown activations."""
    takes = file.pe.scales
    known = [*SCALES] if takes is None else [kind.name for kind in takes]

    def check(name: str) -> None:
        if name not in known:
            raise unknown_name("scale", name, known)

    faults = _faults("scale", [file.scale], check) + _faults("scales", file.scales, check)
    return faults + _faults("activations", [file.activations], parse_spec)


def _element(file: MachineFile) -> list[str]:
    """What the element does not take."""
    return file.pe.faults(parse_spec(file.activations), file.group_size) + _sides(file)


def _sides(file: MachineFile | Accelerator) -> list[str]:
    """Rows and columns that an array of the element cannot have."""
    sides = {"rows": file.tiles.rows, "columns": file.tiles.columns}
    return [
        f"tiles.{key} = {size}: at most {file.pe.most_side} of a {file.kind} element is allowed"
        for key, size in sides.items()
        if size > file.pe.most_side
    ]


def _formats(file: MachineFile) -> list[str]:
    """Formats that are unknown, or that the element cannot run."""

    def run(name: str) -> None:
        get_format(name)
        file.pe.steps(file.spec(name))

    faults = [] if file.weights else ["weights: at least one format is needed"]
    faults += _faults("weights", file.weights, run)
    for key, text in file.weight_like.items():
        faults += _faults(key, [text], file.spec)
    return faults


def _machine(file: MachineFile) -> list[str]:
    """Formats that are none of those that the machine runs."""
    machine, faults = file.accelerator(), list[str]()
    for key, text in file.weight_like.items():
        faults += _faults(key, [text], machine.spec)
    return faults


def _faults(key: str, texts: Iterable[T], check: Callable[[T], object]) -> list[str]:
    """The messages of a check of some values, each after their key."""
    faults = []
    for text in texts:
        try:
            check(text)
        except RequestError as error:
            faults.append(f"{key}: {error}")
    return faults
