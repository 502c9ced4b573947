"""BitMoD's released quantizer in its own half precision, bit for bit.

Source: BitMoD (HPCA 2025, arXiv 2411.11745), abdelfattah-lab/BitMoD-HPCA-25 @e445a5f:
``bitmod_quant`` and its AWQ port; and yc2367/BitMoD @c40f6ac, the authors' earlier repository, for
scales quantized once more. All of them run on torch's CPU kernels in float16: every operation is
computed in float32 and rounded to half, as numpy does; a mean is one float32 sum in torch's order,
divided, then rounded. Where this differs from the main path of ``quant``:

* errors of LLM weights (0.02) are half subnormals, so up to 3 % of groups pick another candidate;
* an error must be less than 1000, or the group is all zeros and has no candidate;
* scales are at least 1e-5 and at most 1e4, except in the AWQ port and the earlier repository;
* ``mx_*`` is not OCP's MX: its largest level is ``2 * 2^floor(log2 absmax)``, so nothing saturates.

Names (b: bits; s: ``pos`` or ``neg``; a search's bits may follow an ``@``)
    ``int{b}``, also ``int{b}_sym``: rounds half to even, b = 2 to 8; ``int{b}_asym``: with a zero
    point. ``int{b}_grid``, b = 3 to 6: the release's list of the same levels, of which a tie
    takes the lower one. Lists: ``fp3``, ``fp3_er_{s}``, ``fp3_ea_{s}``, the same of ``fp4``,
    ``flint4``, ``flint5``, ``fp5`` = ``fp5_e2m2``, ``fp5_e3m1``, ``fp6`` = ``fp6_e2m3``,
    ``fp6_e3m2``. Searches: ``mixed_{bitmod,er,ea,ant}{3,4}`` and ``bitmod_awq{3,4}``.
    ``mx_{int,fp}{3,4}``. Of the earlier repository: lists ``fp{3,4}_{sp,sm,sr}_{s}``, searches
    ``mixed{b}`` and ``mixed_{sp,sm,sr}{b}`` of one kind or two, such as ``mixed_sm_sr4``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError, unknown_name
from quant.compat import razer
from quant.compat.razer import F16, Floats
from quant.formats.elements import F32, FloatType, IntType
from quant.formats.flint import flint_levels

_SIDES = {"pos": 1, "neg": -1}
#: Special values that fill the code of -0, in units of the smallest level.
_SPECIALS = {
    "fp3": {"er": 3, "ea": 6, "sp": 3, "sm": 5, "sr": 6},
    "fp4": {"er": 10, "ea": 16, "sp": 5, "sm": 10, "sr": 16},
}
#: Widths of the whole and of the exponent; the first of a width is plain ``fp{b}`` as well.
_MINIFLOATS = ((3, 2), (4, 2), (5, 2), (5, 3), (6, 2), (6, 3))
_WORST_ERROR = np.float16(1e3)
_SCALE_RANGE = (np.float16(1e-5), np.float16(1e4))
_INTEGER = re.compile(r"int([2-8])(_asym)?")


def _tables() -> dict[str, F32]:
    tables: dict[str, F32] = {}
    for bits, exponent in _MINIFLOATS:
        values = FloatType(exponent, bits - 1 - exponent, 1).levels
        # In units of the smallest positive level all of them are integers.
        table = razer.rising(values / values[values > 0].min())
        tables[f"fp{bits}_e{exponent}m{bits - 1 - exponent}"] = table
        tables.setdefault(f"fp{bits}", table)
    for bits in (3, 4, 5, 6):
        values = razer.rising(IntType(bits).levels)
        tables[f"int{bits}_grid"] = values[values >= -values.max()]
    for bits in (4, 5):
        values = np.array(flint_levels(bits - 1), np.float32)
        tables[f"flint{bits}"] = razer.rising(np.concatenate([values, -values]))
    for base, specials in _SPECIALS.items():
        for kind, value in specials.items():
            for side, sign in _SIDES.items():
                filled = np.append(tables[base], np.float32(sign * value))
                tables[f"{base}_{kind}_{side}"] = razer.rising(filled)
    return tables


def _sided(kinds: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The candidates of searches of special values, in the order they are tried."""
    return {
        f"mixed{name}{bits}": tuple(f"fp{bits}_{k}_{side}" for k in tried for side in _SIDES)
        for name, tried in kinds.items()
        for bits in (3, 4)
    }


