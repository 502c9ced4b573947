"""Quantized checkpoints: safetensors, packed codes, a manifest of hashes; whole or absent.

A folder holds ``manifest.json``, ``plan.toml``, the codes (``quantized.safetensors``) and what is
not quantized (``rest.safetensors``); a large model has numbered shards of both. The manifest is
sealed: a hash over all that it means is in it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.checkpoints.contents import (
    SCHEMA,
    Findings,
    Layer,
    facts_of,
    kept_in,
    load_manifest,
    register_grid,
    stored_grids,
)
from quant.common import arguments
from quant.common.errors import HwsimError, RequestError
from quant.common.goal import Goal
from quant.common.job import Job, job
from quant.common.manifest import MANIFEST
from quant.formats.spec import FormatSpec, parse_spec
from quant.methods.base import Method
from quant.methods.registry import DEFAULT_METHOD, get_method
from quant.plan import plan_of
from quant.tensors.arrays import check_parts, parts
from quant.tensors.tensor import PARTS, QuantizedTensor
from quant.tensors.values import first_not_finite, tensors_hash

if TYPE_CHECKING:
    import torch

PLAN = "plan.toml"
CODES, REST = "quantized.safetensors", "rest.safetensors"
_SHARD = r"(-\d{5}-of-\d{5})?\.safetensors"


def save_quantized(
    folder: str | Path,
    tensors: Mapping[str, QuantizedTensor],
    *,
    model: str = "",
    rest: Mapping[str, torch.Tensor] | None = None,
    overwrite: bool = False,
) -> None:
    """Write quantized layers, and optionally everything else of the model, to a folder.

    Args:
        folder: Whole or absent; nothing is done where it holds just this already.
        tensors: Module path -> codes. User-defined grids are stored with their levels.
        model: The model's name.
        rest: Parameters that are not quantized, by their names.
        overwrite: Take the place of an older checkpoint; files that are not of it stay.

    Raises:
        RequestError: a tensor whose arrays do not fit its format, a format of the caller's that is
            neither registered nor a grid, or a folder that holds anything but a checkpoint, or
            another one.
        HwsimError: another process writes there, or the disk is full.
    """
    tensors, rest = check_contents(tensors, rest)
    model, overwrite = arguments.text("model", model), arguments.flag("overwrite", overwrite)
    check_tensors(tensors)
    request = {"content": content_hash(tensors, rest or {}), "model": model}
    with job(Goal(arguments.path("folder", folder), SCHEMA, request, overwrite=overwrite)) as work:
        if work.made is None:
            write_checkpoint(work, tensors, model=model, rest=rest)


def check_contents(
    tensors: Mapping[str, QuantizedTensor], rest: Mapping[str, torch.Tensor] | None
) -> tuple[dict[str, QuantizedTensor], dict[str, torch.Tensor] | None]:
    """Return layers and other parameters of a checkpoint as tables.

    Raises:
        ArgumentTypeError: one of them is no table of tensors by name.
    """
    import torch

    def layer(name: str, value: object) -> QuantizedTensor:
        return arguments.one_of(name, value, QuantizedTensor, "a QuantizedTensor")

    def other(name: str, value: object) -> torch.Tensor:
        return arguments.one_of(name, value, torch.Tensor, "a torch tensor")

    others = None if rest is None else arguments.table("rest", rest, other)
    return arguments.table("tensors", tensors, layer), others


def check_tensors(tensors: Mapping[str, QuantizedTensor]) -> None:
    """Raise a RequestError unless all tensors can be stored so that another process reads them."""
    for path, tensor in tensors.items():
        check_parts(path, tensor.spec, tensor.shape, parts(tensor))
    stored_grids(tensor.spec.format for tensor in tensors.values())


def write_checkpoint(
    work: Job,
    tensors: Mapping[str, QuantizedTensor],
    *,
    model: str,
    rest: Mapping[str, torch.Tensor] | None = None,
    found: Findings | None = None,
    assets: Iterable[str] = (),
    method: Method | None = None,
) -> None:
    """Write a checkpoint as the result of a job; arguments as the functions around it have them."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file
    from safetensors.torch import save_file as save_torch

    arrays: dict[str, np.ndarray] = {}
    for path, tensor in tensors.items():
        arrays |= {f"{path}.{part}": value for part, value in parts(tensor).items()}
    files = [CODES, *assets]
    try:
        save_file(arrays, work.folder / CODES)
        if rest is not None:
            whole = {name: value.contiguous() for name, value in rest.items()}
            save_torch(whole, work.folder / REST)
            files.append(REST)
    except SafetensorError as error:
        raise HwsimError(f"{work.goal.folder}: cannot be written: {error}") from None
    layers = {path: (tensor.spec, tensor.shape) for path, tensor in tensors.items()}
    finish_checkpoint(work, layers, model, facts_of(rest or {}), files, found, method)


