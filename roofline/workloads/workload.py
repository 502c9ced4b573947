"""Workload: the ops of one phase of a model; Scenario: workloads that follow one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Unpack, get_args

import numpy as np
import numpy.typing as npt

from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.sizes import need_count
from quant.formats.spec import FormatLike, FormatSpec, as_spec
from quant.plan import Plan
from roofline.workloads.amounts import Step
from roofline.workloads.inventory import Matrix, apart_of, assigned, matrices_of
from roofline.workloads.models import Model, config_text, is_model
from roofline.workloads.op_work import OpWork
from roofline.workloads.ops import Linear, has_matrix
from roofline.workloads.ops.elementwise import UNKNOWN
from roofline.workloads.planned import as_format, specs_in
from roofline.workloads.quantities import Quantity, moved_bytes
from roofline.workloads.setting import Logits, Setting, WorkloadOptions
from roofline.workloads.template import Template, generates, template

if TYPE_CHECKING:
    import pandas as pd

PHASES = ("prefill", "decode")
MOST_STEPS = 1 << 20
"""Passes of a scenario; beyond any context that a model is made for."""
MOST_TOKENS = 1 << 32
"""Tokens of a sequence."""
Phase = Literal["prefill", "decode"]


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
        phase: ``prefill`` or ``decode``.
        batch: Sequences.
        context: Tokens of the prompt (prefill), or tokens cached before the new ones (decode).
        step: New and cached tokens of each sequence.
        template: The ops for any step.
    """

    model: str
    phase: str
    batch: int
    context: int
    step: Step
    template: Template

    @cached_property
    def table(self) -> npt.NDArray[np.float64]:
        """The numbers of every op, ``[ops, quantities]``."""
        return self.template.table(self.step)

    @cached_property
    def ops(self) -> tuple[OpWork, ...]:
        """In order, per layer, named by torch module paths."""
        rows = self.table.tolist()
        definitions = self.template.ops
        return tuple(OpWork(d, self.step, *row) for d, row in zip(definitions, rows, strict=True))

    @cached_property
    def memory(self) -> Memory:
        """Resident bytes of one device. Activations: the op with the most in and out together."""
        _, kv, live = self.template.memory(self.step)
        return Memory(self.template.stored_bytes, kv, live)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all ops."""
        return float(self.table[:, Quantity.MACS].sum())

    @property
    def bytes(self) -> float:
        """Bytes of all ops."""
        return float(moved_bytes(self.table).sum())

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of ops that a trace did not know, which count as an operation an element."""
        return tuple(op.name for op in self.template.ops if op.kind == UNKNOWN)

    @property
    def linears(self) -> dict[str, OpWork]:
        """The ops with a weight matrix, by module path."""
        return {op.name: op for op in self.ops if has_matrix(op.definition)}

    @property
    def matrices(self) -> dict[str, Linear]:
        """What the linear layers are, by module path: their widths on this device."""
        return {op.name: op for op in self.template.ops if isinstance(op, Linear)}

    @cached_property
    def inventory(self) -> dict[str, Matrix]:
        """The matrices that plans name, each expert's too, by path: sizes on this device."""
        return matrices_of(self.template.ops)

    def with_weights(self, formats: Mapping[str, FormatSpec]) -> Workload:
        """Return the workload with other weight formats for some paths or patterns.

        Raises:
            RequestError: one that means no matrix.
        """
        formats = arguments.table("formats", formats, as_format)
        before = self.template.ops
        paths = dict.fromkeys(path for op in before for path in op.paths)
        chosen = assigned(formats, paths, apart_of(before))
        ops = tuple(part for op in before for part in op.with_formats(chosen))
        return replace(self, template=replace(self.template, ops=ops))

    def to_frame(self) -> pd.DataFrame:
        """Return one row an op: work and bytes."""
        import pandas as pd

        columns = ["name", "op", "count", "macs", "ops", "weight_bytes", "activation_bytes"]
        columns += ["kv_bytes", "bytes"]
        return pd.DataFrame([{c: getattr(op, c) for c in columns} for op in self.ops])


@dataclass(frozen=True)
class Scenario:
    """Workloads and how often each is run (a mean may be a fraction)."""

    parts: tuple[tuple[Workload, float], ...]

    @property
    def memory(self) -> Memory:
        """The largest of the parts."""
        return max((work.memory for work, _ in self.parts), key=lambda memory: memory.total)

    def with_weights(self, formats: Mapping[str, FormatSpec]) -> Scenario:
        """Return the scenario with other weight formats for some paths or patterns.

        Raises:
            RequestError: one that means no matrix.
        """
        formats = arguments.table("formats", formats, as_format)
        known: dict[Template, Template] = {}
        parts = []
        for work, n in self.parts:
            if work.template not in known:
                known[work.template] = work.with_weights(formats).template
            parts.append((replace(work, template=known[work.template]), n))
        return Scenario(tuple(parts))


