"""The kinds of group scales, by name.

To add a kind, subclass ``ScaleKind`` and ``register_scale`` an instance; format strings, storage,
checkpoints, methods, the PE and the simulator ask the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError, unknown_name
from quant.formats.elements import F32, FloatType
from quant.formats.scale_kind import I32, ScaleKind, Scales

FP16_SMALLEST, FP16_LARGEST = 2.0**-24, 65504.0
E8M0_BIAS = 127
E4M3_ELEMENT = FloatType(4, 3, 7, "nan")
# torchao and NVIDIA's library keep block scales at normal values: 2^-6 is the least.
E4M3_LEAST, E4M3_LARGEST = np.float32(2.0**-6), np.float32(448.0)


@dataclass(frozen=True)
class Fp32Scale(ScaleKind):
    """IEEE 754 binary32, as it is."""

    def store(self, raw: F32, tensor: np.float32 | None = None) -> Scales:
        """Store as they are."""
        return Scales(raw, None, raw)

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return them as they are."""
        return stored.astype(np.float32)


@dataclass(frozen=True)
class Fp16Scale(ScaleKind):
    """IEEE 754 binary16, kept within its positive range; 0 for a group of zeros alone."""

    def store(self, raw: F32, tensor: np.float32 | None = None) -> Scales:
        """Round to nearest, ties to even, subnormals too; no scale but 0 becomes 0.

        2^-24 is the least: weights below half of it times a format's least level become zeros.
        65504 is the largest.
        """
        half = np.clip(raw, FP16_SMALLEST, FP16_LARGEST).astype(np.float16)
        half[raw == 0] = 0
        return Scales(half, None, half.astype(np.float32))

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return their values."""
        return stored.astype(np.float32)


@dataclass(frozen=True)
class Int8Scale(ScaleKind):
    """Unsigned 8 bits under one fp16 scale a row, ``S = max/255`` rounded up (docs/adr/0002)."""

    largest: ClassVar[int] = 255

    def store(self, raw: F32, tensor: np.float32 | None = None) -> Scales:
        """Store ``round(s/S)``, at least 1 but for 0 itself.

        S is rounded up, so that no group is clipped by it; 2^-24 is the least, 65504 the largest.
        """
        wanted = raw.max(axis=1) / np.float32(self.largest)
        row = np.clip(wanted, FP16_SMALLEST, FP16_LARGEST).astype(np.float16)
        with np.errstate(over="ignore"):  # above the largest, which is taken below
            above = np.nextafter(row, np.float16(np.inf))
        row = np.where(row.astype(np.float32) < wanted, above, row)
        return self._under_rows(raw, np.minimum(row, np.float16(FP16_LARGEST)))

    def store_under(self, raw: F32, above: Scales) -> Scales:
        """Store under the same row scales."""
        return self.store(raw) if above.rows is None else self._under_rows(raw, above.rows)

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return the exact products of 8-bit scales and row scales."""
        scales = stored.astype(np.float32)
        return scales if rows is None else scales * rows.astype(np.float32)[:, None]

    def multiplier(self, stored: NDArray[np.generic]) -> tuple[I32, I32]:
        """The 8 bits; the row's scale multiplies at the row's end."""
        integers = stored.astype(np.int32)
        return integers, np.zeros_like(integers)

    def _under_rows(self, raw: F32, rows: NDArray[np.float16]) -> Scales:
        row = rows.astype(np.float32)[:, None]
        stored = np.clip(np.rint(raw / row), raw > 0, self.largest).astype(np.uint8)
        return Scales(stored, rows, stored.astype(np.float32) * row)


