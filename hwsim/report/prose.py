"""Sentences of a co-design report: each follows from the facts of the run, none from elsewhere."""

from __future__ import annotations

from hwsim.report.facts import (
    Alternative,
    UniformTimes,
    alternatives,
    memory_share,
    steps_of_formats,
    uniform_times,
)
from hwsim.simulation.own import own_format
from hwsim.study.exact import exact_arithmetic
from hwsim.study.result import CodesignResult
from roofline.workloads.inventory import ROUTER
from roofline.workloads.setting import PLAIN


def setting(result: CodesignResult) -> str:
    """Return what was asked, and under which conditions choices were made and measured."""
    request, conditions, baseline = result.request, result.conditions, result.baseline
    budgets = ", ".join(f"{name} at most {value:g}" for name, value in request.budgets.items())
    return (
        f"Budget: {budgets}. Scenario: prompt {request.prompt}, {request.generate} generated "
        f"tokens, batch {request.batch}. Perplexity on {baseline.tokens} tokens of "
        f"{conditions.evaluation} in windows of {baseline.context}, {conditions.compute} compute; "
        f"formats were chosen on {conditions.calibration_tokens} tokens of "
        f"{conditions.calibration}. The baseline is the model as it was loaded, in "
        f"{conditions.compute}."
    )


def columns(result: CodesignResult) -> str:
    """Return what the columns of the table of choices mean."""
    heads = {t for p, t in result.plan.layers.items() if p not in result.selection.formats}
    head = f"the head at {' and '.join(sorted(heads))} and " if heads else ""
    return (
        "`se` is the standard error of ln(ppl) over windows; `delta_se` that of the paired "
        "difference to the baseline. Effective bits are over the block layers; whole-model bits "
        f"include {head}everything else in "
        f"{result.conditions.stored}."
    )


def choice(result: CodesignResult) -> str:
    """Return the plan's formats, and how good the choice is known to be."""
    counts: dict[str, int] = {}
    for text in result.selection.formats.values():
        counts[text] = counts.get(text, 0) + 1
    mix = ", ".join(f"{n} x `{text}`" for text, n in sorted(counts.items()))
    return (
        f"Layers by format: {mix}. Expected loss {result.selection.loss:.5g} nat per token: "
        f"{result.selection}.{_rest(result)}"
    )


def times(result: CodesignResult) -> str:
    """Return where the time goes, and which costs ask for other plans."""
    shares = memory_share(result.chosen.simulation)
    bound = " and ".join(f"{share:.0%} of {phase}'s" for phase, share in shares.items())
    sentences = [
        f"Of the plan's simulated cycles, {bound} are spent in ops bound by memory.",
        _steps(result),
        _uniform_times(uniform_times(result)),
        *(_alternative(row, result) for row in alternatives(result)),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def block(result: CodesignResult) -> str:
    """Return what was run bit-exactly, or why nothing was."""
    if exact_arithmetic(result.machine) is None:
        return (
            f"Not run: there is no bit-exact model of {result.machine.name}'s elements "
            f"({result.machine.kind}, activations in {result.machine.activations})."
        )
    if not result.exact:
        return "Not run: the middle block has no layer with codes."
    first = result.exact[0].layer
    return (
        f"{len(result.exact)} layers of one block (`{first}` and on) on "
        f"{result.request.exact_tokens} tokens of {result.conditions.evaluation} in the PE's "
        "arithmetic, against the exact product of the same codes; errors over mean |y|."
    )


def _rest(result: CodesignResult) -> str:
    """What is not in the plan, and how it is measured and simulated; empty where nothing is."""
    kept, machine = result.chosen.kept, result.machine
    if not kept:
        return ""
    parts = ", ".join(f"{count:,} ({why})" for why, count in kept.items())
    said = f" Not in the plan: {sum(kept.values()):,} weights: {parts}. They are measured in "
    said += f"{result.conditions.compute} and simulated in 16 bits"
    router = own_format(machine, PLAIN)
    if ROUTER in kept and router != PLAIN:
        said += f", but for routers, simulated as {router}: {machine.name} multiplies by no {PLAIN}"
    return f"{said}."


def _steps(result: CodesignResult) -> str:
    steps = steps_of_formats(result.machine, result.formats)
    named = [
        f"{count} cycle{'s' * (count > 1)} as {', '.join(f'`{name}`' for name in names)}"
        for count, names in steps.items()
    ]
    return f"On {result.machine.name} a block of weights takes {'; '.join(named)}."


def _uniform_times(rows: list[UniformTimes]) -> str:
    """What one format for all block layers takes; nothing where all take the same."""
    parts = [_uniform(row) for row in rows if row.fastest != row.slowest]
    return f"With one format for all block layers, {'; '.join(parts)}." if parts else ""


def _uniform(row: UniformTimes) -> str:
    (fast, least), (slow, most) = row.fastest, row.slowest
    spreads = [
        f"by up to {spread:.1%} among formats of the same {what}"
        for what, spread in (
            ("cycles a block", row.same_cycles),
            ("width of elements", row.same_width),
        )
        if spread is not None
    ]
    more = f" (it differs {', '.join(spreads)})" if spreads else ""
    return f"{row.name} goes from {least:.4g} as `{fast}` to {most:.4g} as `{slow}`{more}"


def _alternative(row: Alternative, result: CodesignResult) -> str:
    limit = f"With no budget but the plan's own {row.name}, {row.allowed:.4g},"
    if row.changed is None:
        return f"{limit} the solver had no choice within {result.request.time_limit:g} s."
    quality = f" ({row.quality})" if row.quality else ""
    if row.changed == 0:
        return f"{limit} the choice would be the plan{quality}."
    layers = f"{row.changed} of {len(result.selection.formats)} layers"
    return (
        f"{limit} {layers} would have another format, at an expected loss of {row.loss:.5g} "
        f"instead of {result.selection.loss:.5g} nat per token{quality}."
    )
