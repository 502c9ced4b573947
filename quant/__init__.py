"""Low-bit number formats and the quantization of tensors and torch models.

What needs torch or numba is imported when first used, so that ``import quant`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from quant.formats.format import Format
from quant.formats.registry import FORMATS, get_format
from quant.formats.spec import FormatSpec, parse_spec
from quant.tensors.quantize import quantize
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    from quant.checkpoints.compressed_tensors import (
        export_compressed_tensors as export_compressed_tensors,
    )
    from quant.checkpoints.folder import load_quantized as load_quantized
    from quant.checkpoints.folder import save_quantized as save_quantized
    from quant.checkpoints.gguf import load_gguf as load_gguf
    from quant.checkpoints.stream import quantize_checkpoint as quantize_checkpoint
    from quant.formats.custom import user_format as user_format
    from quant.layers.matrices import QuantizedLinear as QuantizedLinear
    from quant.models.activations import rounded_activations as rounded_activations
    from quant.models.apply import quantize_model as quantize_model
    from quant.models.apply import quantized as quantized
    from quant.models.evaluate import Perplexity as Perplexity
    from quant.models.evaluate import perplexity as perplexity
    from quant.models.load import load_model as load_model
    from quant.models.texts import calibration_tokens as calibration_tokens
    from quant.models.texts import evaluation_tokens as evaluation_tokens
    from quant.plan import Plan as Plan

_HOME = {
    "Perplexity": "models.evaluate",
    "Plan": "plan",
    "QuantizedLinear": "layers.matrices",
    "calibration_tokens": "models.texts",
    "evaluation_tokens": "models.texts",
    "export_compressed_tensors": "checkpoints.compressed_tensors",
    "load_gguf": "checkpoints.gguf",
    "load_model": "models.load",
    "load_quantized": "checkpoints.folder",
    "perplexity": "models.evaluate",
    "quantize_checkpoint": "checkpoints.stream",
    "quantize_model": "models.apply",
    "quantized": "models.apply",
    "rounded_activations": "models.activations",
    "save_quantized": "checkpoints.folder",
    "user_format": "formats.custom",
}
__all__ = [  # noqa: PLE0604  the table above is the one list of late names
    "FORMATS",
    "Format",
    "FormatSpec",
    "QuantizedTensor",
    "get_format",
    "parse_spec",
    "quantize",
    *_HOME,
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute may be anything
    if name not in _HOME:
        raise AttributeError(f"module 'quant' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"quant.{_HOME[name]}"), name)
    globals()[name] = value
    return value
