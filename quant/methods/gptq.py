"""GPTQ: columns are rounded one by one, each one's error is moved onto those still to come.

Frantar et al., arXiv 2210.17323; conventions of IST-DASLab's ``gptq.py``: dead inputs, damping by
1 % of the mean diagonal, blocks of 128 columns. Any grid or codebook goes through it: the group
parameters come from ``quant.rounding.fit``, the rounding is the format's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.layers.statistics import LayerStatistics
from quant.methods.gptq_kernel import round_block
from quant.methods.settings import DEFAULT_GPTQ, GptqOptions
from quant.rounding.fit import fit
from quant.rounding.kernels import rounding as kernels
from quant.rounding.layouts.codec import Columns
from quant.rounding.layouts.codecs import codec_of
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor

MOST_DAMPING = 1.0


def quantize(
    weight: F32,
    spec: FormatSpec,
    statistics: LayerStatistics | None,
    options: GptqOptions = DEFAULT_GPTQ,
) -> QuantizedTensor:
    """Round a layer; by default in act-order, static groups whose clipping weighs the columns."""
    if statistics is None:
        raise RequestError("gptq needs calibration")
    return gptq(weight, statistics.hessian, spec, options)


def gptq(
    weight: F32, hessian: F32, spec: FormatSpec, options: GptqOptions | None = None
) -> QuantizedTensor:
    """Round ``weight [out, in]`` so that ``tr((W - Q) H (W - Q)^T)`` stays small.

    Args:
        weight: Finite float32.
        hessian: ``H [in, in]`` float32, ``E[x x^T]`` of the inputs up to a factor.
        spec: A grid or codebook format.
        options: As GptqOptions says.

    Raises:
        RequestError: a Hessian of another shape or with NaN, or a format of pairs or blocks.
    """
    options = options or GptqOptions()
    columns = weight.shape[1]
    if hessian.shape != (columns, columns) or not np.isfinite(hessian).all():
        raise RequestError(
            f"Hessian of shape {hessian.shape}: finite [{columns}, {columns}] needed"
        )
    dead = np.diag(hessian) == 0
    work = np.where(dead, np.float32(0), weight)
    rounding = _Rounding.of(work, spec, hessian, options)
    order = np.arange(columns)
    if options.act_order:
        order = np.argsort(-np.where(dead, 0, np.diag(hessian)), kind="stable")
    inverse = inverse_factor(hessian[np.ix_(order, order)], options.damping)
    codes = rounding.run(np.ascontiguousarray(work[:, order]), inverse, order)
    back = np.empty_like(codes)
    back[:, order] = codes
    return rounding.finish(back)


def inverse_factor(hessian: F32, damping: float) -> F32:
    """Return the upper ``U`` with ``H^-1 = U^T U``, raising the damping until H is definite.

    One Cholesky factor of H with rows and columns reversed gives ``H = R R^T`` with R upper, so
    ``U = R^-1``: a third of the work of factor, inverse, factor.
    """
    matrix = torch.from_numpy(hessian).clone()
    diagonal = matrix.diagonal()
    diagonal[diagonal == 0] = 1
    mean = float(diagonal.mean())
    eye = torch.eye(len(matrix))
    while damping <= MOST_DAMPING:
        flipped = (matrix + damping * mean * eye).flip(0, 1)
        lower, failed = torch.linalg.cholesky_ex(flipped)
        if not failed:
            upper = lower.flip(0, 1).contiguous()
            inverse = torch.linalg.solve_triangular(upper, eye, upper=True)
            result: F32 = inverse.numpy()
            return result
        damping = max(damping * 10, 1e-4)
    raise RequestError("the Hessian is not positive semidefinite: GPTQ cannot use it")


@dataclass
class _Rounding:
    """What the columns of a layer are rounded to, fixed or filled in on the way."""

    spec: FormatSpec
    columns: Columns
    shape: tuple[int, int]
    options: GptqOptions

    @classmethod
    def of(cls, weight: F32, spec: FormatSpec, hessian: F32, options: GptqOptions) -> _Rounding:
        columns = codec_of(spec.format.layout).columns(
            weight, spec, np.diag(hessian).copy(),
            shrinks=options.shrinks, norm=options.norm, weighted=options.weighted,
        )  # fmt: skip
        return cls(spec, columns, (weight.shape[0], weight.shape[1]), options)

    def run(self, work: F32, inverse: F32, order: NDArray[np.intp]) -> U8:
        """Round the columns of ``work`` (already in ``order``), block after block."""
        rows, columns = work.shape
        codes = np.empty((rows, columns), np.uint8)
        whole = torch.from_numpy(work)
        for start in range(0, columns, self.options.block):
            stop = min(columns, start + self.options.block)
            if self._refits:
                self._refit(work, start, stop)
            part = np.ascontiguousarray(work[:, start:stop])
            inner = inverse[start:stop, start:stop]
            codes[:, start:stop], errors = self._round(part, inner, order[start:stop])
            if stop < columns:
                later = torch.from_numpy(inverse[start:stop, stop:])
                whole[:, stop:].addmm_(torch.from_numpy(errors), later, alpha=-1)
        return codes

    def finish(self, codes: U8) -> QuantizedTensor:
        packed = kernels.pack(codes, self.spec.element_bits)
        return QuantizedTensor.of(self.spec, self.shape, self.columns.finish(packed))

    @property
    def _refits(self) -> bool:
        """Whether groups are fitted when they are reached."""
        static = self.options.act_order or self.options.static_groups
        return self.columns.refits and not static

    def _round(self, part: F32, inverse: F32, order: NDArray[np.intp]) -> tuple[U8, F32]:
        group = order // min(self.spec.group_size, self.shape[1])
        scales = np.ascontiguousarray(self.columns.fit.scales.used[:, group])
        zeros = np.ascontiguousarray(self.columns.fit.zeros[:, group])
        tables = np.ascontiguousarray(self.columns.fit.selectors[:, group]).astype(np.int32)
        codes, errors = np.empty(part.shape, np.uint8), np.empty(part.shape, np.float32)
        grid = self.columns.grid
        round_block(
            part, np.ascontiguousarray(inverse), scales, zeros, tables, grid.levels,
            grid.thresholds, grid.codes, grid.is_integer, codes, errors,
        )  # fmt: skip
        return codes, errors

    def _refit(self, work: F32, start: int, stop: int) -> None:
        """Fit the groups that begin in this block to the weights as they are now."""
        size = min(self.spec.group_size, self.shape[1])
        for group in range(-(-start // size), -(-stop // size)):
            columns = np.ascontiguousarray(work[:, group * size : (group + 1) * size])
            old, options = self.columns.fit, self.options
            part = fit(
                columns, self.spec, shrinks=options.shrinks, norm=options.norm, within=old.scales
            )
            for into, new in (
                (old.scales.stored, part.scales.stored),
                (old.scales.used, part.scales.used),
                (old.selectors, part.selectors),
                (old.zeros, part.zeros),
            ):
                into[:, group] = new[:, 0]


__all__ = ["GptqOptions", "gptq", "inverse_factor", "quantize"]
