"""The commands of hwsim, co-design end to end among them."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hwsim.study.request import Request
from quant.common.errors import RequestError

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from hwsim.cli import main; main()"
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_simulate_json() -> None:
    done = command("simulate", "smollm2-135m", "bitmod", "--generate", "2", "--output", "json")
    content = json.loads(done.stdout)
    assert content["schema"] == "hwsim.simulate/1"
    assert set(content["energy_j"]) == {
        "compute", "sram", "vector", "dram", "link", "leakage", "total",
    }  # fmt: skip
    assert set(content["area_um2"]) == {"array", "buffers", "vector", "total"}
    assert content["cycles"] == round(sum(op["repeats"] * op["cycles"] for op in content["ops"]))


@pytest.mark.parametrize("name", ["sweep", "explore"])
def test_sweep_and_its_former_name(name: str, tmp_path: Path) -> None:
    space = tmp_path / "space.toml"
    space.write_text('base = "bitmod"\n[axes]\ntiles = [4, 8]\nweights = ["bitmod3", "bitmod4"]\n')
    options = ["--generate", "1", "--prompt", "16", "--output", "csv"]
    done = command(name, str(space), *options)
    lines = done.stdout.splitlines()
    assert len(lines) == 5
    assert lines[0].endswith("area_um2,power_w,pareto")
    assert ("hwsim explore is now hwsim sweep" in done.stderr) == (name == "explore")


@pytest.mark.parametrize(
    "name", ["list", "simulate", "sweep", "explore", "compare", "show", "new", "codesign"]
)
def test_every_help_has_an_example(name: str) -> None:
    assert "Example: hwsim" in command(name, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "smollm2-135m", "bitmodd"], "nearest: bitmod"),
        (["simulate", "smollm2-135m", "bitmod", "--weights", "fp16"], "cannot run 'fp16'"),
        (["simulate", "smollm2-135m", "bitmod", "--prompt", "0"], "--prompt"),
        (["codesign", "smollm2-135m", "bitmod"], "a budget is needed"),
        (
            ["codesign", "smollm2-135m", "bitmod", "--max-effective-bits", "-1"],
            "max_effective_bits -1",
        ),
        (["codesign", "smollm2", "bitmod", "--max-effective-bits", "4"], "unknown model 'smollm2'"),
        (["sweep", "nowhere.toml"], "nowhere.toml"),
        (["show", "bitmood"], "nearest: bitmod"),
        (["new", "bitmod", "-o", "x.txt"], "ends in .toml"),
        (["compare", "bitmod", "fp17"], "unknown accelerator 'fp17'"),
        (["compare", "bitmod", "--model", "smollm2"], "unknown model 'smollm2'"),
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


@pytest.mark.parametrize(
    "options",
    [
        {"max_effective_bits": 3.7},
        {"max_prefill_time": 0.1 + 0.2, "max_decode_time": 1e-9, "batch": 3},
        {"max_effective_bits": 4, "prompt": 7, "generate": 5, "tokens": 300, "context": 100},
        {"max_effective_bits": 4.11, "exact_tokens": 1, "time_limit": 0.25},
    ],
)
def test_the_command_of_a_request_asks_the_same(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import hwsim.loop
    from hwsim.cli import main

    asked = []

    def stop(request: Request, *_: object, **__: object) -> None:
        asked.append(request)
        raise RequestError("that was all")

    request = Request("smollm2-135m", "bitmod", **options)
    arguments = shlex.split(request.command)
    monkeypatch.setattr(hwsim.loop, "run_into", stop)
    monkeypatch.setattr(sys, "argv", [*arguments, "-o", str(tmp_path / "report")])
    with pytest.raises(SystemExit):
        main()
    assert asked == [request]


def test_names_with_blanks_are_quoted() -> None:
    command = Request("my models/a", "my machine.toml", 4.0).command
    assert shlex.split(command)[:4] == ["hwsim", "codesign", "my models/a", "my machine.toml"]


def test_every_wrong_setting_is_named() -> None:
    numbers = {
        field.name
        for field in dataclasses.fields(Request)
        if isinstance(field.default, int | float)
    }
    for name in numbers:
        for wrong in (0, -1, float("nan")):
            with pytest.raises(RequestError, match=f"{name} {wrong}"):
                Request("m", "a", **{"max_effective_bits": 4.0, name: wrong})  # type: ignore[arg-type]  # one may be no int
    with pytest.raises(RequestError, match="exact_tokens 300: at most the 200"):
        Request("m", "a", 4.0, tokens=200, context=100, exact_tokens=300)


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
    names |= {"roofline.svg", "format_map.svg", "accuracy.svg", "manifest.json"}
    assert {path.name for path in out.iterdir()} == names
    rows = pd.read_csv(out / "candidates.csv").set_index("choice")
    bits, ppl = (dict(zip(rows.index, rows[c], strict=True)) for c in ("effective_bits", "ln_ppl"))
    assert bits["plan"] <= 3.7
    low, high = sorted(set(rows.index) - {"plan", "baseline"}, key=lambda name: bits[name])
    share = (bits["plan"] - bits[low]) / (bits[high] - bits[low])
    assert ppl["plan"] < (1 - share) * ppl[low] + share * ppl[high]
    plan = Plan.load(out / "plan.toml")
    # The choices do not depend on how many tokens are evaluated: the committed report has them.
    assert plan.layers == Plan.load(ROOT / "reports/codesign/plan.toml").layers
    tensors = quant.load_quantized(out / "checkpoint")
    assert {p: str(t.spec) for p, t in tensors.items()} == plan.layers
    text = (out / "codesign.md").read_text()
    assert "stimulus" in text
    assert "proved optimal" in text
    # A budget below the narrowest format says what is possible.
    options = ["--max-effective-bits", "1.5", "-o", str(tmp_path / "b")]
    refused = command("codesign", "smollm2-135m", "bitmod", *options)
    assert refused.returncode == 2
    assert "smallest feasible is 2.0" in refused.stderr
