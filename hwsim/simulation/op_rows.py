"""The rows of an op, for the cost function: its product, its bytes, its vector operations.

A product that the array runs becomes one row; a stack of experts one for each number of blocks of
tokens that an expert may get, as often as is expected; fused attention three, whose scores may stay
on the chip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.timing import Law
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

ROUNDING = 1e-9
"""How far rounding may put the bytes of an op below those of its operands."""
QUANTIZE = 4
"""Operations that a number's rounding to a format of groups takes: the largest of its group, a
multiplication, rounding, clamping."""
WHOLE_GROUP = 128
"""Inputs that pass by together, at most, where no tile of the Verilog has its groups."""
SCORES = (Scores.WRITTEN, Scores.BOTH, Scores.READ)
Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Part:
    """What an op runs as: one of the products of fused attention, or itself.

    Attributes:
        op: What it is and does.
        rows: The values of its rows (``records.OP``).
    """

    op: OpWork
    rows: tuple[Row, ...]


def parts_of(op: OpWork, machine: Accelerator, routing: Routing = UNIFORM) -> Iterator[Part]:
    """Yield what an op runs as on a machine.

    Raises:
        RequestError: a machine that cannot run it; the message names its path and kind.
    """
    fused = isinstance(op.definition, FlashAttention)
    unfused = op.unfused()
    for part, scores in zip(
        unfused, SCORES if fused else (Scores.NONE,) * len(unfused), strict=True
    ):
        try:
            rows = _rows(part, machine, routing)
        except RequestError as error:
            raise RequestError(f"{part.name} ({part.op}): {error}") from None
        if fused:
            first = unfused[0].definition
            assert isinstance(first, AttentionScores)
            bits = first.length.at(op.step) * first.activations.bytes_each * 8
            rows = tuple(row | {"scores": scores, "score_bits": bits} for row in rows)
        yield Part(part, rows)


def _rows(op: OpWork, machine: Accelerator, routing: Routing) -> tuple[Row, ...]:
    row = _moves(op, machine)
    gemm, operands = op.gemm, op.operands
    if gemm is None or operands is None:
        if gemm is not None or op.macs > 0:
            raise RequestError("multiplies, but gives no product of two operands in formats")
        return (row,)
    row |= _formats(operands, op.definition.activations, machine)
    row |= _operand_bytes(op, operands)
    row["operations"] += _quantized(op, gemm, operands)
    if isinstance(op.definition, Experts):
        return tuple(_experts(op, op.definition, gemm, row, machine, routing))
    return (row | _sizes(gemm) | _masked(op),)


def _moves(op: OpWork, machine: Accelerator) -> Row:
    """What any op has: bytes, vector operations, messages."""
    if op.link_bytes > 0 and machine.links is None:
        raise RequestError(f"{machine.name} has no links: tp, pp and ep of 1 are allowed")
    products = 2 * op.macs
    specials = op.special_ops
    messages = 0.0
    if isinstance(op.definition, Collective):
        messages = max(1.0, 2.0 * (op.definition.ranks - 1))
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
    """Operations that round inputs, and keys and values that are kept, to formats of groups."""
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
    tokens, length = int(op.step.queries), int(one.length.at(op.step))
    pairs, past = one.pairs.at(op.step) / op.step.batch, length - tokens
    kind = Mask.OUTPUTS if isinstance(one, AttentionScores) else Mask.REDUCTION
    mask: Row = {"mask": kind, "past": past, "shared": max(1, one.heads // one.kv_heads)}
    if tokens <= 1 or past < 0 or pairs == tokens * length:
        return {}
    if pairs == _visible(tokens, past, 0):
        return mask
    low, high = 1, length
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _visible(tokens, past, middle) < pairs else (low, middle)
    return mask | {"window": low} if _visible(tokens, past, low) == pairs else {}


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
    """A row for each number of blocks of tokens that an expert may get."""
    used, routed = experts.used.at(op.step), experts.tokens.at(op.step)
    tokens, share = _routed(op, experts, routed / experts.experts, used / experts.experts)
    every = _stack(experts, share, routing)
    weights = popularity(routing, every)
    if len(set(weights)) == 1:
        shares = [share] * experts.experts
    else:
        chosen = chosen_share(weights, max(1, round(share * every)))
        shares = [chosen[index] for index in experts.members or range(experts.experts)]
    for count, mean, whole in tokens_of_experts(tokens, shares, machine.tiles.columns):
        part = mean / routed
        yield row | {
            "repeats": count,
            **_sizes(Gemm(1, whole, gemm.n, gemm.k)),
            "weight_bytes": row["weight_bytes"] / used,
            **{key: row[key] * part for key in ("input_bytes", "output_bytes", "operations")},
        }


def _stack(experts: Experts, share: float, routing: Routing) -> int:
    """How many experts a token chooses among; of some of a stack, as many as give whole choices."""
    if experts.stack or not experts.members:
        return experts.stack or experts.experts
    if not isinstance(routing, str):
        return len(routing)
    least = max(experts.members) + 1
    whole = (n for n in range(least, 64 * least) if abs(n * share - round(n * share)) < 1e-9 * n)
    return next(whole, least)


def _routed(op: OpWork, experts: Experts, mean: float, used: float) -> tuple[int, float]:
    """How many tokens are routed to these experts, and the mean chance of one to take an expert.

    Where experts are spread over devices, tokens of other batches come, too: as many batches as
    give the expected number of experts in use.
    """
    here = round(op.step.batch * op.step.queries)
    for batches in range(1, 1025):
        tokens = here * batches
        share = mean / tokens
        if share <= 1 and abs(1 - (1 - share) ** tokens - used) < 1e-9:
            return tokens, share
    raise RequestError(f"{experts.experts} experts: their routing cannot be told from its means")
