"""Quantized checkpoints: safetensors, packed codes, a manifest of hashes; whole or absent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from quant.common.config import parse
from quant.common.errors import HwsimError, RequestError
from quant.common.files import atomic_folder, sha256_of
from quant.plan import Plan
from quant.spec import FormatSpec, parse_spec
from quant.tensor import PARTS, QuantizedTensor

if TYPE_CHECKING:
    import torch

MANIFEST, CODES, REST = "manifest.json", "quantized.safetensors", "rest.safetensors"


@dataclass(frozen=True)
class Layer:
    """A quantized layer in the manifest."""

    format: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint folder holds: the hash of each file, and each layer's format."""

    schema: Literal["hwsim.checkpoint/1"]
    model: str
    sha256: dict[str, str]
    layers: dict[str, Layer]


def save_quantized(
    folder: Path,
    tensors: Mapping[str, QuantizedTensor],
    *,
    model: str = "",
    rest: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write quantized layers, and optionally everything else of the model, to a folder.

    Args:
        folder: Replaced as a whole, or left as it was if writing fails.
        tensors: Module path -> codes.
        model: The model's name.
        rest: Parameters that are not quantized, by their names.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file
    from safetensors.torch import save_file as save_torch

    arrays: dict[str, np.ndarray] = {}
    for path, tensor in tensors.items():
        values = {part: getattr(tensor, part) for part in PARTS}
        arrays |= {f"{path}.{part}": value for part, value in values.items() if value is not None}
    with atomic_folder(folder) as target:
        try:
            save_file(arrays, target / CODES)
            if rest is not None:
                whole = {name: value.contiguous() for name, value in rest.items()}
                save_torch(whole, target / REST)
        except SafetensorError as error:
            raise HwsimError(f"{folder}: cannot be written: {error}") from None
        Plan({path: str(t.spec) for path, t in tensors.items()}, model).save(target / "plan.toml")
        hashes = {path.name: sha256_of(path) for path in sorted(target.iterdir())}
        layers = {
            path: {"format": str(t.spec), "shape": list(t.shape)} for path, t in tensors.items()
        }
        content: dict[str, Any] = {"schema": "hwsim.checkpoint/1", "model": model}
        content |= {"sha256": hashes, "layers": layers}
        (target / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")


def load_quantized(folder: Path) -> dict[str, QuantizedTensor]:
    """Return the quantized layers of a checkpoint folder, by module path.

    Raises:
        RequestError: no checkpoint, a file that is cut or changed (its hash differs), or arrays
            that do not fit the manifest.
    """
    manifest = _manifest(folder)
    for name, expected in manifest.sha256.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise RequestError(f"{folder}: file {name!r} of the manifest is missing")
        if (found := sha256_of(path)) != expected:
            raise RequestError(f"{path}: SHA-256 is {found}, the manifest says {expected}")
    if CODES not in manifest.sha256:
        raise RequestError(f"{folder / MANIFEST}: {CODES} has no hash")
    arrays = _arrays(folder / CODES)
    return {path: _tensor(path, layer, arrays) for path, layer in manifest.layers.items()}


def _manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: no readable manifest: {error}") from None
    return parse(data, Manifest, str(path))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise RequestError(f"{path}: not readable as safetensors: {error}") from None
    return arrays


def _tensor(path: str, layer: Layer, arrays: Mapping[str, np.ndarray]) -> QuantizedTensor:
    spec, (rows, columns) = parse_spec(layer.format), layer.shape
    parts: dict[str, Any] = {part: arrays.get(f"{path}.{part}") for part in PARTS}
    for part, wanted in _wanted(spec, rows, columns).items():
        array = parts[part]
        found = None if array is None else (array.shape, array.dtype.name)
        if found != wanted:
            raise RequestError(
                f"layer {path}: {part} has shape {_said(found)}; {_said(wanted)} is needed"
            )
    selectors = parts["selectors"]
    if selectors is not None and selectors.size and selectors.max() >= spec.format.candidates:
        allowed = f"0 to {spec.format.candidates - 1}"
        raise RequestError(f"layer {path}: selector {selectors.max()}: {allowed} are allowed")
    return QuantizedTensor(spec, (rows, columns), **parts)


def _said(array: tuple[tuple[int, ...], str] | None) -> str:
    return "none" if array is None else f"{array[0]} {array[1]}"


def _wanted(
    spec: FormatSpec, rows: int, columns: int
) -> dict[str, tuple[tuple[int, ...], str] | None]:
    """Shape and type of each array that a layer of this format has; None for no array."""
    entry, groups = spec.format, (rows, spec.groups(columns))
    is_book, is_hif4 = entry.layout == "codebook", entry.layout == "hif4"
    scale = {"fp16": "float16", "fp32": "float32"}.get(spec.scale, "uint8")
    selectors = (groups, "uint8") if entry.selector_bits else None
    if entry.selection == "tensor" and entry.candidates > 1:
        selectors = ((1, 1), "uint8")
    zero = "float16" if spec.scale_rule == "float-zero" else "uint8"
    return {
        "codes": ((rows, -(-columns * entry.element_bits // 8)), "uint8"),
        "scales": ((rows, 0), "float16") if is_book else (groups, scale),
        "row_scales": ((rows,), "float16") if spec.scale == "int8" else None,
        "tensor_scale": ((1,), "float32") if spec.has_tensor_scale else None,
        "selectors": selectors,
        "zero_points": (groups, zero) if entry.is_asymmetric else None,
        "codebooks": ((rows, 2**entry.element_bits), "float16") if is_book else None,
        "micro_exponents": ((*groups, 3), "uint8") if is_hif4 else None,
    }
