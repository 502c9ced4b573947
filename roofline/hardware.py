"""HardwareSpec: the peaks of a device. One TOML file a device, every number with its source."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.datatypes import Codebook, FloatType, IntType
from quant.spec import FormatSpec

FOLDER = resources.files("roofline") / "hardware"
WIDER = {
    "int4": ("int4", "int8", "fp16"),
    "int8": ("int8", "fp16"),
    "fp8": ("fp8", "fp16"),
    "fp16": ("fp16",),
    "bf16": ("bf16", "fp16"),
    "fp32": ("fp32",),
}
"""Which peaks an operation of a type may use, narrowest first: it is converted upwards."""


@dataclass(frozen=True)
class Sourced:
    """A number and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True)
class MemoryLevel:
    """A memory on the chip."""

    name: str
    capacity: Sourced
    bandwidth: Sourced | None = None


@dataclass(frozen=True)
class Link:
    """What joins devices."""

    name: str
    bandwidth: Sourced
    latency: Sourced | None = None


@dataclass(frozen=True)
class HardwareSpec:
    """What bounds a device.

    Attributes:
        name: Device.
        peak_ops: Data type to operations per second (two a MAC), dense.
        memory_bandwidth: Byte/s.
        memory_capacity: Byte.
        peak_weights: Weight format name to operations per second, where the weights' format and
            not the activations' sets the rate (bit-serial machines).
    """

    name: str
    peak_ops: dict[str, Sourced]
    memory_bandwidth: Sourced
    memory_capacity: Sourced
    peak_weights: dict[str, Sourced] | None = None
    vendor: str = ""
    aliases: tuple[str, ...] = ()
    notes: str = ""
    vector_ops: Sourced | None = None
    special_ops: Sourced | None = None
    levels: tuple[MemoryLevel, ...] = ()
    link: Link | None = None
    power: Sourced | None = None
    price: Sourced | None = None
    launch_floor: Sourced | None = None

    def peak(self, weights: FormatSpec, activations: FormatSpec) -> float:
        """Return the operations per second for operands of two formats.

        A device multiplies operands of one type: the narrowest it has that holds both. Weights
        below 8 bits under 16-bit activations are dequantized first and run at the 16-bit peak.
        """
        if self.peak_weights is not None and weights.format.name in self.peak_weights:
            return self.peak_weights[weights.format.name].value
        kinds = {_kind(weights), _kind(activations)}
        for kind in ("fp32", "bf16", "fp16", "fp8", "int8", "int4"):
            if kind in kinds:
                return self._first(WIDER[kind if len(kinds) == 1 else _join(kinds)])
        raise AssertionError(kinds)

    def _first(self, kinds: tuple[str, ...]) -> float:
        for kind in kinds:
            if kind in self.peak_ops:
                return self.peak_ops[kind].value
        return max(peak.value for peak in self.peak_ops.values())


def hardware_names() -> list[str]:
    """Return the names of the built-in devices."""
    return sorted(Path(entry.name).stem for entry in FOLDER.iterdir())


def load_hardware(name: str | Path) -> HardwareSpec:
    """Return a built-in device, or one from a TOML file of the same form.

    Raises:
        RequestError: an unknown name, or a file with faults (all are listed).
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name).lower() not in hardware_names():
            raise unknown_name("hardware", str(name), hardware_names())
        path = Path(str(FOLDER / f"{str(name).lower()}.toml"))
    spec = parse(load_toml(path), HardwareSpec, str(path))
    numbers = {f"peak_ops.{kind}": peak.value for kind, peak in spec.peak_ops.items()}
    numbers |= {"memory_bandwidth": spec.memory_bandwidth.value}
    numbers |= {"memory_capacity": spec.memory_capacity.value}
    faults = [f"{key} = {value}" for key, value in numbers.items() if not 0 < value < float("inf")]
    if faults or not spec.peak_ops:
        raise RequestError(f"{path}: {', '.join(faults) or 'peak_ops is empty'}: above 0 is needed")
    return spec


def _kind(spec: FormatSpec) -> str:
    element = spec.format.element
    if isinstance(element, IntType):
        return "int4" if element.bits <= 4 else "int8"
    if isinstance(element, FloatType | Codebook):
        return "fp8"
    return spec.format.name


def _join(kinds: set[str]) -> str:
    """The type that holds two different ones: integers meet at int8, all else at 16 bits."""
    if "fp32" in kinds:
        return "fp32"
    if kinds == {"int4", "int8"}:
        return "int8"
    return "bf16" if "bf16" in kinds and "fp16" not in kinds else "fp16"
