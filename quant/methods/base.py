"""What a way to round weights is: an object of one of three scopes.

Subclass ``LayerMethod``, ``BlockMethod`` or ``ModelMethod``, give it a name, a source and what it
needs, write its ``quantize``, and ``quant.methods.registry.register`` an instance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from quant.common.config import parse
from quant.common.errors import RequestError
from quant.methods.running import all_of, by_blocks, checked, inside

if TYPE_CHECKING:
    from torch import nn

    from quant.formats.elements import F32
    from quant.formats.spec import FormatSpec
    from quant.layers.blocks import Block, CalibrationData
    from quant.layers.statistics import LayerStatistics
    from quant.layers.weights import Weight
    from quant.methods.running import Rounded
    from quant.tensors.tensor import QuantizedTensor


class CalibrationNeed(Enum):
    """Whether a method looks at inputs; the values are what listings show."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Method(ABC):
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
    settings: Any = None
    """A frozen dataclass of its options; None: it has none."""

    def configured(self, options: Mapping[str, object]) -> Method:
        """Return the method with some options changed.

        Raises:
            RequestError: an option that it has not, or a value of another kind.
        """
        if not options:
            return self
        known = asdict(self.settings) if self.settings is not None else {}
        if strange := sorted(options.keys() - known.keys()):
            allowed = ", ".join(known) or "none"
            raise RequestError(
                f"method {self.name!r} has no option {strange[0]!r}: {allowed} may be given"
            )
        made = copy(self)
        made.settings = parse({**known, **options}, type(self.settings), f"method {self.name!r}")
        return made

    @property
    def options(self) -> dict[str, object]:
        """Its options that are not the defaults, by name."""
        usual = type(self).settings
        if self.settings is None or self.settings == usual:
            return {}
        before, now = asdict(usual), asdict(self.settings)
        return {name: value for name, value in now.items() if value != before[name]}

    @property
    def described(self) -> str:
        """Its name, and the options that are not the defaults."""
        listed = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.name}({listed})" if listed else self.name

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

    def check_format(self, spec: FormatSpec) -> None:  # noqa: B027  a default, not a gap
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


class LayerMethod(Method):
    """A method that sees one weight at a time, and what is known of its inputs."""

    scope = "layer"

    @abstractmethod
    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a layer.

        Args:
            weight: ``[out, in]`` float32, finite; a copy, which the method may change.
            spec: The format.
            statistics: Of the layer's inputs; None without calibration.

        Raises:
            RequestError: a format that the method does not take.
        """

    @property
    def is_streamable(self) -> bool:
        """Whether it can do without inputs."""
        return not self.needs_calibration

    @property
    def changes_other_parameters(self) -> bool:
        """No: it sees weights only."""
        return False

    def run(
        self,
        model: nn.Module,
        specs: Mapping[str, FormatSpec],
        calibration: CalibrationData | None,
    ) -> Rounded:
        """Round layer by layer; with calibration block by block, layers outside to nearest."""
        from quant.common.progress import track
        from quant.layers.weights import weights

        if calibration is not None and self.uses_calibration:
            yield from by_blocks(
                model, specs, calibration, self._round_block, outside=self.round_outside
            )
            return
        known = weights(model)
        for path in track(specs, f"quantizing ({self.name})", len(specs)):
            yield path, self._round(path, known[path].matrix(), specs[path], None)

    def covered(
        self, model: nn.Module, paths: Iterable[str], calibration: CalibrationData | None
    ) -> list[str]:
        """With calibration those in blocks, else all."""
        if calibration is None or not self.uses_calibration:
            return list(paths)
        return inside(model, paths)

    def quantize_alone(self, weight: F32, spec: FormatSpec) -> QuantizedTensor:
        """Round a weight ``[out, in]`` by itself."""
        if not self.is_streamable:
            return super().quantize_alone(weight, spec)
        return self.quantize(weight, spec, None)

    def round_at(
        self, path: str, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round the matrix at a path: as any other."""
        return self.quantize(weight, spec, statistics)

    def round_outside(self, path: str, weight: F32, spec: FormatSpec) -> QuantizedTensor | None:
        """Round a matrix outside of the blocks; None: to nearest."""
        return None

    def _round_block(self, block: Block, specs: Mapping[str, FormatSpec]) -> Rounded:
        from quant.layers.statistics import layer_statistics
        from quant.tensors.quantize import quantize

        known = layer_statistics(block, list(specs))
        for path, spec in specs.items():
            weight = block.layers[path].matrix()
            if path in known:
                yield path, self._round(path, weight, spec, known.pop(path))
            else:  # as layer_statistics notes
                yield path, quantize(weight, spec)

    def _round(
        self, path: str, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        try:
            tensor = self.round_at(path, weight, spec, statistics)
        except RequestError as error:
            raise RequestError(f"layer {path}: {error}") from None
        return checked(self.name, tensor)


class BlockMethod(Method):
    """A method that sees all layers of a block at once, and the inputs that the block gets.

    Attributes:
        needs_references: Whether ``block.references`` shall hold what the unquantized blocks give.
    """

    scope = "block"
    calibration = CalibrationNeed.REQUIRED
    needs_references: bool = False

    @abstractmethod
    def quantize(
        self, block: Block, specs: Mapping[str, FormatSpec]
    ) -> Mapping[str, QuantizedTensor]:
        """Round the layers of a block; its other modules (norms) may change in place.

        Args:
            block: The block; without calibration its inputs are empty.
            specs: Module path -> format of those of its layers that are to be rounded.

        Raises:
            RequestError: a format that the method does not take.
        """

    @property
    def changes_other_parameters(self) -> bool:
        """It may: scales are folded into norms."""
        return True

    def run(
        self,
        model: nn.Module,
        specs: Mapping[str, FormatSpec],
        calibration: CalibrationData | None,
    ) -> Rounded:
        """Round block by block; layers outside of blocks, such as the head, to nearest."""
        seen = calibration if self.uses_calibration else None
        yield from by_blocks(
            model, specs, seen, self._round_block, references=self.needs_references
        )

    def covered(
        self, model: nn.Module, paths: Iterable[str], calibration: CalibrationData | None
    ) -> list[str]:
        """Those in blocks."""
        return inside(model, paths)

    def _round_block(self, block: Block, specs: Mapping[str, FormatSpec]) -> Rounded:
        yield from all_of(self.name, self.quantize(block, specs), specs)


class ModelMethod(Method):
    """A method that sees the whole model at once."""

    scope = "model"
    calibration = CalibrationNeed.REQUIRED

    @abstractmethod
    def quantize(
        self,
        model: nn.Module,
        layers: Mapping[str, Weight],
        specs: Mapping[str, FormatSpec],
        calibration: CalibrationData | None,
    ) -> Mapping[str, QuantizedTensor]:
        """Round layers of a model.

        Args:
            model: The unquantized model; its other modules may change in place.
            layers: Path -> matrix, of all in the model (``quant.layers.weights``).
            specs: Module path -> format of the layers to round.
            calibration: Tokens or batches; None where the method does without.

        Raises:
            RequestError: a format or calibration that the method does not take.
        """

    @property
    def changes_other_parameters(self) -> bool:
        """It may, unless it says that it does not."""
        return True

    def run(
        self,
        model: nn.Module,
        specs: Mapping[str, FormatSpec],
        calibration: CalibrationData | None,
    ) -> Rounded:
        """Round all layers at once."""
        from quant.layers.weights import weights

        seen = calibration if self.uses_calibration else None
        yield from all_of(self.name, self.quantize(model, weights(model), specs, seen), specs)
