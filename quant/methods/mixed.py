"""Several layer methods in one run: each matrix by its own."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING

from quant.common.errors import RequestError
from quant.layers.patterns import matches
from quant.methods.base import CalibrationNeed, LayerMethod, Method

if TYPE_CHECKING:
    from quant.formats.elements import F32
    from quant.formats.spec import FormatSpec
    from quant.layers.statistics import LayerStatistics
    from quant.tensors.tensor import QuantizedTensor


class Mixed(LayerMethod):
    """Layer methods by pattern, the last that means a matrix, and one for all others.

    Raises:
        RequestError: a method that sees blocks or the whole model.
    """

    source = "a plan"

    def __init__(self, first: Method, others: Mapping[str, Method]) -> None:
        own = {pattern: _layer_method(method) for pattern, method in others.items()}
        self.first, self.others = _layer_method(first), own
        self.kinds: Mapping[str, str] = {}
        methods = [self.first, *own.values()]
        self.name = " and ".join(sorted({method.name for method in methods}))
        needs = {method.calibration for method in methods}
        order = (CalibrationNeed.REQUIRED, CalibrationNeed.OPTIONAL, CalibrationNeed.NONE)
        self.calibration = next(need for need in order if need in needs)

    def of(self, path: str) -> LayerMethod:
        """The method of a matrix, or of a pattern."""
        if path in self.others:
            return self.others[path]
        kind = self.kinds.get(path, "")
        own = [m for pattern, m in self.others.items() if matches(path, pattern, kind)]
        return own[-1] if own else self.first

    def for_model(self, kinds: Mapping[str, str]) -> Method:
        """The same for a model whose modules are of these classes, by path."""
        made = copy(self)
        made.kinds = kinds
        return made

    def check_format(self, spec: FormatSpec) -> None:
        """Each asks for itself (``of``)."""

    def round_outside(self, path: str, weight: F32, spec: FormatSpec) -> QuantizedTensor | None:
        """Round by a method that does without inputs; None: to nearest."""
        method = self.of(path)
        return None if method.uses_calibration else method.quantize(weight, spec, None)

    @property
    def is_streamable(self) -> bool:
        """Whether all can do without inputs."""
        return all(method.is_streamable for method in (self.first, *self.others.values()))

    @property
    def described(self) -> str:
        """The method of all others, and that of each pattern."""
        own = "; ".join(f"{pattern}: {m.described}" for pattern, m in self.others.items())
        return f"{self.first.described}; {own}"

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round as the method of all others does."""
        return self.first.quantize(weight, spec, statistics)

    def round_at(
        self, path: str, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a matrix by its own method."""
        method = self.of(path)
        return method.quantize(weight, spec, statistics if method.uses_calibration else None)


def _layer_method(method: Method) -> LayerMethod:
    if not isinstance(method, LayerMethod):
        raise RequestError(
            f"method {method.name!r} sees a whole {method.scope} at once: it cannot be one of "
            "several in a plan"
        )
    return method
