"""Accelerator: an array of processing elements, two buffers and a DRAM. One TOML file a design."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from hwsim.pe.arithmetic import MAX_GROUP, Arithmetic, whole
from hwsim.pe.operands import PE_SCALES
from hwsim.pe.terms import term_count
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.formats import get_format
from quant.spec import FormatSpec, parse_spec
from roofline.hardware import HardwareSpec, Sourced

FOLDER = resources.files("hwsim") / "accelerators"


@dataclass(frozen=True)
class ProcessingElement:
    """Lanes, area, power at the clock, the layout's factor on power, width of terms' exponents."""

    lanes: int
    area_um2: Sourced
    power_w: Sourced
    layout_factor: Sourced
    exponent_bits: int = 2


@dataclass(frozen=True)
class PEArray:
    """Rows are output channels, columns are tokens (output stationary)."""

    rows: int
    columns: int

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Buffer:
    """An on-chip buffer, double buffered: loading hides behind computing."""

    bytes: int
    port_bits: int


@dataclass(frozen=True)
class Dram:
    """The memory interface; energy is per bit moved."""

    bits_per_cycle: Sourced
    joule_per_bit: Sourced


@dataclass(frozen=True)
class Accelerator:
    """A design.

    Attributes:
        name: Design.
        kind: ``bit-serial`` (a weight takes as many cycles as it has terms) or
            ``multiply-accumulate`` (one cycle).
        weights: Formats that the PEs take.
        activations: Format of activations.
        kv: Format of keys and values, which play the weights in attention.
        head: Format of lm_head.
        group_size: Default group of weights.
        scale: Default scale of groups.
        clock_hz: Clock.
        pe: The processing element.
        prefill: The array's shape for many tokens.
        decode: The array's shape for one token a sequence.
        weight_buffer: Weights, keys and values.
        activation_buffer: Inputs and outputs.
        dram: Memory interface.
        scales: Kinds of group scales that a bit-serial machine dequantizes.
    """

    name: str
    kind: Literal["bit-serial", "multiply-accumulate"]
    weights: tuple[str, ...]
    activations: str
    kv: str
    head: str
    group_size: int
    scale: str
    clock_hz: Sourced
    pe: ProcessingElement
    prefill: PEArray
    decode: PEArray
    weight_buffer: Buffer
    activation_buffer: Buffer
    dram: Dram
    scales: tuple[str, ...] = ("int8",)

    def array(self, phase: str) -> PEArray:
        """Return the array's shape in a phase."""
        return self.decode if phase == "decode" else self.prefill

    def spec(self, text: str) -> FormatSpec:
        """Return a format with this machine's default group and scale.

        Raises:
            RequestError: unknown, or one that the machine does not run.
        """
        spec = parse_spec(text, self.group_size, self.scale)
        self.steps(spec)
        return spec

    def steps(self, spec: FormatSpec) -> int:
        """Return the cycles that a block of weights takes.

        Raises:
            RequestError: a format or scale that the machine does not run.
        """
        if spec.format.name not in self.weights:
            allowed = ", ".join(self.weights)
            raise RequestError(f"{self.name} cannot run {spec.format.name!r}; it runs: {allowed}")
        if self.kind == "multiply-accumulate":
            return 1
        if spec.scale not in self.scales:
            allowed = ", ".join(self.scales)
            raise RequestError(f"{self.name} takes scales {allowed}, not {spec.scale!r} ({spec})")
        return term_count(spec, self.pe.exponent_bits)

    def hardware_spec(self) -> HardwareSpec:
        """Return the roofline of the same machine: peaks by weight format, DRAM bandwidth."""
        clock = self.clock_hz.value
        pes = max(self.prefill.pes, self.decode.pes)
        source = f"{self.name}: PEs x lanes / steps x clock"
        peaks = {}
        for name in self.weights:
            bits = self.pe.exponent_bits
            steps = 1 if self.kind == "multiply-accumulate" else term_count(name, bits)
            peaks[name] = Sourced(2 * pes * self.pe.lanes / steps * clock, source)
        fastest = Sourced(max(peak.value for peak in peaks.values()), source)
        bandwidth = self.dram.bits_per_cycle.value / 8 * clock
        return HardwareSpec(
            self.name,
            {"fp16": fastest},
            Sourced(bandwidth, self.dram.bits_per_cycle.source),
            Sourced(float("inf"), "not modelled"),
            peaks,
        )


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
            if scale not in PE_SCALES:
                raise unknown_name("scale", scale, PE_SCALES)
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