def finish_checkpoint(
    work: Job,
    layers: Mapping[str, tuple[FormatSpec, tuple[int, int]]],
    model: str,
    others: Mapping[str, tuple[str, tuple[int, ...]]],
    files: Iterable[str],
    found: Findings | None = None,
    method: Method | None = None,
) -> None:
    """Write ``plan.toml`` and ``manifest.json`` for files that are there, and end the job.

    Args:
        work: The job that wrote them.
        layers: Module path -> format and ``(out, in)``.
        model: The model's name.
        others: Parameter that is not quantized -> data type and shape.
        files: Names of the files with arrays.
        found: What quantization found out; None: nothing.
        method: How weights were rounded; None: not known, and the plan says the default.
    """
    found = found or Findings()
    grids = stored_grids(spec.format for spec, _ in layers.values())
    specs = {path: spec for path, (spec, _) in layers.items()}
    plan_of(specs, method or get_method(DEFAULT_METHOD), model).save(work.folder / PLAN)
    content: dict[str, Any] = {"model": model}
    content["layers"] = {
        p: {"format": str(spec), "shape": list(s)} for p, (spec, s) in layers.items()
    }
    content["others"] = {name: [kind, list(shape)] for name, (kind, shape) in others.items()}
    content |= {"poor_groups": found.poor_groups, "groups": found.groups}
    content |= {"why": dict(found.why), "notes": dict(found.notes)}
    bits = sum(spec.storage_bits(*shape) for spec, shape in layers.values())
    weights = sum(rows * columns for _, (rows, columns) in layers.values())
    kept = kept_in(others, found.why).values()
    content["effective_bits"] = bits / max(1, weights)
    whole = bits + sum(entry.bits for entry in kept)
    content["whole_model_bits"] = whole / max(1, weights + sum(entry.count for entry in kept))
    if grids:
        content["grids"] = {name: asdict(grid) for name, grid in grids.items()}
    work.finish(content, [PLAN, *files])


def load_quantized(folder: str | Path) -> dict[str, QuantizedTensor]:
    """Return the quantized layers of a checkpoint folder, by module path.

    Grids of the user's that the folder brings are added to the registry of this process.

    Raises:
        RequestError: no checkpoint, a file that is cut or changed (its hash differs), arrays whose
            shape, type or values do not fit the manifest, or a grid whose name means another one
            here.
    """
    folder = arguments.path("folder", folder)
    manifest = load_manifest(folder)
    for name, grid in manifest.grids.items():
        register_grid(folder, name, grid)
    files = [name for name in manifest.sha256 if re.fullmatch("quantized" + _SHARD, name)]
    if not files and manifest.layers:
        raise RequestError(f"{folder / MANIFEST}: {CODES} has no hash")
    arrays: dict[str, np.ndarray] = {}
    for name in files:
        found = _arrays(folder / name)
        if twice := sorted(found.keys() & arrays.keys()):
            raise RequestError(f"{folder / name}: array {twice[0]!r} is in another shard too")
        arrays |= found
    tensors = {path: layer_of(path, layer, arrays) for path, layer in manifest.layers.items()}
    if arrays:
        raise RequestError(f"{folder}: array {min(arrays)!r} belongs to no layer of the manifest")
    return tensors


def load_rest(folder: str | Path) -> dict[str, torch.Tensor]:
    """Return the parameters of a checkpoint folder that are not quantized, by their names.

    Raises:
        RequestError: no checkpoint, a file that is cut or changed, or a parameter that is missing,
            in two files, of another type or shape than the manifest says, or with NaN or Inf.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = arguments.path("folder", folder)
    manifest = load_manifest(folder)
    rest: dict[str, torch.Tensor] = {}
    for name in manifest.sha256:
        if re.fullmatch("rest" + _SHARD, name):
            try:
                found: dict[str, torch.Tensor] = load_file(folder / name)
            except (SafetensorError, OSError, ValueError) as error:
                raise RequestError(f"{folder / name}: not readable: {error}") from None
            if twice := sorted(found.keys() & rest.keys()):
                raise RequestError(f"{folder / name}: {twice[0]!r} is in another shard too")
            rest |= found
    there = facts_of(rest)
    for name in sorted({*there, *manifest.others}):
        if there.get(name) != manifest.others.get(name):
            raise RequestError(
                f"{folder}: parameter {name!r} is {there.get(name)}, the manifest says "
                f"{manifest.others.get(name)}"
            )
        if (place := first_not_finite(rest[name])) is not None:
            raise RequestError(
                f"{folder}: parameter {name!r} holds NaN or Inf at {place}: only finite values"
            )
    return rest


def content_hash(tensors: Mapping[str, QuantizedTensor], rest: Mapping[str, torch.Tensor]) -> str:
    """Return a hash over names, formats, types, shapes and bytes of all that is to be stored."""
    whole = hashlib.sha256()
    for path, tensor in tensors.items():
        whole.update(f"{path} {tensor.spec} {tensor.shape}".encode())
        for part, array in parts(tensor).items():
            whole.update(f"{part} {array.dtype} {array.shape}".encode())
            whole.update(array.data)
    whole.update(tensors_hash(rest).encode())
    return whole.hexdigest()


def _arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RequestError(f"{path}: not readable as safetensors: {error}") from None
    return arrays


def layer_of(path: str, layer: Layer, arrays: dict[str, np.ndarray]) -> QuantizedTensor:
    """Take a layer's arrays out of ``arrays``.

    Raises:
        RequestError: its format is not known here, or arrays that do not fit it.
    """
    try:
        spec = _spec(layer.format)
    except RequestError as error:
        raise RequestError(f"layer {path}: {error}") from None
    names = {part: f"{path}.{part}" for part in {*PARTS, *_parts_of(spec, layer.shape)}}
    own: dict[str, Any] = {p: arrays.pop(name) for p, name in names.items() if name in arrays}
    check_parts(path, spec, layer.shape, own)
    return QuantizedTensor.of(spec, layer.shape, own)


def _spec(text: str) -> FormatSpec:
    if ".toml" in text:  # a file of this machine's, which no checkpoint may name
        raise RequestError(f"format {text!r} is not allowed: its name is needed")
    return parse_spec(text)


def _parts_of(spec: FormatSpec, shape: tuple[int, int]) -> Iterable[str]:
    """Names of the arrays of a layer; none for a plain format, which ``check_parts`` refuses."""
    return () if spec.format.is_plain else spec.arrays(shape)
