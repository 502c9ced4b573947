"""Sources whose weights are codes already: decoded as they are read, or refused by name.

Codes are decoded before transformers' conversion of names, so that loading and streaming see an
ordinary model of floats with the names that its files have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.codes import F8, Codes, Decoding
from quant.checkpoints.compressed_config import compressed_groups
from quant.checkpoints.compressed_sources import PACKINGS, compressed_decoding
from quant.checkpoints.fp8_sources import fp8_blocks, fp8_decoding
from quant.checkpoints.mxfp4_sources import mxfp4_decoding
from quant.checkpoints.shards import CONFIG, FLOATS, ShardedModel, open_model
from quant.common.errors import RequestError
from quant.common.progress import say
from quant.common.sealed import read_json

if TYPE_CHECKING:
    import torch

STATED = "quantization_config"
"""The key of a config that says which codes the weights are."""


@dataclass(frozen=True)
class Family:
    """A way of storing codes.

    Attributes:
        decoding: Takes the files and the config's table, gives what the tensors stand for.
        check: Refuses what the table alone shows.
    """

    decoding: Callable[[ShardedModel, Mapping[str, Any]], Decoding]
    check: Callable[[Mapping[str, Any]], object]


FAMILIES = {
    "fp8": Family(fp8_decoding, fp8_blocks),
    "fbgemm_fp8": Family(fp8_decoding, fp8_blocks),
    "mxfp4": Family(mxfp4_decoding, lambda stated: stated),
    "compressed-tensors": Family(
        compressed_decoding, lambda stated: compressed_groups(stated, PACKINGS)
    ),
}
"""By ``quant_method``."""
SCALE_NAMES = ("_scale_inv", "weight_scale", "weight_packed", "_blocks")
"""Ends of names that tensors of codes and scales have, whoever wrote them."""


@dataclass(frozen=True)
class DecodedModel(ShardedModel):
    """A folder of codes as a folder of floats.

    Attributes:
        stored: The files as they are.
        codes: Tensor -> the codes that it is read from; the others are read as they are.
    """

    stored: ShardedModel
    codes: Mapping[str, Codes]

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor of floats.

        Raises:
            RequestError: the file is cut or damaged.
        """
        own = self.codes.get(name)
        if own is None:
            return self.stored.read(name)
        return own.decode({what: self.stored.read(of) for what, of in own.parts.items()})

    @property
    def files(self) -> list[str]:
        """Names of the files, in order: those that hold scales alone too."""
        return self.stored.files


def open_source(folder: Path) -> ShardedModel:
    """Return the tensors of a local folder as floats; what they are decoded from is said.

    Raises:
        RequestError: as ``open_model``; codes in a format that is not read, codes without a scale
            or with one that does not fit, or codes that no config explains.
    """
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    stored = open_model(folder)
    stated = stated_codes(config)
    if stated is None:
        _check_no_codes(stored)
        return stored
    method = check_readable(str(folder), stated)
    found = FAMILIES[method].decoding(stored, stated)
    if not found.codes:
        raise RequestError(
            f"{folder / CONFIG}: {STATED} says {method}, and no tensor has its codes"
        )
    opened = _decoded(stored, found)
    _check_nothing_left(opened, method)
    say(
        f"{folder}: its weights are codes already ({found.said}), decoded to floats: a format "
        "chosen on top rounds a second time"
    )
    return opened


def stated_codes(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a model's config says of the codes that its weights are; None: they are floats.

    Raises:
        RequestError: it is no table.
    """
    inner = config.get("text_config")
    for data in (config, inner if isinstance(inner, Mapping) else {}):
        stated = data.get(STATED)
        if stated is None or stated == {}:
            continue
        if not isinstance(stated, Mapping):
            raise RequestError(f"{STATED} {stated!r} of a config: a table is needed")
        return stated
    return None


def without_codes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's config without what it says of codes: that of the decoded model."""
    plain = {key: value for key, value in config.items() if key != STATED}
    inner = plain.get("text_config")
    if isinstance(inner, Mapping):
        plain["text_config"] = {key: value for key, value in inner.items() if key != STATED}
    return plain


def check_readable(model: str, stated: Mapping[str, Any]) -> str:
    """Return the method of a ``quantization_config`` that can be decoded.

    Raises:
        RequestError: it cannot; with its name and those that can.
    """
    method = stated.get("quant_method", "no quant_method")
    if not isinstance(method, str) or method not in FAMILIES:
        raise RequestError(
            f"{model} is quantized already ({method} in its {CONFIG}), which is not decoded "
            f"(allowed: floats, {', '.join(FAMILIES)})"
        )
    FAMILIES[method].check(stated)
    return method


def _decoded(stored: ShardedModel, found: Decoding) -> DecodedModel:
    """The view of floats, its tensors in the order of the files."""
    first = {own.parts["codes"]: name for name, own in found.codes.items()}
    gone = {of for own in found.codes.values() for of in own.parts.values()} | found.left_out
    tensors = {}
    for name, tensor in stored.tensors.items():
        if name in first:
            own = found.codes[first[name]]
            if first[name] != name and first[name] in stored.tensors:
                raise RequestError(
                    f"{stored.folder}: both {name!r} and {first[name]!r}: one of them is meant"
                )
            tensors[first[name]] = replace(tensor, dtype=own.dtype, shape=own.shape)
        elif name not in gone:
            tensors[name] = tensor
    return DecodedModel(stored.folder, tensors, stored, found.codes, source_format=found.said)


def _check_nothing_left(opened: DecodedModel, method: str) -> None:
    """Raise a RequestError for codes or scales that were not decoded."""
    for name, tensor in opened.tensors.items():
        is_weight = name.endswith((".weight", ".bias")) and tensor.dtype not in FLOATS
        if is_weight or tensor.dtype in F8 or (name not in opened.codes and _is_of_codes(name)):
            raise RequestError(
                f"{opened.folder / tensor.file}: tensor {name!r} ({tensor.dtype}) is part of no "
                f"codes of {method}"
            )


def _check_no_codes(stored: ShardedModel) -> None:
    """Raise a RequestError for codes of a folder whose config speaks of none."""
    for name, tensor in stored.tensors.items():
        if tensor.dtype in F8 or _is_of_codes(name):
            raise RequestError(
                f"{stored.folder / tensor.file}: tensor {name!r} ({tensor.dtype}) is part of "
                f"codes, and no {STATED} in a {CONFIG} says how they are read"
            )


def _is_of_codes(name: str) -> bool:
    return name.endswith(SCALE_NAMES)
