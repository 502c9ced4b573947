"""How good plans are: against the line between two uniform formats, and against random plans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwsim.machines.load import load_accelerator
from hwsim.study.request import BITS, Request
from hwsim.study.study import Study
from quant.common.progress import track
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
    """
    machine = load_accelerator(accelerator)
    for name in (LOW, HIGH):
        machine.spec(name)
    study = Study(Request(model, accelerator, max_effective_bits=budgets[0], tokens=tokens))
    low, high = str(study.machine.spec(LOW)), str(study.machine.spec(HIGH))
    measured = {text: _measure(study, study.uniform(text)) for text in (low, high)}
    bits = {text: study.bits(study.uniform(text)) for text in (low, high)}
    plans = {budget: study.choose({BITS: budget}).layers for budget in budgets}
    results = {budget: _measure(study, plan) for budget, plan in plans.items()}
    lines = [
        f"# Margins of plans: {model} on {accelerator}",
        f"Made by `hwsim margins {model} {accelerator} "
        + " ".join(f"--budget {value:g}" for value in budgets)
        + f" --random {count} --tokens {tokens} --seed {seed}`.",
        f"{tokens} evaluation tokens; margins are in nat per token, paired over windows, below "
        "zero when the plan is better.",
        "| choice | effective bits | ppl | ln ppl | to the line | SE | to bitmod4 | SE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {t} | {bits[t]:.4f} | {_two(measured[t])} | | | | |" for t in (low, high)]
    for budget, result in results.items():
        at = study.bits(plans[budget])
        share = (at - bits[low]) / (bits[high] - bits[low])
        nll = {text: np.array(m.window_nll) for text, m in measured.items()}
        line = _margin(result, (1 - share) * nll[low] + share * nll[high])
        uniform = _margin(result, nll[high])
        row = f"| plan at {budget:g} | {at:.4f} | {_two(result)} | {line} | {uniform} |"
        lines.append(row)
    if count:
        lines += _random_section(study, budgets[len(budgets) // 2], results, count, seed)
    return "\n".join(_paragraphs(lines)) + "\n"


def _random_section(
    study: Study, budget: float, results: dict[float, Perplexity], count: int, seed: int
) -> list[str]:
    """Random plans of bitmod3 and bitmod4 at a budget, and the margin to the best of them."""
    rng = np.random.default_rng(seed)
    rows, best = [], None
    for index in track(range(count), "random plans", count):
        plan = random_plan(study, budget, rng)
        result = _measure(study, plan)
        rows.append(f"| random {index} | {study.bits(plan):.4f} | {_two(result)} |")
        best = result if best is None or result.ln < best.ln else best
    assert best is not None
    margin, error = results[budget].difference(best)
    return [
        f"## {count} random plans of at most {budget:g} bits (seed {seed})",
        "A random plan gives bitmod4 to layers in random order while the budget allows, bitmod3 to "
        "the rest.",
        "| choice | effective bits | ppl | ln ppl |",
        "|---|---|---|---|",
        *rows,
        f"The plan lies {margin:+.4f} (SE {error:.4f}) from the best random plan.",
    ]


def random_plan(study: Study, budget: float, rng: np.random.Generator) -> dict[str, str]:
    """Return a random mixture of bitmod3 and bitmod4, as near under the budget as it gets."""
    low, high = str(study.machine.spec(LOW)), str(study.machine.spec(HIGH))
    plan, table = study.uniform(low), study.costs[BITS]
    total = study.bits(plan)
    for index in rng.permutation(len(study.layers)):
        path = study.layers[index]
        more = float(table.loc[path, high] - table.loc[path, low])
        if total + more <= budget:
            plan[path], total = high, total + more
    return plan


def _measure(study: Study, formats: dict[str, str]) -> Perplexity:
    return study.perplexity(study.quantize(formats)[0], f"{study.bits(formats):.2f} bits")


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
