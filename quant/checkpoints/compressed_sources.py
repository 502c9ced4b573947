"""Sources of the library compressed-tensors: its packings, decoded as its ``decompress`` does.

The library multiplies in the type of its scales; here the product is float32, of which the
library's is the rounding to that type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from quant.checkpoints.codes import (
    F8,
    SCALES,
    Blocks,
    Codes,
    Decoding,
    Parts,
    blocks_of,
    fp4_values,
    misfit,
    numbers,
    scaled,
)
from quant.checkpoints.compressed_config import Arguments, arguments_of, compressed_groups
from quant.checkpoints.fp8_sources import CACHE
from quant.checkpoints.shards import FLOATS, ShardedModel
from quant.common.errors import RequestError
from quant.compat.compressed_tensors import WORD, unpack_from_int32

if TYPE_CHECKING:
    import torch

ACTIVATIONS = (
    "input_scale", "input_zero_point", "input_global_scale",
    "output_scale", "output_zero_point", "output_global_scale",
)  # fmt: skip
"""Tensors of a module that say how its inputs and outputs are rounded."""
ROWS = 1 << 10
"""Rows that are unpacked at a time."""


def compressed_decoding(opened: ShardedModel, stated: Mapping[str, Any]) -> Decoding:
    """Return what the tensors of a folder of compressed-tensors stand for.

    Args:
        opened: The files.
        stated: The ``quantization_config``.

    Raises:
        RequestError: a packing that is not read (named), a layer of codes that no group of the
            config means, or tensors that do not fit each other.
    """
    groups = compressed_groups(stated, PACKINGS)
    codes = {}
    kinds = set()
    for name, tensor in opened.tensors.items():
        module, _, part = name.rpartition(".")
        is_codes = part == "weight_packed" or (part == "weight" and tensor.dtype not in FLOATS)
        if is_codes:
            own = arguments_of(opened, module, groups)
            codes[f"{module}.weight"] = PACKINGS[own.format](opened, module, own)
            kinds.add(f"{own.format} {own.type}{own.num_bits}")
    modules = {name.removesuffix(".weight") for name in codes}
    also = {f"{module}.{part}" for module in modules for part in ACTIVATIONS}
    if stated.get("kv_cache_scheme"):
        also |= {name for name in opened.tensors if name.endswith(CACHE)}
    said = f"compressed-tensors {', '.join(sorted(kinds))}"
    return Decoding(said, codes, frozenset(also & opened.tensors.keys()))


def _packed_integers(opened: ShardedModel, module: str, own: Arguments) -> Codes:
    """Integers of any width without gaps in words of 32 bits, shifted by half their range."""
    packed, scale, size = (f"{module}.weight_{part}" for part in ("packed", "scale", "shape"))
    _need(opened, packed, scale, size)
    shape = _stored_shape(opened, size)
    words = (shape[0], -(-shape[1] * own.num_bits // WORD))
    if not 1 <= own.num_bits <= 8 or opened.tensors[packed].shape != words:
        misfit(opened, packed, size, shape)
    _check_type(opened, packed, ("I32",), size)
    parts = {"codes": packed, "scales": scale, "shape": size}
    blocks = _blocks(opened, scale, packed, shape, own)
    if not own.symmetric:
        rows, columns = blocks.grid(shape)
        packs_zeros = own.strategy in ("group", "channel")
        zeros = (-(-rows * own.num_bits // WORD), columns) if packs_zeros else (rows, columns)
        parts["zeros"] = _zeros(opened, module, packed, zeros)
    if (order := f"{module}.weight_g_idx") in opened.tensors:
        parts["order"] = order
        if opened.tensors[order].shape != shape[1:] or opened.tensors[order].dtype != "I32":
            misfit(opened, order, packed, shape)
    return Codes(parts, shape, partial(_integers, said=module, own=own, blocks=blocks, shape=shape))


def _integers(
    parts: Parts, *, said: str, own: Arguments, blocks: Blocks, shape: tuple[int, int]
) -> torch.Tensor:
    import torch

    values = torch.empty(shape)
    for first in range(0, shape[0], ROWS):
        words = parts["codes"][first : first + ROWS].numpy()
        values[first : first + ROWS] = torch.from_numpy(
            unpack_from_int32(words, own.num_bits, shape[1])
        )
    scales = numbers(parts["scales"]).reshape(blocks.grid(shape))
    zeros = parts.get("zeros")
    if zeros is not None and zeros.dtype == torch.int32:  # packed along the rows
        words = zeros.T.contiguous().numpy()
        zeros = torch.from_numpy(unpack_from_int32(words, own.num_bits, shape[0])).T
    order = parts.get("order")
    if order is not None and bool((order >= 0).all()):
        # Columns were sorted by importance: each names its group.
        if int(order.max()) >= scales.shape[1]:
            raise RequestError(f"{said}: a column is of group {order.max()} of {scales.shape[1]}")
        places = order.long()
        if zeros is not None:
            values -= zeros[:, places].float()
        return values.mul_(scales[:, places])
    return _shifted(values, scales, zeros, blocks)


def _shifted(
    values: torch.Tensor, scales: torch.Tensor, zeros: torch.Tensor | None, blocks: Blocks
) -> torch.Tensor:
    """``(value - zero) * scale``; both differences are exact."""
    shape = tuple(values.shape)
    if zeros is not None:
        values -= blocks.spread(zeros.float().reshape(blocks.grid(shape)), shape)
    return scaled(values, scales, blocks)


def _plain(opened: ShardedModel, module: str, own: Arguments) -> Codes:
    """A code an element, in a type of its own: int8 or 8-bit floats."""
    codes, scale = f"{module}.weight", f"{module}.weight_scale"
    _need(opened, codes, scale)
    shape = opened.tensors[codes].shape
    _check_type(opened, codes, ("I8",) if own.type == "int" else F8, scale)
    powers = own.format == "mxfp8-quantized"
    blocks = _blocks(opened, scale, codes, shape, own, ("U8",) if powers else SCALES)
    parts = {"codes": codes, "scales": scale}
    if not own.symmetric:
        parts["zeros"] = _zeros(opened, module, codes, blocks.grid(shape))

    def decode(parts: Parts) -> torch.Tensor:
        scales = numbers(parts["scales"], powers=powers)
        return _shifted(parts["codes"].float(), scales, parts.get("zeros"), blocks)

    return Codes(parts, shape, decode)


def _packed_floats(opened: ShardedModel, module: str, own: Arguments) -> Codes:
    """E2M1, two a byte, under scales of E4M3 and one of the tensor (NVFP4), or of E8M0 (MXFP4)."""
    packed, scale = f"{module}.weight_packed", f"{module}.weight_scale"
    _need(opened, packed, scale)
    _check_type(opened, packed, ("U8",), scale)
    stored = opened.tensors[packed].shape
    shape = (*stored[:-1], 2 * stored[-1]) if len(stored) == 2 else stored
    powers = own.format == "mxfp4-pack-quantized"
    if not own.symmetric or own.num_bits != 4 or own.type != "float":
        raise RequestError(f"{opened.folder}: layer {module!r}: {own.format} holds fp4, symmetric")
    blocks = _blocks(opened, scale, packed, shape, own, ("U8",) if powers else ("F8_E4M3",))
    parts = {"codes": packed, "scales": scale}
    if not powers:
        parts["whole"] = f"{module}.weight_global_scale"
        _need(opened, packed, parts["whole"])
        whole = opened.tensors[parts["whole"]]
        if whole.dtype != "F32" or whole.shape not in ((), (1,)):
            misfit(opened, parts["whole"], packed, shape)

    def decode(parts: Parts) -> torch.Tensor:
        scales = numbers(parts["scales"], powers=powers)
        if "whole" in parts:
            scales = scales / parts["whole"]
        return scaled(fp4_values(parts["codes"]), scales, blocks)

    return Codes(parts, shape, decode)


PACKINGS: dict[str, Callable[[ShardedModel, str, Arguments], Codes]] = {
    "pack-quantized": _packed_integers,
    **dict.fromkeys(("int-quantized", "float-quantized", "naive-quantized"), _plain),
    "mxfp8-quantized": _plain,
    **dict.fromkeys(("nvfp4-pack-quantized", "mxfp4-pack-quantized"), _packed_floats),
}
"""The library's names of the packings that are read."""


