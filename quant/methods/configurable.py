"""What has a name and options with defaults: plans and commands change some of them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import asdict
from typing import Any, Self

from quant.common.config import parse
from quant.common.errors import RequestError


class Configurable:
    """A method as far as its options go."""

    name: str
    settings: Any = None
    """A frozen dataclass of its options; None: it has none."""

    def configured(self, options: Mapping[str, object]) -> Self:
        """Return the method with some options changed.

        Raises:
            RequestError: an option that it has not, or a value of another kind.
        """
        if not options:
            return self
        known = asdict(self.settings) if self.settings is not None else {}
        if strange := sorted(options.keys() - known.keys()):
            allowed = ", ".join(known) or "none"
            raise RequestError(
                f"method {self.name!r} has no option {strange[0]!r}: {allowed} may be given"
            )
        made = copy(self)
        made.settings = parse({**known, **options}, type(self.settings), f"method {self.name!r}")
        return made

    @property
    def options(self) -> dict[str, object]:
        """Its options that are not the defaults, by name."""
        usual = type(self).settings
        if self.settings is None or self.settings == usual:
            return {}
        before, now = asdict(usual), asdict(self.settings)
        return {name: value for name, value in now.items() if value != before[name]}

    @property
    def described(self) -> str:
        """Its name, and the options that are not the defaults."""
        listed = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.name}({listed})" if listed else self.name
