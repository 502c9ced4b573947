"""How many tokens experts get: expectations over the routing, in place of a mean rounded up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quant.common import arguments
from quant.common.errors import RequestError

Routing: TypeAlias = str | Sequence[float]
UNIFORM = "uniform"
NEGLIGIBLE = 1e-12
"""Expected experts below which a number of tokens is left out."""
EXACT = 6
"""Blocks of tokens up to which each number of tokens is an entry of its own."""
NODES = 400
"""Points of the integral over the arrival times."""


def popularity(routing: Routing, experts: int) -> tuple[float, ...]:
    """Return the relative weights of the experts in a draw.

    Args:
        routing: ``uniform``; ``zipf`` or ``zipf:S``, weights ``1 / rank ** S`` (S 1 where none is
            given); or a weight for each expert, such as counts of a measurement.
        experts: Experts.

    Raises:
        RequestError: neither of these, another number of weights, or weights below 0.
    """
    if isinstance(routing, str):
        name, _, power = routing.partition(":")
        if name == UNIFORM and not power:
            return (1.0,) * experts
        try:
            exponent = float(power or 1.0)
        except ValueError:
            exponent = math.nan
        if name != "zipf" or not 0 <= exponent <= 10:
            raise RequestError(f"routing {routing!r}: uniform, zipf, zipf:S (0 to 10) or weights")
        return tuple((rank + 1.0) ** -exponent for rank in range(experts))
    weights = arguments.several("routing", routing, _weight)
    if len(weights) != experts or not sum(weights) > 0:
        raise RequestError(f"routing: {len(weights)} weights given, {experts} above 0 are needed")
    return weights


def as_routing(routing: object) -> str | tuple[float, ...]:
    """Return a routing that is a text, or weights as a tuple.

    Raises:
        RequestError: it is neither.
    """
    if isinstance(routing, str):
        popularity(routing, 1)
        return routing
    return arguments.several("routing", routing, _weight)


def _weight(name: str, value: object) -> float:
    return arguments.number(name, value, 0.0)


@lru_cache(maxsize=256)
def chosen_share(weights: tuple[float, ...], chosen: int) -> tuple[float, ...]:
    """Return the probability that a token takes each expert, when it draws ``chosen`` of them.

    Draws without replacement, in proportion to the weights. The order of such draws is that of
    arrivals at exponential times whose rates are the weights (Efraimidis and Spirakis, 2006), so
    that an expert is taken if fewer than ``chosen`` others come before it.
    """
    rates = np.array(weights)
    live = rates > 0
    if chosen > live.sum():
        raise RequestError(f"routing: {live.sum()} experts have a weight, a token takes {chosen}")
    if chosen == live.sum():
        return tuple(live.astype(float))
    if np.ptp(rates[live]) == 0:
        return tuple(live * (chosen / live.sum()))
    rates = rates / rates.sum()
    x, w = np.polynomial.legendre.leggauss(NODES)
    u = 0.5 * (x + 1)  # u = exp(-t * span), so that the times from 0 to infinity are 0 < u < 1
    span = 1.0 / _time(rates, chosen)
    times = -np.log(u) / span
    before = 1 - np.exp(-rates[:, None] * times)
    shares = []
    for expert, rate in enumerate(rates):
        fewer = _fewer(np.delete(before, expert, axis=0), chosen)
        density = rate * np.exp(-rate * times) / (span * u)
        shares.append(float((0.5 * w * density * fewer).sum()) if rate > 0 else 0.0)
    total = sum(shares)
    return tuple(share * chosen / total for share in shares)


def _time(rates: NDArray[np.float64], chosen: int) -> float:
    """About when as many experts have arrived as are chosen."""
    low, high = 0.0, 1e12
    for _ in range(200):
        middle = 0.5 * (low + high) if low else high / 2
        arrived = float((1 - np.exp(-rates * middle)).sum())
        low, high = (middle, high) if arrived < chosen else (low, middle)
    return high


def _fewer(before: NDArray[np.float64], chosen: int) -> NDArray[np.float64]:
    """The probability that fewer than ``chosen`` have arrived, by time: Poisson's binomial."""
    state = np.zeros((chosen, before.shape[1]))
    state[0] = 1
    for share in before:
        moved = state[:-1] * share
        state *= 1 - share
        state[1:] += moved
    return np.asarray(state.sum(axis=0))


def tokens_of_experts(
    tokens: int, shares: Sequence[float], block: int
) -> list[tuple[float, float, int]]:
    """Return the expected experts by their tokens, in blocks of tokens.

    Args:
        tokens: Tokens that are routed, each on its own.
        shares: Probability that a token takes each expert.
        block: Tokens that run together: above ``EXACT`` blocks, numbers that need as many of them
            are one entry.

    Returns:
        Of each entry: the expected number of experts that have so many tokens, their mean, and the
        mean rounded up.
    """
    expected = np.zeros(tokens + 1)
    for share, count in zip(*np.unique(np.array(shares), return_counts=True), strict=True):
        low, chances = _binomial(tokens, float(share))
        expected[low : low + len(chances)] += count * chances
    found = []
    numbers = np.arange(tokens + 1)
    firsts = [
        *range(1, min(EXACT * block, tokens) + 1),
        *range(EXACT * block + 1, tokens + 1, block),
    ]
    for first, end in zip(firsts, [*firsts[1:], tokens + 1], strict=True):
        part = slice(first, end)
        weight = float(expected[part].sum())
        if weight > NEGLIGIBLE:
            mean = float((expected[part] * numbers[part]).sum()) / weight
            found.append((weight, mean, math.ceil(mean)))
    return found


def _binomial(tokens: int, share: float) -> tuple[int, NDArray[np.float64]]:
    """The first number whose chance counts, and the chances from it on."""
    if share <= 0:
        return 0, np.ones(1)
    if share >= 1:
        return tokens, np.ones(1)
    spread = 12 * math.sqrt(tokens * share * (1 - share)) + 12
    low, high = max(0, int(tokens * share - spread)), min(tokens, int(tokens * share + spread))
    numbers = np.arange(low, high + 1)
    logs = [
        math.lgamma(tokens + 1) - math.lgamma(n + 1) - math.lgamma(tokens - n + 1)
        for n in range(low, high + 1)
    ]
    chances = np.exp(
        np.array(logs) + numbers * math.log(share) + (tokens - numbers) * math.log1p(-share)
    )
    return low, chances / chances.sum()
