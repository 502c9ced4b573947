"""Template: the ops of a model for any step, compiled to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from quant.formats.spec import FormatSpec, parse_spec
from quant.plan import HEAD, assign
from roofline.workloads.amounts import NOTHING, Basis, Step
from roofline.workloads.models import NO_DECODE, family, parse_text
from roofline.workloads.models.builder import PLAIN, Builder, Options
from roofline.workloads.ops import Linear, Op

QUANTITIES = (
    "macs",
    "ops",
    "special_ops",
    "weight_bytes",
    "input_bytes",
    "output_bytes",
    "kv_bytes",
    "link_bytes",
)
"""The numbers of an op, in the order of a table's columns."""
_BYTES = slice(QUANTITIES.index("weight_bytes"), QUANTITIES.index("kv_bytes") + 1)
_ACTIVATIONS = slice(QUANTITIES.index("input_bytes"), QUANTITIES.index("output_bytes") + 1)


@dataclass(frozen=True)
class Template:
    """The ops of a model's forward pass, and their numbers as coefficients.

    Attributes:
        ops: In order, per layer.
        pp: Pipeline stages over which weights and cache are spread.
    """

    ops: tuple[Op, ...]
    pp: int = 1

    @cached_property
    def _hash(self) -> int:
        return hash(self.ops)

    def __hash__(self) -> int:
        """Hash the ops once."""
        return self._hash

    @cached_property
    def _grouping(self) -> tuple[tuple[Op, ...], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """The different ops (names aside), which of them each op is, and how many there are."""
        index: dict[Op, int] = {}
        of = [index.setdefault(replace(op, name=""), len(index)) for op in self.ops]
        inverse = np.array(of, dtype=np.intp)
        return tuple(index), inverse, np.bincount(inverse).astype(np.float64)

    @property
    def kinds(self) -> tuple[Op, ...]:
        """The different ops, without names: layers repeat them."""
        return self._grouping[0]

    @property
    def index(self) -> npt.NDArray[np.intp]:
        """Which of ``kinds`` each op is, ``[ops]``."""
        return self._grouping[1]

    @property
    def counts(self) -> npt.NDArray[np.float64]:
        """How often each of ``kinds`` occurs."""
        return self._grouping[2]

    @cached_property
    def basis(self) -> Basis:
        """Rows: every quantity of every kind, then the bytes that stay in the cache."""
        rows = [getattr(op, quantity) for op in self.kinds for quantity in QUANTITIES]
        cached = NOTHING
        for op, count in zip(self.kinds, self.counts, strict=True):
            cached = cached + op.cached_bytes * float(count)
        return Basis([*rows, cached])

    @cached_property
    def stored_bytes(self) -> float:
        """Weights of one device, embeddings included."""
        sizes = zip(self.kinds, self.counts, strict=True)
        return sum(op.stored_bytes * float(count) for op, count in sizes) / self.pp

    @property
    def parameters(self) -> int:
        """Weights and biases on these devices; a tied head counts once."""
        sizes = zip(self.kinds, self.counts, strict=True)
        return sum(op.parameters * int(count) for op, count in sizes)

    def by_kind(self, step: Step) -> npt.NDArray[np.float64]:
        """Return the numbers of the kinds, ``[kinds, len(QUANTITIES)]``."""
        values = self.basis.coefficients @ self.basis.at(step)
        return values[:-1].reshape(-1, len(QUANTITIES))

    def table(self, step: Step) -> npt.NDArray[np.float64]:
        """Return the numbers of every op, ``[ops, len(QUANTITIES)]``."""
        return self.by_kind(step)[self.index]

    def memory(self, step: Step) -> tuple[float, float, float]:
        """Return bytes of one device: weights, KV cache, the largest activations of an op."""
        values = self.basis.coefficients @ self.basis.at(step)
        numbers = values[:-1].reshape(-1, len(QUANTITIES))
        live = float(numbers[:, _ACTIVATIONS].sum(axis=1).max())
        return self.stored_bytes, float(values[-1]) / self.pp, live

    @staticmethod
    def traffic(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return all bytes that cross the memory interface, from a table's columns."""
        total: npt.NDArray[np.float64] = table[:, _BYTES].sum(axis=1)
        return total


@lru_cache(maxsize=512)
def template(
    name: str,
    text: str,
    weights: str,
    activations: str,
    kv: str,
    head: str,
    plan: tuple[tuple[str, str], ...],
    all_logits: bool,
    flash: bool,
    absorb: bool,
    tp: int,
    pp: int,
    ep: int,
) -> Template:
    """Return the template of a config's text with formats; see ``workload`` for the arguments."""
    formats = _formats(linear_paths(name, text), weights, head, dict(plan))
    options = Options(
        lambda path: formats.get(path, PLAIN),
        parse_spec(activations),
        parse_spec(kv),
        flash,
        absorb,
        all_logits,
        tp,
        ep,
        pp,
    )
    return Template(_build(name, text, options), pp)


@lru_cache(maxsize=512)
def linear_paths(name: str, text: str) -> tuple[str, ...]:
    """Return the module paths with a weight matrix that can be quantized."""
    ops = _build(name, text, Options(lambda _: PLAIN, PLAIN, PLAIN))
    return tuple(op.name for op in ops if isinstance(op, Linear))


@lru_cache(maxsize=512)
def generates(name: str, text: str) -> bool:
    """Return whether a model generates tokens; encoders and image models do not."""
    return parse_text(text, name).get("model_type") not in NO_DECODE


@lru_cache(maxsize=512)
def parameters(name: str, text: str) -> int:
    """Return a model's parameters; a tied head counts once."""
    return Template(_build(name, text, Options(lambda _: PLAIN, PLAIN, PLAIN))).parameters


def _build(name: str, text: str, options: Options) -> tuple[Op, ...]:
    build, fields = family(parse_text(text, name))
    builder = Builder(options)
    build(fields, builder)
    return tuple(builder.ops)


def _formats(
    paths: tuple[str, ...], weights: str, head: str, plan: Mapping[str, str]
) -> dict[str, FormatSpec]:
    """The format of every linear module."""
    texts = dict.fromkeys(paths, weights) | {path: head for path in paths if path == HEAD}
    if plan:
        texts |= assign(plan, paths)
    return {path: parse_spec(text) for path, text in texts.items()}
