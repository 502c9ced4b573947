"""What is wrong with a machine's file: each fault with its key, all that can be seen together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter

from hwsim.machines.file import MachineFile
from quant.common.errors import RequestError, unknown_name
from quant.common.sourced import Sourced
from quant.formats.registry import get_format
from quant.formats.scales import SCALES
from quant.formats.spec import parse_spec

SIZES = (
    "group_size",
    "clock_hz",
    "pe.lanes",
    "pe.area_um2",
    "prefill.rows",
    "prefill.columns",
    "decode.rows",
    "decode.columns",
    "weight_buffer.bytes",
    "weight_buffer.port_bits",
    "activation_buffer.bytes",
    "activation_buffer.port_bits",
    "dram.bits_per_cycle",
    "dram.joule_per_bit",
)
"""Keys whose numbers must be finite and above 0; the element checks what else ``[pe]`` has."""


def file_faults(file: MachineFile) -> list[str]:
    """Return what is wrong with a file, stage by stage: what one finds would mislead the next.

    Sizes, scales and activations; the element's limits; formats; what the machine runs of them.
    """
    for stage in (_sizes, _texts, _element, _formats, _machine):
        if faults := stage(file):
            return faults
    return []


def _sizes(file: MachineFile) -> list[str]:
    """Numbers that make no machine."""
    values = {key: attrgetter(key)(file) for key in SIZES}
    sizes = {k: v.value if isinstance(v, Sourced) else v for k, v in values.items()}
    wrong = [f"{key} = {size}" for key, size in sizes.items() if not 0 < size < float("inf")]
    return [f"{', '.join(wrong)}: above 0 is needed"] if wrong else []


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
    return file.pe.faults(parse_spec(file.activations), file.group_size)


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


def _faults(key: str, texts: Iterable[str], check: Callable[[str], object]) -> list[str]:
    """The messages of a check of some texts, each after their key."""
    faults = []
    for text in texts:
        try:
            check(text)
        except RequestError as error:
            faults.append(f"{key}: {error}")
    return faults
