"""A checkpoint as a folder of compressed-tensors: schemes by format, what is ignored, experts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.compressed_schemes import SCHEMES, Scheme, scheme_of
from quant.checkpoints.compressed_tensors import config_of
from quant.checkpoints.finished import FinishedCheckpoint
from quant.checkpoints.hub_folder import (
    ExportOptions,
    Pack,
    Prepared,
    counted,
    linear_weight,
    write_hub_folder,
)
from quant.checkpoints.published import Published, published
from quant.common.errors import RequestError, unknown_name

if TYPE_CHECKING:
    import torch

NAME = "compressed-tensors"
_EXPERT = re.compile(r"\.experts\.\d+\.")


def to_compressed_tensors(opened: FinishedCheckpoint, options: ExportOptions) -> Prepared:
    """Prepare a folder that vLLM and transformers read as compressed-tensors.

    Raises:
        RequestError: a layer that no scheme holds exactly, or one whose inputs were not seen.
    """
    if options.activations not in SCHEMES:
        raise unknown_name("activations", options.activations, SCHEMES)
    names = published(opened)
    schemes: dict[str, Scheme] = {}
    groups: dict[str, list[str]] = {}
    for module, (path, _) in names.layers.items():
        spec = opened.specs[path]
        columns = linear_weight(opened, path, NAME).shape[1]
        schemes[module] = scheme_of(path, spec, columns, SCHEMES[options.activations])
        _input_scale(schemes[module], path, options)
        groups.setdefault(json.dumps(schemes[module].group(spec)), []).append(module)
    ignore = names.unquantized
    stated = config_of(
        [
            (_targets(modules, names, alone=len(groups) == 1), json.loads(said))
            for said, modules in groups.items()
        ],
        ignore,
    )
    said = counted(schemes[m].layout + f" {opened.specs[p]}" for m, (p, _) in names.layers.items())
    pack = partial(_packed, names, schemes, options)
    write = partial(_write, names=names, pack=pack, stated=stated, options=options)
    return Prepared(said, write)


def _write(
    folder: Path,
    names: Published,
    pack: Pack,
    stated: Mapping[str, Any],
    options: ExportOptions,
) -> list[str]:
    return write_hub_folder(folder, names, pack, stated, options)


def _packed(
    names: Published, schemes: Mapping[str, Scheme], options: ExportOptions, module: str
) -> dict[str, torch.Tensor]:
    import torch

    found = schemes[module].tensors(names.layer(module))
    scale = _input_scale(schemes[module], names.layers[module][0], options)
    return found if scale is None else {**found, "input_scale": torch.tensor([scale])}


def _input_scale(scheme: Scheme, path: str, options: ExportOptions) -> float | None:
    """The scale of a layer's inputs; None: none is stored."""
    if scheme.inputs is None or scheme.inputs.largest is None:
        return None
    largest = options.ranges().get(path, 0.0)
    if not largest > 0:
        raise RequestError(
            f"layer {path}: its inputs were not seen, and a static scale needs their largest "
            "value: dynamic ones (--inputs) need none"
        )
    return largest / scheme.inputs.largest


def _targets(modules: list[str], names: Published, *, alone: bool) -> list[str]:
    """What a config calls some modules: their class, patterns of whole sets of experts, names.

    A name of the model's own stands beside a published one, for runtimes that build that model.
    """
    if alone:
        return ["Linear"]
    own, found, known = set(modules), [], {*names.layers, *names.unquantized}
    for module in modules:
        if not _EXPERT.search(module):
            found += [module, names.layers[module][0]]
            continue
        before, after = _EXPERT.split(module, 1)
        pattern = rf"{re.escape(before)}\.experts\.\d+\.{re.escape(after)}$"
        alike = {name for name in known if re.match(pattern, name)}
        found.append(f"re:{pattern}" if alike <= own else module)
    return list(dict.fromkeys(found))
