"""Low-bit number formats and the quantization of tensors and torch models.

Names are imported when first used, so that ``import quant`` stays light.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, whose import takes longer than all that is done here
if TYPE_CHECKING:
    from typing import Any

    from quant.checkpoints.compressed_tensors import (
        export_compressed_tensors as export_compressed_tensors,
    )
    from quant.checkpoints.folder import load_quantized as load_quantized
    from quant.checkpoints.folder import save_quantized as save_quantized
    from quant.checkpoints.gguf import load_gguf as load_gguf
    from quant.checkpoints.stream import quantize_checkpoint as quantize_checkpoint
    from quant.formats.custom import user_format as user_format
    from quant.formats.format import Format as Format
    from quant.formats.registry import FORMATS as FORMATS
    from quant.formats.registry import get_format as get_format
    from quant.formats.spec import FormatSpec as FormatSpec
    from quant.formats.spec import parse_spec as parse_spec
    from quant.layers.matrices import QuantizedLinear as QuantizedLinear
    from quant.models.activations import rounded_activations as rounded_activations
    from quant.models.apply import quantize_model as quantize_model
    from quant.models.apply import quantized as quantized
    from quant.models.encoders import conditional_loss as conditional_loss
    from quant.models.encoders import embedding_similarity as embedding_similarity
    from quant.models.encoders import masked_loss as masked_loss
    from quant.models.evaluate import Perplexity as Perplexity
    from quant.models.evaluate import perplexity as perplexity
    from quant.models.export import export as export
    from quant.models.load import load_model as load_model
    from quant.models.save import save_model as save_model
    from quant.models.texts import calibration_tokens as calibration_tokens
    from quant.models.texts import evaluation_tokens as evaluation_tokens
    from quant.plan import Plan as Plan
    from quant.tensors.quantize import quantize as quantize
    from quant.tensors.tensor import QuantizedTensor as QuantizedTensor

_HOME = {
    "FORMATS": "formats.registry",
    "Format": "formats.format",
    "FormatSpec": "formats.spec",
    "Perplexity": "models.evaluate",
    "Plan": "plan",
    "QuantizedLinear": "layers.matrices",
    "QuantizedTensor": "tensors.tensor",
    "calibration_tokens": "models.texts",
    "conditional_loss": "models.encoders",
    "embedding_similarity": "models.encoders",
    "evaluation_tokens": "models.texts",
    "export": "models.export",
    "export_compressed_tensors": "checkpoints.compressed_tensors",
    "get_format": "formats.registry",
    "load_gguf": "checkpoints.gguf",
    "load_model": "models.load",
    "load_quantized": "checkpoints.folder",
    "perplexity": "models.evaluate",
    "masked_loss": "models.encoders",
    "parse_spec": "formats.spec",
    "quantize": "tensors.quantize",
    "quantize_checkpoint": "checkpoints.stream",
    "quantize_model": "models.apply",
    "quantized": "models.apply",
    "rounded_activations": "models.activations",
    "save_model": "models.save",
    "save_quantized": "checkpoints.folder",
    "user_format": "formats.custom",
}
__all__ = [*_HOME]  # noqa: PLE0604  the table above is the one list of names


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute may be anything
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'quant' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"quant.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
