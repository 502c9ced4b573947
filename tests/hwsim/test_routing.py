"""Experts: expectations over the routing beside draws of it, token by token."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import load_accelerator
from hwsim.simulation.machine_row import machine_row
from hwsim.simulation.op_rows import parts_of
from hwsim.simulation.own import with_own_formats
from hwsim.simulation.records import OP, Record, rows
from hwsim.simulation.routing import Routing, chosen_share, popularity, tokens_of_experts
from hwsim.simulation.run import run
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from roofline.workloads.op_work import OpWork
from roofline.workloads.ops import Experts
from roofline.workloads.workload import as_scenario

ROUTINGS = ("uniform", "zipf:0.7", "zipf:1.5")


def drawn(
    rng: np.random.Generator, weights: NDArray[np.float64], chosen: int, tokens: int
) -> NDArray[np.int64]:
    """Tokens of each expert in one draw: each token takes different ones, by their weights."""
    # The largest of log(weight) + Gumbel noise are such a draw (Efraimidis and Spirakis, 2006).
    keys = np.log(weights) + rng.gumbel(size=(tokens, len(weights)))
    taken = np.argpartition(-keys, chosen - 1, axis=1)[:, :chosen]
    return np.bincount(taken.reshape(-1), minlength=len(weights))


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize(("experts", "chosen"), [(8, 2), (64, 6), (40, 39)])
def test_shares_are_those_of_draws(routing: str, experts: int, chosen: int) -> None:
    weights = np.array(popularity(routing, experts))
    shares = np.array(chosen_share(tuple(weights), chosen))
    assert shares.sum() == pytest.approx(chosen)
    counts = drawn(np.random.default_rng(1), weights, chosen, 200_000) / 200_000
    np.testing.assert_allclose(shares, counts, atol=5e-3)


def test_a_dead_expert_gets_nothing() -> None:
    assert chosen_share((0.0, 1.0, 1.0, 1.0), 2) == (0.0, 2 / 3, 2 / 3, 2 / 3)
    shares = chosen_share((0.0, 5.0, 1.0, 1.0), 2)
    assert shares[0] == 0
    assert sum(shares) == pytest.approx(2)
    assert chosen_share((0.0, 2.0, 3.0), 2) == (0.0, 1.0, 1.0)
    with pytest.raises(RequestError, match="1 experts have a weight, a token takes 2"):
        chosen_share((0.0, 0.0, 3.0), 2)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("tokens", [1, 7, 200])
def test_blocks_of_tokens_are_those_of_draws(routing: str, tokens: int) -> None:
    weights = np.array(popularity(routing, 16))
    shares = chosen_share(tuple(weights), 4)
    found = tokens_of_experts(tokens, shares, 8)
    assert sum(weight * mean for weight, mean, _ in found) == pytest.approx(4 * tokens)
    rng = np.random.default_rng(2)
    blocks = np.mean([np.ceil(drawn(rng, weights, 4, tokens) / 8).sum() for _ in range(3000)])
    assert sum(weight * -(-whole // 8) for weight, _, whole in found) == pytest.approx(
        blocks, rel=0.01
    )


def cycles_of_draws(
    op: OpWork, machine: Accelerator, routing: str, chosen: int, draws: int
) -> float:
    """Mean clocks of a stack of experts over draws, each expert a product of its own tokens."""
    first = next(parts_of(op, machine, routing)).rows[0]
    experts = op.definition
    assert isinstance(experts, Experts)
    tokens = int(op.step.batch * op.step.queries)
    known = {}
    for count in range(1, tokens + 1):
        table: Record = rows(OP, 1)
        share = count / float(experts.tokens.at(op.step))
        values = first | {
            "m": count, "repeats": 1.0,
            "input_bytes": op.moving_bytes * share,
            "output_bytes": (op.bytes - op.moving_bytes - op.stationary_bytes) * share,
        }  # fmt: skip
        for key, value in values.items():
            table[key] = value
        known[count] = float(run(table, machine_row(machine)).costs["cycles"][0])
    rng = np.random.default_rng(3)
    weights = np.array(popularity(routing, experts.experts))
    totals = [
        sum(known[count] for count in drawn(rng, weights, chosen, tokens) if count)
        for _ in range(draws)
    ]
    return float(np.mean(totals))


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize(
    ("model", "chosen", "tokens"),
    [("mixtral-8x7b-v0.1", 2, 37), ("qwen3-30b-a3b", 8, 120), ("mixtral-8x7b-v0.1", 2, 1)],
)
@pytest.mark.parametrize("name", ["bitmod", "fp16"])
def test_experts_take_what_draws_take(
    name: str, model: str, chosen: int, tokens: int, routing: str
) -> None:
    machine = load_accelerator(name)
    work = roofline.workload(model, "prefill", 1, tokens, **machine_formats(machine))
    ((work, _),) = with_own_formats(as_scenario(work), machine).parts
    op = next(op for op in work.ops if isinstance(op.definition, Experts))
    result = next(r for r in simulate(work, machine, routing=routing).ops if r.name == op.name)
    drawn_cycles = cycles_of_draws(op, machine, routing, chosen, 4000)
    assert result.cycles == pytest.approx(drawn_cycles, rel=0.01)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize(
    ("model", "chosen", "tokens", "ep"),
    [
        ("mixtral-8x7b-v0.1", 2, 256, 4),
        ("deepseek-v2-lite", 6, 128, 8),
        ("mixtral-8x7b-v0.1", 2, 1, 2),
    ],
)
def test_experts_of_one_of_several_devices_are_the_mean_device(
    model: str, chosen: int, tokens: int, ep: int, routing: str
) -> None:
    machine = load_accelerator("bitmod")
    formats = machine_formats(machine)
    work = roofline.workload(model, "prefill", 1, tokens, ep=ep, **formats)
    op = next(op for op in work.ops if isinstance(op.definition, Experts))
    assert isinstance(op.definition, Experts)
    (part,) = parts_of(op, machine, routing)
    pool = op.definition.pool
    rng = np.random.default_rng(4)
    weights = np.array(popularity(routing, pool))
    blocks = [
        np.ceil(drawn(rng, weights, chosen, tokens * ep) / machine.tiles.columns).sum() / ep
        for _ in range(300 if tokens > 9 else 20_000)
    ]
    expected = sum(row["repeats"] * -(-row["m"] // machine.tiles.columns) for row in part.rows)
    assert expected == pytest.approx(np.mean(blocks), rel=0.01)
    routed = sum(row["input_bytes"] * row["repeats"] for row in part.rows)
    assert routed == pytest.approx(op.moving_bytes, rel=1e-6)


def test_experts_of_some_devices_and_of_several_formats() -> None:
    machine = load_accelerator("bitmod")
    formats = machine_formats(machine)
    work = roofline.workload("mixtral-8x7b-v0.1", "prefill", 1, 40, **formats)
    whole = simulate(work, machine)
    stacks = [op.name for op in work.ops if isinstance(op.definition, Experts)]
    path = f"{stacks[0]}[0]"
    parts = simulate(work.with_weights({path: parse_spec("int8:g128:int8")}), machine)
    first = sum(op.cycles for op in whole.ops if op.name == stacks[0])
    split = [op for op in parts.ops if op.name.startswith(stacks[0])]
    assert len(split) == 2
    assert sum(op.macs for op in split) == pytest.approx(
        next(op.macs for op in whole.ops if op.name == stacks[0])
    )
    assert first < sum(op.cycles for op in split) < 1.3 * first


@pytest.mark.parametrize(
    "routing", ["even", "zipf:x", "zipf:-1", "uniform:2", [1.0], [-1.0] * 8, [0.0] * 8]
)
def test_routings_that_are_none(routing: Routing) -> None:
    machine = load_accelerator("bitmod")
    formats = machine_formats(machine)
    work = roofline.workload("mixtral-8x7b-v0.1", "decode", 1, 8, **formats)
    with pytest.raises(RequestError, match="routing"):
        simulate(work, machine, routing=routing)
