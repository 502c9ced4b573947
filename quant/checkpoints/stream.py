"""quantize_checkpoint(): a checkpoint of any size, a few tensors in memory at a time, resumable.

Which tensor goes into which shard follows from the request alone, so that a run that was cut goes
on with the shards that are missing, and ends with the same bytes (``quant.common.job``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.contents import SCHEMA, facts_of, grid_facts, stored_grids
from quant.checkpoints.folder import finish_checkpoint
from quant.checkpoints.partition import QUANTIZED, Shard, partition
from quant.checkpoints.shards import FLOATS, ShardedModel, linear_weights, open_model
from quant.common import arguments
from quant.common.errors import HwsimError, RequestError
from quant.common.goal import Goal
from quant.common.job import Job, job
from quant.common.progress import progress_bar
from quant.common.versions import code_of, made_by
from quant.formats.spec import FormatSpec, parse_spec
from quant.methods.base import Method
from quant.plan import Formats, assign, check_formats, method_of
from quant.tensors.arrays import parts
from quant.tensors.errors import poor_groups, poor_said
from quant.tensors.quantize import as_matrix
from quant.tensors.tensor import QuantizedTensor
from quant.tensors.values import first_not_finite

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 1 << 28


@dataclass(frozen=True)
class StreamReport:
    """What was written.

    Attributes:
        layers: Module path -> format and ``(out, in)``.
        was_there: Whether an earlier run had finished the same.
        poor_groups: Groups whose relative error is 0.5 or more.
        groups: All groups of the layers.
    """

    layers: Mapping[str, tuple[FormatSpec, tuple[int, int]]]
    was_there: bool = False
    poor_groups: int = 0
    groups: int = 0

    @property
    def warning(self) -> str:
        """How many groups are poor, in a line; empty where none is."""
        return poor_said(self.poor_groups, self.groups)

    @property
    def effective_bits(self) -> float:
        """Stored bits per weight over the quantized layers."""
        bits = sum(spec.storage_bits(*shape) for spec, shape in self.layers.values())
        return bits / max(1, sum(rows * columns for _, (rows, columns) in self.layers.values()))


def quantize_checkpoint(
    source: str | Path,
    folder: str | Path,
    formats: Formats,
    *,
    method: str | Method = "",
    model: str = "",
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
) -> StreamReport:
    """Quantize a local Hugging Face folder to a checkpoint folder without building the model.

    The codes are those of ``quantize_model``. Memory holds one tensor, its codes, and a shard. A
    run that was cut goes on; a finished one of the same request is left as it is.

    Args:
        source: A folder with ``model.safetensors``, or shards and their index.
        folder: The checkpoint, as ``quant.checkpoints.folder`` reads it; whole or absent.
        formats: As ``quantize_model`` takes them.
        method: One that looks at a layer at a time and needs no calibration; empty: the plan's,
            else ``rtn``.
        model: The model's name in the manifest; empty: the source's.
        shard_bytes: Size from which a shard is written.
        overwrite: Take the place of an older checkpoint of another request.

    Raises:
        RequestError: files that are missing, cut or do not fit their index or their architecture, a
            source that is quantized, an unknown format, layer or method, a tensor with NaN or Inf
            (named), or a folder that may not be replaced.
        HwsimError: another process writes there, or the disk is full.
    """
    source, folder = arguments.path("source", source), arguments.path("folder", folder)
    shard_bytes = arguments.integer("shard_bytes", shard_bytes, least=1)
    model, overwrite = arguments.text("model", model), arguments.flag("overwrite", overwrite)
    chosen = method_of(formats, method)
    if not chosen.is_streamable:
        raise RequestError(
            f"method {chosen.name!r} looks at inputs or at several layers: a model cannot be "
            "streamed with it"
        )
    asked = {"method": chosen.name, "model": source.resolve().name}
    check_formats(formats, chosen)
    Goal(folder, SCHEMA, asked, overwrite=overwrite).check()
    opened = open_model(source)
    before = opened.states()
    transposed = linear_weights(opened)
    specs = {p: s for p, s in assign(formats, transposed).items() if not s.format.is_plain}
    stored_grids(spec.format for spec in specs.values())
    _check_dtypes(opened, specs)
    request: dict[str, Any] = {**asked, "source": opened.identity(), "shard_bytes": shard_bytes}
    request |= {"formats": {path: str(spec) for path, spec in specs.items()}}
    request |= {"grids": grid_facts(specs.values()), "method_code": code_of(chosen), **made_by()}
    shards = partition(opened, specs, transposed, shard_bytes)
    with job(Goal(folder, SCHEMA, request, overwrite=overwrite)) as work:
        was_there = work.made is not None
        if not was_there:
            _write_shards(_Run(opened, chosen, specs, transposed), shards, work)
            layers, others = _checked(opened, shards, work)
            facts = [work.steps[shard.file].facts for shard in shards]
            counted = tuple(sum(f[key] for f in facts) for key in ("poor_groups", "groups"))
            files = [shard.file for shard in shards]
            opened.check_unchanged(before)
            named = model or asked["model"]
            finish_checkpoint(work, layers, named, others, files, counted)
        made: dict[str, Any] = work.made or {}
    found = {
        path: (parse_spec(layer["format"]), (int(layer["shape"][0]), int(layer["shape"][1])))
        for path, layer in made["layers"].items()
    }
    return StreamReport(found, was_there, made["poor_groups"], made["groups"])


@dataclass(frozen=True)
class _Run:
    """What is rounded to what."""

    opened: ShardedModel
    method: Method
    specs: Mapping[str, FormatSpec]
    transposed: Mapping[str, bool]

    def rounded(self, name: str) -> tuple[QuantizedTensor, tuple[int, int]]:
        """The codes of a tensor of the source; how many of its groups are poor, and how many."""
        path = name.removesuffix(".weight")
        weight = self.opened.read(name)
        try:
            matrix = as_matrix(weight.T if self.transposed[path] else weight)
            tensor = self.method.quantize_alone(matrix, self.specs[path])
        except RequestError as error:
            raise RequestError(f"tensor {name}: {error}") from None
        return tensor, poor_groups(matrix, tensor.dequantize(), tensor.spec)

    def kept(self, name: str) -> torch.Tensor:
        """A tensor of the source that is not quantized."""
        value = self.opened.read(name)
        if (place := first_not_finite(value)) is not None:
            raise RequestError(f"tensor {name}: value at {place} is NaN or Inf: only finite values")
        return value.contiguous()


def _write_shards(run: _Run, shards: list[Shard], work: Job) -> None:
    """Write the shards that no earlier run has written."""
    with progress_bar() as bar:
        total = sum(len(shard.names) for shard in shards)
        task = bar.add_task(f"quantizing ({run.method.name})", total=total)
        for shard in shards:
            if shard.file in work.steps:
                bar.advance(task, len(shard.names))
                continue
            arrays: dict[str, Any] = {}
            layers: dict[str, list[Any]] = {}
            others: dict[str, Any] = {}
            poor = groups = 0
            for name in shard.names:
                if shard.kind == QUANTIZED:
                    path = name.removesuffix(".weight")
                    tensor, counted = run.rounded(name)
                    poor, groups = poor + counted[0], groups + counted[1]
                    # A method may change the rule of its format, so it is the tensor's that counts.
                    layers[path] = [str(tensor.spec), *tensor.shape]
                    arrays |= {f"{path}.{part}": value for part, value in parts(tensor).items()}
                else:
                    arrays[name] = run.kept(name)
                    others |= facts_of({name: arrays[name]})
                bar.advance(task)
            _save(shard, arrays, work)
            facts = {"layers": layers, "others": others, "poor_groups": poor, "groups": groups}
            work.keep(shard.file, facts, [shard.file])


def _save(shard: Shard, arrays: dict[str, Any], work: Job) -> None:
    from safetensors import SafetensorError, numpy, torch

    library = numpy if shard.kind == QUANTIZED else torch
    try:
        library.save_file(arrays, work.folder / shard.file)
    except (SafetensorError, OSError) as error:
        raise HwsimError(f"{work.goal.folder}: cannot be written: {error}") from None


def _checked(
    opened: ShardedModel, shards: list[Shard], work: Job
) -> tuple[dict[str, tuple[FormatSpec, tuple[int, int]]], dict[str, tuple[str, tuple[int, ...]]]]:
    """Return layers and other tensors of all shards, compared with the source.

    Raises:
        HwsimError: a tensor of the source is in no shard.
    """
    layers: dict[str, tuple[FormatSpec, tuple[int, int]]] = {}
    others: dict[str, tuple[str, tuple[int, ...]]] = {}
    for shard in shards:
        facts = work.steps[shard.file].facts
        for path, (spec, rows, columns) in facts["layers"].items():
            layers[path] = (parse_spec(spec), (rows, columns))
        others |= {name: (kind, tuple(shape)) for name, (kind, shape) in facts["others"].items()}
    written = {*others, *(f"{path}.weight" for path in layers)}
    if lost := sorted(opened.tensors.keys() ^ written):
        raise HwsimError(f"{work.goal.folder}: tensor {lost[0]!r} of the source is not in it")
    return layers, others


def _check_dtypes(opened: ShardedModel, specs: Mapping[str, FormatSpec]) -> None:
    """Raise a RequestError for a layer that is stored in codes already."""
    for path in specs:
        tensor = opened.tensors[f"{path}.weight"]
        if tensor.dtype not in FLOATS:
            raise RequestError(
                f"{opened.folder / tensor.file}: tensor {path + '.weight'!r} is {tensor.dtype}: a "
                f"source that is quantized already is not read ({', '.join(FLOATS)} are)"
            )
