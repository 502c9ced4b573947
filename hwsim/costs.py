"""What a co-design run is asked, and what each format of each layer costs in its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

import roofline
from hwsim.accelerator import Accelerator
from hwsim.simulate import SimulationResult, machine_formats, simulate
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.spec import parse_spec
from roofline.workload import Scenario

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


def costs(
    machine: Accelerator,
    config: Mapping[str, Any],
    layers: list[str],
    formats: list[str],
    request: Request,
) -> tuple[Scenario, dict[str, pd.DataFrame]]:
    """Return the scenario, and each budget's ``[layers, formats]`` with its fixed part spread.

    What no format changes (attention, norms, the head) is divided over the layers, so that the
    sum over layers is the whole time.
    """
    keywords = machine_formats(machine, formats[0])
    work = roofline.scenario(
        dict(config), request.prompt, request.generate, request.batch, **keywords
    )
    own: dict[str, dict[str, dict[str, float]]] = {PREFILL: {}, DECODE: {}, BITS: {}}
    linears = work.parts[0][0].matrices
    weights = sum(linears[path].in_features * linears[path].out_features for path in layers)
    fixed = {PREFILL: 0.0, DECODE: 0.0}
    for text in track(formats, "simulating formats", len(formats)):
        spec = parse_spec(text)
        result = simulate(work.with_weights(dict.fromkeys(layers, spec)), machine)
        times = _times(result, set(layers), request.generate)
        for name in (PREFILL, DECODE):
            own[name][text] = {path: times[name].get(path, 0.0) for path in layers}
            fixed[name] = times[name][""] / len(layers)
        own[BITS][text] = {
            path: spec.storage_bits(linears[path].out_features, linears[path].in_features) / weights
            for path in layers
        }
    frames = {name: pd.DataFrame(table).loc[layers, formats] for name, table in own.items()}
    return work, {name: frame + fixed.get(name, 0.0) for name, frame in frames.items()}


def _times(
    result: SimulationResult, layers: set[str], generate: int
) -> dict[str, dict[str, float]]:
    """Seconds by phase and layer; everything else under the empty name."""
    times: dict[str, dict[str, float]] = {PREFILL: {"": 0.0}, DECODE: {"": 0.0}}
    for op in result.ops:
        share = 1.0 if op.phase == "prefill" else 1.0 / generate
        table = times[PREFILL if op.phase == "prefill" else DECODE]
        key = op.name if op.name in layers else ""
        seconds = op.repeats * op.cycles / result.accelerator.clock_hz.value
        table[key] = table.get(key, 0.0) + share * seconds
    return times