def workload(
    model: Model,
    phase: Phase = "prefill",
    batch: int = 1,
    context: int = 2048,
    *,
    weights: FormatLike = "fp16",
    activations: FormatLike = "fp16",
    kv: FormatLike = "fp16",
    head: FormatLike = "fp16",
    plan: Mapping[str, FormatLike] | Plan | None = None,
    logits: Logits = "last",
    past: int = 0,
    new_tokens: int = 1,
    flash: bool = True,
    absorb: bool | None = None,
    tp: int = 1,
    pp: int = 1,
    ep: int = 1,
) -> Workload:
    """Return the ops of one forward pass, on one device of those that share it.

    Args:
        model: A built-in name, a hub id, a folder with config.json, a config dict, or a config of
            transformers.
        phase: ``prefill`` processes ``context`` new tokens; ``decode`` ``new_tokens`` a sequence
            after ``context`` cached ones (they attend to them and to themselves).
        batch: Sequences.
        context: See ``phase``; decode allows 0.
        weights: Format of the linear layers of the blocks, ``NAME[:gGROUP][:SCALE]`` or parsed
            (as are all formats here).
        activations: Format of activations.
        kv: Format of the KV cache.
        head: Format of ``lm_head``; embeddings stay fp16 (a tied table that the head reads in
            another format is stored twice).
        plan: Path of a matrix or pattern to format, or a Plan; overrides ``weights`` and ``head``.
            Experts are ``...experts.gate_up_proj[3]``, or all of a stack by its path. Routers stay
            in 16 bits.
        logits: Whether the head runs on the last position or on all.
        past: Tokens that a prefill finds cached (chunked prefill, shared prefixes).
        new_tokens: Tokens of a decode step: more than one to verify a draft.
        flash: Attention as one kernel, scores stay on the chip; else three ops.
        absorb: MLA in the latent space; None: in decode.
        tp: Devices that share every layer.
        pp: Devices that hold consecutive layers; the ops are those of all stages.
        ep: Devices among which experts are spread (see ``models.mlp.mixture``).

    Raises:
        RequestError: unknown names, sizes below 1 or beyond all sense, a plan that names no layer
            of the model, ``past`` in decode, more stages than layers, ``ep`` without experts.
    """
    prefill = arguments.choice("phase", phase, PHASES) == "prefill"
    batch = arguments.integer("batch", batch, 1)
    context = arguments.integer("context", context, 1 if prefill else 0, MOST_TOKENS)
    past = arguments.integer("past", past, 0, MOST_TOKENS)
    new_tokens = arguments.integer("new_tokens", new_tokens, 1, MOST_TOKENS)
    if past and not prefill:
        raise RequestError(f"past {past}: of prefill; decode takes the cached tokens as context")
    arguments.choice("logits", logits, get_args(Logits))
    setting = Setting(
        as_spec(weights, "weights"),
        as_spec(activations, "activations"),
        as_spec(kv, "kv"),
        as_spec(head, "head"),
        tuple(specs_in(plan).items()),
        logits,
        arguments.flag("flash", flash),
        not prefill if absorb is None else arguments.flag("absorb", absorb),
        arguments.integer("tp", tp, 1),
        arguments.integer("pp", pp, 1),
        arguments.integer("ep", ep, 1),
    )
    name, text = config_text(model)
    if not prefill and not generates(name, text):
        raise RequestError(f"{name} generates nothing: phase prefill is allowed")
    step = Step(batch, context, past) if prefill else Step(batch, new_tokens, context)
    return Workload(name, phase, batch, context, step, template(name, text, setting))


def scenario(
    model: Model,
    prompt: int = 256,
    generate: int = 32,
    batch: int = 1,
    **options: Unpack[WorkloadOptions],
) -> Scenario:
    """Return one prefill of ``prompt`` tokens and ``generate`` decode steps of growing context.

    Args:
        model: As for ``workload``.
        prompt: Tokens of the prompt.
        generate: Tokens generated.
        batch: Sequences.
        **options: Passed to ``workload``.

    Raises:
        RequestError: as ``workload``, or more than 1,048,576 tokens to generate.
    """
    prompt = arguments.integer("prompt", prompt, 1)
    generate = arguments.integer("generate", generate, 0)
    need_count(generate, MOST_STEPS, "decode steps", "generate fewer tokens")
    later = options.copy()
    cached = prompt + arguments.integer("past", later.pop("past", 0), 0, MOST_TOKENS)
    steps = [workload(model, "decode", batch, cached + i, **later) for i in range(generate)]
    first = workload(model, "prefill", batch, prompt, **options)
    return Scenario(((first, 1), *((step, 1) for step in steps)))


def as_scenario(work: Workload | Scenario | Model, **options: Unpack[WorkloadOptions]) -> Scenario:
    """Return a scenario that is given, or made of a workload, or of a model and the defaults.

    Args:
        work: A scenario, a workload (which runs once), or a model, as for ``workload``: it stands
            for a prompt of 256 tokens and 32 generated ones.
        **options: How a model is run.

    Raises:
        RequestError: none of these, or a model that cannot be read.
    """
    if isinstance(work, Scenario):
        return work
    if isinstance(work, Workload):
        return Scenario(((work, 1),))
    if not is_model(work):
        raise arguments.wrong_type("work", work, "a Workload, a Scenario or a model")
    return scenario(work, **options)
