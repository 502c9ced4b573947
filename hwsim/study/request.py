"""What a co-design run is asked for: the one list of its settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

from quant.common import arguments
from quant.common.errors import RequestError

BITS, PREFILL, DECODE = "effective bits", "prefill time (s)", "decode time per token (s)"


@dataclass(frozen=True)
class Request:
    """What a co-design run is asked; all but model and accelerator are options of the command.

    Attributes:
        model: Built-in name, folder or hub id.
        accelerator: Built-in name or TOML file.
        max_effective_bits: Stored bits per weight over the block layers.
        max_prefill_time: Seconds from prompt to first token.
        max_decode_time: Seconds per generated token, on average.
        prompt: Tokens of the prompt.
        generate: Tokens generated.
        batch: Sequences.
        tokens: Evaluation tokens.
        context: Tokens of an evaluation window.
        exact_tokens: Evaluation tokens that one block computes bit-exactly.
        time_limit: Seconds that the solver may take for a choice (``Selection``).
    """

    model: str
    accelerator: str
    max_effective_bits: float | None = None
    max_prefill_time: float | None = None
    max_decode_time: float | None = None
    prompt: int = 256
    generate: int = 32
    batch: int = 1
    tokens: int = 16384
    context: int = 1024
    exact_tokens: int = 64
    time_limit: float = 120.0

    def __post_init__(self) -> None:
        arguments.check_fields(self, _CHECKS)
        if not self.budgets:
            raise RequestError(
                "a budget is needed: max_effective_bits, max_prefill_time or max_decode_time"
            )
        if self.tokens < 2 * self.context:
            raise RequestError(f"tokens {self.tokens}: two windows of {self.context} are needed")
        if self.exact_tokens > self.tokens:
            raise RequestError(
                f"exact_tokens {self.exact_tokens}: at most the {self.tokens} evaluation tokens"
            )

    @property
    def budgets(self) -> dict[str, float]:
        """The budgets that were given."""
        given = {
            BITS: self.max_effective_bits,
            PREFILL: self.max_prefill_time,
            DECODE: self.max_decode_time,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def command(self) -> str:
        """The command line that asks the same."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        names = [values.pop("model"), values.pop("accelerator")]
        options = [
            f"--{name.replace('_', '-')} {_number(value)}"
            for name, value in values.items()
            if value is not None
        ]
        return " ".join(["hwsim codesign", *map(shlex.quote, names), *options])


def _name(name: str, value: object) -> str:
    """A model or machine: a text, or the text of a path; the command line holds it."""
    given = arguments.plain(value)
    if not isinstance(given, str | os.PathLike):
        raise arguments.wrong_type(name, value, "a name or a path")
    return str(arguments.path(name, given)) if isinstance(given, os.PathLike) else str(given)


def _positive(name: str, value: object) -> float:
    return arguments.number(name, value, above=0)


def _count(name: str, value: object) -> int:
    return arguments.integer(name, value, 1)


_BUDGETS = ("max_effective_bits", "max_prefill_time", "max_decode_time")
_COUNTS = ("prompt", "generate", "batch", "tokens", "exact_tokens")
_CHECKS: dict[str, Callable[[str, object], object]] = {
    **dict.fromkeys(("model", "accelerator"), _name),
    **dict.fromkeys(_BUDGETS, arguments.optional(_positive)),
    **dict.fromkeys(_COUNTS, _count),
    "context": partial(arguments.integer, least=2),
    "time_limit": _positive,
}


def check_request(request: Request) -> None:
    """Refuse what machine and config alone show, before a weight is read.

    Raises:
        RequestError: an unknown machine, a model that is quantized already, or windows longer than
            the model has positions.
    """
    from hwsim.machines.load import load_accelerator
    from quant.models.preflight import check_unquantized, check_window, known_config
    from roofline.workloads.models import builtin_text, parse_text

    load_accelerator(request.accelerator)
    check_unquantized(request.model)
    config, known = known_config(request.model), builtin_text(request.model)
    if config is None and known is not None:
        config = parse_text(known[1], known[0])
    check_window(config, request.context)


def _number(value: float) -> str:
    """A number to its last digit, whole ones without a point."""
    return str(int(value)) if value == int(value) else repr(value)
