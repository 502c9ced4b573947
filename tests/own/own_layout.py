"""A layout: the mean of every row is stored apart, and the rest rounded to a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quant.formats.elements import F32, IntType
from quant.formats.format import Format
from quant.formats.layout import ArrayTypes, Layout, Specified
from quant.formats.registry import register
from quant.formats.spec import FormatSpec
from quant.rounding.fit import Backend
from quant.rounding.layouts.codec import Arrays, Columns, not_by_columns
from quant.rounding.layouts.codecs import register_codec
from quant.rounding.layouts.grid import GridCodec


@dataclass(frozen=True)
class CentredLayout(Layout):
    """A grid beside one fp16 mean a row."""

    name: str = "centred rows"

    def storage_bits(self, spec: Specified, rows: int, columns: int) -> int:
        """Return the grid's bits, and 16 a row."""
        return super().storage_bits(spec, rows, columns) + 16 * rows

    def arrays(self, spec: Specified, shape: tuple[int, int]) -> ArrayTypes:
        """Return the grid's arrays and the means."""
        return {**super().arrays(spec, shape), "means": ((shape[0],), "float16")}


class CentredCodec:
    """Means, then what the grid's codec makes of the rest."""

    grid = GridCodec()

    def encode(
        self, weight: F32, spec: FormatSpec, *, importance: F32 | None = None,
        backend: Backend = "numba",
    ) -> Arrays:  # fmt: skip
        """Take the means off and round."""
        means = np.nan_to_num(weight.mean(axis=1)).astype(np.float16)
        rest = np.ascontiguousarray(weight - means.astype(np.float32)[:, None])
        arrays = self.grid.encode(rest, spec, importance=importance, backend=backend)
        return {**arrays, "means": means}

    def decode(self, arrays: Arrays, spec: FormatSpec, shape: tuple[int, int]) -> F32:
        """Add the means to what the grid decodes."""
        rest = self.grid.decode(arrays, spec, shape)
        decoded: F32 = rest + arrays["means"].astype(np.float32)[:, None]
        return decoded

    def columns(
        self, weight: F32, spec: FormatSpec, diagonal: F32, *, shrinks: tuple[float, ...] = (),
        norm: float = 2.0, weighted: bool = False,
    ) -> Columns:  # fmt: skip
        """Raise: the mean belongs to all columns."""
        raise not_by_columns(spec)


register_codec(CentredLayout, CentredCodec())
CENTRED = register(
    Format("centred4", IntType(4), "tests/own", group_size=32, layout=CentredLayout())
)
