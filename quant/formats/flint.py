"""flint: ANT's float-int type, whose exponent is a leading-one code.

Small magnitudes are integers; above them every leading zero after the top bit costs one bit of
mantissa and buys two powers of two. Source: ANT (MICRO 2022, arXiv 2208.14286); the set of values
is that of the released grids (clevercool/ANT-Quantization @bc84067), the order of the codes that
of the paper's decoder.
"""

from __future__ import annotations

from quant.common.errors import RequestError


def flint_levels(value_bits: int) -> tuple[float, ...]:
    """Return the value of each unsigned flint code: ``2^value_bits`` integers, the first 0.

    A clear top bit: the integer itself. A set one: the lower bits shifted left by twice their
    leading zeros plus one; all zeros are the largest value, ``2^(2n-2)``. Four bits: ``11xx`` are
    8, 10, 12, 14; ``101x`` 16, 24; ``1001`` 32; ``1000`` 64. No special values. A signed flint of
    ``b`` bits is a sign and ``flint_levels(b - 1)``; its code of −0 is spare.

    Args:
        value_bits: Width of the magnitude, 1 to 8.

    Raises:
        RequestError: ``value_bits`` is out of range.
    """
    if not 1 <= value_bits <= 8:
        raise RequestError(f"flint of {value_bits} value bits: 1 to 8 are allowed")
    top = 1 << (value_bits - 1)
    values = list(range(top))
    for low in range(top):
        zeros = value_bits - 1 - low.bit_length()
        values.append(low << (2 * zeros + 1) if low else 1 << (2 * value_bits - 2))
    return tuple(float(value) for value in values)
