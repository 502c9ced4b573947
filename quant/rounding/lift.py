"""Very small and very large weights, lifted by powers of two before errors are squared.

The square of a float32 error of weights below 1e-19 is 0, above 1e19 it is Inf: then nothing could
be chosen by it. A power of two changes no other bit of a result.
"""

from __future__ import annotations

import numpy as np

from quant.formats.elements import F32
from quant.formats.scale_kind import I32

USUAL = 30
"""Magnitudes of 2^-30 to 2^30 are left as they are."""


def lift_of(absmax: F32) -> I32:
    """Return the exponent that brings a greatest magnitude into 0.5..1; 0 for usual ones and 0."""
    exponent = np.frexp(absmax)[1].astype(np.int32)
    lift: I32 = np.where((absmax > 0) & (np.abs(exponent) > USUAL), -exponent, np.int32(0))
    return lift


def lifted(values: F32, lift: I32, size: int = 1) -> F32:
    """Return ``values * 2^lift``; each exponent belongs to ``size`` columns, the last to the rest.

    ``values`` themselves where no exponent is other than 0.
    """
    if not lift.any():
        return values
    each = np.repeat(lift, size, axis=-1)[..., : values.shape[-1]]
    return np.ldexp(values, each)
