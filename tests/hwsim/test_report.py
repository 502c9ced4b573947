"""Reports of co-design runs: every sentence follows from the run, and changes with its facts."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch

import hwsim.loop
from hwsim.loop import run
from hwsim.machines.elements.base import ProcessingElement
from hwsim.report import facts, prose
from hwsim.report.codesign import candidate_table, layer_table, markdown, save_report
from hwsim.report.figures import NONE, accuracy_points, draw_accuracy, draw_format_map, format_map
from hwsim.study.margins import measure_margins
from hwsim.study.request import BITS, DECODE, PREFILL, Request
from hwsim.study.result import CodesignResult
from hwsim.study.selection import Selection
from hwsim.study.study import Study
from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec
from quant.models import texts
from quant.models.evaluate import Perplexity
from quant.plan import HEAD, Plan
from tests.own.tiny_llama import tiny_llama

ROOT = Path(__file__).parents[2]
SIZES: dict[str, Any] = {
    "prompt": 16, "generate": 2, "tokens": 256, "context": 128, "exact_tokens": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small model, two texts of our own, a cache, and one thread: the model is that small."""
    folder = tmp_path_factory.mktemp("report")
    tiny_llama(folder / "model", hidden=32, layers=3, positions=2048)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWSIM_CACHE", str(folder / "cache"))
        patch.setattr(texts, "evaluation_text", lambda: (ROOT / "README.md").read_text() * 4)
        patch.setattr(texts, "calibration_text", lambda: (ROOT / "CHANGELOG.md").read_text() * 2)
        yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def result(folder: Path) -> CodesignResult:
    return run(Request(str(folder / "model"), "bitmod", 4.5, **SIZES))


@pytest.fixture(scope="module")
def mixed(folder: Path) -> CodesignResult:
    """On a machine whose elements have no bit-exact model, with a format that has no codes."""
    text = (Path(hwsim.__file__).parent / "machines" / "builtin" / "fp16.toml").read_text()
    text = re.sub(r"(?m)^weights = .*$", 'weights = ["fp16", "int4"]', text)
    machine = folder / "mixed.toml"
    machine.write_text(re.sub(r"(?m)^name = .*$", 'name = "mixed"', text))
    return run(Request(str(folder / "model"), str(machine), 10.0, **SIZES))


@dataclass(frozen=True)
class ByWidth(ProcessingElement):
    """A block takes a cycle for every bit: 3- and 4-bit codes differ."""

    kind: ClassVar[str] = "by-width"

    @property
    def scales(self) -> tuple[ScaleKind, ...] | None:
        return None

    def steps(self, spec: FormatSpec) -> int:
        return spec.element_bits


def on_another_machine(result: CodesignResult) -> CodesignResult:
    pe = result.machine.pe
    assert isinstance(pe, ProcessingElement)
    sizes = {field.name: getattr(pe, field.name) for field in dataclasses.fields(ProcessingElement)}
    return replace(result, machine=replace(result.machine, pe=ByWidth(**sizes)))


def with_bound(result: CodesignResult, phase: str) -> CodesignResult:
    """As if no op of a phase waited for memory."""
    simulation = result.chosen.simulation
    phases = [
        replace(
            part,
            kinds=tuple(
                tuple(replace(op, dram_cycles=0.0, compute_cycles=1.0) for op in kind)
                for kind in part.kinds
            ),
        )
        if part.work.phase == phase
        else part
        for part in simulation.phases
    ]
    simulation = replace(simulation, phases=tuple(phases))
    return replace(result, chosen=replace(result.chosen, simulation=simulation))


def with_costs(result: CodesignResult, name: str, factor: float) -> CodesignResult:
    """As if the last format took another time."""
    frame = result.costs[name].copy()
    frame[str(result.formats[-1])] *= factor
    return replace(result, costs={**result.costs, name: frame})


def with_selection(result: CodesignResult, **fields: Any) -> CodesignResult:  # noqa: ANN401
    return replace(result, selection=replace(result.selection, **fields))


def with_alternative(
    result: CodesignResult, name: str, alternative: Selection | None
) -> CodesignResult:
    return replace(result, alternatives={**result.alternatives, name: alternative})


