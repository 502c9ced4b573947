"""Accelerator: an array of processing elements, two buffers and a DRAM. One TOML file a design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwsim.machines.parts import Buffer, Dram, PEArray, ProcessingElement
from hwsim.pe.terms import term_count
from quant.common.errors import RequestError
from quant.common.sourced import Sourced
from quant.formats.spec import FormatSpec, parse_spec
from roofline.devices.device import HardwareSpec


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
        if spec.scale.name not in self.scales:
            allowed = ", ".join(self.scales)
            raise RequestError(
                f"{self.name} takes scales {allowed}, not {spec.scale.name!r} ({spec})"
            )
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
