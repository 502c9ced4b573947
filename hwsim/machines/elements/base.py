"""Element: what an array is made of, asked by machine, simulator and loader; the known kinds.

To add a kind, write a frozen dataclass that answers as ``Element`` does (deriving from
``ProcessingElement`` leaves ``kind``, ``scales`` and ``steps`` to write) and ``register`` it; its
fields are the keys of ``[pe]`` in machine files.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from hwsim.pe.arithmetic import Arithmetic
from quant.common.errors import RequestError, unknown_name
from quant.common.sourced import Sourced
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec


class Element(Protocol):
    """A processing element (PE) of some kind, with its sizes.

    Attributes:
        kind: The name that machine files use.
    """

    kind: ClassVar[str]

    @property
    def lanes(self) -> int:
        """Weights of a block: those that it multiplies side by side, each with an activation."""

    @property
    def area_um2(self) -> Sourced:
        """Area before layout, um2."""

    @property
    def scales(self) -> tuple[ScaleKind, ...] | None:
        """Kinds of group scales that it can multiply by.

        None: weights reach it dequantized, so that their kind of scale makes no difference.
        """

    def steps(self, spec: FormatSpec) -> int:
        """Return the cycles that a block of weights takes.

        Raises:
            RequestError: a format that it cannot run.
        """

    def weight_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block of weights, as read from the buffer."""

    def activation_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block's activations, as read from the buffer."""

    def energy_j(self, cycles: int, clock_hz: float) -> float:
        """Return the joules of so many PE cycles, used or not."""

    def arithmetic(self, activations: FormatSpec) -> Arithmetic | None:
        """Return the arithmetic of ``hwsim.pe`` that is its own, bit for bit; None: there is none.

        Args:
            activations: The machine's format of activations.
        """

    def faults(self, activations: FormatSpec, group_size: int) -> list[str]:
        """Return what makes no machine: its own sizes, or what a machine asks of it.

        Args:
            activations: The machine's format of activations.
            group_size: The machine's group of weights.

        Returns:
            One text a fault, each with the file's key; empty where there is none.
        """


@dataclass(frozen=True)
class ProcessingElement:
    """Sizes that most kinds have, and the answers that follow from them.

    Attributes:
        lanes: Weights of a block.
        area_um2: Area before layout.
        power_w: Power at the machine's clock, from synthesis.
        layout_factor: What placement and routing multiply the power by.
    """

    lanes: int
    area_um2: Sourced
    power_w: Sourced
    layout_factor: Sourced

    def weight_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block's codes."""
        return self.lanes * spec.format.element_bits

    def activation_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block's activations."""
        return self.lanes * spec.format.element_bits

    def energy_j(self, cycles: int, clock_hz: float) -> float:
        """Return the joules of so many PE cycles, used or not."""
        return cycles * (self.power_w.value * self.layout_factor.value) / clock_hz

    def arithmetic(self, activations: FormatSpec) -> Arithmetic | None:
        """Return None: ``hwsim.pe`` does not say what it computes."""
        return None

    def faults(self, activations: FormatSpec, group_size: int) -> list[str]:
        """Return the numbers that are not above 0."""
        numbers = {"power_w": self.power_w.value, "layout_factor": self.layout_factor.value}
        return [
            f"pe.{key} = {number}: above 0 is needed"
            for key, number in numbers.items()
            if not 0 < number < float("inf")
        ]


_KINDS: dict[str, type[Element]] = {}
Kind = TypeVar("Kind", bound=Element)


def register(kind: type[Kind]) -> type[Kind]:
    """Make a kind of element known by its name, for this process, and return it.

    Raises:
        RequestError: no frozen dataclass, or a name that belongs to another kind.
    """
    if not dataclasses.is_dataclass(kind):
        raise RequestError(f"element kind {kind.__name__}: a frozen dataclass is needed")
    if _KINDS.setdefault(kind.kind, kind) is not kind:
        raise RequestError(f"element kind {kind.kind!r} is taken: choose another name")
    return kind


def element_kinds() -> list[str]:
    """Return the names of the known kinds."""
    return sorted(_KINDS)


def element_kind(name: str) -> type[Element]:
    """Return the kind of element of that name.

    Raises:
        RequestError: no such kind; the message gives those that there are.
    """
    if name not in _KINDS:
        raise unknown_name("element kind", name, _KINDS)
    return _KINDS[name]
