"""Scenarios beside ``workload.scenario``: chunked prefill, speculative decoding, early exit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Unpack

from quant.common.errors import RequestError
from quant.common.sizes import need_count
from roofline.workloads.models import Model
from roofline.workloads.setting import SettingOptions
from roofline.workloads.transforms import drop_layers, layers_of
from roofline.workloads.workload import MOST_STEPS, Scenario, workload


@dataclass(frozen=True)
class Round:
    """A scenario and the tokens that it makes, on average."""

    scenario: Scenario
    tokens: float


def chunked_prefill(
    model: Model,
    prompt: int,
    chunk: int,
    batch: int = 1,
    **options: Unpack[SettingOptions],
) -> Scenario:
    """Return a prompt in chunks, each of which sees the ones before (Sarathi, arXiv 2308.16369).

    Raises:
        RequestError: sizes below 1.
    """
    if prompt < 1 or chunk < 1:
        raise RequestError(f"prompt {prompt}, chunk {chunk}: at least 1")
    need_count(-(-prompt // chunk), MOST_STEPS, "chunks", "take larger ones")
    parts = []
    for past in range(0, prompt, chunk):
        size = min(chunk, prompt - past)
        parts.append((workload(model, "prefill", batch, size, past=past, **options), 1.0))
    return Scenario(tuple(parts))


def speculative(
    model: Model,
    draft: Model,
    context: int,
    drafted: int = 4,
    acceptance: float = 0.8,
    batch: int = 1,
    draft_options: SettingOptions | None = None,
    **options: Unpack[SettingOptions],
) -> Round:
    """Return a round of speculative decoding (Leviathan et al. 2023, arXiv 2211.17192).

    The draft model makes ``drafted`` tokens, the model verifies them in one step; each is accepted
    with the same probability, so ``(1 - a^(n + 1)) / (1 - a)`` tokens come out on average.

    Args:
        model: The model.
        draft: The smaller one.
        context: Cached tokens.
        drafted: Tokens of a draft.
        acceptance: Probability that a drafted token is accepted, 0 to 1.
        batch: Sequences.
        draft_options: ``workload``'s keywords for the draft model.
        **options: ``workload``'s keywords for the model.

    Raises:
        RequestError: sizes or probabilities that are not allowed.
    """
    if drafted < 1 or not 0 <= acceptance <= 1:
        raise RequestError(f"drafted {drafted}, acceptance {acceptance}: at least 1, and 0 to 1")
    need_count(drafted, MOST_STEPS, "drafted tokens", "draft fewer")
    small = draft_options or {}
    drafts = [workload(draft, "decode", batch, context + i, **small) for i in range(drafted)]
    whole: SettingOptions = {**options, "logits": "all"}
    check = workload(model, "decode", batch, context, new_tokens=drafted + 1, **whole)
    tokens = sum(acceptance**i for i in range(drafted + 1))
    return Round(Scenario((*((work, 1.0) for work in drafts), (check, 1.0))), batch * tokens)


def early_exit(
    model: Model,
    exits: Mapping[int, float],
    context: int,
    batch: int = 1,
    **options: Unpack[SettingOptions],
) -> Scenario:
    """Return a decode step whose tokens leave after different layers (CALM, arXiv 2207.07061).

    Args:
        model: The model.
        exits: Layers that are run to the share of tokens that leave there; the rest runs all.
        context: Cached tokens.
        batch: Sequences.
        **options: ``workload``'s keywords.

    Raises:
        RequestError: layers that are not there, or shares that are not probabilities.
    """
    whole = workload(model, "decode", batch, context, **options)
    count, rest = layers_of(whole), 1.0 - sum(exits.values())
    bad = [n for n in exits if not 1 <= n <= count]
    if bad or rest < -1e-9 or min(exits.values(), default=0.0) < 0:
        raise RequestError(f"exits {dict(exits)}: layers 1 to {count} and shares that sum to 1")
    parts = [
        (drop_layers(whole, range(n, count)), share) for n, share in exits.items() if share > 0
    ]
    return Scenario((*parts, *([(whole, rest)] if rest > 1e-9 else [])))
