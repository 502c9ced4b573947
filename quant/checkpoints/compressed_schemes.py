"""The schemes of compressed-tensors that hold our codes exactly: how weights and inputs are stored.

A scheme answers which formats it holds, which tensors a layer becomes, and what a config says of
it; ``SCHEMES`` lists those that may be asked for, by how inputs are rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.common.errors import RequestError
from quant.compat.compressed_tensors import pack_to_int32
from quant.formats.elements import FloatType, IntType
from quant.formats.format import Format
from quant.formats.layout import ROW
from quant.formats.registry import FORMATS
from quant.formats.scales import E4M3, E8M0, FP16, FP32, INT8
from quant.formats.spec import FormatSpec
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
_SCALES = {FP16, FP32, INT8}
"""Kinds that are written as float32."""


@dataclass(frozen=True)
class Inputs:
    """How a runtime rounds a layer's inputs.

    Attributes:
        arguments: The library's ``QuantizationArgs`` beside bits and type.
        largest: The value that a layer's largest input is scaled to; None: no scale is stored.
    """

    arguments: Mapping[str, Any]
    largest: float | None = None


TOKEN = Inputs({"dynamic": True, "strategy": "token", "symmetric": True})
TENSOR = Inputs({"dynamic": False, "strategy": "tensor", "symmetric": True}, 448.0)


@dataclass(frozen=True)
class Scheme:
    """A way to store a layer; the base of all.

    Attributes:
        layout: The library's name of it.
        said: Formats that it holds, in words.
        inputs: How inputs are rounded; None: not at all.
    """

    layout: str
    said: str
    inputs: Inputs | None = None

    def holds(self, spec: FormatSpec) -> bool:
        """Whether it holds tensors of a format exactly."""
        raise NotImplementedError

    def tensors(self, tensor: QuantizedTensor) -> Tensors:
        """Return what is stored of a layer, by the library's names."""
        raise NotImplementedError

    def weights(self, spec: FormatSpec) -> dict[str, Any]:
        """Return the library's ``QuantizationArgs`` of the weights."""
        whole_rows = spec.group_size >= ROW
        return {
            "num_bits": spec.format.element_bits,
            "type": "int" if isinstance(spec.format.element, IntType) else "float",
            "symmetric": not spec.format.is_asymmetric,
            "strategy": "channel" if whole_rows else "group",
            "group_size": None if whole_rows else spec.group_size,
            "dynamic": False,
        }

    def group(self, spec: FormatSpec) -> dict[str, Any]:
        """Return a group of the config, its targets left out."""
        weights = self.weights(spec)
        inputs = None
        if self.inputs is not None:
            own = {key: weights[key] for key in ("num_bits", "type")}
            inputs = {**own, **self.inputs.arguments}
        return {
            "weights": weights,
            "input_activations": inputs,
            "output_activations": None,
            "format": self.layout,
        }


@dataclass(frozen=True)
class PackedIntegers(Scheme):
    """Integers without gaps in words of 32 bits."""

    def holds(self, spec: FormatSpec) -> bool:
        """Integers of 2 to 8 bits on a grid."""
        return _is_integer(spec) and 2 <= spec.format.element_bits <= 8

    def tensors(self, tensor: QuantizedTensor) -> Tensors:
        """Words, scales, the shape, and zero points in words of their own."""
        import torch

        bits, half = tensor.spec.format.element_bits, 1 << (tensor.spec.format.element_bits - 1)
        zeros = tensor.zero_points
        arrays = {
            "weight_packed": torch.from_numpy(pack_to_int32(_signed(tensor), bits)),
            "weight_scale": torch.from_numpy(tensor.group_scales()),
            "weight_shape": torch.tensor(tensor.shape, dtype=torch.int64),
        }
        if zeros is not None:
            columns = (zeros.astype(np.int16) - half).astype(np.int8).T
            packed = pack_to_int32(np.ascontiguousarray(columns), bits).T
            arrays["weight_zero_point"] = torch.from_numpy(np.ascontiguousarray(packed))
        return arrays


@dataclass(frozen=True)
class PlainIntegers(Scheme):
    """int8, a scale a row."""

    def holds(self, spec: FormatSpec) -> bool:
        """Symmetric int8 in whole rows."""
        whole = spec.group_size >= ROW and not spec.format.is_asymmetric
        return _is_integer(spec) and spec.format.element_bits == 8 and whole

    def tensors(self, tensor: QuantizedTensor) -> Tensors:
        """Codes and scales."""
        import torch

        scales = torch.from_numpy(tensor.group_scales())
        return {"weight": torch.from_numpy(_signed(tensor)), "weight_scale": scales}


@dataclass(frozen=True)
class Floats8(Scheme):
    """FP8 E4M3, a scale a row."""

    def holds(self, spec: FormatSpec) -> bool:
        """The element of ``fp8-e4m3`` in whole rows."""
        same = spec.format.element == FORMATS["fp8-e4m3"].element
        return same and _has_levels_alone(spec) and spec.group_size >= ROW

    def tensors(self, tensor: QuantizedTensor) -> Tensors:
        """Codes and scales."""
        import torch

        codes = torch.from_numpy(np.ascontiguousarray(tensor.unpack_codes()))
        scales = torch.from_numpy(tensor.group_scales())
        return {"weight": codes.view(torch.float8_e4m3fn), "weight_scale": scales}


