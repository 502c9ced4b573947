"""Setting: how a model is run, its formats parsed; and the keywords that users give for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict

from quant.formats.spec import FormatLike, FormatSpec, parse_spec

Logits: TypeAlias = Literal["last", "all"]
PLAIN = parse_spec("fp16")


@dataclass(frozen=True)
class Setting:
    """How a model is run.

    Attributes:
        weights: Format of the linear layers of the blocks.
        activations: Format of activations.
        kv: Format of the KV cache.
        head: Format of the head.
        plan: Module path or pattern to format, in order; before ``weights`` and ``head``.
        logits: Whether the head runs on each sequence's last token, or on all.
        flash: Whether attention is one kernel (``FlashAttention``) or three ops.
        absorb: Whether MLA multiplies in the latent space (decode) or expands keys and values.
        tp: Devices that share every layer (tensor parallelism, Megatron-LM).
        pp: Devices that hold consecutive layers each (pipeline parallelism).
        ep: Devices among which the experts are spread.
    """

    weights: FormatSpec = PLAIN
    activations: FormatSpec = PLAIN
    kv: FormatSpec = PLAIN
    head: FormatSpec = PLAIN
    plan: tuple[tuple[str, FormatSpec], ...] = ()
    logits: Logits = "last"
    flash: bool = True
    absorb: bool = False
    tp: int = 1
    pp: int = 1
    ep: int = 1


class ModelOptions(TypedDict, total=False):
    """The keywords of ``roofline.workload`` for a model, but those that ``sweep`` has lists of."""

    head: FormatLike
    plan: Mapping[str, FormatLike] | None
    logits: Logits
    flash: bool
    absorb: bool | None
    pp: int
    ep: int


class SettingOptions(ModelOptions, total=False):
    """The keywords of ``roofline.workload`` that say how a model is run."""

    weights: FormatLike
    activations: FormatLike
    kv: FormatLike
    tp: int


class StepOptions(TypedDict, total=False):
    """The keywords of ``roofline.workload`` that say what a step does."""

    past: int
    new_tokens: int


class SweepOptions(ModelOptions, StepOptions, total=False):
    """The keywords that ``sweep`` passes on."""


class WorkloadOptions(SettingOptions, StepOptions, total=False):
    """All keywords of ``roofline.workload``, for functions that pass them on."""
