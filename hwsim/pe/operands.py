"""What the PE is fed: activation words, group scales as integers, row factors.

Shared by the specification, the kernels and the stimulus of the RTL, which take it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.arithmetic import MAX_GROUP, Arithmetic, check_group
from hwsim.pe.terms import TermTable, term_table
from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.scale_kind import ScaleKind
from quant.formats.scales import SCALES
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor

I32 = NDArray[np.int32]


def pe_scales() -> list[str]:
    """Return the kinds of group scales that the dequantizer takes."""
    return [kind.name for kind in SCALES.values() if kind.multiplied_bits is not None]


@dataclass(frozen=True, eq=False)
class Weights:
    """A quantized weight as the PE sees it.

    Attributes:
        table: Terms of the format.
        codes: ``[out, in]`` uint8.
        size: Weights of a group; the last one of a row may be shorter.
        scale_kind: Kind of the group scales.
        selectors: ``[out, groups]`` uint8, 0 where there is no choice.
        stored_scales: The group scales as they are stored, ``[out, groups]`` uint8.
        scales: Integer part of the group scales, ``[out, groups]`` int32: 1..255.
        scale_exponents: Power of two of the group scales, ``[out, groups]`` int32.
        zero_points: ``[out, groups]`` int32; None for symmetric formats.
        factors: What a row is multiplied by at its end, ``[out]`` float32: its FP16 scale (int8),
            the tensor's FP32 scale (e4m3), else 1.
    """

    table: TermTable
    codes: U8
    size: int
    scale_kind: ScaleKind
    selectors: U8
    stored_scales: U8
    scales: I32
    scale_exponents: I32
    zero_points: I32 | None
    factors: F32

    @property
    def corrections(self) -> I32 | None:
        """``(offset - zero) * scale``, what a group's activation sum is multiplied by."""
        if self.zero_points is None:
            return None
        return (self.table.offset - self.zero_points) * self.scales


def weights(weight: QuantizedTensor, rule: Arithmetic | None) -> tuple[Weights, Arithmetic]:
    """Return the PE's view of a quantized weight, and the arithmetic that runs it.

    Without a rule it is the default one, with terms as wide as the format needs.

    Raises:
        RequestError: a format, scale or zero point that the PE does not take, a group that is
            too long, a code or scale that stands for no number.
    """
    if not isinstance(weight, QuantizedTensor):
        raise RequestError(f"a weight of type {type(weight).__name__}: a QuantizedTensor is needed")
    if rule is not None and not isinstance(rule, Arithmetic):
        raise RequestError(f"arithmetic of type {type(rule).__name__}: an Arithmetic is needed")
    if weight.spec.scale.multiplied_bits is None:
        allowed = ", ".join(pe_scales())
        raise RequestError(f"the PE takes scales {allowed}, not {weight.spec.scale.name!r}")
    if weight.spec.scale_rule.has_float_zero:
        raise RequestError("the PE takes integer zero points, not the rule 'float-zero'")
    table = term_table(weight.spec.format, rule.exponent_bits if rule else None)
    rule = rule or Arithmetic(exponent_bits=table.exponent_bits)
    size = min(weight.spec.group_size, weight.shape[1])
    if size > MAX_GROUP:
        raise RequestError(f"groups of {size} weights: the PE's counters allow {MAX_GROUP}")
    check_group(rule, size, table.steps, str(weight.spec))
    codes, selectors = weight.unpack_codes(), weight.group_selectors()
    _check_codes(table, codes, selectors, size)
    scales, exponents = _scales(weight)
    zeros = None if weight.zero_points is None else weight.zero_points.astype(np.int32)
    if zeros is not None:
        top = 2**weight.spec.format.element_bits - 1
        _refuse((zeros < 0) | (zeros > top), zeros, "zero point", f"0..{top}")
    stored = weight.scales.astype(np.uint8)
    factors = _factors(weight)
    seen = Weights(
        table, codes, size, weight.spec.scale, selectors, stored, scales, exponents, zeros, factors
    )
    return seen, rule


def activation_array(activations: Any, columns: int) -> NDArray[Any]:  # noqa: ANN401  anything numpy or torch can turn into an array
    """Return activations ``[tokens, in]`` as an array of real numbers, not rounded.

    Raises:
        RequestError: no array of real numbers, or another shape.
    """
    try:
        if hasattr(activations, "detach"):
            activations = activations.detach().cpu()
            if activations.dtype.itemsize < 4 and activations.dtype.is_floating_point:
                activations = activations.float()  # numpy has no bfloat16; exact in float32
        given = np.asarray(activations)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(activations).__name__
        raise RequestError(f"activations of type {kind} are no array: {error}") from None
    if given.ndim != 2 or given.shape[1] != columns:
        raise RequestError(f"activations of shape {given.shape}: [tokens, {columns}] is needed")
    if given.dtype.kind not in "fiub":
        raise RequestError(f"activations of type {given.dtype}: real numbers are needed")
    return given


def block_starts(columns: int, size: int, lanes: int) -> I32:
    """Return the first block of each group, and the number of blocks."""
    lengths = [min(size, columns - start) for start in range(0, columns, size)]
    return np.cumsum([0, *(-(-length // lanes) for length in lengths)]).astype(np.int32)


def _check_codes(table: TermTable, codes: U8, selectors: U8, size: int) -> None:
    suspects = np.flatnonzero(~table.has_value.all(axis=0))
    if not any((codes == code).any() for code in suspects):
        return
    groups = np.repeat(selectors, size, axis=1)[:, : codes.shape[1]]
    wrong = ~table.has_value[groups, codes]
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        code = int(codes[row, column])
        raise RequestError(f"weight [{row}, {column}] is code {code:#04x}: no number")


def _scales(weight: QuantizedTensor) -> tuple[I32, I32]:
    """Group scales as integers and powers of two."""
    kind, stored = weight.spec.scale, weight.scales
    _refuse(~kind.is_number(stored), stored, f"{kind} scale", kind.limits)
    return kind.multiplier(stored)


def _factors(weight: QuantizedTensor) -> F32:
    factors = _stored_factors(weight)
    wrong = ~(np.isfinite(factors) & (factors >= 0))
    _refuse(wrong[:, None], factors[:, None], "factor of row", "finite and not below 0")
    return factors


def _refuse(wrong: NDArray[np.bool_], values: NDArray[Any], what: str, allowed: str) -> None:
    """Raise for the first wrong value, with its place."""
    if wrong.any():
        place = [int(i) for i in np.argwhere(wrong)[0]]
        raise RequestError(f"{what} {place} is {values[tuple(place)]}: {allowed} is allowed")


def _stored_factors(weight: QuantizedTensor) -> F32:
    if weight.row_scales is not None:
        return weight.row_scales.astype(np.float32)
    factor = np.float32(1)
    if weight.tensor_scale is not None:
        stored = np.float32(weight.tensor_scale.reshape(-1)[0])
        factor = np.float32(1) / stored if weight.spec.scale_rule.divides_by_tensor else stored
    return np.full(weight.shape[0], factor, np.float32)
