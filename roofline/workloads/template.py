"""Template: the ops of a model for any step, compiled to arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from quant.common.errors import RequestError
from quant.formats.spec import FormatSpec
from quant.plan import HEAD
from roofline.workloads.amounts import NOTHING, Basis, Step
from roofline.workloads.inventory import apart_of, assigned
from roofline.workloads.models import NO_DECODE, family, parse_text
from roofline.workloads.models.builder import Builder
from roofline.workloads.ops import Experts, Op
from roofline.workloads.quantities import QUANTITIES, Quantity, activation_bytes
from roofline.workloads.setting import Setting

LAYER = re.compile(r".*?\.\d+(?=\.)")
"""A layer's path at the beginning of an op's."""


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
        """The first op of each kind, which kind each op is of, and how many there are."""
        index: dict[Op, int] = {}
        first: list[Op] = []
        of = []
        for op in self.ops:
            kind = index.setdefault(op.named(""), len(index))
            if kind == len(first):
                first.append(op)
            of.append(kind)
        inverse = np.array(of, dtype=np.intp)
        return tuple(first), inverse, np.bincount(inverse).astype(np.float64)

    @property
    def kinds(self) -> tuple[Op, ...]:
        """The different ops: the first of those that differ in their names only."""
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
        rows = [quantity.of(op) for op in self.kinds for quantity in Quantity]
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
        live = float(activation_bytes(numbers).max())
        return self.stored_bytes, float(values[-1]) / self.pp, live


@lru_cache(maxsize=512)
def template(name: str, text: str, setting: Setting) -> Template:
    """Return the template of a config's text, run as a setting says.

    Raises:
        RequestError: a config with faults, devices that do not divide it, or a plan that names no
            layer of it.
    """
    formats = _formats(name, text, setting)
    _check_devices(setting, plain_ops(name, text))
    return Template(_build(name, text, setting, formats), setting.pp)


def _check_devices(setting: Setting, ops: tuple[Op, ...]) -> None:
    """Refuse more stages than layers, and devices for experts that a model does not have."""
    layers = len({found[0] for op in ops if (found := LAYER.match(op.name))})
    if setting.pp > max(1, layers):
        raise RequestError(f"pp {setting.pp}: the model has {layers} layers, a stage needs one")
    if setting.ep > 1 and not any(isinstance(op, Experts) for op in ops):
        raise RequestError(f"ep {setting.ep}: the model has no experts: ep of 1 is allowed")


@lru_cache(maxsize=64)
def plain_ops(name: str, text: str) -> tuple[Op, ...]:
    """Return the ops of a config's text on one device, all in 16 bits."""
    return _build(name, text, Setting(), {})


def plan_formats(name: str, text: str, plan: Mapping[str, FormatSpec]) -> dict[str, FormatSpec]:
    """Return the format of each matrix that a plan means, by path.

    Raises:
        RequestError: a path or pattern that means none.
    """
    ops = plain_ops(name, text)
    paths = tuple(dict.fromkeys(path for op in ops for path in op.paths))
    towers = isinstance(parse_text(text, name).get("text_config"), Mapping)
    return assigned(plan, paths, apart_of(ops), towers)


@lru_cache(maxsize=512)
def generates(name: str, text: str) -> bool:
    """Return whether a model generates tokens; encoders and image models do not."""
    return parse_text(text, name).get("model_type") not in NO_DECODE


@lru_cache(maxsize=512)
def parameters(name: str, text: str) -> int:
    """Return a model's parameters; a tied head counts once."""
    return Template(plain_ops(name, text)).parameters


def _build(
    name: str, text: str, setting: Setting, formats: Mapping[str, FormatSpec]
) -> tuple[Op, ...]:
    build, fields = family(parse_text(text, name))
    builder = Builder(setting, formats)
    build(fields, builder)
    return tuple(builder.ops)


def _formats(name: str, text: str, setting: Setting) -> dict[str, FormatSpec]:
    """The format of every module with a matrix that plans name, stacks of experts as one."""
    formats = {
        op.name: setting.head if op.name == HEAD else setting.weights
        for op in plain_ops(name, text)
        if op.paths and not op.is_apart
    }
    return formats | (plan_formats(name, text, dict(setting.plan)) if setting.plan else {})
