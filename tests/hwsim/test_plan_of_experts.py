"""Plans of experts end to end: what they name, what they leave, what experts should lose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import quant
import roofline
from hwsim.cli import app
from hwsim.loop import run
from hwsim.machines.load import load_accelerator
from hwsim.report.codesign import layer_table, markdown
from hwsim.simulation.own import own_format, with_own_formats
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.study import sensitivity
from hwsim.study.request import BITS, DECODE, PREFILL, Request
from hwsim.study.result import CodesignResult
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from quant.layers.weights import weights
from quant.models import texts
from quant.plan import HEAD, Plan
from roofline.workloads.ops import Router
from roofline.workloads.workload import as_scenario
from tests.own.tiny_llama import tiny_llama
from tests.quant.tiny import one_thread, tiny, tokens

ROOT = Path(__file__).parents[2]
SIZES: dict[str, Any] = {
    "prompt": 16, "generate": 2, "tokens": 256, "context": 128, "exact_tokens": 8,
}  # fmt: skip
ROUTED = {
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 48, "vocab_size": 256, "max_position_embeddings": 2048,
}  # fmt: skip
FAMILIES = ("mixtral", "qwen3_moe")
STACK = "model.layers.1.mlp.experts.down_proj"
INT8 = parse_spec("int8:g128:int8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A small model of each family, with a tokenizer of bytes, and texts of our own."""
    root = tmp_path_factory.mktemp("experts")
    made = {}
    with pytest.MonkeyPatch.context() as patch, one_thread():
        for family in FAMILIES:
            made[family] = tiny_llama(root / family)  # its tokenizer
            tiny(family, **ROUTED).save_pretrained(made[family])
        patch.setenv("HWSIM_CACHE", str(root / "cache"))
        patch.setattr(texts, "evaluation_text", lambda: (ROOT / "README.md").read_text() * 4)
        patch.setattr(texts, "calibration_text", lambda: (ROOT / "README.md").read_text() * 2)
        yield made


@pytest.fixture(scope="module")
def result(folders: dict[str, Path]) -> CodesignResult:
    return run(Request(str(folders["qwen3_moe"]), "bitmod", 5.0, **SIZES))


