"""The methods that come along. How each one rounds is a module, imported at its first use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from quant.methods.base import BlockMethod, CalibrationNeed, LayerMethod, Method, ModelMethod
from quant.methods.running import free_scales
from quant.methods.settings import DEFAULT_GPTQ, OMNIQUANT, PEQA, SmoothQuantOptions

if TYPE_CHECKING:
    from torch import nn

    from quant.formats.elements import F32
    from quant.formats.spec import FormatSpec
    from quant.layers.blocks import Block, CalibrationData
    from quant.layers.statistics import LayerStatistics
    from quant.layers.weights import Weight
    from quant.tensors.tensor import QuantizedTensor


class RoundToNearest(LayerMethod):
    """Every weight to the nearest level."""

    name = "rtn"
    source = "round to nearest"

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a layer; see ``quant.tensors.quantize``."""
        from quant.tensors.quantize import quantize

        return quantize(weight, spec)


class Clip(LayerMethod):
    """Ranges of groups shrunk to their least squared error."""

    name = "clip"
    source = "least squared error over 80 clipping factors"
    calibration = CalibrationNeed.OPTIONAL

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a layer; see ``quant.methods.clip``."""
        from quant.methods.clip import quantize

        return quantize(weight, spec, statistics)


class Hqq(LayerMethod):
    """Zero points, or else scales, moved against a norm that forgives outliers."""

    name = "hqq"
    source = "HQQ (mobiusml.github.io/hqq_blog, 2023)"

    def check_format(self, spec: FormatSpec) -> None:
        """Grids only."""
        from quant.methods.hqq import own_spec

        own_spec(spec)

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a layer; see ``quant.methods.hqq``."""
        from quant.methods.hqq import quantize

        return quantize(weight, spec)


class Gptq(LayerMethod):
    """Columns one by one, each one's error moved onto those still to come."""

    name = "gptq"
    source = "GPTQ (arXiv 2210.17323)"
    settings = DEFAULT_GPTQ
    calibration = CalibrationNeed.REQUIRED

    def check_format(self, spec: FormatSpec) -> None:
        """Those whose columns can be rounded one after the other."""
        from quant.rounding.layouts.codec import not_by_columns

        if not spec.format.layout.rounds_by_columns:
            raise not_by_columns(spec)

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a layer; see ``quant.methods.gptq``."""
        from quant.methods.gptq import quantize

        return quantize(weight, spec, statistics, self.settings)


class Awq(BlockMethod):
    """Strong input channels scaled up, then ranges clipped."""

    name = "awq"
    source = "AWQ (arXiv 2306.00978)"

    def quantize(
        self, block: Block, specs: Mapping[str, FormatSpec]
    ) -> Mapping[str, QuantizedTensor]:
        """Round a block; see ``quant.methods.awq``."""
        from quant.methods.awq import quantize

        return quantize(block, specs)


class SmoothQuant(BlockMethod):
    """Half of the activations' range moved into the weights."""

    name = "smoothquant"
    source = "SmoothQuant (arXiv 2211.10438)"
    settings = SmoothQuantOptions()

    def quantize(
        self, block: Block, specs: Mapping[str, FormatSpec]
    ) -> Mapping[str, QuantizedTensor]:
        """Round a block; see ``quant.methods.smoothquant``."""
        from quant.methods.smoothquant import quantize

        return quantize(block, specs, self.settings)


class OmniQuant(BlockMethod):
    """Clipping factors trained on what the unquantized blocks give."""

    name = "omniquant"
    source = "OmniQuant (arXiv 2308.13137)"
    settings = OMNIQUANT
    needs_references = True

    def check_format(self, spec: FormatSpec) -> None:
        """Those whose scales can be trained."""
        free_scales(self.name, spec)

    def quantize(
        self, block: Block, specs: Mapping[str, FormatSpec]
    ) -> Mapping[str, QuantizedTensor]:
        """Round a block; see ``quant.methods.omniquant``."""
        from quant.methods.omniquant import quantize

        return quantize(block, specs, self.settings)


class Peqa(ModelMethod):
    """Scales trained on next-token prediction under frozen codes."""

    name = "peqa"
    source = "PEQA (arXiv 2305.14152)"
    settings = PEQA

    @property
    def changes_other_parameters(self) -> bool:
        """No: scales alone are trained."""
        return False

    def check_format(self, spec: FormatSpec) -> None:
        """Those whose scales can be trained."""
        free_scales(self.name, spec)

    def quantize(
        self,
        model: nn.Module,
        layers: Mapping[str, Weight],
        specs: Mapping[str, FormatSpec],
        calibration: CalibrationData | None,
    ) -> Mapping[str, QuantizedTensor]:
        """Round a model; see ``quant.methods.peqa``."""
        from quant.methods.peqa import quantize

        return quantize(model, layers, specs, calibration, self.settings)


BUILTIN: tuple[Method, ...] = (
    RoundToNearest(),
    Clip(),
    Hqq(),
    Gptq(),
    Awq(),
    SmoothQuant(),
    OmniQuant(),
    Peqa(),
)
