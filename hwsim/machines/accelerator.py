"""Accelerator: tiles of processing elements, buffers, vector unit, DRAM. One TOML file a design."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from hwsim.machines.dram import Dram
from hwsim.machines.elements.base import Element
from hwsim.machines.elements.skipping import Measured
from hwsim.machines.elements.timing import Law, Timing
from hwsim.machines.parts import Buffer, Dataflow, Layout, Links, Tiles, Vector
from hwsim.machines.process import Process
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.sourced import Sourced
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec, as_spec, parse_spec

if TYPE_CHECKING:
    from quant.tensors.tensor import QuantizedTensor
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
        tiles: Arrays of elements.
        weight_buffer: Weights, keys and values.
        activation_buffer: Inputs, partial sums and outputs.
        vector: What runs all that is no product.
        dram: Memory interface.
        layout: What placement and routing do to the elements' numbers.
        links: To other chips; None: it has none.
        dataflow: What stays in place while the loops over memory run: ``output``, ``weight`` or
            ``input``; ``best``: whichever serves an op best.
        fuses_attention: Whether scores stay on the chip where a block of rows of them fits.
        skips_masked: Whether blocks of masked scores are passed over.
        process: Node and supply; None: those of its numbers, and any clock.
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
    tiles: Tiles
    weight_buffer: Buffer
    activation_buffer: Buffer
    vector: Vector
    dram: Dram
    layout: Layout
    links: Links | None = None
    dataflow: Dataflow = "best"
    fuses_attention: bool = True
    skips_masked: bool = True
    process: Process | None = None

    @property
    def kind(self) -> str:
        """Name of the kind of its elements."""
        return self.pe.kind

    @property
    def buffers(self) -> tuple[Buffer, Buffer]:
        """That of weights, that of activations."""
        return self.weight_buffer, self.activation_buffer

    def spec(self, format_: str | FormatSpec) -> FormatSpec:
        """Return a format of weights; a text takes this machine's default group and scale.

        Raises:
            RequestError: unknown, or one that the machine does not run.
        """
        spec = self._parsed(format_) if isinstance(format_, str) else as_spec(format_)
        self.steps(spec)
        return spec

    def timing(self, spec: FormatSpec) -> Timing:
        """Return the closed form of a tile's clocks, for a format.

        Where they depend on the data, ``steps`` are those of normally distributed weights.

        Raises:
            RequestError: a format or scale that the machine does not run.
        """
        found = self.expected(spec)
        timing = self.pe.timing(spec, self.tiles.rows)
        return timing if found is None else timing._replace(steps=found.steps)

    def expected(self, spec: FormatSpec, inputs: int = 2048) -> Measured | None:
        """Return what normally distributed codes take; None: data make no difference.

        Args:
            spec: Their format.
            inputs: Inputs of a row, which matter where a whole row shares a scale.

        Raises:
            RequestError: a format or scale that the machine does not run, or no input.
        """
        self.steps(spec)
        inputs = arguments.integer("inputs", inputs, 1)
        if self.pe.skipping(spec) is None:
            return None
        from hwsim.machines.elements.counting import sample_width

        return _expected(self.pe, spec, self.tiles.rows, sample_width(spec, inputs))

    def measured(self, tensor: QuantizedTensor) -> Measured | None:
        """Return what real codes take on a tile, mean over its blocks; None: no difference.

        Raises:
            RequestError: codes of a format or scale that the machine does not run.
        """
        from quant.tensors.tensor import QuantizedTensor

        arguments.one_of("tensor", tensor, QuantizedTensor, "a QuantizedTensor")
        self.steps(tensor.spec)
        skipping = self.pe.skipping(tensor.spec)
        if skipping is None:
            return None
        from hwsim.machines.elements.counting import measured

        size = _cut(self.pe, tensor.spec, self.tiles.rows)
        return measured(tensor, skipping, self.pe.lanes, self.tiles.rows, size)

    def steps(self, spec: FormatSpec) -> int:
        """Return the clocks that a block of weights takes.

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
        """Return the roofline of the same machine.

        Peaks of products by weight format, of vector operations, and the DRAM's bandwidth; what
        its arrays lose to drains, rounding and ports is not in it. Where clocks depend on the data
        a peak is that of the emptiest codes, and the bytes are those of plain ones.
        """
        from roofline.devices.device import HardwareSpec, Link

        clock = self.clock_hz.value
        pes = self.tiles.pes
        source = f"{self.name}: PEs x lanes / steps x clock"
        peaks = {}
        for name in self.weights:
            spec = self._parsed(name)
            skipping = self.pe.skipping(spec)
            steps = self.timing(spec).steps if skipping is None else skipping.least_steps
            peaks[name] = Sourced(2 * pes * self.pe.lanes / steps * clock, source)
        fastest = Sourced(max(peak.value for peak in peaks.values()), source)
        vector = self.vector.lanes * clock
        said = f"{self.name}: vector lanes x clock"
        links = self.links
        return HardwareSpec(
            self.name,
            {"fp16": fastest},
            self.dram.bytes_per_s,
            self.dram.capacity_bytes or Sourced(float("inf"), "not stated"),
            peaks,
            vector_ops=Sourced(vector, said),
            special_ops=Sourced(vector / self.vector.special_operations.value, said),
            link=None if links is None else Link("links", links.bytes_per_s, links.latency_s),
        )

    def _parsed(self, text: str) -> FormatSpec:
        return parse_spec(text, self.group_size, self.scale.name)


@lru_cache(maxsize=1024)
def _expected(pe: Element, spec: FormatSpec, rows: int, width: int) -> Measured | None:
    from hwsim.machines.elements.counting import expected

    skipping = pe.skipping(spec)
    assert skipping is not None
    return expected(spec, skipping, pe.lanes, rows, _cut(pe, spec, rows), width)


def _cut(pe: Element, spec: FormatSpec, rows: int) -> int:
    """Inputs within which an array's blocks are cut: groups on the Verilog's tile, else all."""
    return spec.group_size if pe.timing(spec, rows).law == Law.TILE else sys.maxsize