def _blocks(
    opened: ShardedModel,
    scale: str,
    codes: str,
    shape: tuple[int, ...],
    own: Arguments,
    allowed: tuple[str, ...] = SCALES,
) -> Blocks:
    """What shares a scale, from the config and the shape of the scales, which agree."""
    tensor = opened.tensors[scale]
    stated = own.blocks
    blocks = blocks_of(tensor, shape, stated) if len(shape) == 2 else None
    if blocks is None or (stated is not None and blocks != stated) or tensor.dtype not in allowed:
        misfit(opened, scale, codes, shape)
    if stated is not None and own.block_structure is None and shape[1] % stated.columns:
        misfit(opened, scale, codes, shape)  # the library has whole groups only
    return blocks


def _zeros(opened: ShardedModel, module: str, codes: str, shape: tuple[int, ...]) -> str:
    name = f"{module}.weight_zero_point"
    _need(opened, codes, name)
    own = opened.tensors[name]
    flat = shape[:1] if shape[1:] == (1,) else shape
    if own.shape not in (shape, flat) or own.dtype not in ("I32", "I8"):
        misfit(opened, name, codes, shape)
    return name


def _need(opened: ShardedModel, *names: str) -> None:
    for name in names:
        if name not in opened.tensors:
            there = next(other for other in names if other in opened.tensors)
            file = opened.folder / opened.tensors[there].file
            raise RequestError(f"{file}: tensor {there!r} has no {name!r} beside it")


def _check_type(opened: ShardedModel, name: str, allowed: tuple[str, ...], of: str) -> None:
    if opened.tensors[name].dtype not in allowed:
        misfit(opened, name, of, opened.tensors[of].shape)


def _stored_shape(opened: ShardedModel, name: str) -> tuple[int, int]:
    values = opened.read(name).tolist() if opened.tensors[name].shape == (2,) else []
    if len(values) != 2 or not all(isinstance(n, int) and 0 < n < 1 << 40 for n in values):
        raise RequestError(f"{opened.folder}: tensor {name!r} is no shape of a matrix: {values}")
    return values[0], values[1]
