"""A checkpoint as a folder in the layout of GPTQ or AWQ: one format for all quantized layers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from quant.checkpoints.finished import FinishedCheckpoint
from quant.checkpoints.gptq_layout import AWQ, GPTQ, WordLayout, unsigned_codes
from quant.checkpoints.hub_folder import (
    ExportOptions,
    Prepared,
    counted,
    linear_weight,
    need_no_activations,
    write_hub_folder,
)
from quant.checkpoints.published import Published, published
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.formats.spec import FormatSpec

if TYPE_CHECKING:
    import torch


def to_gptq(opened: FinishedCheckpoint, options: ExportOptions) -> Prepared:
    """Prepare a folder in the layout of GPTQ.

    Zero points are stored less one, as most readers have it, unless one of them is 0: then all are
    stored as they are (``gptq_v2``).

    Raises:
        RequestError: as ``_prepared``.
    """
    return _prepared(opened, options, GPTQ)


def to_awq(opened: FinishedCheckpoint, options: ExportOptions) -> Prepared:
    """Prepare a folder in the layout of AWQ.

    Raises:
        RequestError: as ``_prepared``.
    """
    return _prepared(opened, options, AWQ)


def _prepared(opened: FinishedCheckpoint, options: ExportOptions, layout: WordLayout) -> Prepared:
    """A folder of either layout.

    Raises:
        RequestError: layers of several formats, or one that the layout cannot hold exactly.
    """
    need_no_activations(options, layout.name)
    names = published(opened)
    paths = {path: module for module, (path, _) in names.layers.items()}
    spec = _one_format(opened, layout)
    for path in paths:
        layout.check(path, spec, linear_weight(opened, path, layout.name).shape)
    for module, (path, rows) in names.layers.items():
        count = opened.manifest.layers[path].shape[0] if rows is None else len(rows)
        layout.check(module, spec, (count, opened.manifest.layers[path].shape[1]))
    least = 255
    for path in track(list(paths), "looking at scales"):
        least = min(least, int(unsigned_codes(path, opened.layer(path), layout.name).zeros.min()))
    shifted = least > 0
    stated = layout.config(spec, names.unquantized, shifted=shifted)
    said = counted(f"{layout.name} {spec}" for _ in names.layers)
    pack = partial(_packed, names, layout, shifted)

    def write(folder: Path) -> list[str]:
        return write_hub_folder(folder, names, pack, stated, options)

    return Prepared(said, write)


def _packed(
    names: Published, layout: WordLayout, shifted: bool, module: str
) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = layout.tensors(module, names.layer(module), shifted=shifted)
    return found


def _one_format(opened: FinishedCheckpoint, layout: WordLayout) -> FormatSpec:
    """The format of all layers; how scales were found does not matter."""
    first, *others = opened.specs.items()
    for path, spec in others:
        if (spec.format, spec.group_size) != (first[1].format, first[1].group_size):
            raise RequestError(
                f"layer {path}: {spec}, and {first[0]} is {first[1]}: {layout.name} has one format "
                "for all layers (allowed: compressed-tensors has several)"
            )
    return first[1]
