"""What stored tensors of codes, scales and zero points stand for: one tensor of floats each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import numpy as np

from quant.checkpoints.shards import ShardedModel, TensorInfo
from quant.common.errors import RequestError
from quant.formats.elements import FloatType
from quant.formats.registry import FORMATS
from quant.formats.scales import E8M0

if TYPE_CHECKING:
    import torch

Parts: TypeAlias = "dict[str, torch.Tensor]"
F8 = ("F8_E4M3", "F8_E5M2")
"""Data types of safetensors whose values are codes that a scale multiplies."""
E8M0_NAMES = ("F8_E8M0", "U8")
"""Data types that hold powers of two, ``2^(code - 127)``."""
SCALES = ("F32", "BF16", "F16")


@dataclass(frozen=True)
class Codes:
    """A tensor of floats that a source holds as codes.

    Attributes:
        parts: What each of its tensors is (``codes``, ``scales``) -> its name in the files.
        shape: Shape of the floats.
        decode: Takes the tensors by what they are, gives the floats.
        dtype: Of the floats, as safetensors spells it.
    """

    parts: Mapping[str, str]
    shape: tuple[int, ...]
    decode: Callable[[Parts], torch.Tensor]
    dtype: str = "F32"


@dataclass(frozen=True)
class Decoding:
    """What the tensors of a quantized source stand for.

    Attributes:
        said: Its format in a few words.
        codes: Name of a tensor in the model's own naming -> its codes.
        left_out: Tensors that say how activations are rounded: of no use for weights.
    """

    said: str
    codes: Mapping[str, Codes]
    left_out: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Blocks:
    """How large the blocks are that share a scale; the last ones may be cut.

    Attributes:
        rows: Rows of a block.
        columns: Columns of a block.
    """

    rows: int
    columns: int

    def grid(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the scales of a tensor: one a block of its last two axes."""
        *leading, rows, columns = shape
        return (*leading, -(-rows // self.rows), -(-columns // self.columns))

    def spread(self, scales: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Return a number for each element, given one for each block.

        Args:
            scales: Of the shape ``grid(shape)``.
            shape: Of the tensor.
        """
        wide = scales
        if self.columns < shape[-1]:
            wide = wide.repeat_interleave(self.columns, -1)[..., : shape[-1]]
        if 1 < self.rows < shape[-2]:
            wide = wide.repeat_interleave(self.rows, -2)[..., : shape[-2], :]
        return wide


def blocks_of(scale: TensorInfo, shape: tuple[int, ...], stated: Blocks | None) -> Blocks | None:
    """Return the blocks that scales of some shape belong to; None: they fit no way of use.

    One scale for the tensor, or one for each row, fit whatever is stated.

    Args:
        scale: What the file says of the scales.
        shape: Of the tensor, two axes or more.
        stated: Blocks that the config states.
    """
    if stated is not None and scale.shape == stated.grid(shape):
        return stated
    if scale.shape in ((), (1,), (1, 1)):
        return Blocks(shape[-2], shape[-1])
    if len(shape) == 2 and scale.shape in (shape[:1], (shape[0], 1)):
        return Blocks(1, shape[1])
    return None


def numbers(scales: torch.Tensor, *, powers: bool = False) -> torch.Tensor:
    """Return scales as float32.

    Args:
        scales: Floats, or E8M0 in a type of its own or in bytes.
        powers: Bytes are powers of two; code 255 is NaN.
    """
    import torch

    if not powers or scales.dtype != torch.uint8:
        return scales.float()
    return torch.from_numpy(E8M0.used(scales.numpy()))


def scaled(values: torch.Tensor, scales: torch.Tensor, blocks: Blocks) -> torch.Tensor:
    """Return values times the scales of their blocks, float32; the values are changed.

    Args:
        values: ``[..., rows, columns]`` float32.
        scales: ``blocks.grid(values.shape)``, or as many numbers in fewer axes; float32.
        blocks: What shares a scale.
    """
    shape = tuple(values.shape)
    return values.mul_(blocks.spread(scales.reshape(blocks.grid(shape)), shape))


def fp4_values(packed: torch.Tensor) -> torch.Tensor:
    """Return the E2M1 values of bytes, two a byte, the lower half first: ``[..., 2n]`` float32."""
    import torch

    element = FORMATS["mxfp4"].element
    assert isinstance(element, FloatType)
    every = np.arange(256)
    pairs = np.stack([element.levels[every & 15], element.levels[every >> 4]], axis=1)
    found = torch.from_numpy(pairs[packed.numpy()])
    return found.reshape(*packed.shape[:-1], 2 * packed.shape[-1])


def misfit(opened: ShardedModel, name: str, of: str, shape: tuple[int, ...]) -> NoReturn:
    """Raise the RequestError of a tensor whose shape or type does not fit what it belongs to.

    Args:
        opened: The source.
        name: The tensor.
        of: The tensor of codes that it belongs to.
        shape: Of the codes.
    """
    own = opened.tensors[name]
    raise RequestError(
        f"{opened.folder / own.file}: tensor {name!r} is {own.dtype} of shape {own.shape}: it does "
        f"not fit {of!r} of shape {shape}"
    )
