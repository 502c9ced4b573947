"""A number together with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sourced:
    """A number and where it comes from.

    Attributes:
        value: SI base units.
        source: Document, measurement or reasoning.
        from_memory: Whether no document was at hand.
    """

    value: float
    source: str
    from_memory: bool = False
