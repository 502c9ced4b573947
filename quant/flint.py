"""flint: ANT's float-int type, whose exponent is a leading-one code (MICRO 2022)."""

from __future__ import annotations


def flint_levels(value_bits: int) -> tuple[float, ...]:
    """Return the value of each unsigned code of ``value_bits`` bits.

    A clear top bit: the integer itself. A set one: the lower bits shifted left by twice their
    leading zeros plus one; all zeros are the largest value, ``2^(2n-2)``.
    """
    top = 1 << (value_bits - 1)
    values = list(range(top))
    for low in range(top):
        zeros = value_bits - 1 - low.bit_length()
        values.append(low << (2 * zeros + 1) if low else 1 << (2 * value_bits - 2))
    return tuple(float(value) for value in values)
