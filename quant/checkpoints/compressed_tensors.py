"""Export to compressed-tensors checkpoints, which vLLM and transformers read.

Layout of compressed-tensors 0.20: integers packed without gaps into int32 (``pack-quantized``),
FP4 two codes a byte under E4M3 (``nvfp4-pack-quantized``) or E8M0 (``mxfp4-pack-quantized``), FP8
as it is (``naive-quantized``).
Scales of integers are written as float32, so that what the library decodes is what
``QuantizedTensor.dequantize`` returns; it decodes FP4 to bfloat16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.compressed_schemes import scheme_of
from quant.checkpoints.folder import check_contents, content_hash
from quant.common import arguments
from quant.common.errors import HwsimError, RequestError
from quant.common.goal import Goal
from quant.common.job import job
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

VERSION = "0.20.0"
SCHEMA = "hwsim.compressed/1"
FILE, CONFIG = "model.safetensors", "config.json"


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
        scheme = scheme_of(path, tensor.spec, tensor.shape[1])
        arrays |= {f"{path}.{name}": value for name, value in scheme.tensors(tensor).items()}
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
    groups: dict[FormatSpec, list[str]] = {}
    for path, tensor in tensors.items():
        groups.setdefault(tensor.spec, []).append(path)
    return config_of(
        [
            (paths, scheme_of(paths[0], spec, tensors[paths[0]].shape[1]).group(spec))
            for spec, paths in groups.items()
        ]
    )


def config_of(
    groups: Sequence[tuple[Sequence[str], Mapping[str, Any]]], ignore: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a ``quantization_config``.

    Args:
        groups: Which layers, and what is said of them (``Scheme.group``).
        ignore: Modules that are not quantized.
    """
    layouts = {str(group["format"]) for _, group in groups}
    return {
        "quant_method": "compressed-tensors",
        "version": VERSION,
        "format": layouts.pop() if len(layouts) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": {
            f"group_{index}": {"targets": list(targets), **group}
            for index, (targets, group) in enumerate(groups)
        },
        "ignore": list(ignore),
    }
