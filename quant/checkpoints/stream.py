"""quantize_checkpoint(): a checkpoint of any size, a few tensors in memory at a time, resumable.

Which tensor goes into which shard follows from the request alone, so that a run that was cut goes
on with the shards that are missing, and ends with the same bytes (``quant.common.job``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.contents import (
    SCHEMA,
    Findings,
    facts_of,
    grid_facts,
    kept_in,
    stored_grids,
)
from quant.checkpoints.folder import finish_checkpoint
from quant.checkpoints.partition import QUANTIZED, Piece, Shard, partition
from quant.checkpoints.quantized_sources import open_source
from quant.checkpoints.runnable import copy_assets
from quant.checkpoints.source import Source, check_floats, source_of
from quant.checkpoints.unused import NOTE
from quant.common import arguments
from quant.common.errors import HwsimError, RequestError
from quant.common.float_types import DTYPES
from quant.common.goal import Goal
from quant.common.job import Job, job
from quant.common.progress import progress_bar
from quant.common.versions import code_of, made_by
from quant.formats.spec import FormatSpec, parse_spec
from quant.layers.coverage import NOT_ASKED, Kept
from quant.layers.totals import Totals
from quant.methods.base import Method
from quant.plan import NOTHING, Formats, assign, check_formats, method_of
from quant.tensors.arrays import parts
from quant.tensors.errors import poor_groups
from quant.tensors.quantize import as_matrix
from quant.tensors.tensor import QuantizedTensor
from quant.tensors.values import cast_floats, first_not_finite

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 1 << 28
"""Of a shard, from which it is written."""
STREAMED_FROM = 4 << 30
"""Bytes of a folder from which it is streamed unless that is asked for or not."""


@dataclass(frozen=True)
class StreamReport(Totals):
    """What was written.

    Attributes:
        layers: Module path -> format and ``(out, in)``.
        was_there: Whether an earlier run had finished the same.
        poor_groups: Groups whose relative error is 0.5 or more.
        groups: All groups of the layers.
        kept: What is not quantized, by name.
    """

    layers: Mapping[str, tuple[FormatSpec, tuple[int, int]]]
    was_there: bool = False
    poor_groups: int = 0
    groups: int = 0
    kept: Mapping[str, Kept] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> int:
        """How many weights are quantized."""
        return sum(rows * columns for _, (rows, columns) in self.layers.values())

    @property
    def code_bits(self) -> int:
        """Bits that they are stored in."""
        return sum(spec.storage_bits(*shape) for spec, shape in self.layers.values())


def is_large(folder: Path) -> bool:
    """Whether a local folder is better streamed: 4 GiB of weights or more."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) > STREAMED_FROM


def quantize_checkpoint(
    source: str | Path,
    folder: str | Path,
    formats: Formats,
    *,
    method: str | Method = "",
    model: str = "",
    shard_bytes: int = SHARD_BYTES,
    rest_dtype: str = "",
    ignore: Sequence[str] = (),
    overwrite: bool = False,
) -> StreamReport:
    """Quantize a local Hugging Face folder to a checkpoint folder without building the model.

    The codes are those of ``quantize_model``. Memory holds one tensor, its codes, and a shard. A
    run that was cut goes on; a finished one of the same request is left as it is. A source that is
    quantized already is decoded (``source_format`` in the manifest's request says it).

    Args:
        source: A folder with ``model.safetensors``, or shards and their index.
        folder: The checkpoint, as ``quant.checkpoints.folder`` reads it; whole or absent.
        formats: As ``quantize_model`` takes them.
        method: One that looks at a layer at a time and needs no calibration; empty: the plan's,
            else ``rtn``.
        model: The model's name in the manifest; empty: the source's.
        shard_bytes: Size from which a shard is written.
        rest_dtype: What is not quantized is stored as this type (``bfloat16``); empty: as it is.
        ignore: Paths or patterns of matrices that stay as they are.
        overwrite: Take the place of an older checkpoint of another request.

    Raises:
        RequestError: files that are missing, cut or do not fit their index or their architecture, a
            source in codes that are not decoded (named), an unknown format, layer or method, a
            tensor with NaN or Inf (named), or a folder that may not be replaced.
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
    rest_dtype = arguments.choice("rest_dtype", rest_dtype, ("", *DTYPES))
    asked = {"method": chosen.described, "model": source.resolve().name, "rest": rest_dtype}
    ignored = arguments.several("ignore", ignore, arguments.text)
    check_formats(formats, chosen)
    Goal(folder, SCHEMA, asked, overwrite=overwrite).check()
    opened = open_source(source)
    before = opened.states()
    known = source_of(opened)
    assigned = assign(formats, known.weights, known.apart, ignore=ignored, kinds=known.kinds)
    chosen = chosen.for_model(known.kinds)
    specs = {path: spec for path, spec in assigned.items() if not spec.format.is_plain}
    if not specs:
        raise RequestError(NOTHING)
    stored_grids(spec.format for spec in specs.values())
    check_floats(known)
    request: dict[str, Any] = {**asked, "source": opened.identity(), "shard_bytes": shard_bytes}
    request |= {"formats": {path: str(spec) for path, spec in specs.items()}}
    request |= {"grids": grid_facts(specs.values()), "method_code": code_of(chosen), **made_by()}
    if opened.source_format:
        request["source_format"] = opened.source_format
    shards = partition(opened, known.units, known.held, specs, shard_bytes)
    with job(Goal(folder, SCHEMA, request, overwrite=overwrite)) as work:
        was_there = work.made is not None
        if not was_there:
            _write_shards(_Run(known, chosen, specs, rest_dtype), shards, work)
            layers, others = _checked(shards, work)
            facts = [work.steps[shard.file].facts for shard in shards]
            poor, groups = (sum(f[key] for f in facts) for key in ("poor_groups", "groups"))
            files = [shard.file for shard in shards] + copy_assets(source, work.folder)
            opened.check_unchanged(before)
            named = model or asked["model"]
            notes = dict.fromkeys(known.unused, NOTE)
            found = Findings(poor, groups, _reasons(known, others), notes)
            finish_checkpoint(work, layers, named, others, files, found, chosen)
        made: dict[str, Any] = work.made or {}
    made_layers = {
        path: (parse_spec(layer["format"]), (int(layer["shape"][0]), int(layer["shape"][1])))
        for path, layer in made["layers"].items()
    }
    kept = kept_in({n: (kind, tuple(s)) for n, (kind, s) in made["others"].items()}, made["why"])
    poor, groups, notes = made["poor_groups"], made["groups"], made["notes"]
    return StreamReport(made_layers, was_there, poor, groups, kept, notes)


@dataclass(frozen=True)
class _Run:
    """What is rounded to what."""

    source: Source
    method: Method
    specs: Mapping[str, FormatSpec]
    rest_dtype: str

    def codes(self, piece: Piece) -> Iterator[tuple[str, QuantizedTensor, tuple[int, int]]]:
        """Yield paths and codes; how many of the groups are poor, and how many there are."""
        values = self.read(piece)
        for name, weight in piece.weights:
            try:
                stored = weight.layout.part(values[name], weight.index)
                matrix = as_matrix(weight.layout.matrix(stored))
                tensor = self.method.of(weight.path).quantize_alone(matrix, self.specs[weight.path])
            except RequestError as error:
                raise RequestError(f"tensor {name}: {error}") from None
            yield weight.path, tensor, poor_groups(matrix, tensor.dequantize(), tensor.spec)

    def kept(self, piece: Piece) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield what is not quantized, by name."""
        values = self.read(piece)
        found = [(name, values[name]) for name in piece.names]
        found += [(w.path, w.layout.part(values[name], w.index)) for name, w in piece.weights]
        for name, value in found:
            if (place := first_not_finite(value)) is not None:
                raise RequestError(
                    f"tensor {name}: value at {place} is NaN or Inf: only finite values"
                )
            yield name, value.contiguous()

    def read(self, piece: Piece) -> dict[str, torch.Tensor]:
        """The parameters of a unit of the source."""
        return self.source.units[piece.unit].read(self.source.opened)


