"""Export to compressed-tensors checkpoints, which vLLM and transformers read.

Layout of compressed-tensors 0.20: integers packed without gaps into int32 (``pack-quantized``),
FP4 two codes a byte under E4M3 (``nvfp4-pack-quantized``) or E8M0 (``mxfp4-pack-quantized``).
Scales of integers are written as float32, so that what the library decodes is what
``QuantizedTensor.dequantize`` returns; it decodes FP4 to bfloat16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.checkpoints.folder import check_contents, content_hash
from quant.common import arguments
from quant.common.errors import HwsimError, RequestError
from quant.common.goal import Goal
from quant.common.job import job
from quant.compat.compressed_tensors import pack_to_int32
from quant.formats.elements import IntType
from quant.formats.layout import ROW
from quant.formats.rules import TWO_LEVEL
from quant.formats.scales import E4M3, E8M0, FP16, FP32, INT8
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

VERSION = "0.20.0"
SCHEMA = "hwsim.compressed/1"
FILE, CONFIG = "model.safetensors", "config.json"
_INTEGER_SCALES = {FP16, FP32, INT8}
_FP4 = {"nvfp4": "nvfp4-pack-quantized", "mxfp4": "mxfp4-pack-quantized"}
_ALLOWED = "int2 to int8, intN-asym, nvfp4:global, nvfp4:one-level, mxfp4"


def export_compressed_tensors(
    folder: str | Path,
    tensors: Mapping[str, QuantizedTensor],
    *,
    rest: Mapping[str, torch.Tensor] | None = None,
    config: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write quantized layers as a compressed-tensors checkpoint folder.

    Args:
        folder: Whole or absent; nothing is done where it holds just this already.
        tensors: Module path -> codes.
        rest: Parameters that are not quantized, by their names; weights of ``tensors`` are left
            out.
        config: The model's ``config.json``, to which ``quantization_config`` is added.
        overwrite: Take the place of an older export; files that are not of it stay.

    Raises:
        RequestError: no layer, one in a format that the layout cannot hold exactly, or a folder
            that holds anything but an export, or another one.
        HwsimError: another process writes there, or the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors, rest = check_contents(tensors, rest)
    overwrite = arguments.flag("overwrite", overwrite)
    if config is not None:
        config = arguments.one_of("config", config, Mapping, "a mapping")
    if not tensors:
        raise RequestError("no quantized layer to export")
    arrays: dict[str, torch.Tensor] = {}
    for path, tensor in tensors.items():
        _check(path, tensor)
        arrays |= {f"{path}.{name}": value for name, value in _layer(tensor).items()}
    quantized = {f"{path}.weight" for path in tensors}
    for name, value in (rest or {}).items():
        if name not in quantized:
            arrays[name] = value.contiguous()
    settings = {**(config or {}), "quantization_config": quantization_config(tensors)}
    request = {"content": content_hash(tensors, rest or {}), "config": settings}
    with job(Goal(arguments.path("folder", folder), SCHEMA, request, overwrite=overwrite)) as work:
        if work.made is not None:
            return
        try:
            save_file(arrays, work.folder / FILE, metadata={"format": "pt"})
        except SafetensorError as error:
            raise HwsimError(f"{folder}: cannot be written: {error}") from None
        (work.folder / CONFIG).write_text(json.dumps(settings, indent=1), encoding="utf-8")
        work.finish({}, [FILE, CONFIG])


def quantization_config(tensors: Mapping[str, QuantizedTensor]) -> dict[str, Any]:
    """Return the ``quantization_config`` that names each layer's scheme, grouped by format."""
    by_spec: dict[FormatSpec, list[str]] = {}
    for path, tensor in tensors.items():
        by_spec.setdefault(tensor.spec, []).append(path)
    groups = {
        f"group_{index}": {
            "targets": paths,
            "weights": _arguments(spec),
            "input_activations": None,
            "output_activations": None,
            "format": _layout(spec),
        }
        for index, (spec, paths) in enumerate(by_spec.items())
    }
    layouts = {_layout(spec) for spec in by_spec}
    return {
        "quant_method": "compressed-tensors",
        "version": VERSION,
        "format": layouts.pop() if len(layouts) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": [],
    }


