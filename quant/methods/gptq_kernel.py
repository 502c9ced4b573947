"""The Numba kernel of GPTQ: one block of columns, every row for itself."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from quant.common.jit import parallel
from quant.formats.elements import F32
from quant.rounding.kernels.rounding import cell
from quant.rounding.packing import U8


@parallel
def round_block(
    weight: F32,
    inverse: F32,
    scales: F32,
    zeros: F32,
    tables: NDArray[np.int32],
    levels: F32,
    thresholds: F32,
    codes_of: U8,
    is_integer: bool,
    codes: U8,
    errors: F32,
) -> None:
    """Round the columns of a block in order, moving each one's error onto the later ones.

    Args:
        weight: ``[rows, n]``, changed: afterwards what each column was when it was rounded.
        inverse: ``U [n, n]``, upper Cholesky factor of the inverse Hessian, of this block.
        scales: Of each weight's group, ``[rows, n]``; so are ``zeros`` and ``tables``.
        zeros: Zero points.
        tables: Which of the grids ``levels [t, k]``, ``thresholds`` and ``codes_of`` is used.
        levels: Rising levels.
        thresholds: Upper ends of the cells.
        codes_of: The code of each level.
        is_integer: Levels are consecutive integers: round half to even, then shift.
        codes: ``[rows, n]``, filled.
        errors: ``[rows, n]``, filled with ``(w - q) / U[i, i]``.
    """
    rows, n = weight.shape
    for row in numba.prange(rows):
        for i in range(n):
            value, scale, zero = weight[row, i], scales[row, i], zeros[row, i]
            table = tables[row, i]
            ratio = value / scale if scale > 0 else np.float32(0.0)
            if is_integer:
                least, most = levels[table, 0], levels[table, levels.shape[1] - 1]
                whole = np.rint(zero) == zero
                shifted = np.rint(ratio) + zero if whole else np.rint(ratio + zero)
                k = int(min(max(shifted, least), most) - least)
            else:
                k = cell(ratio, thresholds[table])
            codes[row, i] = codes_of[table, k]
            error = (value - (levels[table, k] - zero) * scale) / inverse[i, i]
            errors[row, i] = error
            for j in range(i + 1, n):
                weight[row, j] -= error * inverse[i, j]
