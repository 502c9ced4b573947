"""How keys and values are to be rounded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from quant.common import arguments
from quant.common.errors import RequestError
from quant.models.kv_groups import KEYS, Grouping

ROTARY = {"before": False, "after": True}
"""When keys are rounded, of their rotary embedding -> whether that is late."""


@dataclass(frozen=True)
class CacheRounding:
    """How keys and values are rounded.

    Attributes:
        keys: ``"token"``: groups lie within a token, for keys as for values; ``"channel"``: groups
            of keys are tokens of a channel, in a row.
        recent: For a query at position t keys and values after t - recent are exact.
        sinks: The first tokens, which stay exact; groups of tokens begin after them.
        rotary: ``"before"`` or ``"after"``: when keys are rounded.

    Raises:
        RequestError: a value that is not allowed.
    """

    keys: str = "token"
    recent: int = 0
    sinks: int = 0
    rotary: str = "before"

    def __post_init__(self) -> None:
        arguments.check_fields(
            self,
            {
                "keys": partial(arguments.choice, allowed=tuple(KEYS)),
                "recent": partial(arguments.integer, least=0),
                "sinks": partial(arguments.integer, least=0),
                "rotary": partial(arguments.choice, allowed=tuple(ROTARY)),
            },
        )

    def check_used(self, format_: object) -> None:
        """Refuse options of keys and values where these are not rounded (``format_`` is None)."""
        if format_ is None and self != PLAIN:
            raise RequestError(f"{self}: kv, the format of keys and values, is needed too")

    @property
    def grouping(self) -> Grouping:
        """How keys are cut into groups."""
        return KEYS[self.keys]

    @property
    def is_mixed(self) -> bool:
        """Whether queries differ in which keys and values they see rounded."""
        return self.recent > 0 or self.grouping.is_delayed

    @property
    def is_late(self) -> bool:
        """Whether keys are rounded after their rotary embedding."""
        return ROTARY[self.rotary]

    @property
    def needs_whole_text(self) -> bool:
        """Whether it has to know where in the text a token is."""
        return self.is_mixed or self.is_late or self.sinks > 0


PLAIN = CacheRounding()
"""Every token by itself, before rotary."""
