"""What every way to round weights has, whatever its scope: what plans and checkpoints ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from quant.common.errors import RequestError
from quant.methods.configurable import Configurable

if TYPE_CHECKING:
    from torch import nn

    from quant.formats.elements import F32
    from quant.formats.spec import FormatSpec
    from quant.layers.blocks import CalibrationData
    from quant.methods.running import Rounded
    from quant.tensors.tensor import QuantizedTensor


class CalibrationNeed(Enum):
    """Whether a method looks at inputs; the values are what listings show."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Method(Configurable, ABC):
    """A way to round weights.

    Attributes:
        name: What users type.
        source: Paper or code.
        calibration: Whether it looks at inputs.
        scope: What it sees at once, for listings.
    """

    name: str
    source: str
    calibration: CalibrationNeed = CalibrationNeed.NONE
    scope: ClassVar[str]

    def of(self, path: str) -> Method:
        """The method that rounds the matrix at a path: itself, unless it is several."""
        return self

    def for_model(self, kinds: Mapping[str, str]) -> Method:
        """The method for a model, given the class of the module of each path."""
        return self

    @property
    def needs_calibration(self) -> bool:
        """Whether it cannot do without inputs."""
        return self.calibration is CalibrationNeed.REQUIRED

    @property
    def uses_calibration(self) -> bool:
        """Whether it looks at inputs where there are some."""
        return self.calibration is not CalibrationNeed.NONE

    @property
    def is_streamable(self) -> bool:
        """Whether it can round a weight by itself, without a model or inputs."""
        return False

    def check_format(self, spec: FormatSpec) -> None:
        """Raise a RequestError for a format that the method does not take: by default it takes all.

        Asked before a model is loaded or a weight is read. ``quantize`` may still refuse a format
        that this lets pass.
        """

    def covered(
        self, model: nn.Module, paths: Iterable[str], calibration: CalibrationData | None
    ) -> list[str]:
        """Return which of the layers to round the method rounds itself: by default all.

        The others, outside of the blocks that it looks at, are rounded to nearest.
        """
        return list(paths)

    @property
    @abstractmethod
    def changes_other_parameters(self) -> bool:
        """Whether it changes more of a model than the layers that it rounds (its norms)."""

    @abstractmethod
    def run(
        self,
        model: nn.Module,
        specs: Mapping[str, FormatSpec],
        calibration: CalibrationData | None,
    ) -> Rounded:
        """Yield module paths and codes, layer by layer.

        The caller lets each layer compute with its codes before it asks for the next one, so that
        later layers see what the quantized ones give.

        Args:
            model: Any torch model.
            specs: Module path -> format of the layers to round.
            calibration: Tokens or batches; None: there are none.

        Raises:
            RequestError: naming the layer, where a format or a weight cannot be rounded so.
        """

    def quantize_alone(self, weight: F32, spec: FormatSpec) -> QuantizedTensor:
        """Round a weight ``[out, in]`` by itself, without a model or inputs.

        Raises:
            RequestError: it cannot (see ``is_streamable``), or not to this format.
        """
        raise RequestError(
            f"method {self.name!r} looks at inputs or at several layers: "
            f"it cannot round {spec} a weight at a time"
        )
