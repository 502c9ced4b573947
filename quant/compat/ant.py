"""ANT's released quantizer, number for number (clevercool/ANT-Quantization @bc84067).

Source: ANT (MICRO 2022, arXiv 2208.14286), ``ant_quantization``: weights per output channel, on
torch's CPU float32 kernels. Its conventions, which the main path does not share: every grid is
scaled to a largest value of 10; int keeps ``-2^(b-1)``, so -8 means -8/7 of alpha; the search of
alpha is one per cent steps of the largest magnitude, ends excluded at the top; the result passes
through ``(q - x) + x`` in float32, which can move a clipped weight by an ulp; a row of zeros
gives NaN (0/0); the error of a row must beat 1e10, or its alpha stays at the largest magnitude.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError, unknown_name
from quant.formats.elements import F32
from quant.formats.flint import flint_levels

#: In the order the release tries them, whatever order they are named in.
KINDS = ("int", "flint", "pot", "float", "float1", "float2", "float3", "float4", "apot")
#: The nearest-level kernel starts from this distance: anything farther from every level is 0.
FARTHEST = np.float32(102400)


@dataclass(frozen=True)
class AntResult:
    """What the release computes for one weight.

    Attributes:
        dequantized: ``[out, in]`` float32.
        alpha: ``[out, 1]`` float32: the value of the grid's 10.
        grid: The levels of the chosen type, rising, ``[2^bits]``.
        mode: The chosen type, one of ``KINDS``.
    """

    dequantized: F32
    alpha: F32
    grid: F32
    mode: str


def _float_magnitudes(value_bits: int, exponent_bits: int) -> list[int]:
    """An unsigned minifloat with subnormals, in units of its smallest value."""
    exponent_bits = 2 if value_bits == 2 else exponent_bits
    one = 1 << (value_bits - exponent_bits)
    normal = [(one + m) << e for e in range(2**exponent_bits - 1) for m in range(one)]
    return [*range(one), *normal]


def _apot_magnitudes(value_bits: int) -> list[int]:
    """Sums of powers of two: interleaved terms of two bits, and one of one bit if odd.

    Term t of n has the exponents ``-(i*n + t + 1)``, i = 0, 1, 2; the one-bit term takes
    ``-(2n + 1)``, which moves the others' last exponents down by one.
    """
    pairs, odd = divmod(value_bits, 2)
    last = 2 * pairs + odd
    terms = [[t + 1, pairs + t + 1, last + t + 1] for t in range(pairs)]
    terms += [[2 * pairs + 1]] if odd else []
    lowest = max(itertools.chain(*terms))
    choices = [[0, *(1 << (lowest - exponent) for exponent in term)] for term in terms]
    return [sum(choice) for choice in itertools.product(*choices)]


def _magnitudes(kind: str, value_bits: int) -> list[int]:
    """The ``2^value_bits`` magnitudes of a type, in units that make them integers."""
    if kind == "int":
        return list(range(2**value_bits))
    if kind == "flint":
        return [int(value) for value in flint_levels(value_bits)]
    if kind == "pot":
        return [0, *(1 << k for k in range(2**value_bits - 1))]
    if kind == "apot":
        return _apot_magnitudes(value_bits)
    return _float_magnitudes(value_bits, int(kind[5:] or 3))


def _check_kind(kind: str, bits: int, signed: bool) -> None:
    if kind not in KINDS:
        raise unknown_name("ANT type", kind, KINDS)
    value_bits = bits - signed
    least = 2 if kind != "int" else 1
    if kind.startswith("float") and value_bits != 2:
        least = int(kind[5:] or 3)
    if value_bits < least or bits > (8 if kind == "int" else 6):
        top = 8 if kind == "int" else 6
        raise RequestError(f"ANT {kind} of {bits} bits: {least + signed} to {top} are allowed")


def grid(kind: str, bits: int, signed: bool = True, normalized: bool = True) -> F32:
    """Return the levels of an ANT type, rising, ``[2^bits]`` float32.

    Signed types are a sign and ``bits - 1`` bits; zero then stands twice, except for int, which
    has ``-2^(bits-1)`` instead (the sign of the second zero is not kept).

    Args:
        kind: One of ``KINDS``; ``float`` is E3 (E2M0 if two bits are left), ``float1`` E1, ...
        bits: Width of a code: 2 to 8 for int, up to 6 for the others.
        signed: Whether a bit is a sign.
        normalized: True: the largest value is 10, as the release has it. False: plain integers.

    Raises:
        RequestError: an unknown type, or a width it does not have.
    """
    _check_kind(kind, bits, signed)
    values = np.array(_magnitudes(kind, bits - signed), np.float32)
    if signed:
        low = np.float32(-(2 ** (bits - 1)) if kind == "int" else 0)
        values = np.concatenate([values, -values[values > 0], [low]])
    values = np.sort(values)
    # torch has 10 / max as reciprocal times 10: two roundings.
    return values * (np.float32(1) / values.max() * np.float32(10)) if normalized else values


def torch_sum(x: F32) -> F32:
    """Sum each row of ``[rows, n]`` in the order of torch's CPU kernel, ``[rows]`` float32.

    Eight lanes of four interleaved partial sums, each summed in cascades; then the tail, the
    lanes in order. The mean square of two alphas can differ by less than the roundings.
    Source: ``aten/src/ATen/native/cpu/SumKernel.cpp``, the same for AVX2 and AVX-512. One row of
    32768 or more is split between threads there, and may differ by roundings.
    """
    rows, n = x.shape
    lanes = 8 if n >= 8 else 1
    steps = n // lanes
    sums = _row_sum(x[:, : steps * lanes].reshape(rows, steps, lanes))
    total = np.zeros(rows, np.float32)
    for column in range(steps * lanes, n):
        total += x[:, column]
    for lane in range(lanes):
        total += sums[:, lane]
    return total


def _row_sum(x: F32) -> F32:
    """Sum over the steps of ``[rows, steps, lanes]`` by four interleaved partial sums."""
    quarter = x.shape[1] // 4
    parts = _cascade(x[:, : quarter * 4].reshape(x.shape[0], quarter, 4, x.shape[2]))
    for step in range(quarter * 4, x.shape[1]):
        parts[:, 0] += x[:, step]
    total: F32 = parts[:, 0]
    for part in range(1, 4):
        total = total + parts[:, part]
    return total


def _cascade(x: F32) -> F32:
    """Sum over axis 1 of ``[rows, steps, ...]``, four levels, each of ``2^power`` additions."""
    steps = x.shape[1]
    power = max(4, (max(steps, 2) - 1).bit_length() // 4)
    levels = np.zeros((4, x.shape[0], *x.shape[2:]), np.float32)
    for step in range(steps):
        levels[0] += x[:, step]
        done = step + 1
        if done % (1 << power):
            continue
        for level in range(1, 4):
            levels[level] += levels[level - 1]
            levels[level - 1] = 0
            if done & (((1 << power) - 1) << (level * power)):
                break
    for level in range(1, 4):
        levels[0] += levels[level]
    total: F32 = levels[0]
    return total


def nearest(values: F32, levels: F32, order: NDArray[np.intp] | None = None) -> F32:
    """Return the nearest level of each value, as the release's kernel finds it.

    Distances are float32; the last of equally near levels in the scan wins, so a tie goes up
    unless ``order`` says otherwise. NaN, and values farther than 102400 from all, give 0.

    Args:
        values: Any shape.
        levels: Rising, ``[n]``.
        order: The place of each level in the scan, ``[n]``; None: rising.
    """
    upper = np.minimum(np.searchsorted(levels, values), len(levels) - 1)
    lower = np.maximum(upper - 1, 0)
    above, below = np.abs(values - levels[upper]), np.abs(values - levels[lower])
    tie_up = True if order is None else order[upper] >= order[lower]
    up = (above < below) | ((above == below) & tie_up)
    found = np.where(up, levels[upper], levels[lower])
    return np.where(np.minimum(above, below) <= FARTHEST, found, np.float32(0))


def search(
    weight: F32, base: F32, percents: Iterable[int], forward: Callable[[F32], F32]
) -> tuple[F32, np.float32]:
    """Return the alpha of least mean square error of each row, and the sum of those errors.

    Args:
        weight: ``[out, in]``.
        base: ``[out, 1]``: what the percentages are of, and the alpha of a row without a winner.
        percents: Candidates in their order; a later one must be better to win.
        forward: The dequantized weight for an alpha ``[out, 1]``.
    """
    alpha, best = base.copy(), np.full_like(base, 1e10)
    for percent in percents:
        candidate = base * np.float32(percent * 0.01)
        error = forward(candidate) - weight
        score = (torch_sum(error * error) / np.float32(weight.shape[1]))[:, None]
        better = score < best
        alpha[better], best[better] = candidate[better], score[better]
    return alpha, torch_sum(best.reshape(1, -1))[0]


def first_of(scores: Sequence[np.float32]) -> int:
    """Return the first place of ``numpy.argsort(scores)`` on x86-64 with AVX2 or AVX-512.

    The release sorts unstably, and equal grids (float4 is pot4) tie: of two equal least scores
    at an even place from 2 and the next, numpy's network gives the second. Exact up to six
    scores; without AVX2 numpy takes the first.
    """
    at = int(np.argmin(scores))
    if at >= 2 and at % 2 == 0 and at + 1 < len(scores) and scores[at + 1] == scores[at]:
        return at + 1
    return at


def check_request(weight: F32, types: Sequence[str], kinds: Sequence[str], bounds: range) -> F32:
    """Return the weight as contiguous float32, or raise a RequestError on a wrong request."""
    if weight.ndim != 2 or weight.size == 0:
        raise RequestError(f"weight of shape {weight.shape}: [out, in], not empty, is allowed")
    if not types:
        raise RequestError(f"no types: name at least one of {', '.join(kinds)}")
    for kind in types:
        if kind not in kinds:
            raise unknown_name("type", kind, kinds)
    if not 0 < bounds.start < bounds.stop:
        raise RequestError(f"search from {bounds.start} to {bounds.stop} %: 0 < low < high")
    return np.ascontiguousarray(weight, np.float32)


def _forward(weight: F32, alpha: F32, levels: F32) -> F32:
    scale = alpha / levels[-1]
    scaled = weight / scale
    back: F32 = ((nearest(scaled, levels) - scaled) + scaled) * scale
    return back


def quantize(
    weight: F32, types: Sequence[str], bits: int, low: int = 75, high: int = 150
) -> AntResult:
    """Quantize a weight as the release does, with its searches of the type and of alpha.

    Two of its faults are kept: ``float1`` .. ``float4`` are all tried as ``float1`` (and so is
    ``float``, as E3, whenever one of them is named), and more than six bits are always int, from
    95 % on.

    Args:
        weight: ``[out, in]``; read as float32. Rows with NaN or infinities keep them.
        types: Of ``KINDS``; several: that of least error for the whole tensor.
        bits: Width of a code, the sign included.
        low: First candidate of alpha, per cent of the row's largest magnitude.
        high: End of the candidates, itself excluded.

    Raises:
        RequestError: an unknown type, a width it does not have, bad bounds, or no matrix.
    """
    weight = check_request(weight, types, KINDS, range(low, high))
    if bits > 6:
        types, low = ("int",), 95
    for kind in types:
        _check_kind(kind, bits, signed=True)
    with np.errstate(all="ignore"):
        base = np.abs(weight).max(axis=1, keepdims=True)

        def fit(levels: F32) -> tuple[F32, np.float32]:
            return search(
                weight, base, range(low, high), lambda alpha: _forward(weight, alpha, levels)
            )

        mode = types[0]
        if len(set(types)) > 1:
            tried = [kind for kind in KINDS if kind in types or _implied(kind, types)]
            as_tried = [re.sub(r"\d", "1", kind) for kind in tried]
            mode = tried[first_of([fit(grid(kind, bits))[1] for kind in as_tried])]
        levels = grid(mode, bits)
        alpha, _ = fit(levels)
        return AntResult(_forward(weight, alpha, levels), alpha, levels, mode)


def _implied(kind: str, types: Sequence[str]) -> bool:
    """Whether the release, which looks for names within names, tries a type it was not given."""
    return kind == "float" and any(name.startswith("float") for name in types)
