"""Tables of what ``benchmarks.accuracy`` measured, and the order of formats by model."""

from __future__ import annotations

from itertools import pairwise

from benchmarks.accuracy_cases import CALIBRATION, STUDIES, Case, Result

COLUMNS = "| format | activations | method | bits | perplexity | over unquantized | gain | CPU s |"
RANKED = {"rounded to nearest": "rtn", "by GPTQ": "gptq"}


def report(models: dict[str, dict[Case, Result]]) -> str:
    """Return the report in Markdown.

    Args:
        models: What was measured of each.
    """
    named = " ".join(f"{name}=FOLDER" if name == "source16" else name for name in models)
    lines = [
        "# Accuracy by format and method",
        "",
        f"`python -m benchmarks.accuracy {named}`; FOLDER by `python -m benchmarks.source16 -o "
        "FOLDER`. Gains are differences of ln(perplexity) to rounding to nearest in the same "
        "format (for hqq on asymmetric integers: with the same 16-bit zero points), paired by "
        "window, with their standard errors; below zero is better. Compare differences, not "
        "perplexities, between models.",
        "",
    ]
    for name, done in models.items():
        lines += [*_model(name, done), ""]
    return "\n".join([*lines, *_orders(models), ""])


def _model(name: str, done: dict[Case, Result]) -> list[str]:
    study, base = STUDIES[name], done[Case("none", "rtn")].perplexity
    lines = [
        f"## {name}",
        "",
        f"Source of the weights: {study.source}. {study.tokens} tokens of Wikipedia in windows of "
        f"{study.context}, {CALIBRATION} calibration tokens of C4, computed in "
        f"{str(study.dtype).removeprefix('torch.')}. Unquantized: {base.value:.3f}; the largest "
        f"loss of a format here is {_largest(done):.3g} nat.",
        "",
        COLUMNS,
        "|---" * COLUMNS.count(" | ") + "|---|",
    ]
    for case, result in sorted(done.items(), key=lambda item: (item[0].format, item[0].method)):
        if case.format == "none":
            continue
        over, error = result.perplexity.difference(base)
        lines.append(
            f"| {case.format} | {case.activations} | {case.method} | {result.effective_bits:.3f} | "
            f"{result.perplexity.value:.3f} | {over:.4f} ({error:.4f}) | {_gain(case, done)} | "
            f"{result.seconds:.0f} |"
        )
    return [*lines, "", *_three_bits(done)]


def _largest(done: dict[Case, Result]) -> float:
    base = done[Case("none", "rtn")].perplexity
    return max(result.perplexity.difference(base)[0] for result in done.values())


def _orders(models: dict[str, dict[Case, Result]]) -> list[str]:
    """The formats of each model from the least loss to the most, and where the order changes."""
    lines = [
        "## The order of formats",
        "",
        "From the least loss over the unquantized model to the most. `~`: the next one's loss is "
        "less than two standard errors (of the paired difference) above.",
        "",
    ]
    for words, method in RANKED.items():
        known = {name: _formats(done, method) for name, done in models.items()}
        known = {name: formats for name, formats in known.items() if formats}
        if not known:
            continue
        shared = set.intersection(*known.values())
        orders = {name: _order(models[name], method, shared) for name in known}
        lines += [f"Weights {words}:", ""]
        lines += [f"* {name}: {_said(models[name], method, o)}" for name, o in orders.items()]
        lines += ["", *_changes(models, method, orders), ""]
    return lines[:-1]


def _formats(done: dict[Case, Result], method: str) -> set[str]:
    return {case.format for case in done if case == Case(case.format, method)} - {"none"}


def _order(done: dict[Case, Result], method: str, formats: set[str]) -> list[str]:
    return sorted(formats, key=lambda name: done[Case(name, method)].perplexity.ln)


def _said(done: dict[Case, Result], method: str, order: list[str]) -> str:
    text = order[0] if order else "nothing in common"
    for before, after in pairwise(order):
        text += f" {'<' if _apart(done, method, before, after) else '~'} {after}"
    return text


def _changes(
    models: dict[str, dict[Case, Result]], method: str, orders: dict[str, list[str]]
) -> list[str]:
    """Pairs of formats that two models put in different orders, both beyond two standard errors."""
    names, found = list(orders), []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            pairs = [
                f"{a} before {b}"
                for k, a in enumerate(orders[one])
                for b in orders[one][k + 1 :]
                if orders[other].index(a) > orders[other].index(b)
                and _apart(models[one], method, a, b)
                and _apart(models[other], method, b, a)
            ]
            said = ", ".join(pairs) or "none"
            found.append(f"* {one} and {other}, pairs in another order in {other}: {said}.")
    return found


def _apart(done: dict[Case, Result], method: str, before: str, after: str) -> bool:
    """Whether a format loses more than another by over two standard errors."""
    more = done[Case(after, method)].perplexity
    gap, error = more.difference(done[Case(before, method)].perplexity)
    return gap > 2 * error


def _three_bits(done: dict[Case, Result]) -> list[str]:
    """What GPTQ with bitmod3 gains over the best of the other formats of about three bits."""
    ours = Case("bitmod3", "gptq")
    others = [c for c in done if done[c].effective_bits < 3.5 and c.format != "bitmod3"]
    if ours not in done or not others:
        return []
    lines = []
    for case in sorted(others, key=lambda c: done[c].perplexity.ln)[:2]:
        gain, error = done[ours].perplexity.difference(done[case].perplexity)
        lines.append(
            f"GPTQ with bitmod3 ({done[ours].effective_bits:.3f} bits) against {case.method} with "
            f"{case.format} ({done[case].effective_bits:.3f} bits): {gain:.4f} ({error:.4f}) in "
            "ln(perplexity)."
        )
    return lines


def _gain(case: Case, done: dict[Case, Result]) -> str:
    suffix = ":float-zero" if case.method == "hqq" and case.format.endswith("-asym") else ""
    plain = Case(case.format + suffix, "rtn", case.activations)
    if case.method == "rtn" or plain not in done:
        return ""
    gain, error = done[case].perplexity.difference(done[plain].perplexity)
    return f"{gain:.4f} ({error:.4f})"
