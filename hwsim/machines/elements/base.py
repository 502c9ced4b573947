"""Element: what an array is made of, asked by machine, simulator and loader; the known kinds.

To add a kind, write a frozen dataclass that answers as ``Element`` does (deriving from
``ProcessingElement`` leaves ``kind`` and ``scales`` to write, and ``steps`` or ``timing`` where it
does no product a clock) and ``register`` it; its fields are the keys of ``[pe]`` in machine files.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self, TypeVar

from hwsim.machines.elements.skipping import Skipping
from hwsim.machines.elements.timing import Law, Timing
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

    def __hash__(self) -> int:
        """Be a key: what a format takes on it is kept."""

    @property
    def lanes(self) -> int:
        """Weights of a block: those that it multiplies side by side, each with an activation."""

    @property
    def area_um2(self) -> Sourced:
        """Area before layout, um2."""

    @property
    def step_j(self) -> Sourced:
        """Joules of a clock in which it works, before layout."""

    @property
    def idle_share(self) -> Sourced:
        """Share of ``step_j`` that it takes in a clock in which others work and it does not."""

    @property
    def leakage_w(self) -> Sourced:
        """Leakage, before layout."""

    @property
    def scales(self) -> tuple[ScaleKind, ...] | None:
        """Kinds of group scales that it can multiply by.

        None: weights reach it dequantized, so that their kind of scale makes no difference.
        """

    @property
    def most_side(self) -> int:
        """The most rows or columns that an array of it may have."""

    def steps(self, spec: FormatSpec) -> int:
        """Return the clocks that a block of weights takes.

        Raises:
            RequestError: a format that it cannot run.
        """

    def timing(self, spec: FormatSpec, rows: int) -> Timing:
        """Return the closed form of an array's clocks, for a format.

        Args:
            spec: The format.
            rows: Output channels of the array.

        Returns:
            With all steps of a block, also those that ``skipping`` passes over.

        Raises:
            RequestError: a format that it cannot run.
        """

    def skipping(self, spec: FormatSpec) -> Skipping | None:
        """Return which steps it passes over, by code; None: a block takes all, whatever its data.

        Args:
            spec: A format that it runs.
        """

    def weight_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block of weights, as read from the buffer."""

    def activation_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block's activations, as read from the buffer."""

    def resized(self, lanes: int) -> Element:
        """Return the element with other lanes: its area and its energy change with them."""

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
        step_j: Joules of a clock in which it works, before layout.
        idle_share: Share of ``step_j`` that it takes while others work and it does not.
        leakage_w: Leakage, before layout.
    """

    lanes: int
    area_um2: Sourced
    step_j: Sourced
    idle_share: Sourced
    leakage_w: Sourced

    @property
    def most_side(self) -> int:
        """Return 4096: wires are not modelled beyond."""
        return 4096

    def steps(self, spec: FormatSpec) -> int:
        """Return 1: a product a clock, whatever the format."""
        return 1

    def timing(self, spec: FormatSpec, rows: int) -> Timing:
        """Return blocks x steps; results leave beside the next job."""
        return Timing(Law.STREAM, self.steps(spec))

    def skipping(self, spec: FormatSpec) -> Skipping | None:
        """Return None: a block takes all of its steps."""
        return None

    def weight_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block's codes."""
        return self.lanes * spec.format.element_bits

    def activation_bits(self, spec: FormatSpec) -> int:
        """Return the bits of a block's activations."""
        return self.lanes * spec.format.element_bits

    def relative_size(self, lanes: int) -> float:
        """Return what area and energy are proportional to; here the lanes."""
        return float(lanes)

    def resized(self, lanes: int) -> Self:
        """Return the element with other lanes; area, energy and leakage by ``relative_size``."""
        ratio = self.relative_size(lanes) / self.relative_size(self.lanes)
        said = f"x {ratio:.4g} for {lanes} lanes in place of {self.lanes}"
        scaled = {
            key: Sourced(number.value * ratio, f"{number.source}; {said}")
            for key in ("area_um2", "step_j", "leakage_w")
            for number in [getattr(self, key)]
        }
        return self if lanes == self.lanes else replace(self, lanes=lanes, **scaled)

    def arithmetic(self, activations: FormatSpec) -> Arithmetic | None:
        """Return None: ``hwsim.pe`` does not say what it computes."""
        return None

    def faults(self, activations: FormatSpec, group_size: int) -> list[str]:
        """Return the numbers that are out of range."""
        faults = []
        if not 0 < self.step_j.value < float("inf"):
            faults.append(f"pe.step_j = {self.step_j.value}: above 0 is needed")
        if not 0 <= self.idle_share.value <= 1:
            faults.append(f"pe.idle_share = {self.idle_share.value}: 0 to 1 is allowed")
        if not 0 <= self.leakage_w.value < float("inf"):
            faults.append(f"pe.leakage_w = {self.leakage_w.value}: 0 or more is needed")
        return faults


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
