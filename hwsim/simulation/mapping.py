"""What crosses the memory interface: loop orders and tile sizes that fit the buffers; compiled.

Sizes are counted in quanta: ``rows x outputs`` outputs, ``columns x tokens`` tokens, a group of
inputs. Tiles of a grid work side by side on as many quanta of products as share nothing.

*Whole* jobs (k never cut): inputs of some tokens are kept with all of k while all weights pass by
(``INPUTS``), or weights of some outputs while all inputs pass by (``WEIGHTS``). *Cut* jobs: parts
of m, n and k, loops in one of six orders, partial sums of 32 bits beside the inputs; an operand is
read again for each pass of a loop that is not its own around one that is, and partial sums go out
and back where k turns outside of m or n. What is used while its next part is loaded takes twice its
place. For an order and parts of m and k, fewer parts of n never move more, so that the fewest that
fit are tried; parts of m and k are all that differ after rounding up (imperfect factors).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from hwsim.simulation.clocks import OUTPUTS, Grid, ceil_div, seen
from hwsim.simulation.records import Record, Scores
from quant.common.jit import jit

PARTIAL_BITS = 32
"""Of a partial sum."""
SHARE = 0.5
"""Of the input buffer: for scores that stay, and for the rest beside them."""


class Order(IntEnum):
    """What stays, or the loops over memory from the outermost in."""

    INPUTS = 0
    WEIGHTS = 1
    MNK = 2
    NMK = 3
    MKN = 4
    KMN = 5
    NKM = 6
    KNM = 7


INPUTS, WEIGHTS = int(Order.INPUTS), int(Order.WEIGHTS)
MNK, KMN, KNM = int(Order.MNK), int(Order.KMN), int(Order.KNM)
WRITTEN, READ = int(Scores.WRITTEN), int(Scores.READ)


class Mapping(NamedTuple):
    """A choice: loops, parts along each axis, and what follows.

    Attributes:
        order: ``Order``.
        m_parts: Parts of the tokens.
        n_parts: Parts of the outputs.
        k_parts: Parts of the inputs; 1: jobs are whole.
        weights: How often weights are read from memory: keys that a part of the tokens does not
            see are not read for it.
        inputs: How often inputs are.
        spilled: How often a partial sum crosses the interface.
        bytes: All that crosses.
    """

    order: int
    m_parts: int
    n_parts: int
    k_parts: int
    weights: float
    inputs: int
    spilled: int
    bytes: float


class Quanta(NamedTuple):
    """The sizes of a product on a grid, and the bits that each buffer has for one product."""

    m: int
    n: int
    k: int
    of_m: int
    of_n: int
    of_k: int
    weight_room: float
    input_room: float


@jit
def allowed(dataflow: int, order: int) -> bool:
    """Return whether a machine's dataflow has an order; ``output`` keeps sums in the array."""
    if dataflow == 0:
        return True
    if dataflow == 1:
        return order <= 3
    if dataflow == 2:
        return order in (WEIGHTS, 6, 7)
    return order in (INPUTS, 4, 5)


@jit
def quanta(op: Record, machine: Record, grid: Grid) -> Quanta:
    """Return the quanta of a product on a grid."""
    of_m, of_n = machine["columns"] * grid.tokens, machine["rows"] * grid.outputs
    of_k = min(op["size"], op["k"])
    return Quanta(
        ceil_div(op["m"], of_m),
        ceil_div(op["n"], of_n),
        ceil_div(op["k"], of_k),
        min(of_m, op["m"]),
        min(of_n, op["n"]),
        of_k,
        machine["weight_bytes"] * 8 / grid.products,
        machine["input_bytes"] * 8 / grid.products,
    )


@jit
def staging(op: Record, q: Quanta) -> float:
    """Return the bits of the outputs of one job on all tiles, twice: one leaves, one is made."""
    return float(2 * q.of_m * q.of_n * op["output_bits"])


