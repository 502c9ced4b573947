"""Co-design: exact selection, sensitivities that see what matters, the command end to end."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hwsim.study.selection import select
from quant.common.errors import RequestError


def random_case(seed: int) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    rng = np.random.default_rng(seed)
    layers, formats = [f"l{i}" for i in range(5)], list("abc")
    frames = [pd.DataFrame(rng.random((5, 3)), layers, formats) for _ in range(3)]
    return frames[0], {"bits": frames[1], "time": frames[2]}


@pytest.mark.parametrize("seed", range(8))
def test_selection_is_the_best_of_all(seed: int) -> None:
    loss, costs = random_case(seed)
    budgets = {name: float(frame.mean(axis=1).sum()) for name, frame in costs.items()}
    best = np.inf
    for choice in itertools.product(range(3), repeat=5):
        at = (np.arange(5), np.array(choice))
        if all(costs[name].to_numpy()[at].sum() <= budgets[name] for name in costs):
            best = min(best, loss.to_numpy()[at].sum())
    chosen = select(loss, costs, budgets)
    assert total(loss, chosen) == pytest.approx(best, rel=1e-6)
    for name, frame in costs.items():
        assert total(frame, chosen) <= budgets[name] * (1 + 1e-6)


def total(frame: pd.DataFrame, chosen: dict[str, str]) -> float:
    places = [(list(frame.index).index(p), list(frame).index(t)) for p, t in chosen.items()]
    return float(sum(frame.to_numpy()[at] for at in places))


def test_infeasible_budgets_say_the_smallest() -> None:
    loss, costs = random_case(0)
    least = costs["bits"].min(axis=1).sum()
    with pytest.raises(RequestError, match=f"bits 0.1 is infeasible: .* {least:.6g}"):
        select(loss, costs, {"bits": 0.1})
    # Each budget alone is feasible, both together are not.
    one = pd.DataFrame([[0.0, 1.0]], ["l"], ["a", "b"])
    with pytest.raises(RequestError, match="together are infeasible"):
        select(one, {"x": one, "y": 1 - one + 1e-9}, {"x": 0.5, "y": 0.5})


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from hwsim.cli import main; main()"
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_simulate_json() -> None:
    done = command("simulate", "smollm2-135m", "bitmod", "--generate", "2", "--format", "json")
    content = json.loads(done.stdout)
    assert content["schema"] == "hwsim.simulate/1"
    assert set(content["energy_j"]) == {"compute", "sram", "dram", "total"}
    assert set(content["area_um2"]) == {"array", "buffers", "total"}
    assert content["cycles"] == sum(op["repeats"] * op["cycles"] for op in content["ops"])


def test_explore_command(tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text('base = "bitmod"\nrows = [16, 32]\nformats = ["bitmod3", "bitmod4"]\n')
    options = ["--generate", "1", "--prompt", "16", "--format", "csv"]
    lines = command("explore", str(space), *options).stdout.splitlines()
    assert len(lines) == 5
    assert lines[0].endswith("area_um2,pareto")


@pytest.mark.parametrize("name", ["list", "simulate", "explore", "codesign", "margins"])
def test_every_help_has_an_example(name: str) -> None:
    assert "Example: hwsim" in command(name, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "smollm2-135m", "bitmodd"], "nearest: bitmod"),
        (["simulate", "smollm2-135m", "bitmod", "--weights", "fp16"], "cannot run 'fp16'"),
        (["simulate", "smollm2-135m", "bitmod", "--prompt", "0"], "prompt 0"),
        (["codesign", "smollm2-135m", "bitmod"], "a budget is needed"),
        (["codesign", "smollm2-135m", "bitmod", "--max-effective-bits", "-1"], "effective bits -1"),
        (["codesign", "smollm2", "bitmod", "--max-effective-bits", "4"], "unknown model 'smollm2'"),
        (["explore", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_requests_exit_with_2(arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    options = ["--max-effective-bits", "4", "-o", str(tmp_path)]
    done = command("codesign", "smollm2-135m", "bitmod", *options)
    assert done.returncode == 2
    assert "choose another folder" in done.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.model
@pytest.mark.slow
def test_codesign_end_to_end(tmp_path: Path) -> None:
    import quant
    from quant.plan import Plan

    out = tmp_path / "report"
    options = ["--max-effective-bits", "3.7", "--tokens", "2048", "-o", str(out)]
    done = command("codesign", "smollm2-135m", "bitmod", *options)
    assert done.returncode == 0, done.stderr
    names = {"codesign.md", "plan.toml", "layers.csv", "candidates.csv", "checkpoint"}
    names |= {"roofline.svg", "format_map.svg", "accuracy.svg"}
    assert {path.name for path in out.iterdir()} == names
    rows = pd.read_csv(out / "candidates.csv").set_index("choice")
    bits, ppl = (dict(zip(rows.index, rows[c], strict=True)) for c in ("effective_bits", "ln_ppl"))
    assert bits["plan"] <= 3.7
    low, high = sorted(set(rows.index) - {"plan", "baseline"}, key=lambda name: bits[name])
    share = (bits["plan"] - bits[low]) / (bits[high] - bits[low])
    assert ppl["plan"] < (1 - share) * ppl[low] + share * ppl[high]
    plan = Plan.load(out / "plan.toml")
    tensors = quant.load_quantized(out / "checkpoint")
    assert {p: str(t.spec) for p, t in tensors.items()} == plan.layers
    assert "stimulus" in (out / "codesign.md").read_text()
    # A budget below the narrowest format says what is possible.
    options = ["--max-effective-bits", "1.5", "-o", str(tmp_path / "b")]
    refused = command("codesign", "smollm2-135m", "bitmod", *options)
    assert refused.returncode == 2
    assert "smallest feasible is 2.0" in refused.stderr
