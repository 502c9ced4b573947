"""How good plans are: against the line between two uniform formats, and against random plans."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hwsim.machines.load import load_accelerator
from hwsim.study.request import BITS, Request, check_request
from hwsim.study.selection import Selection
from hwsim.study.study import Choice, Study
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.formats.spec import FormatSpec
from quant.models.evaluate import Perplexity

LOW, HIGH = "bitmod3", "bitmod4"


def measure_margins(
    model: str, accelerator: str, budgets: list[float], count: int, tokens: int, seed: int
) -> str:
    """Return a Markdown report of the margins, each with its paired standard error.

    Args:
        model: Built-in name, folder or hub id.
        accelerator: Machine that runs bitmod3 and bitmod4.
        budgets: Effective bits of the plans.
        count: Random plans, at the middle budget.
        tokens: Evaluation tokens.
        seed: Of the random plans.

    Raises:
        RequestError: no budget, a format that the machine does not run, or a middle budget that
            random plans of bitmod3 and bitmod4 cannot keep.
    """
    if not budgets:
        raise RequestError("a budget is needed: effective bits")
    request = Request(model, accelerator, max_effective_bits=budgets[0], tokens=tokens)
    machine = load_accelerator(accelerator)
    for name in (LOW, HIGH):
        machine.spec(name)
    check_request(request)
    study = Study(request)
    low, high = _ends(study)
    middle = budgets[len(budgets) // 2]
    if count:
        _check_random(study, middle)
    measured = {spec: _measure(study, study.uniform(spec)) for spec in (low, high)}
    selections = {budget: study.select({BITS: budget}) for budget in budgets}
    plans = {budget: study.choice(selection) for budget, selection in selections.items()}
    results = {budget: _measure(study, plan) for budget, plan in plans.items()}
    lines = [
        f"# Margins of plans: {model} on {accelerator}",
        f"Made by `hwsim margins {model} {accelerator} "
        + " ".join(f"--budget {value:g}" for value in budgets)
        + f" --random {count} --tokens {tokens} --seed {seed}`.",
        f"{measured[low].tokens} evaluation tokens; margins are in nat per token, paired over "
        f"windows, below zero when the plan is better. The line is ln(ppl) over effective bits "
        f"through {LOW} and {HIGH}.",
        _quality(selections),
        f"| choice | effective bits | ppl | ln ppl | to the line | SE | to {HIGH} | SE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    bits = {spec: study.bits(study.uniform(spec)) for spec in (low, high)}
    lines += [f"| {s} | {bits[s]:.4f} | {_two(measured[s])} | | | | |" for s in (low, high)]
    nll = {spec: np.array(result.window_nll) for spec, result in measured.items()}
    for budget, result in results.items():
        at = study.bits(plans[budget])
        share = (at - bits[low]) / (bits[high] - bits[low])
        line = _margin(result, (1 - share) * nll[low] + share * nll[high])
        uniform = _margin(result, nll[high])
        row = f"| plan at {budget:g} | {at:.4f} | {_two(result)} | {line} | {uniform} |"
        lines.append(row)
    if count:
        lines += _random_section(study, middle, results, count, seed)
    return "\n".join(_paragraphs(lines)) + "\n"


def _ends(study: Study) -> tuple[FormatSpec, FormatSpec]:
    """The two uniform formats."""
    return study.machine.spec(LOW), study.machine.spec(HIGH)


def _quality(selections: Mapping[float, Selection]) -> str:
    """How good the plans are known to be."""
    parts = [f"at {budget:g} {selection}" for budget, selection in selections.items()]
    return f"How good the plans are for their expected losses: {'; '.join(parts)}."


def _random_section(
    study: Study, budget: float, results: dict[float, Perplexity], count: int, seed: int
) -> list[str]:
    """Random plans of bitmod3 and bitmod4 at a budget, and the margin to the best of them."""
    rng = np.random.default_rng(seed)
    rows: list[str] = []
    randoms: list[Perplexity] = []
    for index in track(range(count), "random plans", count):
        plan = random_plan(study, budget, rng)
        randoms.append(_measure(study, plan))
        rows.append(f"| random {index} | {study.bits(plan):.4f} | {_two(randoms[-1])} |")
    margin, error = results[budget].difference(min(randoms, key=lambda result: result.ln))
    return [
        f"## {count} random plans of at most {budget:g} bits (seed {seed})",
        f"A random plan gives {HIGH} to layers in random order while the budget allows, {LOW} to "
        "the rest.",
        "| choice | effective bits | ppl | ln ppl |",
        "|---|---|---|---|",
        *rows,
        f"The plan lies {margin:+.4f} (SE {error:.4f}) from the best random plan.",
    ]


def random_plan(study: Study, budget: float, rng: np.random.Generator) -> Choice:
    """Return a random mixture of bitmod3 and bitmod4, as near under the budget as it gets.

    Raises:
        RequestError: bitmod3 alone takes more than the budget.
    """
    low, high = _ends(study)
    plan, table = study.uniform(low), study.costs[BITS]
    _check_random(study, budget)
    total = study.bits(plan)
    for index in rng.permutation(len(study.layers)):
        path = study.layers[index]
        more = float(table.loc[path, str(high)] - table.loc[path, str(low)])
        if total + more <= budget:
            plan[path], total = high, total + more
    return plan


def _check_random(study: Study, budget: float) -> None:
    least = study.bits(study.uniform(_ends(study)[0]))
    if budget < least:
        raise RequestError(f"random plans at {budget:g} bits: {LOW} alone takes {least:.6g}")


def _measure(study: Study, choice: Choice) -> Perplexity:
    return study.perplexity(study.quantize(choice).tensors, f"{study.bits(choice):.2f} bits")


def _margin(result: Perplexity, other: NDArray[np.float64]) -> str:
    delta, error = result.difference(Perplexity(tuple(other), result.context))
    return f"{delta:+.4f} | {error:.4f}"


def _two(result: Perplexity) -> str:
    return f"{result.value:.3f} | {result.ln:.4f}"


def _paragraphs(lines: list[str]) -> list[str]:
    """Put a blank line around everything that is no row of a table."""
    out: list[str] = []
    for line in lines:
        if out and not (line.startswith("|") and out[-1].startswith("|")):
            out.append("")
        out.append(line)
    return out
