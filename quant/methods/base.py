"""What a way to round weights is: an object of one of three scopes.

Subclass ``LayerMethod``, ``BlockMethod`` or ``ModelMethod``, give it a name, a source and what it
needs, write its ``quantize``, and ``quant.methods.registry.register`` an instance.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from quant.common.errors import RequestError
from quant.methods.method import CalibrationNeed, Method
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

__all__ = ["BlockMethod", "CalibrationNeed", "LayerMethod", "Method", "ModelMethod"]


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
