"""The memory interface: types of DRAM as data, or a machine's own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.common.sourced import Sourced

FILE = Path(str(resources.files("hwsim.machines") / "dram.toml"))
MOST_CHANNELS = 1 << 16
MOST = {
    "bytes_per_s": 1e15,
    "joule_per_bit": 1e-6,
    "latency_s": 1.0,
    "capacity_bytes": 1e18,
    "background_w": 1e4,
}
"""The most that can be meant."""


@dataclass(frozen=True)
class Dram:
    """A memory interface; the core's clock changes nothing of it.

    Attributes:
        bytes_per_s: Bytes that long reads and writes move in a second.
        joule_per_bit: Energy of a bit moved.
        latency_s: Time from a request to its first byte, paid once an op.
        capacity_bytes: What it holds; None: not stated.
        background_w: Power that it takes when nothing is moved.
        name: Its type; empty: a machine's own numbers.
        channels: Channels of that type.
    """

    bytes_per_s: Sourced
    joule_per_bit: Sourced
    latency_s: Sourced
    capacity_bytes: Sourced | None = None
    background_w: Sourced | None = None
    name: str = ""
    channels: int = 1


@dataclass(frozen=True)
class DramType:
    """One channel of a type of DRAM.

    Attributes:
        bits_per_s: Bits that a pin moves in a second.
        width_bits: Data pins of a channel.
        page_bytes: Bytes of a row of a bank.
        row_cycle_s: Time between two rows of one bank (tRC).
        open_banks: Banks that a stream is laid over, so that rows open while others are read.
        refresh_s: Time that a refresh of all banks takes (tRFC).
        refresh_every_s: Time between two of them (tREFI).
        latency_s: Time from a request to its first byte, the row closed before.
        joule_per_bit: Energy of a bit moved, interface included.
        capacity_bytes: Of a channel.
    """

    bits_per_s: Sourced
    width_bits: Sourced
    page_bytes: Sourced
    row_cycle_s: Sourced
    open_banks: Sourced
    refresh_s: Sourced
    refresh_every_s: Sourced
    latency_s: Sourced
    joule_per_bit: Sourced
    capacity_bytes: Sourced

    @property
    def peak(self) -> float:
        """Bytes a second of a channel's pins."""
        return self.bits_per_s.value * self.width_bits.value / 8

    @property
    def efficiency(self) -> float:
        """Share of the peak that long streams reach: less refresh, and rows that open too late.

        Turnarounds between reading and writing are not in it: streams are long.
        """
        page = self.open_banks.value * self.page_bytes.value / self.peak
        refresh = 1 - self.refresh_s.value / self.refresh_every_s.value
        return refresh * min(1.0, page / self.row_cycle_s.value)

    def dram(self, name: str, channels: int) -> Dram:
        """Return a memory of so many channels."""
        peak, share = self.peak, self.efficiency
        said = f"{name}: {peak / 1e9:.4g} GB/s a channel x {share:.3f} (refresh, rows)"
        capacity = Sourced(
            channels * self.capacity_bytes.value, f"{channels} x {self.capacity_bytes.source}"
        )
        return Dram(
            Sourced(channels * peak * share, f"{channels} channels of {said}"),
            self.joule_per_bit,
            self.latency_s,
            capacity,
            None,
            name,
            channels,
        )


@dataclass(frozen=True)
class DramFile:
    """``[dram]`` of a machine's file: a type and its channels, or numbers of its own."""

    type: str = ""
    channels: int = 1
    bytes_per_s: Sourced | None = None
    joule_per_bit: Sourced | None = None
    latency_s: Sourced | None = None
    capacity_bytes: Sourced | None = None
    background_w: Sourced | None = None

    def faults(self) -> list[str]:
        """Return what makes no memory, each fault with its key."""
        own = ("bytes_per_s", "joule_per_bit", "latency_s")
        if not 0 < self.channels <= MOST_CHANNELS:
            return [f"dram.channels = {self.channels}: 1 to {MOST_CHANNELS} is allowed"]
        given = [key for key in own if getattr(self, key) is not None]
        if self.type:
            known = self.type in dram_types()
            wrong = [] if known else [f"dram.type: {_unknown(self.type)}"]
            given += [key for key in ("capacity_bytes", "background_w") if getattr(self, key)]
            return wrong + [f"dram.{key}: not beside dram.type" for key in given]
        if self.channels != 1:
            return ["dram.channels: beside dram.type only"]
        missing = [key for key in own if key not in given]
        needed = [f"dram.{key}: needed where no dram.type is given" for key in missing]
        numbers = (*own, "capacity_bytes", "background_w")
        values = {key: getattr(self, key) for key in numbers}
        return needed + [
            f"dram.{key} = {number.value}: above 0 and at most {MOST[key]:g} is needed"
            for key, number in values.items()
            if number is not None and not 0 < number.value <= MOST[key]
        ]

    def dram(self) -> Dram:
        """Return the memory of a file without faults."""
        if self.type:
            return named_dram(self.type, self.channels)
        numbers = self.bytes_per_s, self.joule_per_bit, self.latency_s
        first, energy, latency = (number or Sourced(0.0, "") for number in numbers)
        return Dram(first, energy, latency, self.capacity_bytes, self.background_w)


@cache
def dram_types() -> dict[str, DramType]:
    """Return the known types of DRAM by name."""
    data: dict[str, Any] = load_toml(FILE)
    return {name: parse(entry, DramType, f"{FILE.name}: {name}") for name, entry in data.items()}


def named_dram(text: str, channels: int = 1) -> Dram:
    """Return a memory of a known type.

    Args:
        text: ``TYPE`` or ``TYPE*CHANNELS``, such as ``lpddr5*4``.
        channels: Where the text gives none.

    Raises:
        RequestError: an unknown type, or a number of channels that is none.

    Example:
        >>> round(named_dram("lpddr5*4").bytes_per_s.value / named_dram("lpddr5").bytes_per_s.value)
        4
    """
    name, star, count = arguments.text("dram", text).partition("*")
    if star:
        if not (count.isascii() and count.isdecimal() and len(count) <= len(str(MOST_CHANNELS))):
            raise RequestError(f"dram {text!r}: TYPE or TYPE*CHANNELS is needed, such as lpddr5*4")
        channels = int(count)
    channels = arguments.integer("dram.channels", channels, 1, MOST_CHANNELS)
    if name not in dram_types():
        raise RequestError(_unknown(name))
    return dram_types()[name].dram(name, channels)


def _unknown(name: str) -> str:
    return str(unknown_name("dram type", name, dram_types()))
