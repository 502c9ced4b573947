"""HardwareSpec: the peaks of a device. One TOML file a device, every number with its source."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.common.sourced import Sourced
from quant.formats.spec import FormatLike, FormatSpec, as_spec
from roofline.devices.operands import PEAKS, WIDER, operand_kind

FOLDER = resources.files("roofline.devices") / "builtin"


@dataclass(frozen=True)
class MemoryLevel:
    """A memory on the chip.

    Attributes:
        name: Level.
        capacity: Byte, of the whole device.
        bandwidth: Byte/s towards the units; None where it is not known.
    """

    name: str
    capacity: Sourced
    bandwidth: Sourced | None = None


@dataclass(frozen=True)
class Link:
    """What joins devices.

    Attributes:
        name: Technology.
        bandwidth: Byte/s in one direction, all links of a device together.
        latency: Seconds of a message; None where it is not known.
    """

    name: str
    bandwidth: Sourced
    latency: Sourced | None = None


@dataclass(frozen=True)
class HardwareSpec:
    """What bounds a device.

    Attributes:
        name: Device.
        peak_ops: Data type (one of ``roofline.devices.operands.PEAKS``) to operations per second
            (two a MAC), dense, of the matrix units.
        memory_bandwidth: Byte/s.
        memory_capacity: Byte.
        peak_weights: Weight format name to operations per second, where the weights' format and
            not the activations' sets the rate (bit-serial machines).
        vendor: Maker.
        aliases: Other names.
        notes: What a reader should know.
        vector_ops: Operations per second of the ordinary cores (fp32); None: as matrix units.
        special_ops: Special functions per second (exp, square root); None: no bound of its own.
        levels: Memories on the chip, outermost first.
        link: Connection to other devices; None: none is known.
        power: W, at most.
        price: US dollars.
        launch_floor: Seconds that the shortest kernel takes.
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

    def __post_init__(self) -> None:
        arguments.text("name", self.name)
        arguments.table("peak_ops", self.peak_ops, _sourced)
        if self.peak_weights is not None:
            arguments.table("peak_weights", self.peak_weights, _sourced)
        for name in ("memory_bandwidth", "memory_capacity"):
            _sourced(name, getattr(self, name))

    def peak(self, weights: FormatLike, activations: FormatLike) -> float:
        """Return the operations per second for operands of two formats.

        A device multiplies operands of one type: the narrowest it has that holds both. Weights
        below 8 bits under 16-bit activations are dequantized first and run at the 16-bit peak.
        Where no type holds both (``holds``), the fastest peak stands in: whatever emulates such
        operands is no faster, so the least time is still one, if a loose one.
        """
        weights, activations = as_spec(weights, "weights"), as_spec(activations, "activations")
        if self.peak_weights is not None and weights.format.name in self.peak_weights:
            return self.peak_weights[weights.format.name].value
        kind = self._kind_of(weights, activations)
        if kind is None:
            return max(peak.value for peak in self.peak_ops.values())
        return self.peak_ops[kind].value

    def holds(self, weights: FormatLike, activations: FormatLike) -> bool:
        """Return whether the device has a peak for operands of two formats, not a stand-in."""
        weights, activations = as_spec(weights, "weights"), as_spec(activations, "activations")
        if self.peak_weights is not None and weights.format.name in self.peak_weights:
            return True
        return self._kind_of(weights, activations) is not None

    def _kind_of(self, weights: FormatSpec, activations: FormatSpec) -> str | None:
        wide_enough = WIDER[operand_kind(weights, activations)]
        return next((kind for kind in wide_enough if kind in self.peak_ops), None)


@cache
def hardware_names() -> list[str]:
    """Return the names of the built-in devices."""
    return sorted(Path(entry.name).stem for entry in FOLDER.iterdir())


@cache
def _aliases() -> dict[str, str]:
    """Other spellings of the built-in names."""
    specs = (load_builtin(name) for name in hardware_names())
    return {_spelled(alias): spec.name for spec in specs for alias in spec.aliases}


@cache
def load_builtin(name: str) -> HardwareSpec:
    """Return a built-in device by its own name."""
    return _load(Path(str(FOLDER / f"{name}.toml")))


def load_hardware(name: str | Path | HardwareSpec) -> HardwareSpec:
    """Return a built-in device, or one from a TOML file of the same form; a device as it is.

    Raises:
        RequestError: an unknown name, or a file with faults (all are listed).

    Example:
        >>> load_hardware("h100-sxm").memory_bandwidth.value
        3350000000000.0
    """
    if isinstance(name, HardwareSpec):
        return name
    if not isinstance(name, str | os.PathLike):
        raise arguments.wrong_type("hardware", name, "a name, a TOML file or a HardwareSpec")
    path = arguments.path("hardware", name)
    if path.suffix == ".toml":
        return _load(path)
    known = _spelled(str(name))
    if known not in hardware_names():
        if known not in _aliases():
            raise unknown_name("hardware", str(name), hardware_names(), _aliases())
        known = _aliases()[known]
    return load_builtin(known)


def _load(path: Path) -> HardwareSpec:
    spec = parse(load_toml(path), HardwareSpec, str(path))
    for kind in spec.peak_ops:
        if kind not in PEAKS:
            raise RequestError(f"{path}: peak_ops: {unknown_name('data type', kind, PEAKS)}")
    faults = [
        f"{key} = {number.value}"
        for key, number in _numbers(spec, "")
        if not (math.isfinite(number.value) and number.value > 0)
    ]
    if faults or not spec.peak_ops:
        raise RequestError(f"{path}: {', '.join(faults) or 'peak_ops is empty'}: above 0 is needed")
    return spec


def _numbers(value: object, path: str) -> Iterator[tuple[str, Sourced]]:
    """Yield every sourced number with its path."""
    if isinstance(value, Sourced):
        yield path, value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _numbers(entry, f"{path}.{key}")
    elif isinstance(value, tuple):
        for i, entry in enumerate(value):
            yield from _numbers(entry, f"{path}[{i}]")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _numbers(getattr(value, field.name), f"{path}.{field.name}".lstrip("."))


def _sourced(name: str, value: object) -> Sourced:
    return arguments.one_of(name, value, Sourced, "a Sourced number")


def _spelled(name: str) -> str:
    return name.lower().replace("_", "-")
