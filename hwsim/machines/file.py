"""MachineFile: a machine's TOML file as it is written, and the machine that it describes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.dram import DramFile
from hwsim.machines.elements.base import Element
from hwsim.machines.parts import Buffer, Dataflow, Layout, Links, Tiles, Vector
from hwsim.machines.process import Process
from quant.common.sourced import Sourced
from quant.formats.scales import scale_kind
from quant.formats.spec import FormatSpec, parse_spec


@dataclass(frozen=True)
class MachineFile:
    """A machine's TOML file, its formats and scales as they are written.

    Attributes:
        name: Design.
        kind: Kind of processing element.
        weights: Formats that it runs.
        activations: Format of activations.
        kv: Format of keys and values.
        head: Format of lm_head.
        group_size: Default group of weights.
        scale: Default scale of groups.
        clock_hz: Clock.
        pe: The element's fields.
        tiles: Arrays of elements.
        weight_buffer: Weights, keys and values.
        activation_buffer: Inputs, partial sums and outputs.
        vector: What runs all that is no product.
        dram: Memory interface.
        layout: What placement and routing do to the elements' numbers.
        scales: Kinds of group scales that a machine multiplies by.
        default_weights: Format of weights where none is asked for; empty: the first of them.
        links: To other chips.
        dataflow: As ``Accelerator.dataflow``.
        fuses_attention: As ``Accelerator.fuses_attention``.
        skips_masked: As ``Accelerator.skips_masked``.
        process: As ``Accelerator.process``.
    """

    name: str
    kind: str
    weights: tuple[str, ...]
    activations: str
    kv: str
    head: str
    group_size: int
    scale: str
    clock_hz: Sourced
    pe: Element
    tiles: Tiles
    weight_buffer: Buffer
    activation_buffer: Buffer
    vector: Vector
    dram: DramFile
    layout: Layout
    scales: tuple[str, ...] = ("int8",)
    default_weights: str = ""
    links: Links | None = None
    dataflow: Dataflow = "best"
    fuses_attention: bool = True
    skips_masked: bool = True
    process: Process | None = None

    @property
    def weight_like(self) -> dict[str, str]:
        """The keys with one format each that plays the weights."""
        first = self.default_weights or next(iter(self.weights), "")
        return {"default_weights": first, "kv": self.kv, "head": self.head}

    def spec(self, text: str) -> FormatSpec:
        """Return a format with the file's default group and scale."""
        return parse_spec(text, self.group_size, self.scale)

    def accelerator(self) -> Accelerator:
        """Return the machine.

        Raises:
            RequestError: an unknown format or scale.
        """
        return Accelerator(
            name=self.name,
            pe=self.pe,
            weights=self.weights,
            activations=parse_spec(self.activations),
            group_size=self.group_size,
            scale=scale_kind(self.scale),
            scales=tuple(scale_kind(name) for name in self.scales),
            clock_hz=self.clock_hz,
            tiles=self.tiles,
            weight_buffer=self.weight_buffer,
            activation_buffer=self.activation_buffer,
            vector=self.vector,
            dram=self.dram.dram(),
            layout=self.layout,
            links=self.links,
            dataflow=self.dataflow,
            fuses_attention=self.fuses_attention,
            skips_masked=self.skips_masked,
            process=self.process,
            **{key: self.spec(text) for key, text in self.weight_like.items()},
        )


@cache
def file_shape(element: type[Element]) -> type[MachineFile]:
    """Return the file's keys with an element's fields under ``pe``."""
    fields = [("pe", element)]
    return dataclasses.make_dataclass("MachineFile", fields, bases=(MachineFile,), frozen=True)