_TABLES = _tables()
_MIXED = _sided({"_bitmod": ("er", "ea"), "_er": ("er",), "_ea": ("ea",)})
_AWQ = {f"bitmod_awq{bits}": _MIXED[f"mixed_bitmod{bits}"] for bits in (3, 4)}
_MIXED |= {"mixed_ant3": ("int3_grid", "fp3"), "mixed_ant4": ("int4_grid", "flint4")}
_SEARCHES = _MIXED | _AWQ
_KINDS = [pick for n in (1, 2) for pick in combinations(("sp", "sm", "sr"), n)]
_EARLIER = _sided({"": ("sp", "sr")} | {"_" + "_".join(pick): pick for pick in _KINDS})
_MX = {"mx_int3": "int3_grid", "mx_int4": "int4_grid", "mx_fp3": "fp3", "mx_fp4": "fp4"}


@dataclass(frozen=True)
class HalfChoice:
    """What a search computes.

    Attributes:
        dequantized: ``[out, in]`` float16.
        selectors: ``[out, groups]`` int8: which of the candidates; -1: none had an error below
            1000, or every error was NaN, and the weights are zeros.
        scales: ``[out, groups]`` float16 of the chosen candidate, 0 where there is none.
        candidates: Names of the lists of levels, as selectors count them.
    """

    dequantized: F16
    selectors: NDArray[np.int8]
    scales: F16
    candidates: tuple[str, ...]


#: Levels in units of the scale, ``[out, groups, group_size]``, and scales ``[out, groups, 1]``.
_Assigned = tuple[F16, F16]


def levels(name: str) -> F32:
    """Return the rising levels of a list, in the release's units (four bits: twice E2M1's).

    Args:
        name: A list of the module's names, such as ``fp3_er_pos``, ``flint4`` or ``int4_grid``.

    Raises:
        RequestError: an unknown name.
    """
    if name not in _TABLES:
        raise unknown_name("BitMoD list of levels", name, _TABLES)
    return _TABLES[name].copy()


def _canonical(name: str) -> str:
    return re.sub(r"^(int\d)_sym$", r"\1", name.replace("@", ""))


def _halves(weight: Floats, group_size: int) -> F16:
    """Return the weight in half precision, ``[out, groups, group_size]``."""
    size = razer.check_request(weight, group_size, weight.shape[-1:])
    with np.errstate(over="ignore"):
        return weight.astype(np.float16).reshape(weight.shape[0], -1, size)


def _absmax_scale(groups: F16, top: np.floating, clamped: bool) -> F16:
    scale: F16 = np.abs(groups).max(axis=-1, keepdims=True) / np.float16(top)
    return np.clip(scale, *_SCALE_RANGE) if clamped else scale


def _by_list(groups: F16, table: F32, clamped: bool = True) -> _Assigned:
    scale = _absmax_scale(groups, np.abs(table).max(), clamped)
    return razer.nearest(groups / scale, table).astype(np.float16), scale


def _by_distance(groups: F16, table: F32) -> _Assigned:
    """As the AWQ port: the first of the least squared distances in half precision.

    A group of zeros is NaN throughout, for which the first level, the most negative, stays:
    its weights become -0.
    """
    scale = _absmax_scale(groups, np.abs(table).max(), clamped=False)
    x, half = groups / scale, table.astype(np.float16)
    best, found = np.square(x - half[0]), np.full(x.shape, half[0])
    for level in half[1:]:
        distance = np.square(x - level)
        closer = distance < best
        best, found = np.where(closer, distance, best), np.where(closer, level, found)
    return found, scale


def _integers(groups: F16, bits: int, clamped: bool) -> _Assigned:
    top = np.float16(2 ** (bits - 1) - 1)
    scale = _absmax_scale(groups, top, clamped)
    return np.clip(np.round(groups / scale), -top, top), scale


def _offset_integers(groups: F16, bits: int, clamped: bool) -> _Assigned:
    """Codes less the zero point; a range that misses zero is not extended to it."""
    low, high = groups.min(axis=-1, keepdims=True), groups.max(axis=-1, keepdims=True)
    none, top = np.float16(0), np.float16(2**bits - 1)
    scale = (high - low) / top
    scale = np.clip(scale, *_SCALE_RANGE) if clamped else scale
    zero: F16 = np.round(-low / scale)
    # The earlier repository does not clamp the zero point either: it wraps as an int8.
    zero = np.clip(zero, none, top) if clamped else razer.wrap_int8(zero).astype(np.float16)
    return np.clip(np.round(groups / scale) + zero, none, top) - zero, scale


def _assign(groups: F16, name: str, clamped: bool) -> _Assigned:
    """One type, of the release or, without its clamps, of the earlier repository."""
    if match := _INTEGER.fullmatch(name):
        return (_offset_integers if match[2] else _integers)(groups, int(match[1]), clamped)
    if name not in _TABLES:
        plain = {f"int{b}{kind}" for b in range(2, 9) for kind in ("", "_asym")}
        searches = _SEARCHES | _MX if clamped else _EARLIER
        raise unknown_name("BitMoD type", name, {*plain, *_TABLES, *searches})
    return _by_list(groups, _TABLES[name], clamped)


