"""Built-in designs, and designs from TOML files, checked before anything runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from hwsim.machines.accelerator import Accelerator
from hwsim.pe.arithmetic import MAX_GROUP, Arithmetic, whole
from hwsim.pe.operands import pe_scales
from hwsim.pe.terms import term_count
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.formats.registry import get_format

FOLDER = resources.files("hwsim.machines") / "builtin"


def accelerator_names() -> list[str]:
    """Return the names of the built-in designs."""
    return sorted(Path(entry.name).stem for entry in FOLDER.iterdir())


def load_accelerator(name: str | Path) -> Accelerator:
    """Return a built-in design, or one from a TOML file of the same form.

    Raises:
        RequestError: an unknown name, or a file with faults (all are listed).
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name).lower() not in accelerator_names():
            raise unknown_name("accelerator", str(name), accelerator_names())
        path = Path(str(FOLDER / f"{str(name).lower()}.toml"))
    machine = parse(load_toml(path), Accelerator, str(path))
    _check(machine, str(path))
    return machine


def _check_bit_serial(machine: Accelerator, where: str) -> None:
    """Report what the PE does not take: the limits of its arithmetic are the machine's."""
    try:
        Arithmetic(
            lanes=machine.pe.lanes,
            exponent_bits=machine.pe.exponent_bits,
            activation=machine.activations,
        )
        whole("group_size", machine.group_size, 1, MAX_GROUP)
        for name in machine.weights:
            term_count(name, machine.pe.exponent_bits)
        for scale in (*machine.scales, machine.scale):
            if scale not in pe_scales():
                raise unknown_name("scale", scale, pe_scales())
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from None


def _check(machine: Accelerator, where: str) -> None:
    """Report every number that makes no machine."""
    numbers = {
        "group_size": machine.group_size,
        "clock_hz": machine.clock_hz.value,
        "pe.lanes": machine.pe.lanes,
        "pe.area_um2": machine.pe.area_um2.value,
        "pe.power_w": machine.pe.power_w.value,
        "pe.layout_factor": machine.pe.layout_factor.value,
        "prefill.rows": machine.prefill.rows,
        "prefill.columns": machine.prefill.columns,
        "decode.rows": machine.decode.rows,
        "decode.columns": machine.decode.columns,
        "weight_buffer.bytes": machine.weight_buffer.bytes,
        "weight_buffer.port_bits": machine.weight_buffer.port_bits,
        "activation_buffer.bytes": machine.activation_buffer.bytes,
        "activation_buffer.port_bits": machine.activation_buffer.port_bits,
        "dram.bits_per_cycle": machine.dram.bits_per_cycle.value,
        "dram.joule_per_bit": machine.dram.joule_per_bit.value,
    }
    faults = [f"{key} = {n}" for key, n in numbers.items() if not 0 < n < float("inf")]
    if faults:
        raise RequestError(f"{where}: {', '.join(faults)}: above 0 is needed")
    for name in machine.weights:
        get_format(name)
    if machine.kind == "bit-serial":
        _check_bit_serial(machine, where)
    machine.spec(machine.head)
    machine.spec(machine.kv)
