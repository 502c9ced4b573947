"""The rows of an op, for the cost function: its product, its bytes, its vector operations.

A product that the array runs becomes one row; a stack of experts one for each number of blocks of
tokens that an expert may get, as often as is expected; fused attention three, whose scores may stay
on the chip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.skipping import Measured
from hwsim.machines.elements.timing import Law
from hwsim.simulation.codes import of_codes, taken
from hwsim.simulation.records import Mask, Scores
from hwsim.simulation.routing import UNIFORM, Routing, chosen_share, popularity, tokens_of_experts
from quant.common.errors import RequestError
from quant.formats.spec import FormatSpec
from roofline.workloads.op_work import OpWork
from roofline.workloads.ops import (
    AttentionScores,
    AttentionValues,
    Collective,
    Experts,
    FlashAttention,
    Gemm,
    Linear,
    Operands,
)
from roofline.workloads.ops.elementwise import ALL_GATHER, ALL_REDUCE, ALL_TO_ALL

ROUNDING = 1e-9
"""How far rounding may put the bytes of an op below those of its operands."""
QUANTIZE = 4
"""Operations that a number's rounding to a format of groups takes: the largest of its group, a
multiplication, rounding, clamping."""
WHOLE_GROUP = 128
"""Inputs that pass by together, at most, where no tile of the Verilog has its groups."""
MESSAGES: dict[str, Callable[[int], int]] = {
    ALL_REDUCE: lambda ranks: 2 * (ranks - 1),
    ALL_GATHER: lambda ranks: ranks - 1,
    ALL_TO_ALL: lambda ranks: ranks - 1,
}
"""Messages that follow one another in a ring, by collective; one to a neighbour is one."""
NO_CODES: Mapping[str, Measured] = MappingProxyType({})
SCORES = (Scores.WRITTEN, Scores.BOTH, Scores.READ)
Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Part:
    """What an op runs as: one of the products of fused attention, or itself.

    Attributes:
        op: What it is and does.
        rows: The values of its rows (``records.OP``).
        steps_from: Whence the clocks of its blocks come: ``codes``, ``normal weights``, or its
            format alone (empty).
    """

    op: OpWork
    rows: tuple[Row, ...]
    steps_from: str = ""


def parts_of(
    op: OpWork,
    machine: Accelerator,
    routing: Routing = UNIFORM,
    codes: Mapping[str, Measured] = NO_CODES,
) -> Iterator[Part]:
    """Yield what an op runs as on a machine.

    Args:
        op: The op.
        machine: The machine.
        routing: How tokens choose experts.
        codes: What the codes of matrices take, by path.

    Raises:
        RequestError: a machine that cannot run it; the message names its path and kind.
    """
    fused = isinstance(op.definition, FlashAttention)
    unfused = op.unfused()
    found: list[tuple[OpWork, Scores, tuple[Row, ...]]] = []
    for part, scores in zip(
        unfused, SCORES if fused else (Scores.NONE,) * len(unfused), strict=True
    ):
        try:
            rows = _rows(part, machine, routing, codes)
        except RequestError as error:
            raise RequestError(f"{part.name} ({part.op}): {error}") from None
        found.append((part, scores, rows))
    for part, scores, rows in found:
        of = taken(part, machine, codes)
        own = tuple(row | _fused(op, found, scores) for row in rows) if fused else rows
        yield Part(part, own, "" if of is None else of.source)


def _fused(op: OpWork, found: list[tuple[OpWork, Scores, tuple[Row, ...]]], scores: Scores) -> Row:
    """What must fit the buffers so that scores stay: the same for each of the three ops."""
    first, _, second = (rows[0] for _, _, rows in found)
    one = found[0][0].definition
    assert isinstance(one, AttentionScores)
    if not (first.get("product") and second.get("product")):
        return {}  # one of the two products is empty
    length = one.length.at(op.step)
    return {
        "scores": scores,
        "score_bits": length * one.activations.bytes_each * 8,
        "query_bits": first["k"] * first["input_bits"],
        "key_bits": max(row["held_bits"] * min(row["size"], row["k"]) for row in (first, second)),
        "whole_bits": sum(row["held_bits"] * row["n"] * row["k"] for row in (first, second)),
    }


def _rows(
    op: OpWork, machine: Accelerator, routing: Routing, codes: Mapping[str, Measured]
) -> tuple[Row, ...]:
    row = _moves(op, machine)
    gemm, operands = op.gemm, op.operands
    if gemm is None or operands is None:
        if gemm is not None or op.macs > 0:
            raise RequestError("multiplies, but gives no product of two operands in formats")
        return (row,)
    row |= _formats(operands, op.definition.activations, machine)
    row |= _operand_bytes(op, operands)
    if (of := taken(op, machine, codes)) is not None:
        row |= of_codes(row, of.found, operands.stationary, op.definition)
    row["operations"] += _quantized(op, gemm, operands)
    if isinstance(op.definition, Experts):
        return tuple(_experts(op, op.definition, gemm, row, machine, routing))
    padded = getattr(op.definition, "rows_padded_to", 1)
    if padded > 1:
        gemm = Gemm(gemm.batch, -(-gemm.m // padded) * padded, gemm.n, gemm.k)
    if min(gemm.batch, gemm.m, gemm.n, gemm.k) <= 0:
        return (row | {"product": 0},)  # nothing is multiplied: it only moves
    return (row | _sizes(gemm) | _masked(op),)


def _moves(op: OpWork, machine: Accelerator) -> Row:
    """What any op has: bytes, vector operations, messages."""
    if op.link_bytes > 0 and machine.links is None:
        raise RequestError(f"{machine.name} has no links: tp, pp and ep of 1 are allowed")
    products = 2 * op.macs
    specials = op.special_ops
    messages = 0.0
    if isinstance(op.definition, Collective):
        messages = float(MESSAGES[op.op](op.definition.ranks)) if op.op in MESSAGES else 1.0
    return {
        "repeats": 1.0,
        "weight_bytes": op.weight_bytes,
        "input_bytes": op.input_bytes,
        "output_bytes": op.output_bytes + op.kv_bytes,
        "operations": max(0.0, op.ops - products - specials),
        "specials": specials,
        "link_bytes": op.link_bytes,
        "messages": messages,
    }


def _formats(operands: Operands, outputs: FormatSpec, machine: Accelerator) -> Row:
    """How the array takes two formats."""
    stationary, moving = operands.stationary, operands.moving
    timing, lanes = machine.timing(stationary), machine.pe.lanes
    size = stationary.group_size
    return {
        "product": 1,
        "law": timing.law,
        "steps": timing.steps,
        "size": size if timing.law == Law.TILE else min(size, WHOLE_GROUP),
        "group_clocks": timing.group_clocks,
        "job_clocks": timing.job_clocks,
        "held_bits": machine.pe.weight_bits(stationary) / lanes + _beside(stationary),
        "input_bits": machine.activation_bits(moving) / lanes + _beside(moving),
        "output_bits": outputs.bytes_each * 8,
    }


def _beside(spec: FormatSpec) -> float:
    """A number's part of scales, selectors and zero points, bits."""
    return max(0.0, spec.bytes_each * 8 - spec.element_bits)


