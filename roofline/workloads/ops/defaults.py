"""BaseOp: an op that costs nothing yet; ops of one's own start from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Self

from quant.common.errors import RequestError
from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import NOTHING, Amount
from roofline.workloads.ops.base import Op, Operands, Product
from roofline.workloads.ops.kernels import unknown_class


@dataclass(frozen=True, slots=True)
class BaseOp:
    """The usual answers of an ``Op``; subclasses give the numbers that are not nothing.

    Attributes:
        name: Torch module path.
        activations: Format of its inputs and outputs.
    """

    name: str
    activations: FormatSpec

    def __init_subclass__(cls) -> None:
        """Let a field take the place of an answer below.

        ``dataclass`` would take the inherited property for the field's default value.
        """
        for name in inspect.get_annotations(cls):
            if name not in cls.__dict__ and isinstance(getattr(cls, name, None), property):
                setattr(cls, name, field())

    @property
    def kind(self) -> str:
        """The class."""
        return type(self).__name__

    @property
    def weights(self) -> FormatSpec | None:
        """None."""
        return None

    @property
    def paths(self) -> tuple[str, ...]:
        """Its own path, where it has a matrix."""
        return () if self.weights is None else (self.name,)

    @property
    def is_apart(self) -> bool:
        """Whatever has a matrix is meant."""
        return False

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """All its weights as one column: how they are shaped, its author must say."""
        return (self.parameters, 1) if self.weights is not None else (0, 0)

    @property
    def product(self) -> Product | None:
        """None: element-wise."""
        return None

    @property
    def operands(self) -> Operands | None:
        """None: element-wise."""
        return None

    @property
    def macs(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def ops(self) -> Amount:
        """Two a MAC."""
        return 2 * self.macs

    @property
    def special_ops(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def weight_bytes(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def input_bytes(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def output_bytes(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def kv_bytes(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def link_bytes(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def parameters(self) -> int:
        """None."""
        return 0

    @property
    def stored_bytes(self) -> float:
        """None."""
        return 0.0

    @property
    def cached_bytes(self) -> Amount:
        """None."""
        return NOTHING

    @property
    def mixes_tokens(self) -> bool:
        """Each token by itself."""
        return False

    @property
    def is_fused(self) -> bool:
        """A kernel of its own."""
        return False

    @property
    def launch_group(self) -> tuple[object, ...] | None:
        """None: it runs alone."""
        return None

    @property
    def ranks(self) -> int:
        """One device."""
        return 1

    def kernel_class(self, queries: float) -> str:
        """Raise: which kernels an op is like, its author must say.

        Raises:
            RequestError: always.
        """
        raise unknown_class(self.name, self.kind)

    def unfused(self) -> tuple[Op, ...]:
        """Return the op itself."""
        return (self,)

    def named(self, name: str) -> Self:
        """Return the same op under another path."""
        return replace(self, name=name)

    def with_weights(self, spec: FormatSpec) -> Self:
        """Return the op with its weight matrix, the field ``weights``, in another format.

        Raises:
            RequestError: it has no weight matrix.
        """
        if self.weights is None:
            raise RequestError(f"op {self.name!r} of kind {self.kind!r} has no weights: {spec}")
        return replace(self, weights=spec)  # type: ignore[call-arg]  # their field

    def with_formats(self, formats: Mapping[str, FormatSpec]) -> tuple[Op, ...]:
        """Return the op with the format of its matrix."""
        for path in self.paths:
            if path in formats:
                return (self.with_weights(formats[path]),)
        return (self,)

    def with_amounts(self, change: Callable[[Amount], Amount]) -> Self:
        """Return the op with every field that is an amount changed."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        changed = {name: change(v) for name, v in values.items() if isinstance(v, Amount)}
        return replace(self, **changed)  # type: ignore[arg-type]  # its fields