def _layer(tensor: QuantizedTensor) -> dict[str, torch.Tensor]:
    import torch

    spec = tensor.spec
    if _is_integer(spec):
        return _integer_layer(tensor)
    scales = torch.from_numpy(np.ascontiguousarray(tensor.scales, np.uint8))
    # Both pack the earlier code into the lower half of a byte.
    arrays = {"weight_packed": torch.from_numpy(tensor.codes.copy()), "weight_scale": scales}
    if spec.scale == E4M3:
        arrays["weight_scale"] = scales.view(torch.float8_e4m3fn)
        whole = np.ones(1, np.float32) if tensor.tensor_scale is None else tensor.tensor_scale
        arrays["weight_global_scale"] = torch.from_numpy(whole.copy())
    return arrays


def _integer_layer(tensor: QuantizedTensor) -> dict[str, torch.Tensor]:
    import torch

    bits = tensor.spec.format.element_bits
    half = 1 << (bits - 1)
    codes = tensor.unpack_codes().astype(np.int16)
    zeros = tensor.zero_points
    # Two's complement codes become signed; unsigned ones lose the half that packing adds.
    signed = codes - half if zeros is not None else np.where(codes >= half, codes - 2 * half, codes)
    arrays = {
        "weight_packed": torch.from_numpy(pack_to_int32(signed.astype(np.int8), bits)),
        "weight_scale": torch.from_numpy(tensor.group_scales()),
        "weight_shape": torch.tensor(tensor.shape, dtype=torch.int64),
    }
    if zeros is not None:
        columns = (zeros.astype(np.int16) - half).astype(np.int8).T
        packed = pack_to_int32(np.ascontiguousarray(columns), bits).T
        arrays["weight_zero_point"] = torch.from_numpy(np.ascontiguousarray(packed))
    return arrays


def _arguments(spec: FormatSpec) -> dict[str, Any]:
    """The library's ``QuantizationArgs``."""
    whole_rows = spec.group_size >= ROW
    arguments: dict[str, Any] = {
        "num_bits": spec.format.element_bits,
        "type": "int" if _is_integer(spec) else "float",
        "symmetric": not spec.format.is_asymmetric,
        "strategy": "channel" if whole_rows else "group",
        "group_size": None if whole_rows else spec.group_size,
        "dynamic": False,
    }
    if spec.scale == E4M3:
        arguments |= {"strategy": "tensor_group", "scale_dtype": "torch.float8_e4m3fn"}
    if spec.scale == E8M0:
        arguments |= {"scale_dtype": "torch.uint8"}
    return arguments


def _layout(spec: FormatSpec) -> str:
    return _FP4.get(spec.format.name, "pack-quantized")


def _is_integer(spec: FormatSpec) -> bool:
    return isinstance(spec.format.element, IntType) and not spec.scale_rule.has_float_zero


def _check(path: str, tensor: QuantizedTensor) -> None:
    spec, columns = tensor.spec, tensor.shape[1]
    integer = _is_integer(spec) and 2 <= spec.format.element_bits <= 8
    integer = integer and spec.scale in _INTEGER_SCALES and spec.format.layout.is_grid
    four = spec.name in _FP4 and spec.scale in {E4M3, E8M0}
    if not (integer or four) or spec.scale_rule == TWO_LEVEL:
        raise RequestError(f"layer {path}: {spec} has no exact scheme there (allowed: {_ALLOWED})")
    if spec.group_size < ROW and columns % spec.group_size:
        raise RequestError(
            f"layer {path}: rows of {columns} are not whole groups of {spec.group_size}, "
            "which compressed-tensors needs"
        )
