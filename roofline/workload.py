"""Workload: the ops of one phase of a model; Scenario: a prompt, then generated tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quant.common.errors import RequestError, unknown_name
from quant.plan import HEAD, assign
from quant.spec import FormatSpec, parse_spec
from roofline.models import load_config
from roofline.models.llama import LlamaConfig, Step, build
from roofline.ops import Linear, Op

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("prefill", "decode")
Model = str | Path | Mapping[str, Any]


@dataclass(frozen=True)
class Memory:
    """Bytes that must be resident: weights with embeddings, KV cache, largest live activations."""

    weights: float
    kv_cache: float
    activations: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.weights + self.kv_cache + self.activations


@dataclass(frozen=True)
class Workload:
    """The ops of one forward pass.

    Attributes:
        model: Name.
        phase: ``prefill`` (all tokens new) or ``decode`` (one new token a sequence).
        batch: Sequences.
        context: Tokens of the prompt (prefill), or tokens cached before the new one (decode).
        ops: In order, per layer, named by torch module paths.
        memory: Resident bytes.
    """

    model: str
    phase: str
    batch: int
    context: int
    ops: tuple[Op, ...]
    memory: Memory

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of all ops."""
        return sum(op.macs for op in self.ops)

    @cached_property
    def bytes(self) -> float:
        """Bytes of all ops."""
        return sum(op.bytes for op in self.ops)

    @property
    def linears(self) -> dict[str, Linear]:
        """The linear ops by module path."""
        return {op.name: op for op in self.ops if isinstance(op, Linear)}

    def with_weights(self, formats: Mapping[str, FormatSpec]) -> Workload:
        """Return the workload with other weight formats for some module paths."""
        before = sum(op.weight_bytes for op in self.linears.values())
        ops = tuple(
            replace(op, weights=formats[op.name])
            if isinstance(op, Linear) and op.name in formats
            else op
            for op in self.ops
        )
        after = sum(op.weight_bytes for op in ops if isinstance(op, Linear))
        weights = self.memory.weights + after - before
        return replace(self, ops=ops, memory=replace(self.memory, weights=weights))

    def to_frame(self) -> pd.DataFrame:
        """Return one row an op: work and bytes."""
        import pandas as pd

        columns = ["name", "op", "count", "macs", "ops", "weight_bytes", "activation_bytes"]
        columns += ["kv_bytes", "bytes"]
        return pd.DataFrame([{c: getattr(op, c) for c in columns} for op in self.ops])


@dataclass(frozen=True)
class Scenario:
    """Workloads and how often each is run."""

    parts: tuple[tuple[Workload, int], ...]

    @property
    def memory(self) -> Memory:
        """The largest of the parts."""
        return max((work.memory for work, _ in self.parts), key=lambda memory: memory.total)

    def with_weights(self, formats: Mapping[str, FormatSpec]) -> Scenario:
        """Return the scenario with other weight formats for some module paths."""
        return Scenario(tuple((work.with_weights(formats), n) for work, n in self.parts))


def workload(
    model: Model,
    phase: Literal["prefill", "decode"] = "prefill",
    batch: int = 1,
    context: int = 2048,
    *,
    weights: str = "fp16",
    activations: str = "fp16",
    kv: str = "fp16",
    head: str = "fp16",
    plan: Mapping[str, str] | None = None,
    logits: Literal["last", "all"] = "last",
) -> Workload:
    """Return the ops of one forward pass.

    Args:
        model: A built-in name, a folder with config.json, or a config dict.
        phase: ``prefill`` processes ``context`` new tokens; ``decode`` one new token a sequence
            after ``context`` cached ones (it attends to them and to itself).
        batch: Sequences.
        context: See ``phase``; decode allows 0.
        weights: Format of the linear layers of the blocks, ``NAME[:gGROUP][:SCALE]``.
        activations: Format of activations.
        kv: Format of the KV cache.
        head: Format of ``lm_head``; embeddings stay fp16 (a tied table that the head reads in
            another format is stored twice).
        plan: Module path or pattern to format; overrides ``weights`` and ``head``.
        logits: Whether the head runs on the last position or on all.

    Raises:
        RequestError: unknown names, sizes below 1, or a plan that names no layer of the model.
    """
    if phase not in PHASES:
        raise unknown_name("phase", phase, PHASES)
    _at_least("batch", batch, 1)
    _at_least("context", context, 1 if phase == "prefill" else 0)
    name, config = load_config(model)
    formats = _formats(config, weights, head, plan)
    plain = parse_spec("fp16")
    queries = context if phase == "prefill" else 1
    keys = context if phase == "prefill" else context + 1
    step = Step(
        batch,
        queries,
        keys,
        queries if logits == "all" else 1,
        lambda path: formats.get(path, plain),
        parse_spec(activations),
        parse_spec(kv),
    )
    ops = build(config, step)
    return Workload(name, phase, batch, context, ops, _memory(config, step, ops))


def scenario(
    model: Model,
    prompt: int = 256,
    generate: int = 32,
    batch: int = 1,
    **formats: Any,  # noqa: ANN401  workload's keywords
) -> Scenario:
    """Return one prefill of ``prompt`` tokens and ``generate`` decode steps of growing context.

    Args:
        model: As for ``workload``.
        prompt: Tokens of the prompt.
        generate: Tokens generated.
        batch: Sequences.
        **formats: Passed to ``workload``.
    """
    _at_least("prompt", prompt, 1)
    _at_least("generate", generate, 0)
    steps = [workload(model, "decode", batch, prompt + i, **formats) for i in range(generate)]
    first = workload(model, "prefill", batch, prompt, **formats)
    return Scenario(((first, 1), *((step, 1) for step in steps)))


def _formats(
    config: LlamaConfig, weights: str, head: str, plan: Mapping[str, str] | None
) -> dict[str, FormatSpec]:
    """The format of every linear module."""
    paths = [path for layer in range(config.num_hidden_layers) for path in config.linears(layer)]
    texts = dict.fromkeys(paths, weights) | {HEAD: head}
    if plan:
        texts |= assign(plan, [*paths, HEAD])
    return {path: parse_spec(text) for path, text in texts.items()}


def _memory(config: LlamaConfig, step: Step, ops: tuple[Op, ...]) -> Memory:
    """Resident bytes. Activations: the op with the largest input and output together."""
    table = FormatBytes(config.vocab_size, config.hidden_size)
    weights = sum(op.weight_bytes for op in ops if not op.name.startswith("model.embed"))
    shared = config.tie_word_embeddings and step.weights(HEAD).format.is_plain
    weights += 0 if shared else table.fp16
    cached = step.kv.storage_bits(step.keys, config.kv_width) / 8
    cache = 2 * config.num_hidden_layers * step.batch * cached
    return Memory(weights, cache, max(op.activation_bytes for op in ops))


@dataclass(frozen=True)
class FormatBytes:
    """Bytes of an embedding table."""

    rows: int
    columns: int

    @property
    def fp16(self) -> int:
        """At 16 bits."""
        return 2 * self.rows * self.columns


def _at_least(what: str, value: int, least: int) -> None:
    if value < least:
        raise RequestError(f"{what} {value} is not allowed: at least {least}")
