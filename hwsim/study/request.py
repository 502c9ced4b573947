"""What a co-design run is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from quant.common.errors import RequestError

BITS, PREFILL, DECODE = "effective bits", "prefill time (s)", "decode time per token (s)"


@dataclass(frozen=True)
class Request:
    """What a co-design run is asked.

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
        exact_tokens: Tokens that one block computes bit-exactly.
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

    def __post_init__(self) -> None:
        if not self.budgets:
            raise RequestError(
                "a budget is needed: max_effective_bits, max_prefill_time or max_decode_time"
            )
        faults = [f"{name} {value:g}" for name, value in self.budgets.items() if not value > 0]
        faults += [
            f"{name} {getattr(self, name)}"
            for name in ("prompt", "generate", "batch", "tokens", "context", "exact_tokens")
            if getattr(self, name) < 1
        ]
        if faults:
            raise RequestError(f"{', '.join(faults)}: above 0 is needed")
        if self.tokens < 2 * self.context:
            raise RequestError(f"tokens {self.tokens}: two windows of {self.context} are needed")

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
        flags = {
            "--max-effective-bits": self.max_effective_bits,
            "--max-prefill-time": self.max_prefill_time,
            "--max-decode-time": self.max_decode_time,
            "--prompt": self.prompt,
            "--generate": self.generate,
            "--batch": self.batch,
            "--tokens": self.tokens,
            "--exact-tokens": self.exact_tokens,
        }
        given = [f"{flag} {value:g}" for flag, value in flags.items() if value is not None]
        return " ".join(["hwsim codesign", self.model, self.accelerator, *given])
