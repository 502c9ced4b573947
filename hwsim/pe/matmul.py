"""matmul(): a quantized layer on a bit-serial PE array, bit for bit."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.terms import TermTable, term_table
from quant.common.errors import RequestError
from quant.datatypes import F32
from quant.tensor import QuantizedTensor

I32 = NDArray[np.int32]
PE_SCALES = ("int8",)
"""Scale formats that the PE's serial dequantizer takes."""
DEFAULT = Arithmetic()
EXPONENT_SPAN = 64
"""Accumulator exponents lie below this: field <= 30, term <= 3, normalization <= 23."""


def matmul(
    weight: QuantizedTensor,
    activations: Any,  # noqa: ANN401  anything numpy or torch can turn into an array
    *,
    arithmetic: Arithmetic = DEFAULT,
    skip_zero_steps: bool = False,
    backend: Literal["numba", "reference"] = "numba",
) -> tuple[F32, int]:
    """Multiply ``x @ W.T`` in the PE's arithmetic (docs/pe_arithmetic.md).

    Args:
        weight: ``[out, in]``, with int8 scales, in a format that has terms.
        activations: ``[tokens, in]``; rounded to FP16 (to nearest, ties to even) if they are not.
        arithmetic: Lanes, guard bits and accumulator width.
        skip_zero_steps: Do not spend cycles on steps whose products are all zero. Never changes
            a value.
        backend: The fast kernels, or the plain-integer specification (slow, equal).

    Returns:
        ``y [tokens, out]`` float32, and the PE cycles summed over outputs and tokens (one cycle is
        one issue slot of ``lanes`` terms).

    Raises:
        RequestError: a scale or format the PE does not take, a shape that does not fit, or an
            activation that is NaN or too large for FP16 (with its index).

    Example:
        >>> import numpy as np, quant
        >>> qt = quant.quantize(np.eye(8, 128, dtype=np.float32), "int4", scale="int8")
        >>> y, cycles = matmul(qt, np.ones((2, 128), np.float16))
        >>> y.shape, cycles
        ((2, 8), 1024)
    """
    if weight.spec.scale not in PE_SCALES:
        allowed = ", ".join(PE_SCALES)
        raise RequestError(f"the PE takes scales {allowed}, not {weight.spec.scale!r}")
    table = term_table(weight.spec.format.name)
    words = _fp16_words(activations, weight.shape[1])
    if backend == "reference":
        return _by_reference(weight, words, table, arithmetic, skip_zero_steps)
    return _by_kernels(weight, words, table, arithmetic, skip_zero_steps)


def _fp16_words(activations: Any, columns: int) -> NDArray[np.uint16]:  # noqa: ANN401  as above
    if hasattr(activations, "detach"):
        activations = activations.detach().float().cpu().numpy()
    given = np.asarray(activations)
    if given.ndim != 2 or given.shape[1] != columns:
        raise RequestError(f"activations of shape {given.shape}: [tokens, {columns}] is needed")
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(given, dtype=np.float16)
    if not np.isfinite(half).all():
        token, column = (int(i) for i in np.argwhere(~np.isfinite(half))[0])
        value = given[token, column]
        raise RequestError(f"activation [{token}, {column}] is {value}: not a finite FP16 number")
    return half.view(np.uint16)


def _row_scales(weight: QuantizedTensor) -> F32:
    assert weight.row_scales is not None
    return weight.row_scales.astype(np.float32)


def _by_reference(
    weight: QuantizedTensor,
    words: NDArray[np.uint16],
    table: TermTable,
    rule: Arithmetic,
    skip: bool,
) -> tuple[F32, int]:
    from hwsim.pe import reference

    codes, size, columns = weight.unpack_codes(), weight.spec.group_size, weight.shape[1]
    inputs = [[reference.decode_fp16(int(word)) for word in row] for row in words]
    out = np.zeros((len(inputs), weight.shape[0]), np.float32)
    cycles = 0
    for row in range(weight.shape[0]):
        groups = [
            (
                [int(code) for code in codes[row, start : start + size]],
                0 if weight.selectors is None else int(weight.selectors[row, g]),
                int(weight.scales[row, g]),
                0 if weight.zero_points is None else int(weight.zero_points[row, g]),
            )
            for g, start in enumerate(range(0, columns, size))
        ]
        scale = float(_row_scales(weight)[row])
        for token, line in enumerate(inputs):
            out[token, row], steps, busy = reference.dot(line, groups, scale, table, rule)
            cycles += busy if skip else steps
    return out, cycles


def _by_kernels(
    weight: QuantizedTensor,
    words: NDArray[np.uint16],
    table: TermTable,
    rule: Arithmetic,
    skip: bool,
) -> tuple[F32, int]:
    from hwsim.pe import kernels

    (rows, columns), groups = weight.shape, weight.scales.shape[1]
    size = min(weight.spec.group_size, columns)
    selectors = (
        weight.selectors if weight.selectors is not None else np.zeros((rows, groups), np.uint8)
    )
    exponents, signs = kernels.decode_terms(
        weight.unpack_codes(), selectors, size, rule.lanes, table.sign, table.man, table.exp
    )
    starts = _block_starts(columns, size, rule.lanes)
    fields = _activation_fields(words, size, starts, rule)
    widest = 11 + rule.guard_bits + (rule.lanes - 1).bit_length() + table.significance[-1]
    excess = max(rule.accumulator_bits, widest) + 1 - rule.accumulator_bits
    sums = kernels.activation_sums(*fields, starts, rule.accumulator_bits, max(excess, 1))
    scales = weight.scales.astype(np.int32)
    corrections = np.zeros((rows, 0), np.int32)
    if weight.zero_points is not None:
        corrections = scales * (table.offset - weight.zero_points.astype(np.int32))
    powers = np.ldexp(1.0, np.arange(EXPONENT_SPAN) - rule.point)
    shifts = np.array(table.significance, np.int32)
    unit = 2.0**table.unit_exponent
    y, busy = kernels.matmul(
        exponents, signs, *fields, starts, shifts, scales, corrections, _row_scales(weight), *sums,
        powers * unit, powers, rule.accumulator_bits, excess,
    )  # fmt: skip
    return y, int(busy) if skip else int(len(words) * rows * starts[-1] * table.steps)


def _block_starts(columns: int, size: int, lanes: int) -> I32:
    """The first block of each group, and the number of blocks."""
    lengths = [min(size, columns - start) for start in range(0, columns, size)]
    return np.cumsum([0, *(-(-length // lanes) for length in lengths)]).astype(np.int32)


def _activation_fields(
    words: NDArray[np.uint16], size: int, starts: I32, rule: Arithmetic
) -> tuple[I32, I32, I32]:
    """Exponents, shifted mantissas and sign masks, ``[tokens, blocks, lanes]`` int32."""
    from hwsim.pe.kernels import NOTHING

    raw = words.astype(np.int32)
    field, fraction = raw >> 10 & 31, raw & 1023
    mantissa = fraction + np.where(field > 0, 1024, 0).astype(np.int32)
    exponent = np.where(mantissa > 0, np.maximum(field, 1), NOTHING).astype(np.int32)
    column = np.arange(words.shape[1])
    slot = starts[column // size] * rule.lanes + column % size
    parts = []
    for values, empty in ((exponent, NOTHING), (mantissa << rule.guard_bits, 0), (-(raw >> 15), 0)):
        padded = np.full((len(words), int(starts[-1]) * rule.lanes), empty, np.int32)
        padded[:, slot] = values
        parts.append(padded.reshape(len(words), -1, rule.lanes))
    return parts[0], parts[1], parts[2]
