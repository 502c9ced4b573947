"""quantize_checkpoint(): a checkpoint of any size, a few tensors in memory at a time, resumable.

Finished shards and a journal wait in ``.NAME.part`` beside the target; a run that was cut goes on
from there, and the target appears as a whole at the end.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.folder import MANIFEST, stored_grids, write_manifest
from quant.checkpoints.shards import linear_weights, open_model
from quant.common.errors import HwsimError, RequestError
from quant.common.files import check_folder, replace_folder, sha256_of, write_text
from quant.common.progress import track
from quant.formats.spec import FormatSpec, parse_spec
from quant.methods.base import Method
from quant.plan import Formats, assign, method_of
from quant.tensors.arrays import parts
from quant.tensors.quantize import as_matrix
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 1 << 28
JOURNAL = "journal.json"
CODES, REST = "quantized", "rest"
"""How the names of shards begin."""


@dataclass(frozen=True)
class StreamReport:
    """What was written.

    Attributes:
        layers: Module path -> format and ``(out, in)``.
    """

    layers: Mapping[str, tuple[FormatSpec, tuple[int, int]]]

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
) -> StreamReport:
    """Quantize a local Hugging Face folder to a checkpoint folder without building the model.

    The codes are those of ``quantize_model``. Memory holds one tensor, its codes, and a shard.

    Args:
        source: A folder with ``model.safetensors``, or shards and their index.
        folder: The checkpoint, as ``quant.checkpoints.folder`` reads it; replaced as a whole.
        formats: As ``quantize_model`` takes them.
        method: One that looks at a layer at a time and needs no calibration; empty: the plan's,
            else ``rtn``.
        model: The model's name in the manifest; empty: the source's.
        shard_bytes: Size from which a shard is written.

    Raises:
        RequestError: files that are missing, cut or do not fit their index, an unknown format,
            layer or method, or a weight with NaN or Inf (named).
    """
    source, folder = Path(source), Path(folder)
    check_folder(folder, MANIFEST)
    chosen = method_of(formats, method)
    if not chosen.is_streamable:
        raise RequestError(
            f"method {chosen.name!r} looks at inputs or at several layers: a model cannot be "
            "streamed with it"
        )
    opened = open_model(source)
    transposed = linear_weights(opened)
    specs = assign(formats, transposed)
    specs = {path: spec for path, spec in specs.items() if not spec.format.is_plain}
    stored_grids(spec.format for spec in specs.values())
    work = folder.with_name(f".{folder.name}.part")
    identity = {"source": opened.identity(), "method": chosen.name, "model": model or source.name}
    identity["formats"] = {path: str(spec) for path, spec in specs.items()}
    writer = _Writer.resumed(work, identity, shard_bytes)
    for name in track(opened.files, f"quantizing ({chosen.name})", len(opened.files)):
        path = name.removesuffix(".weight")
        if writer.has(name):
            continue
        if name.endswith(".weight") and path in specs:
            weight = opened.read(name)
            matrix = weight.T if transposed[path] else weight
            writer.add_layer(name, path, _rounded(name, matrix, chosen, specs[path]))
        else:
            writer.add_rest(name, opened.read(name))
    return writer.finish(folder)


def _rounded(name: str, weight: torch.Tensor, method: Method, spec: FormatSpec) -> QuantizedTensor:
    try:
        return method.quantize_alone(as_matrix(weight), spec)
    except RequestError as error:
        raise RequestError(f"tensor {name}: {error}") from None


@dataclass
class _Shard:
    """Arrays that wait to be written, and the tensors of the source they stand for."""

    prefix: str
    save: Callable[[dict[str, Any], Path], None]
    arrays: dict[str, Any] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    size: int = 0


@dataclass
class _Writer:
    """The work folder: shards, and a journal that says what is in them."""

    work: Path
    journal: dict[str, Any]
    shard_bytes: int
    shards: dict[str, _Shard] = field(default_factory=dict)
    layers: dict[str, tuple[FormatSpec, tuple[int, int]]] = field(default_factory=dict)

    @classmethod
    def resumed(cls, work: Path, identity: dict[str, Any], shard_bytes: int) -> _Writer:
        """Go on with a run of the same request, else begin anew."""
        journal = {"identity": identity, "done": {}}
        try:
            earlier = json.loads((work / JOURNAL).read_text(encoding="utf-8"))
            if earlier["identity"] == json.loads(json.dumps(identity)):
                whole = {n: s for n, s in earlier["done"].items() if _is_whole(work / n, s)}
                journal["done"] = whole
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        if not journal["done"]:
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        writer = cls(work, journal, shard_bytes)
        for shard in journal["done"].values():
            for path, (spec, rows, columns) in shard["layers"].items():
                writer.layers[path] = (parse_spec(spec), (rows, columns))
        return writer

    def has(self, name: str) -> bool:
        return any(name in shard["sources"] for shard in self.journal["done"].values())

    def add_layer(self, name: str, path: str, tensor: QuantizedTensor) -> None:
        self.layers[path] = (tensor.spec, tensor.shape)  # hqq changes the rule of its format
        self._add(CODES, _save_arrays, name, {f"{path}.{k}": v for k, v in parts(tensor).items()})

    def add_rest(self, name: str, tensor: torch.Tensor) -> None:
        self._add(REST, _save_tensors, name, {name: tensor.contiguous()})

    def finish(self, folder: Path) -> StreamReport:
        for shard in list(self.shards.values()):
            self._write(shard)
        done = self.journal["done"]
        hashes = {}
        for prefix in (CODES, REST):
            names = sorted(name for name in done if name.startswith(prefix))
            for index, name in enumerate(names):
                final = f"{prefix}-{index + 1:05d}-of-{len(names):05d}.safetensors"
                (self.work / name).replace(self.work / final)
                hashes[final] = done[name]["sha256"]
        (self.work / JOURNAL).unlink()
        write_manifest(self.work, self.layers, self.journal["identity"]["model"], hashes)
        replace_folder(self.work, folder)
        return StreamReport(self.layers)

    def _add(
        self,
        prefix: str,
        save: Callable[[dict[str, Any], Path], None],
        name: str,
        arrays: dict[str, Any],
    ) -> None:
        shard = self.shards.setdefault(prefix, _Shard(prefix, save))
        shard.arrays |= arrays
        shard.sources.append(name)
        shard.size += sum(array.nbytes for array in arrays.values())
        if shard.size >= self.shard_bytes:
            self._write(shard)

    def _write(self, shard: _Shard) -> None:
        from safetensors import SafetensorError

        number = sum(name.startswith(shard.prefix) for name in self.journal["done"])
        path = self.work / f"{shard.prefix}.{number:05d}"
        try:
            shard.save(shard.arrays, path)
        except (SafetensorError, OSError) as error:
            raise HwsimError(f"{path}: cannot be written: {error}") from None
        paths = [name.removesuffix(".weight") for name in shard.sources]
        known = {path: self.layers[path] for path in paths if path in self.layers}
        self.journal["done"][path.name] = {
            "sha256": sha256_of(path),
            "sources": shard.sources,
            "layers": {path: (str(spec), *shape) for path, (spec, shape) in known.items()},
        }
        write_text(self.work / JOURNAL, json.dumps(self.journal))
        del self.shards[shard.prefix]


def _save_arrays(arrays: dict[str, Any], path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(arrays, path)


def _save_tensors(tensors: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path)


def _is_whole(path: Path, shard: dict[str, Any]) -> bool:
    return Path(path).is_file() and sha256_of(path) == shard["sha256"]
