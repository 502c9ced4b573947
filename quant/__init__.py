"""Low-bit number formats and the quantization of tensors and torch models.

What needs torch or numba is imported when first used, so that ``import quant`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from quant.formats import FORMATS, get_format
from quant.quantize import quantize
from quant.scheme import Format
from quant.spec import FormatSpec, parse_spec
from quant.tensor import QuantizedTensor

if TYPE_CHECKING:
    from quant.activations import rounded_activations as rounded_activations
    from quant.apply import quantize_model as quantize_model
    from quant.apply import quantized as quantized
    from quant.checkpoint import load_quantized as load_quantized
    from quant.checkpoint import save_quantized as save_quantized
    from quant.data import calibration_tokens as calibration_tokens
    from quant.data import evaluation_tokens as evaluation_tokens
    from quant.evaluate import Perplexity as Perplexity
    from quant.evaluate import perplexity as perplexity
    from quant.export_compressed import export_compressed_tensors as export_compressed_tensors
    from quant.gguf_file import load_gguf as load_gguf
    from quant.layers import QuantizedLinear as QuantizedLinear
    from quant.models import load_model as load_model
    from quant.plan import Plan as Plan
    from quant.stream import quantize_checkpoint as quantize_checkpoint
    from quant.user_grids import user_format as user_format

_HOME = {
    "Perplexity": "evaluate",
    "Plan": "plan",
    "QuantizedLinear": "layers",
    "calibration_tokens": "data",
    "evaluation_tokens": "data",
    "export_compressed_tensors": "export_compressed",
    "load_gguf": "gguf_file",
    "load_model": "models",
    "load_quantized": "checkpoint",
    "perplexity": "evaluate",
    "quantize_checkpoint": "stream",
    "quantize_model": "apply",
    "quantized": "apply",
    "rounded_activations": "activations",
    "save_quantized": "checkpoint",
    "user_format": "user_grids",
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