def _write_shards(run: _Run, shards: list[Shard], work: Job) -> None:
    """Write the shards that no earlier run has written."""
    with progress_bar() as bar:
        total = sum(len(shard.pieces) for shard in shards)
        task = bar.add_task(f"quantizing ({run.method.name})", total=total)
        for shard in shards:
            if shard.file in work.steps:
                bar.advance(task, len(shard.pieces))
                continue
            arrays: dict[str, Any] = {}
            layers: dict[str, list[Any]] = {}
            others: dict[str, Any] = {}
            poor = groups = 0
            for piece in shard.pieces:
                if shard.kind == QUANTIZED:
                    for path, tensor, counted in run.codes(piece):
                        poor, groups = poor + counted[0], groups + counted[1]
                        # A method may change the rule of its format: the tensor's counts.
                        layers[path] = [str(tensor.spec), *tensor.shape]
                        arrays |= {f"{path}.{part}": v for part, v in parts(tensor).items()}
                else:
                    own = cast_floats(dict(run.kept(piece)), run.rest_dtype)
                    arrays |= own
                    others |= facts_of(own)
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
    shards: list[Shard], work: Job
) -> tuple[dict[str, tuple[FormatSpec, tuple[int, int]]], dict[str, tuple[str, tuple[int, ...]]]]:
    """Return layers and other tensors of all shards, compared with what was to be written.

    Raises:
        HwsimError: a parameter is in no shard.
    """
    layers: dict[str, tuple[FormatSpec, tuple[int, int]]] = {}
    others: dict[str, tuple[str, tuple[int, ...]]] = {}
    for shard in shards:
        facts = work.steps[shard.file].facts
        for path, (spec, rows, columns) in facts["layers"].items():
            layers[path] = (parse_spec(spec), (rows, columns))
        others |= {name: (kind, tuple(shape)) for name, (kind, shape) in facts["others"].items()}
    pieces = [piece for shard in shards for piece in shard.pieces]
    wanted = {weight.path for piece in pieces for _, weight in piece.weights}
    wanted |= {name for piece in pieces for name in piece.names}
    if lost := sorted(wanted ^ {*others, *layers}):
        raise HwsimError(f"{work.goal.folder}: {lost[0]!r} of the source is not in it")
    return layers, others


def _reasons(source: Source, others: Iterable[str]) -> dict[str, str]:
    """Why each of some parameters is not quantized."""
    left = {weight.stored_name: weight.apart or NOT_ASKED for weight in source.weights.values()}
    for name, own in source.held.items():  # a stack that is kept whole has the parameter's name
        if own:
            left.setdefault(name, own[0].apart or NOT_ASKED)
    return {name: left.get(name, source.why.get(name, "buffer")) for name in others}
