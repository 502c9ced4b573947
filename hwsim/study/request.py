"""What a co-design run is asked for: the one list of its settings."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields

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
        if not self.budgets:
            raise RequestError(
                "a budget is needed: max_effective_bits, max_prefill_time or max_decode_time"
            )
        faults = [f"{name} {value:g}" for name, value in self.budgets.items() if not value > 0]
        numbers = ("prompt", "generate", "batch", "tokens", "context", "exact_tokens", "time_limit")
        faults += [f"{n} {getattr(self, n)}" for n in numbers if not getattr(self, n) > 0]
        if faults:
            raise RequestError(f"{', '.join(faults)}: above 0 is needed")
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


def _number(value: float) -> str:
    """A number to its last digit, whole ones without a point."""
    return str(int(value)) if value == int(value) else repr(value)