@dataclass(frozen=True)
class E8M0Scale(ScaleKind):
    """A power of two, ``2^(code - 127)``; code 255 is NaN (OCP MX v1.0)."""

    nan: ClassVar[int] = 255
    limits: ClassVar[str] = "0..254 (no NaN, no sign)"

    def store(self, raw: F32, tensor: np.float32 | None = None) -> Scales:
        """Round up to a power of two, so that nothing is clipped."""
        codes = (exponent_above(raw) + E8M0_BIAS).astype(np.uint8)
        return Scales(codes, None, power_of_two(codes))

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return the powers of two."""
        return power_of_two(stored.astype(np.uint8))

    def is_number(self, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
        """All but code 255."""
        return np.asarray(stored != self.nan)

    def multiplier(self, stored: NDArray[np.generic]) -> tuple[I32, I32]:
        """One, and the exponent."""
        codes = stored.astype(np.int32)
        return np.ones_like(codes), codes - E8M0_BIAS


@dataclass(frozen=True)
class E4M3Scale(ScaleKind):
    """FP8 E4M3 without sign, alone or under one float32 scale of the tensor (NVFP4)."""

    limits: ClassVar[str] = "0..126 (no NaN, no sign)"
    nan: ClassVar[int] = 0x7F
    point: ClassVar[int] = 10
    """A scale is ``mantissa * 2^(exponent - point)``."""
    epsilon: ClassVar[int] = 0x20
    """Code of 0.125, which compressed-tensors 0.20 takes in place of 0."""

    def store(self, raw: F32, tensor: np.float32 | None = None) -> Scales:
        """Round to nearest, ties to even, at least 2^-6, relative to the tensor's scale."""
        relative = raw if tensor is None else raw / tensor
        codes = to_e4m3(np.clip(relative, E4M3_LEAST, E4M3_LARGEST).astype(np.float32))
        return Scales(codes, None, self.used(codes, None, tensor), tensor)

    def store_under(self, raw: F32, above: Scales) -> Scales:
        """Store under the same tensor scale; an inverse one as compressed-tensors 0.20 has it."""
        if not above.inverse:
            return self.store(raw, above.tensor)
        assert above.tensor is not None
        codes = to_e4m3(np.minimum(raw * above.tensor, E4M3_LARGEST).astype(np.float32))
        codes = np.where(codes == 0, self.epsilon, codes).astype(np.uint8)
        used = self.used(codes, None, above.tensor, inverse=True)
        return Scales(codes, None, used, above.tensor, inverse=True)

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return their values times the tensor's scale, or over it."""
        scales = E4M3_ELEMENT.levels[stored.astype(np.uint8)]
        if tensor is None:
            return scales
        return scales / tensor if inverse else scales * tensor

    def is_number(self, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Codes 0 to 126: above are NaN and negative numbers."""
        return np.asarray(stored.astype(np.int32) < self.nan)

    def multiplier(self, stored: NDArray[np.generic]) -> tuple[I32, I32]:
        """The mantissa with its hidden bit, and the exponent."""
        codes = stored.astype(np.int32)
        field = codes >> 3 & 15
        mantissa = (codes & 7) + np.where(field > 0, 8, 0)
        return mantissa.astype(np.int32), np.maximum(field, 1) - self.point


@dataclass(frozen=True)
class E6M2Scale(ScaleKind):
    """``(1 + m/4) * 2^(e - 48)`` without sign, of HiF4 alone (arXiv 2602.11287)."""

    bias: ClassVar[int] = 48

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return the values of the codes."""
        codes = stored.astype(np.uint8)
        mantissa = 1 + (codes & 3).astype(np.float32) / 4
        return np.ldexp(mantissa, (codes >> 2).astype(np.int32) - self.bias).astype(np.float32)


FP16 = Fp16Scale("fp16", 16, "float16")
FP32 = Fp32Scale("fp32", 32, "float32")
INT8 = Int8Scale("int8", 8, row_bits=16, multiplied_bits=8, id=0)
E8M0 = E8M0Scale("e8m0", 8, multiplied_bits=1, id=1, is_coarse=True)
E4M3 = E4M3Scale("e4m3", 8, multiplied_bits=4, id=2, takes_tensor_scale=True, is_coarse=True)
E6M2 = E6M2Scale("e6m2", 8)
SCALES: dict[str, ScaleKind] = {kind.name: kind for kind in (FP16, FP32, INT8, E8M0, E4M3)}
"""The kinds that any grid of levels may have, by name; ``register_scale`` adds others."""


def scale_kind(name: str) -> ScaleKind:
    """Return the kind of that name.

    Raises:
        RequestError: no such kind; the message gives those that there are.
    """
    if name not in SCALES:
        raise unknown_name("scale", name, SCALES)
    return SCALES[name]


def register_scale(kind: ScaleKind) -> ScaleKind:
    """Add a kind of the user's for this process, and return it.

    Raises:
        RequestError: the name or the ``id`` belongs to another kind, or the name would be read as
            something else.
    """
    if SCALES.get(kind.name, kind) != kind:
        raise RequestError(f"scale {kind.name!r} is taken: choose another name")
    for other in SCALES.values():
        if kind.id is not None and other.id == kind.id and other != kind:
            raise RequestError(f"scale {kind.name!r}: {other.name!r} has id {other.id}")
    if not kind.name.isidentifier() or kind.name != kind.name.lower() or kind.name == "row":
        raise RequestError(f"scale name {kind.name!r}: lower-case letters, digits, '_'; not 'row'")
    return SCALES.setdefault(kind.name, kind)


def exponent_above(values: F32) -> I32:
    """Return ``ceil(log2(values))``, exactly, kept in -127..127; -127 for zero."""
    mantissa, exponent = np.frexp(values)
    exponent = exponent - (mantissa == 0.5)
    exponent = np.where(values > 0, exponent, -E8M0_BIAS)
    return np.clip(exponent, -E8M0_BIAS, E8M0_BIAS).astype(np.int32)


def power_of_two(codes: NDArray[np.uint8]) -> F32:
    """Return ``2^(code - 127)`` of E8M0 codes; 255 is NaN."""
    with np.errstate(over="ignore"):  # 255 is replaced below
        values = np.ldexp(np.float32(1), codes.astype(np.int32) - E8M0_BIAS)
    return np.where(codes == E8M0Scale.nan, np.float32(np.nan), values.astype(np.float32))


def to_e4m3(values: F32) -> NDArray[np.uint8]:
    """Return the E4M3 codes of values in 0..448, rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # Half of what is cut off, less a bit where the rest is even; exponents are rebased from 127.
    rounded = (bits >> 20) & 1
    rounded += bits
    rounded += np.uint32(0x7FFFF)
    codes: NDArray[np.uint8] = ((rounded >> 20) - np.uint32((127 - 7) << 3)).astype(np.uint8)
    if (below := values < E4M3_LEAST).any():
        codes[below] = np.rint(values[below] * np.float32(512)).astype(np.uint8)
    return codes
