"""The layouts of GPTQ and AWQ checkpoints: unsigned codes and zero points in words of 32 bits.

GPTQ packs a column of inputs into words, the first code lowest, and zero points along the outputs,
less one in its first version (AutoGPTQ; ``checkpoint_format`` ``gptq``), as they are in its second
(GPTQModel; ``gptq_v2``). AWQ packs both along the outputs, in the order 0, 2, 4, 6, 1, 3, 5, 7
(AutoAWQ's ``gemm``). Scales of both are float16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.formats.elements import IntType
from quant.formats.layout import ROW
from quant.formats.spec import FormatSpec
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

WORD = 32
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


class Codes(NamedTuple):
    """A layer in unsigned integers: a weight is ``(code - zero) * scale``.

    Attributes:
        codes: ``[out, in]``.
        zeros: ``[out, groups]``, 0 to ``2^bits - 1``.
        scales: ``[out, groups]`` float16.
    """

    codes: U8
    zeros: U8
    scales: NDArray[np.float16]


def unsigned_codes(path: str, tensor: QuantizedTensor, target: str) -> Codes:
    """Return a layer of integers without signs.

    Raises:
        RequestError: a scale that float16 does not hold.
    """
    bits = tensor.spec.format.element_bits
    used = tensor.group_scales()
    with np.errstate(over="ignore"):
        scales = used.astype(np.float16)
    if not np.array_equal(scales.astype(np.float32), used):
        raise RequestError(
            f"layer {path}: {tensor.spec} has scales that float16 does not hold, which {target} "
            "stores (allowed: scales of fp16)"
        )
    codes = tensor.unpack_codes()
    if tensor.zero_points is not None:
        return Codes(codes, tensor.zero_points.astype(np.uint8), scales)
    half = np.uint8(1 << (bits - 1))
    return Codes(codes ^ half, np.full(scales.shape, half, np.uint8), scales)


@dataclass(frozen=True)
class WordLayout:
    """A layout of codes in words; the base of both.

    Attributes:
        name: What users type.
        bits: Widths of a code that it has.
    """

    name: str
    bits: tuple[int, ...]

    def check(self, path: str, spec: FormatSpec, shape: tuple[int, int]) -> None:
        """Raise a RequestError for a format or a shape that it has not."""
        rows, columns = shape
        integer = isinstance(spec.format.element, IntType) and spec.format.layout.is_grid
        integer = integer and not spec.scale_rule.has_float_zero and not spec.has_tensor_scale
        if not integer or spec.format.element_bits not in self.bits:
            named = ", ".join(f"int{bits} and int{bits}-asym" for bits in self.bits)
            raise RequestError(
                f"layer {path}: {spec} has no place in {self.name} (allowed: {named})"
            )
        each = WORD // spec.format.element_bits
        if spec.group_size < ROW and columns % spec.group_size:
            raise RequestError(
                f"layer {path}: rows of {columns} are not whole groups of {spec.group_size}, "
                f"which {self.name} needs"
            )
        if rows % each or columns % each:
            raise RequestError(
                f"layer {path}: {rows} outputs and {columns} inputs: {self.name} needs multiples "
                f"of {each}"
            )

    def tensors(self, path: str, tensor: QuantizedTensor, *, shifted: bool) -> Any:  # noqa: ANN401  below
        """Return what is stored of a layer.

        Args:
            path: Its name, for messages.
            tensor: Its codes.
            shifted: Whether zero points are stored less one.
        """
        raise NotImplementedError

    def config(self, spec: FormatSpec, unquantized: list[str], *, shifted: bool) -> dict[str, Any]:
        """Return the ``quantization_config`` of layers that have one format.

        Args:
            spec: The format.
            unquantized: Linear modules that are not quantized.
            shifted: Whether zero points are stored less one.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class GptqLayout(WordLayout):
    """``qweight`` packed along the inputs, ``g_idx``."""

    def tensors(
        self, path: str, tensor: QuantizedTensor, *, shifted: bool
    ) -> dict[str, torch.Tensor]:
        """Words, scales, zero points, and the group of each input."""
        import torch

        bits, columns = tensor.spec.format.element_bits, tensor.shape[1]
        codes, zeros, scales = unsigned_codes(path, tensor, self.name)
        stored = (zeros - np.uint8(shifted)) & np.uint8((1 << bits) - 1)
        groups = np.arange(columns) // min(tensor.spec.group_size, columns)
        return {
            "qweight": torch.from_numpy(words(codes, bits).T.copy()),
            "qzeros": torch.from_numpy(words(stored.T, bits)),
            "scales": torch.from_numpy(scales.T.copy()),
            "g_idx": torch.from_numpy(groups.astype(np.int32)),
        }

    def config(self, spec: FormatSpec, unquantized: list[str], *, shifted: bool) -> dict[str, Any]:
        """GPTQModel's: modules that are not quantized have a pattern in ``dynamic``."""
        import re

        left = [name for name in unquantized if name.rpartition(".")[2] != "lm_head"]
        found: dict[str, Any] = {
            "quant_method": "gptq",
            "bits": spec.format.element_bits,
            "group_size": _group_size(spec),
            "desc_act": False,
            "sym": not spec.format.is_asymmetric,
            "lm_head": len(left) == len(unquantized),
            "checkpoint_format": "gptq" if shifted else "gptq_v2",
        }
        if left:
            found["dynamic"] = {f"-:^{re.escape(name)}$": {} for name in left}
        return found


@dataclass(frozen=True)
class AwqLayout(WordLayout):
    """``qweight`` packed along the outputs, in AWQ's order."""

    def tensors(
        self, path: str, tensor: QuantizedTensor, *, shifted: bool
    ) -> dict[str, torch.Tensor]:
        """Words, scales, zero points; as they are in any case."""
        import torch

        bits = tensor.spec.format.element_bits
        codes, zeros, scales = unsigned_codes(path, tensor, self.name)
        return {
            "qweight": torch.from_numpy(words(_reordered(codes.T), bits)),
            "qzeros": torch.from_numpy(words(_reordered(zeros.T), bits)),
            "scales": torch.from_numpy(scales.T.copy()),
        }

    def config(self, spec: FormatSpec, unquantized: list[str], *, shifted: bool) -> dict[str, Any]:
        """AutoAWQ's."""
        return {
            "quant_method": "awq",
            "version": "gemm",
            "bits": spec.format.element_bits,
            "group_size": _group_size(spec),
            "zero_point": True,
            "modules_to_not_convert": unquantized,
        }


def words(codes: U8, bits: int) -> NDArray[np.int32]:
    """Return ``[rows, n]`` codes in words, ``[rows, n*bits/32]``, the first code lowest."""
    each = WORD // bits
    places = np.arange(each, dtype=np.uint32) * np.uint32(bits)
    wide = codes.reshape(codes.shape[0], -1, each).astype(np.uint32) << places
    found: NDArray[np.uint32] = np.bitwise_or.reduce(wide, axis=2)
    return np.ascontiguousarray(found).view(np.int32)


def _reordered(codes: U8) -> U8:
    """Each eight columns in AWQ's order."""
    eights = codes.reshape(codes.shape[0], -1, len(AWQ_ORDER))
    return eights[:, :, list(AWQ_ORDER)].reshape(codes.shape)


def _group_size(spec: FormatSpec) -> int:
    return -1 if spec.group_size >= ROW else spec.group_size


GPTQ = GptqLayout("gptq", (2, 4, 8))
AWQ = AwqLayout("awq", (4,))