def simulated(folder: Path, plan: dict[str, str], *options: str) -> dict[str, Any]:
    """What ``hwsim simulate --plan`` says, as JSON."""
    path = folder / "plan.toml"
    Plan(plan).save(path)
    line = ["simulate", str(folder), "bitmod", "--plan", str(path), "--generate", "1"]
    done = CliRunner().invoke(app, [*line, "--output", "json", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    content: dict[str, Any] = json.loads(done.stdout)
    return content


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_of_all_layers(folders: dict[str, Path], family: str) -> None:
    content = simulated(folders[family], {"*": "bitmod4:g32:int8"})
    model, _ = quant.load_model(folders[family])
    report = quant.quantize_model(model, Plan({"*": "bitmod4:g32:int8"}))
    left = dict.fromkeys(("embedding", "head", "router"), 0)
    for entry in report.kept.values():
        if entry.why in left:
            left[entry.why] += entry.count
    assert left["router"] == 2 * 4 * 32
    parts = [f"{left['embedding']:,} (embedding, as fp16)", f"{left['head']:,} (head, as {INT8})"]
    parts += [f"{left['router']:,} (router, as {INT8})"]
    assert content["rest"].startswith(f"not in the plan: {sum(left.values()):,} weights: ")
    assert all(part in content["rest"] for part in parts)


def test_the_rest_keeps_its_format_or_has_one_that_is_asked_for(
    folders: dict[str, Path],
) -> None:
    folder, some = folders["mixtral"], {"*.self_attn.*": "bitmod4", f"{STACK}[3]": "int3"}
    first = "model.layers.0.mlp.experts.gate_up_proj[0]"
    with pytest.raises(RequestError, match="14 more: not in the plan, so in fp16, which bitmod"):
        simulated(folder, some)
    content = simulated(folder, some, "--weights", "int8")
    names = [op["name"] for op in content["ops"] if op["name"].startswith(STACK)]
    assert names == [f"{STACK}[0-2]", f"{STACK}[3]"] * 2
    assert f"(layers, as {INT8})" in content["rest"]
    # No plan: nothing is left; the machine's own format is what was asked for.
    done = CliRunner().invoke(app, ["simulate", str(folder), "bitmod", "--output", "json"])
    assert "rest" not in json.loads(done.stdout)
    assert first not in done.stdout


def test_routers_run_as_the_machine_can(folders: dict[str, Path]) -> None:
    for name, router in (("bitmod", INT8), ("fp16", parse_spec("fp16"))):
        machine = load_accelerator(name)
        work = roofline.workload(str(folders["mixtral"]), **machine_formats(machine))
        run_ = with_own_formats(as_scenario(work), machine)
        routers = [op for op in run_.parts[0][0].template.ops if isinstance(op, Router)]
        assert [op.weights for op in routers] == [router, router]
        assert own_format(machine, parse_spec("fp16")) == router
        assert simulate(work, machine) == simulate(run_, machine)
    dense = as_scenario(roofline.workload("smollm2-135m", **machine_formats(machine)))
    same = with_own_formats(dense, machine)
    assert same.parts[0][0] is dense.parts[0][0]


def test_codes_of_experts_are_simulated(folders: dict[str, Path]) -> None:
    machine = load_accelerator("bitmod")
    model, _ = quant.load_model(folders["mixtral"])
    report = quant.quantize_model(model, {f"{STACK}[1]": "int3:g32:int8"})
    work = roofline.workload(str(folders["mixtral"]), **machine_formats(machine))
    names = [op.name for op in simulate(work, machine, report.tensors).ops if STACK in op.name]
    assert names == [f"{STACK}[0,2-3]", f"{STACK}[1]"]


def test_codesign_chooses_for_every_expert(result: CodesignResult) -> None:
    model, _ = quant.load_model(Path(result.request.model))
    meant = [path for path, weight in weights(model).items() if not weight.apart]
    assert list(result.selection.formats) == meant
    assert f"{STACK}[3]" in meant
    assert list(result.plan.layers) == [*meant, HEAD]
    assert result.tensors.keys() == {*meant, HEAD}
    assert result.loss.to_numpy().min() >= 0
    stack = [path for path in meant if path.startswith(STACK)]
    assert (result.loss.loc[stack, result.loss.columns[0]] > 0).all()


def test_costs_of_experts_add_up(result: CodesignResult) -> None:
    """The tables' totals for one format are what its simulation takes."""
    spec = result.formats[-1]
    choice = {**dict.fromkeys(result.selection.formats, spec), HEAD: result.machine.head}
    whole = simulate(result.scenario.with_weights(choice), result.machine).time_by_phase()
    for name, time in ((PREFILL, whole["prefill"]), (DECODE, whole["decode"] / 2)):
        assert float(result.costs[name][str(spec)].sum()) == pytest.approx(time, rel=1e-12)
    for candidate in result.neighbours:
        bits = float(result.costs[BITS][candidate.name].sum())
        assert bits == pytest.approx(candidate.effective_bits, rel=1e-12)


def test_what_is_not_in_the_plan_is_said(result: CodesignResult) -> None:
    kept = result.chosen.kept
    assert kept["router"] == 2 * 4 * 32
    text = markdown(result)
    assert f"Not in the plan: {sum(kept.values()):,} weights: " in text
    assert "256 (router)" in text
    assert f"simulated as {INT8}: bitmod multiplies by no fp16." in text
    table = layer_table(result).set_index("layer")
    stack = table[table.index.str.startswith(STACK)]
    ops = result.chosen.simulation.ops
    spent = sum(op.cycles for op in ops if op.name.startswith(STACK) and op.phase == "prefill")
    assert stack["prefill_cycles"].sum() == pytest.approx(spent)


def expected(model: Any, ids: torch.Tensor, path: str) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401  transformers
    """H and G of an expert, by what is added to its output."""
    weight, seen = weights(model)[path], []
    place = weight.stored.data_ptr()
    linear = nn.functional.linear

    def watched(x: torch.Tensor, w: torch.Tensor, bias: Any = None) -> torch.Tensor:  # noqa: ANN401  as torch has it
        output: torch.Tensor = linear(x, w, bias)
        if w.data_ptr() != place:
            return output
        seen.append((x.detach(), torch.zeros_like(output).requires_grad_()))
        return output + seen[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "linear", watched)
        model.set_experts_implementation("eager")
        loss = model(input_ids=ids[None], labels=ids[None], use_cache=False).loss
    ((x, added),) = seen
    (gradient,) = torch.autograd.grad(loss * (ids.numel() - 1), added)
    return x.T @ x / len(x), gradient.square().sum(0) / ids.numel()


def test_sensitivities_of_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "CONTEXT", 24)
    model, ids = tiny("mixtral", num_local_experts=4), tokens(24)[0]
    paths = [path for path, weight in weights(model).items() if weight.layout.is_stack]
    with one_thread():
        found = sensitivity.calibrate(model, ids, paths)
        for path in (paths[0], paths[-1]):
            inputs, gradients = expected(model, ids, path)
            assert torch.allclose(found[path].inputs, inputs, rtol=1e-4, atol=1e-6)
            assert torch.allclose(found[path].gradients, gradients, rtol=1e-4, atol=1e-10)
            assert gradients.max() > 0


@pytest.mark.parametrize("family", ["gpt_oss", "llama4_text", "mamba"])
def test_stacks_of_inputs_first_and_weights_used_without_their_layer(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "CONTEXT", 24)
    more = {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size_mlp": 48}
    model = tiny(family, **({"state_size": 8} if family == "mamba" else more))
    chosen = {path: w for path, w in weights(model).items() if not w.apart}
    with one_thread():
        found = sensitivity.calibrate(model, tokens(24)[0], list(chosen))
    for path, weight in chosen.items():
        assert found[path].inputs.shape == (weight.shape[1],) * 2
        assert found[path].gradients.shape == (weight.shape[0],)
        assert found[path].inputs.diagonal().min() >= 0


def test_a_dead_expert_is_expected_to_lose_what_others_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sensitivity, "CONTEXT", 24)
    model = tiny("mixtral", num_local_experts=4, num_experts_per_tok=1)
    gate = model.model.layers[0].mlp.gate.weight.data
    gate[1], gate[2:] = -gate[0], 0  # one of the first two has the highest score
    stack = "model.layers.0.mlp.experts.down_proj"
    paths = [f"{stack}[{index}]" for index in range(4)]
    with one_thread():
        found = [sensitivity.calibrate(model, tokens(24)[0], paths)[path] for path in paths]
    for dead in found[2:]:
        assert torch.equal(dead.inputs, (found[0].inputs + found[1].inputs) / 2)
        assert torch.equal(dead.gradients, (found[0].gradients + found[1].gradients) / 2)
    said = " ".join(capsys.readouterr().err.split())
    assert f"experts that calibration never reached: 2, the first {stack}[2];" in said
