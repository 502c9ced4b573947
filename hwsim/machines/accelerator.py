"""Accelerator: an array of processing elements, two buffers and a DRAM. One TOML file a design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwsim.machines.elements.base import Element
from hwsim.machines.parts import Buffer, Dram, PEArray
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.sourced import Sourced
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec, as_spec, parse_spec

if TYPE_CHECKING:
    from roofline.devices.device import HardwareSpec


@dataclass(frozen=True)
class Accelerator:
    """A design.

    Attributes:
        name: Design.
        pe: The processing element, of some kind.
        weights: Names of the formats that it runs.
        default_weights: The one of them that is taken where none is asked for.
        activations: Format of activations.
        kv: Format of keys and values, which play the weights in attention.
        head: Format of lm_head.
        group_size: Default group of weights.
        scale: Default scale of groups.
        scales: Kinds of group scales that its elements multiply by; not asked where the element
            takes weights as numbers (``Element.scales`` is None).
        clock_hz: Clock.
        prefill: The array's shape for many tokens.
        decode: The array's shape for one token a sequence.
        weight_buffer: Weights, keys and values.
        activation_buffer: Inputs and outputs.
        dram: Memory interface.
    """

    name: str
    pe: Element
    weights: tuple[str, ...]
    default_weights: FormatSpec
    activations: FormatSpec
    kv: FormatSpec
    head: FormatSpec
    group_size: int
    scale: ScaleKind
    scales: tuple[ScaleKind, ...]
    clock_hz: Sourced
    prefill: PEArray
    decode: PEArray
    weight_buffer: Buffer
    activation_buffer: Buffer
    dram: Dram

    @property
    def kind(self) -> str:
        """Name of the kind of its elements."""
        return self.pe.kind

    def array(self, phase: str) -> PEArray:
        """Return the array's shape in a phase.

        Raises:
            RequestError: a phase that is neither ``prefill`` nor ``decode``.
        """
        shapes = {"prefill": self.prefill, "decode": self.decode}
        return shapes[arguments.choice("phase", phase, shapes)]

    def spec(self, format_: str | FormatSpec) -> FormatSpec:
        """Return a format of weights; a text takes this machine's default group and scale.

        Raises:
            RequestError: unknown, or one that the machine does not run.
        """
        spec = self._parsed(format_) if isinstance(format_, str) else as_spec(format_)
        self.steps(spec)
        return spec

    def steps(self, spec: FormatSpec) -> int:
        """Return the cycles that a block of weights takes.

        Raises:
            RequestError: a format or scale that the machine does not run.
        """
        arguments.one_of("spec", spec, FormatSpec, "a FormatSpec")
        if spec.format.name not in self.weights:
            allowed = ", ".join(self.weights)
            raise RequestError(f"{self.name} cannot run {spec.format.name!r}; it runs: {allowed}")
        if self.pe.scales is not None and spec.scale not in self.scales:
            allowed, scale = ", ".join(map(str, self.scales)), str(spec.scale)
            raise RequestError(f"{self.name} takes scales {allowed}, not {scale!r} ({spec})")
        return self.pe.steps(spec)

    def activation_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block's activations.

        Raises:
            RequestError: a format of activations that is not the machine's.
        """
        arguments.one_of("spec", spec, FormatSpec, "a FormatSpec")
        if spec.format != self.activations.format:
            takes, given = self.activations.format.name, spec.format.name
            raise RequestError(f"{self.name} takes {takes} activations, not {given!r}")
        return self.pe.activation_bits(spec)

    def hardware_spec(self) -> HardwareSpec:
        """Return the roofline of the same machine: peaks by weight format, DRAM bandwidth."""
        from roofline.devices.device import HardwareSpec

        clock = self.clock_hz.value
        pes = max(self.prefill.pes, self.decode.pes)
        source = f"{self.name}: PEs x lanes / steps x clock"
        peaks = {}
        for name in self.weights:
            steps = self.pe.steps(self._parsed(name))
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

    def _parsed(self, text: str) -> FormatSpec:
        return parse_spec(text, self.group_size, self.scale.name)