def _operand_bytes(op: OpWork, operands: Operands) -> Row:
    stationary = operands.stationary_bytes.at(op.step)
    moving = operands.moving_bytes.at(op.step)
    outputs = op.bytes - stationary - moving
    if outputs < -ROUNDING * op.bytes:
        read = f"{stationary + moving:.9g} bytes"
        raise RequestError(f"its operands have {read}, but it moves only {op.bytes:.9g}")
    return {"weight_bytes": stationary, "input_bytes": moving, "output_bytes": max(0.0, outputs)}


def _quantized(op: OpWork, gemm: Gemm, operands: Operands) -> float:
    """Operations that round inputs, and keys and values that are kept, to formats of groups.

    Each product rounds its own inputs, also where another takes the same ones.
    """
    numbers = 0.0 if operands.moving.format.is_plain else gemm.batch * gemm.m * gemm.k
    definition = op.definition
    if isinstance(definition, Linear) and definition.cache is not None:
        kept = definition.tokens.at(op.step) * definition.cached
        numbers += 0.0 if definition.cache.format.is_plain else kept
    return QUANTIZE * numbers


def _sizes(gemm: Gemm) -> Row:
    """The product's sizes, whole numbers."""
    m, n, k, batch = (math.ceil(size) for size in (gemm.m, gemm.n, gemm.k, gemm.batch))
    return {"batch": batch, "m": m, "n": n, "k": k, "shared": 1}


def _masked(op: OpWork) -> Row:
    """Which keys the tokens of attention see, where that is all before them or a window of them.

    Other masks (chunks, trees) are run as the whole rectangle.
    """
    one = op.definition
    if not isinstance(one, AttentionScores | AttentionValues):
        return {}
    shared: Row = {"shared": max(1, one.heads // one.kv_heads)}
    tokens, length = int(op.step.queries), int(one.length.at(op.step))
    pairs, past = one.pairs.at(op.step) / op.step.batch, length - tokens
    kind = Mask.OUTPUTS if isinstance(one, AttentionScores) else Mask.REDUCTION
    mask: Row = {"mask": kind, "past": past, **shared}
    if tokens <= 1 or past < 0 or pairs == tokens * length:
        return shared
    if pairs == _visible(tokens, past, 0):
        return mask
    low, high = 1, length
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _visible(tokens, past, middle) < pairs else (low, middle)
    return mask | {"window": low} if _visible(tokens, past, low) == pairs else shared


def _visible(tokens: int, past: int, window: int) -> float:
    """Pairs of a query and a key that a causal mask leaves, with a window or (0) without."""
    if not window:
        return tokens * (past + (tokens + 1) / 2)
    early = min(max(window - past, 0), tokens)
    return early * (past + (early + 1) / 2) + (tokens - early) * window


def _experts(
    op: OpWork,
    experts: Experts,
    gemm: Gemm,
    row: Row,
    machine: Accelerator,
    routing: Routing,
) -> Iterator[Row]:
    """A row for each number of tokens that an expert may get, in blocks where there are many.

    Experts of one of several devices that are not named are those of the mean device.
    """
    used, routed = experts.used.at(op.step), experts.tokens.at(op.step)
    pool = experts.pool or experts.experts
    if not experts.chosen:
        raise RequestError("how many experts a token chooses is not known")
    shares = chosen_share(popularity(routing, pool), experts.chosen)
    here = 1.0
    if experts.members and len(experts.members) < pool:
        shares = tuple(shares[index] for index in experts.members)
    else:
        here = experts.experts / pool
    tokens = round(op.step.batch * op.step.queries * experts.batches)
    for count, mean, whole in tokens_of_experts(tokens, shares, machine.tiles.columns):
        part = mean / routed
        yield row | {
            "repeats": count * here,
            **_sizes(Gemm(1, whole, gemm.n, gemm.k)),
            "weight_bytes": row["weight_bytes"] / used,
            **{key: row[key] * part for key in ("input_bytes", "output_bytes", "operations")},
        }