def _search(
    groups: F16, candidates: tuple[str, ...], trial: Callable[[str], tuple[F16, F16]]
) -> HalfChoice:
    """Keep the first candidate of strictly least half error; trial gives weights and scales."""
    error = np.full(groups.shape[:2], _WORST_ERROR)
    selectors = np.full(groups.shape[:2], -1, np.int8)
    kept, scales = np.zeros_like(groups), np.zeros_like(error)
    for at, candidate in enumerate(candidates):
        weights, scale = trial(candidate)
        mean = razer.mean_square(weights - groups).astype(np.float16)
        better = mean < error
        error[better], selectors[better] = mean[better], at
        kept[better], scales[better] = weights[better], scale[better, 0]
    return HalfChoice(kept.reshape(len(groups), -1), selectors, scales, candidates)


def choose_half(weight: Floats, name: str, group_size: int = 128) -> HalfChoice:
    """Search the candidates of each group as the release does, and tell which were chosen.

    Args:
        weight: ``[out, in]`` float16, or float32 to be rounded to it. Groups with NaN: zeros.
        name: ``mixed_{bitmod,er,ea,ant}{3,4}``, or ``bitmod_awq{3,4}``: the AWQ port.
        group_size: Weights per group, a divisor of ``in``; 0: one group per row.

    Raises:
        RequestError: an unknown name, no matrix, or a group size that does not divide a row.
    """
    name = _canonical(name)
    if name not in _SEARCHES:
        raise unknown_name("BitMoD search", name, _SEARCHES)
    groups = _halves(weight, group_size)
    assign = _by_distance if name in _AWQ else _by_list

    def trial(candidate: str) -> tuple[F16, F16]:
        found, scale = assign(groups, _TABLES[candidate])
        return found * scale, scale

    with np.errstate(all="ignore"):
        return _search(groups, _SEARCHES[name], trial)


def _mx(groups: F32, table: F32) -> F16:
    """The release's block format, in float32, with the table's maximum at twice the power."""
    power = razer.exp2(razer.floor_log2(np.abs(groups).max(axis=-1, keepdims=True)))
    step = np.float32(2 / float(table.max()))
    return (razer.nearest(groups / power / step, table) * step * power).astype(np.float16)


def quantize_half(weight: Floats, name: str, group_size: int = 128) -> F16:
    """Quantize a weight as the release does and return it dequantized, ``[out, in]``.

    Args:
        weight: ``[out, in]`` float16, or float32, which is rounded to it, as the release loads
            its models. NaN in a group makes it NaN, or zeros in a search.
        name: A type or a search of the release (the module's docstring).
        group_size: Weights per group, a divisor of ``in``; 0: one group per row. The release's
            own program always takes 32 for ``mx_*``.

    Raises:
        RequestError: an unknown name, no matrix, or a group size that does not divide a row.
    """
    name = _canonical(name)
    if name in _SEARCHES:
        return choose_half(weight, name, group_size).dequantized
    groups = _halves(weight, group_size)
    with np.errstate(all="ignore"):
        if name in _MX:
            return _mx(groups.astype(np.float32), _TABLES[_MX[name]]).reshape(weight.shape)
        found, scale = _assign(groups, name, clamped=True)
        return (found * scale).reshape(weight.shape)


def quantize_two_level(
    weight: Floats, name: str, group_size: int = 128, scale_bits: int = 8
) -> F16:
    """Quantize as the earlier repository, with the scales of a row quantized too, ``[out, in]``.

    ``scale = S * q``, ``S = largest scale of the row / (2^scale_bits - 1)``. Levels are chosen
    with the scale before; a search measures errors after, with its own S for each candidate.

    Args:
        weight: As ``quantize_half`` has it. A row of zeros gives NaN, except in a search.
        name: A type or a search of the earlier repository (the module's docstring).
        group_size: Weights per group, a divisor of ``in``; 0: one group per row.
        scale_bits: Width of the unsigned q, 1 to 11: more are not exact in half precision.

    Raises:
        RequestError: an unknown name, bad bits, no matrix, or a group size that does not divide.
    """
    if not 1 <= scale_bits <= 11:
        raise RequestError(f"scale bits {scale_bits}: 1 to 11 are allowed")
    name, top = _canonical(name), np.float16(2**scale_bits - 1)
    groups = _halves(weight, group_size)

    def trial(kind: str) -> tuple[F16, F16]:
        found, scale = _assign(groups, kind, clamped=False)
        row = scale.max(axis=1, keepdims=True) / top
        codes = np.clip(np.round(scale / row), np.float16(0), top)
        return found * row * codes, row * codes

    with np.errstate(all="ignore"):
        if name in _EARLIER:
            return _search(groups, _EARLIER[name], trial).dequantized
        return trial(name)[0].reshape(weight.shape)