@jit
def moved(op: Record, stay: int, weights: float, inputs: int, spilled: int) -> float:
    """Return the bytes that cross the interface, all products; ``stay``: which scores do not."""
    read = 0.0 if stay == READ else op["input_bytes"] * inputs
    written = 0.0 if stay == WRITTEN else op["output_bytes"]
    sums = float(spilled) * op["batch"] * op["m"] * op["n"] * (PARTIAL_BITS / 8)
    return float(op["weight_bytes"] * weights + read + written + sums)


@jit
def whole(op: Record, q: Quanta, order: int) -> Mapping:
    """Return the fewest passes with whole jobs; ``bytes`` below 0: nothing fits.

    The largest part of what is kept that fits, the other operand passing by a quantum at a time;
    where a quantum of that does not fit, one quantum is kept and the other passes by in groups;
    where no quantum can be kept, both pass by in groups.
    """
    k, kept_inputs = op["k"], order == INPUTS
    weight_bits, input_bits = op["held_bits"], op["input_bits"]
    input_room = q.input_room - staging(op, q)
    all_weights = op["n"] * k * weight_bits <= q.weight_room
    all_inputs = op["m"] * k * input_bits <= input_room
    if kept_inputs:
        count, quantum, bits, room, kept_all = q.m, q.of_m, input_bits, input_room, all_inputs
        other_count, other, other_all = q.n, q.of_n * weight_bits, all_weights
        other_room = q.weight_room
    else:
        count, quantum, bits, room, kept_all = q.n, q.of_n, weight_bits, q.weight_room, all_weights
        other_count, other, other_all = q.m, q.of_m * input_bits, all_inputs
        other_room = input_room
    parts, again = 1, 1
    if not kept_all:
        held = int(room // (2.0 * quantum * k * bits))
        if held < 1:
            held, again = 1, other_count
            if 2.0 * quantum * q.of_k * bits > room:
                return Mapping(order, 0, 0, 0, 0.0, 0, 0, -1.0)
        parts = ceil_div(count, held)
    if not other_all and ceil_div(count, parts) > 1 and 2.0 * other * k > other_room:
        parts = count
    if not other_all and ceil_div(count, parts) == 1 and 2.0 * other * q.of_k > other_room:
        return Mapping(order, 0, 0, 0, 0.0, 0, 0, -1.0)
    times = 1 if other_all else parts
    if kept_inputs:
        crossed = moved(op, 0, float(times), again, 0)
        return Mapping(order, parts, q.n, 1, float(times), again, 0, crossed)
    crossed = moved(op, 0, float(again), times, 0)
    return Mapping(order, q.m, parts, 1, float(again), times, 0, crossed)


@jit
def fused(op: Record, machine: Record, q: Quanta, products: int, stay: int) -> Mapping:
    """Return the mapping of an op of attention whose scores stay; ``bytes`` below 0: none.

    Tokens go in parts whose scores fit their share of the input buffer; for each part all keys (and
    then all values) that it sees pass by, unless the weight buffer keeps both.
    """
    none = Mapping(INPUTS, 0, 0, 0, 0.0, 0, 0, -1.0)
    room = SHARE * machine["input_bytes"] * 8 / products
    tokens = int(room // op["score_bits"])
    if op["query_bits"] > 0:
        tokens = min(tokens, int((room - staging(op, q)) // op["query_bits"]))
    span = op["k"] if tokens > q.of_m else q.of_k
    if tokens > q.of_m and 2.0 * q.of_n * op["k"] * op["held_bits"] > q.weight_room:
        tokens, span = q.of_m, q.of_k
    if tokens < q.of_m or 2.0 * q.of_n * span * op["held_bits"] > q.weight_room:
        return none
    tokens = min(tokens // q.of_m * q.of_m, op["m"])
    parts = ceil_div(op["m"], tokens)
    times = 0.0
    if op["whole_bits"] <= q.weight_room:
        times = 1.0
    elif op["mask"] == 0 or machine["skips"] == 0:
        times = float(parts)
    else:
        every = op["n"] if op["mask"] == OUTPUTS else op["k"]
        for part in range(parts):
            last = min((part + 1) * tokens, op["m"]) - 1
            times += seen(op, part * tokens, last) / every
    return Mapping(INPUTS, parts, q.n, 1, times, 1, 0, moved(op, stay, times, 1, 0))


@jit
def passes(order: int, m: int, n: int, k: int) -> tuple[int, int, int]:
    """Return how often weights, inputs and partial sums cross, by the order of cut loops."""
    # Places of the loops, 0 the outermost.
    if order == 2:
        at_m, at_n, at_k = 0, 1, 2
    elif order == 3:
        at_m, at_n, at_k = 1, 0, 2
    elif order == 4:
        at_m, at_n, at_k = 0, 2, 1
    elif order == 5:
        at_m, at_n, at_k = 1, 2, 0
    elif order == 6:
        at_m, at_n, at_k = 2, 0, 1
    else:
        at_m, at_n, at_k = 2, 1, 0
    in_m, in_n, in_k = (at_m if m > 1 else -1), (at_n if n > 1 else -1), (at_k if k > 1 else -1)
    weights = m if at_m < max(in_n, in_k) else 1
    inputs = n if at_n < max(in_m, in_k) else 1
    spilled = 2 * (k - 1) if at_k < max(in_m, in_n) else 0
    return weights, inputs, spilled


@jit
def most_n(op: Record, q: Quanta, part_m: int, part_k: int, doubled: bool) -> int:
    """Return the quanta of n that fit beside parts of m and k; 0: none.

    Args:
        op: Its row.
        q: Its quanta.
        part_m: Quanta of m in a part.
        part_k: Quanta of k in a part.
        doubled: Whether partial sums leave while others come.
    """
    k = min(part_k * q.of_k, op["k"])
    m = min(part_m * q.of_m, op["m"])
    inputs = 2.0 * m * k * op["input_bits"]
    left = q.input_room - staging(op, q) - inputs
    sums = (2.0 if doubled else 1.0) * m * q.of_n * PARTIAL_BITS
    weights = 2.0 * q.of_n * k * op["held_bits"]
    return int(max(0.0, min(left // sums, q.weight_room // weights)))


@jit
def parts_after(count: int, parts: int) -> int:
    """Return the next number of parts whose size differs; ``count + 1``: there is none."""
    size = ceil_div(count, parts)
    return ceil_div(count, size - 1) if size > 1 else count + 1


@jit
def cut(op: Record, q: Quanta, dataflow: int, k_parts: int) -> Mapping:
    """Return the cut mapping of so many parts of k that moves least; ``bytes`` below 0: none.

    Three of the six orders are enough: with k innermost the order of m and n plays no part, and
    with k outermost nothing is read more often than with k in the middle.
    """
    best = Mapping(0, 0, 0, 0, 0.0, 0, 0, -1.0)
    part_k = ceil_div(q.k, k_parts)
    m_parts = 1
    while m_parts <= q.m:
        part_m = ceil_div(q.m, m_parts)
        fit = most_n(op, q, part_m, part_k, False)
        if fit >= 1 and allowed(dataflow, MNK):
            best = better(op, best, MNK, m_parts, ceil_div(q.n, fit), k_parts)
        if fit >= q.n and m_parts == 1 and not allowed(dataflow, MNK):
            order = KMN if allowed(dataflow, KMN) else KNM
            best = better(op, best, order, 1, 1, k_parts)
        fit = most_n(op, q, part_m, part_k, True)
        if fit >= 1:
            n_parts = ceil_div(q.n, fit)
            if allowed(dataflow, KMN):
                best = better(op, best, KMN, m_parts, n_parts, k_parts)
            if allowed(dataflow, KNM):
                best = better(op, best, KNM, m_parts, n_parts, k_parts)
        m_parts = parts_after(q.m, m_parts)
    return best


@jit
def better(
    op: Record, best: Mapping, order: int, m_parts: int, n_parts: int, k_parts: int
) -> Mapping:
    """Return a mapping if it moves less than the best one so far, else that."""
    weights, inputs, spilled = passes(order, m_parts, n_parts, k_parts)
    crossed = moved(op, 0, float(weights), inputs, spilled)
    if 0 <= best.bytes <= crossed:
        return best
    return Mapping(order, m_parts, n_parts, k_parts, float(weights), inputs, spilled, crossed)