def uniform_alternative(result: CodesignResult, *, stopped: bool) -> CodesignResult:
    formats = dict.fromkeys(result.selection.formats, str(result.formats[0]))
    return with_alternative(result, PREFILL, Selection(formats, 7.125, 0.125, stopped, 3.0))


def with_windows(result: CodesignResult) -> CodesignResult:
    measured = Perplexity((1.0, 2.0, 3.0), 96)
    chosen, *others = (replace(c, perplexity=measured) for c in result.candidates)
    return replace(result, baseline=measured, chosen=chosen, neighbours=tuple(others))


CHANGES: dict[str, tuple[Callable[[CodesignResult], CodesignResult], str]] = {
    "cycles by format": (on_another_machine, "3 cycles as `int3`, `int3-asym`, `fp3`, `bitmod3`;"),
    "no bit-exact model": (on_another_machine, "Not run: there is no bit-exact model of bitmod"),
    "what the prefill waits for": (partial(with_bound, phase="prefill"), " 0% of prefill"),
    "what the decode waits for": (partial(with_bound, phase="decode"), " 0% of decode"),
    "prefill times": (partial(with_costs, name=PREFILL, factor=100.0), " as `bitmod4` (it"),
    "decode times": (partial(with_costs, name=DECODE, factor=0.01), " as `bitmod4` to "),
    "a solver that was stopped": (
        partial(with_selection, stopped=True, gap=0.02, time_limit_s=9.0),
        "stopped after 9 s, within 2 % of optimal",
    ),
    "another loss": (partial(with_selection, loss=123.25), "Expected loss 123.25 nat"),
    "no other choice in time": (
        partial(with_alternative, name=DECODE, alternative=None),
        "the solver had no choice within 120 s",
    ),
    "another choice": (
        partial(uniform_alternative, stopped=False), "at an expected loss of 7.125 instead of",
    ),
    "another choice, not proved": (
        partial(uniform_alternative, stopped=True),
        "nat per token (stopped after 3 s, within 12.5 % of optimal)",
    ),
    "windows": (with_windows, "Perplexity on 288 tokens of Wikipedia articles in windows of 96"),
    "text": (
        lambda r: replace(r, conditions=replace(r.conditions, evaluation="poems")),
        "256 tokens of poems in windows",
    ),
    "calibration": (
        lambda r: replace(r, conditions=replace(r.conditions, calibration="prose")),
        "chosen on 8192 tokens of prose.",
    ),
    "data types": (
        lambda r: replace(r, conditions=replace(r.conditions, stored="float16")),
        "everything else in float16.",
    ),
    "nothing run exactly": (
        lambda r: replace(r, exact=()), "Not run: the middle block has no layer with codes.",
    ),
    "scenario": (lambda r: replace(r, request=replace(r.request, batch=5)), "batch 5."),
    "budget": (
        lambda r: replace(r, request=replace(r.request, max_decode_time=0.5)),
        "decode time per token (s) at most 0.5",
    ),
    "head": (
        lambda r: replace(r, plan=Plan({**r.plan.layers, HEAD: "int4:g32:int8"})),
        "the head at int4:g32:int8",
    ),
    "no codes": (lambda r: replace(r, tensors={}), "`candidates.csv`.\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_other_facts_give_another_text(name: str, result: CodesignResult) -> None:
    change, words = CHANGES[name]
    assert words not in markdown(result)
    assert words in markdown(change(result))


def test_what_the_run_knows_is_what_the_text_says(result: CodesignResult) -> None:
    text = markdown(result)
    assert "proved optimal" in text
    assert "1 cycle as `int2`, `fp3`; 2 cycles as `int3`, `int4`," in text
    ops = result.chosen.simulation.ops
    for phase in ("prefill", "decode"):
        spent = [(op.repeats * op.cycles, op.dram_cycles > op.compute_cycles) for op in ops
                 if op.phase == phase]  # fmt: skip
        share = sum(n for n, memory in spent if memory) / sum(n for n, _ in spent)
        assert f"{share:.0%} of {phase}'s" in text
    for name in (PREFILL, DECODE):
        totals = result.costs[name].sum()
        for before, end in (("goes from", totals.min()), ("to", totals.max())):
            equal = [str(spec).split(":")[0] for spec in totals.index[totals == end]]
            assert any(f"{before} {end:.4g} as `{one}`" in text for one in equal)
        assert f"{name} goes from" in text
    assert "7 layers of one block (`model.layers.1.self_attn.q_proj` and on) on 8 tokens" in text


def test_spreads_are_those_of_formats_that_are_alike(result: CodesignResult) -> None:
    """By hand, for the time of a prefill."""
    totals = result.costs[PREFILL].sum()
    by_cycles, by_width = [], []
    for one in result.formats:
        for other in result.formats:
            ratio = float(totals[str(one)] / totals[str(other)]) - 1
            if result.machine.steps(one) == result.machine.steps(other):
                by_cycles.append(ratio)
            if one.element_bits == other.element_bits:
                by_width.append(ratio)
    row = facts.uniform_times(result)[0]
    assert row.name == PREFILL
    assert row.same_cycles == pytest.approx(max(by_cycles))
    assert row.same_width == pytest.approx(max(by_width))
    assert f"(it differs by up to {max(by_cycles):.1%} among formats of the same cycles" in (
        prose.times(result)
    )


def test_alternatives_are_chosen_by_one_cost_alone(result: CodesignResult) -> None:
    assert set(result.alternatives) == {PREFILL, DECODE}  # bits were the run's own budget
    for name, selection in result.alternatives.items():
        assert selection is not None
        table = result.costs[name].to_dict("index")
        taken = sum(table[path][text] for path, text in selection.formats.items())
        allowed = sum(table[path][text] for path, text in result.selection.formats.items())
        assert taken <= allowed * (1 + 1e-6)
        assert selection.loss <= result.selection.loss * (1 + 1e-6)
    for row in facts.alternatives(result):
        said = f"With no budget but the plan's own {row.name}, {row.allowed:.4g}, "
        said += f"{row.changed} of 21 layers" if row.changed else "the choice would be the plan"
        assert said in markdown(result)


def test_several_budgets_are_compared_with_each_alone(folder: Path) -> None:
    request = Request(str(folder / "model"), "bitmod", 4.5, max_decode_time=1.0, **SIZES)
    study = Study(request)
    choice = study.choice(study.select(request.budgets))
    assert set(study.alternatives(choice)) == {BITS, PREFILL, DECODE}


def test_a_machine_without_a_bit_exact_model_says_so(mixed: CodesignResult, tmp_path: Path) -> None:
    text = markdown(mixed)
    assert "Not run: there is no bit-exact model of mixed's elements (multiply-accumulate," in text
    assert "1 cycle as `fp16`, `int4`." in text
    save_report(mixed, tmp_path / "report")
    assert (tmp_path / "report" / "checkpoint").is_dir()


def test_layers_without_codes_are_simulated_and_listed(mixed: CodesignResult) -> None:
    plain = [path for path, text in mixed.selection.formats.items() if text == "fp16"]
    coded = [path for path, text in mixed.selection.formats.items() if text != "fp16"]
    assert plain
    assert coded
    rows = layer_table(mixed).set_index("layer")
    assert list(rows.index) == [*mixed.selection.formats, HEAD]
    bits = {str(path): float(value) for path, value in rows["effective_bits"].items()}
    assert all(bits[path] == 16 for path in plain)
    assert all(bits[path] < 6 for path in coded)
    # Each layer moves the bytes of its own format, whatever the first of the machine's is.
    moved = {op.name: op.dram_bytes for op in mixed.chosen.simulation.ops if op.phase == "decode"}
    linears = mixed.scenario.parts[0][0].matrices
    for path in (plain[0], coded[0]):
        weights = linears[path].in_features * linears[path].out_features
        stored = bits[path] * weights / 8
        inputs_and_outputs = 2 * (linears[path].in_features + linears[path].out_features)
        assert moved[path] == pytest.approx(stored + inputs_and_outputs)


def test_tables_and_files(result: CodesignResult, tmp_path: Path) -> None:
    save_report(result, tmp_path / "report")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    listed = re.findall(r"`([\w./]+)`", markdown(result).splitlines()[-1])
    pictures = re.findall(r"\(([\w.]+\.svg)\)", markdown(result))
    assert names == {name.rstrip("/") for name in listed} | set(pictures) | {"codesign.md"}
    layers = pd.read_csv(tmp_path / "report" / "layers.csv").set_index("layer")
    assert layers["format"].to_dict() == result.plan.layers
    assert {p: str(t.spec) for p, t in result.tensors.items()} == result.plan.layers
    bits = {path: tensor.effective_bits for path, tensor in result.tensors.items()}
    assert layer_table(result).set_index("layer")["effective_bits"].to_dict() == bits
    table = candidate_table(result)
    assert list(table["choice"]) == ["baseline", "plan", *(c.name for c in result.neighbours)]
    assert json.loads(table.to_json(orient="records"))[1]["effective_bits"] <= 4.5


def test_figures_know_the_plan_by_its_mark(result: CodesignResult) -> None:
    points = accuracy_points(result)
    assert [point.is_plan for point in points] == [True] + [False] * len(result.neighbours)
    # A uniform format that is called so is none the less a neighbour.
    named = replace(result, neighbours=tuple(replace(c, name="plan") for c in result.neighbours))
    assert [point.is_plan for point in accuracy_points(named)] == [p.is_plan for p in points]
    stars = [line for line in draw_accuracy(points).axes[0].lines if line.get_marker() == "*"]
    assert len(stars) == 1
    draw_accuracy(points[:1])


def test_maps_of_blocks_that_differ() -> None:
    """Mixtures of dense and other blocks: an absent module is a gap, not another block's format."""
    layers = {
        "model.layers.0.mlp.up": "int4", "model.layers.1.mlp.gate": "int3",
        "model.layers.2.mlp.up": "int3", "model.layers.2.mlp.gate": "int4", "lm_head": "int8",
    }  # fmt: skip
    info = format_map(Plan(layers))
    assert info.formats == ("int3", "int4")
    assert dict(zip(info.modules, info.cells, strict=True)) == {
        "mlp.up": (1, NONE, 0), "mlp.gate": (NONE, 0, 1),
    }  # fmt: skip
    assert "head: int8" in draw_format_map(Plan(layers)).axes[0].get_title()
    del layers["lm_head"]
    assert "head" not in draw_format_map(Plan(layers)).axes[0].get_title()


def test_codesign_warns_of_a_plan_that_is_not_proved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"max_effective_bits": 4.5, **SIZES}
    proved = hwsim.codesign(str(folder / "model"), "bitmod", **options)
    select = Study.select
    monkeypatch.setattr(
        Study, "select", lambda *args: replace(select(*args), stopped=True, gap=0.05)
    )
    with pytest.warns(UserWarning, match="stopped after 120 s, within 5 % of optimal"):
        assert hwsim.codesign(str(folder / "model"), "bitmod", **options) == proved


def test_margins_say_what_they_measured(folder: Path) -> None:
    model = str(folder / "model")
    text = measure_margins(model, "bitmod", [4.5], 2, 2048, 0)
    study = Study(Request(model, "bitmod", 4.5, tokens=2048))
    plan = study.choice(study.select({BITS: 4.5}))
    assert f"| plan at 4.5 | {study.bits(plan):.4f} | " in text
    assert "for their expected losses: at 4.5 proved optimal." in text
    shown = [float(bits) for bits in re.findall(r"random \d \| ([\d.]+) \|", text)]
    assert len(shown) == 2
    assert max(shown) <= 4.5
    # Three bits do not suffice for bitmod3 with its scales: no such random plan, none is reported.
    with pytest.raises(RequestError, match="random plans at 3 bits: bitmod3 alone takes 3"):
        measure_margins(model, "bitmod", [3.0], 1, 2048, 0)


def test_codesign_has_every_setting_of_a_request() -> None:
    """With the same defaults; the folder and its overwriting are the only other arguments."""
    settings = {field.name: field.default for field in dataclasses.fields(Request)}
    parameters = dict(inspect.signature(hwsim.codesign).parameters)
    assert parameters.pop("out").default is None
    assert parameters.pop("overwrite").default is False
    assert list(parameters) == list(settings)
    given = {name: parameter.default for name, parameter in parameters.items()}
    assert {n: v for n, v in given.items() if v is not inspect.Parameter.empty} == {
        n: v for n, v in settings.items() if v is not dataclasses.MISSING
    }


def test_codesign_refuses_a_foreign_folder_before_it_works(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RequestError, match="choose another folder"):
        hwsim.codesign("no-such-model", "bitmod", max_effective_bits=4.0, out=tmp_path)
