"""Reading a Hugging Face config dict: every fault is collected, then reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quant.common.errors import RequestError

LARGEST = 1 << 27
"""No size of a model is larger; a config that says so is corrupt."""


class Fields:
    """The checked values of a config. ``check()`` raises what was wrong with any of them."""

    def __init__(self, data: Mapping[str, Any], where: str = "config") -> None:
        """Take a config dict; ``where`` names it in messages."""
        self.data, self.where = data, where
        self.faults: list[str] = []

    def size(
        self, *names: str, default: int | None = None, least: int = 1, most: int = LARGEST
    ) -> int:
        """Return the first of the names that is there; ``least`` stands in where it is wrong."""
        for name in names:
            value = self.data.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                return self._fault(f"{name} = {value!r:.40}: an integer is needed", least)
            if not least <= value <= most:
                return self._fault(f"{name} = {value}: {least} to {most} is allowed", least)
            return value
        if default is None:
            return self._fault(f"{' or '.join(names)} is missing", least)
        return default

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.data.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self._fault(f"{name} = {value!r:.40}: true or false is needed", 0)
        return bool(value)

    def fraction(self, name: str, default: float) -> float:
        """Return a number above 0 and at most 1."""
        value = self.data.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            self._fault(f"{name} = {value!r:.40}: above 0 to 1 is allowed", 0)
            return default
        return float(value)

    def names(self, name: str, length: int, allowed: tuple[str, ...]) -> list[str] | None:
        """Return a list of ``length`` names, one a layer; None where it is absent."""
        value = self.data.get(name)
        if value is None:
            return None
        good = isinstance(value, list) and len(value) == length
        if not good or not all(isinstance(entry, str) and entry in allowed for entry in value):
            self._fault(f"{name}: {length} of {', '.join(allowed)} are needed", 0)
            return None
        return [str(entry) for entry in value]

    def sizes(self, name: str) -> list[int]:
        """Return a list of positive integers."""
        value = self.data.get(name)
        good = isinstance(value, list) and bool(value)
        if not good or not all(type(v) is int and 0 < v <= LARGEST for v in value or []):
            self._fault(f"{name} = {value!r:.40}: a list of positive integers is needed", 0)
            return [1]
        return list(value or [])

    def layers(self, name: str) -> list[int]:
        """Return a list of layers by their numbers; an empty one where it is absent."""
        value = self.data.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(type(v) is int and v >= 0 for v in value):
            self._fault(f"{name} = {value!r:.40}: a list of numbers of layers is needed", 0)
            return []
        return list(value)

    def divides(self, whole: int, part: int, what: str) -> None:
        """Note a fault where ``part`` does not divide ``whole``."""
        if whole % part:
            self._fault(f"{what}: {part} does not divide {whole}", 0)

    def child(self, name: str) -> Fields:
        """Return the fields of a nested config."""
        value = self.data.get(name)
        if not isinstance(value, Mapping):
            self._fault(f"{name}: an object is needed", 0)
            value = {}
        inner = Fields(value, f"{self.where}.{name}")
        inner.faults = self.faults
        return inner

    def check(self) -> None:
        """Raise every fault found so far.

        Raises:
            RequestError: naming all of them.
        """
        if self.faults:
            raise RequestError(f"{self.where}: {'; '.join(dict.fromkeys(self.faults))}")

    def _fault(self, text: str, value: int) -> int:
        self.faults.append(text)
        return value