@dataclass(frozen=True)
class Floats4(Scheme):
    """E2M1, two codes a byte, the earlier one in the lower half."""

    format: Format = FORMATS["mxfp4"]

    def holds(self, spec: FormatSpec) -> bool:
        """Its format, unless the tensor's scale is multiplied: the library divides by it."""
        if spec.format != self.format or spec.scale != self.format.scale:
            return False
        if spec.group_size != self.format.group_size:
            return False
        return not spec.has_tensor_scale or spec.scale_rule.divides_by_tensor

    def tensors(self, tensor: QuantizedTensor) -> Tensors:
        """Codes, scales, and the tensor's scale where scales are E4M3."""
        import torch

        scales = torch.from_numpy(np.ascontiguousarray(tensor.scales, np.uint8))
        arrays = {"weight_packed": torch.from_numpy(tensor.codes.copy()), "weight_scale": scales}
        if tensor.spec.scale == E4M3:
            arrays["weight_scale"] = scales.view(torch.float8_e4m3fn)
            whole = np.ones(1, np.float32) if tensor.tensor_scale is None else tensor.tensor_scale
            arrays["weight_global_scale"] = torch.from_numpy(whole.copy())
        return arrays

    def weights(self, spec: FormatSpec) -> dict[str, Any]:
        """As all, with the type of the scales."""
        found = super().weights(spec)
        if spec.scale == E4M3:
            found |= {"strategy": "tensor_group", "scale_dtype": "torch.float8_e4m3fn"}
        if spec.scale == E8M0:
            found |= {"scale_dtype": "torch.uint8"}
        return found


_PACKED = PackedIntegers("pack-quantized", "int2 to int8, intN-asym")
_NVFP4 = Floats4("nvfp4-pack-quantized", "nvfp4:global, nvfp4:one-level", format=FORMATS["nvfp4"])
_MXFP4 = Floats4("mxfp4-pack-quantized", "mxfp4")
_FP8 = "fp8-e4m3:row"
SCHEMES: dict[str, tuple[Scheme, ...]] = {
    "none": (_PACKED, _NVFP4, _MXFP4, Floats8("naive-quantized", _FP8)),
    "dynamic": (
        PlainIntegers("int-quantized", "int8:row", TOKEN),
        Floats8("float-quantized", _FP8, TOKEN),
    ),
    "static": (Floats8("float-quantized", _FP8, TENSOR),),
}
"""By how inputs are rounded: not at all, each token by its own largest, or by a stored scale."""


def scheme_of(
    path: str, spec: FormatSpec, columns: int, allowed: tuple[Scheme, ...] = SCHEMES["none"]
) -> Scheme:
    """Return the scheme that holds a layer exactly.

    Args:
        path: The layer, for messages.
        spec: Its format.
        columns: Its inputs.
        allowed: The schemes that may be taken.

    Raises:
        RequestError: none of them does, or rows that are not whole groups.
    """
    found = next((scheme for scheme in allowed if scheme.holds(spec)), None)
    if found is None:
        named = ", ".join(scheme.said for scheme in allowed)
        rounded = "" if allowed[0].inputs is None else " with rounded inputs"
        raise RequestError(
            f"layer {path}: {spec} has no exact scheme there{rounded} (allowed: {named})"
        )
    if spec.group_size < ROW and columns % spec.group_size:
        raise RequestError(
            f"layer {path}: rows of {columns} are not whole groups of {spec.group_size}, "
            "which compressed-tensors needs"
        )
    return found


def signed_codes(codes: U8, bits: int) -> np.ndarray:
    """Return two's complement codes of some bits as int8."""
    half = 1 << (bits - 1)
    wide = codes.astype(np.int16)
    return np.where(wide >= half, wide - 2 * half, wide).astype(np.int8)


def _signed(tensor: QuantizedTensor) -> np.ndarray:
    """Codes as int8; unsigned ones lose the half that packing adds."""
    bits = tensor.spec.format.element_bits
    if tensor.zero_points is None:
        return signed_codes(tensor.unpack_codes(), bits)
    return (tensor.unpack_codes().astype(np.int16) - (1 << (bits - 1))).astype(np.int8)


def _is_integer(spec: FormatSpec) -> bool:
    return isinstance(spec.format.element, IntType) and _has_levels_alone(spec)


def _has_levels_alone(spec: FormatSpec) -> bool:
    """Whether a weight is a level of one table, less an integer, times a scale of ours."""
    plain = spec.format.layout.is_grid and not spec.has_selectors
    no_float_zero = not spec.scale_rule.has_float_zero
    kinds = isinstance(spec.format.element, IntType | FloatType)
    return plain and no_float_zero and kinds and spec.scale in _SCALES
