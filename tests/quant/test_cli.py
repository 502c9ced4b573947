"""The quant command: what it prints, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from quant.cli import main; main()"
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_list_and_show() -> None:
    content = json.loads(command("list", "--output", "json").stdout)
    assert content["schema"] == "quant.list/1"
    assert {"int4", "bitmod3"} <= {entry["name"] for entry in content["formats"]}
    shown = json.loads(command("show", "bitmod3", "--output", "json").stdout)
    assert shown["codes"][4] == {
        "code": "100", "special 3": 3.0, "special -3": -3.0, "special 6": 6.0, "special -6": -6.0,
    }  # fmt: skip
    assert "smollm2-135m" in command("list").stdout


@pytest.mark.parametrize("name", ["list", "show", "quantize", "eval"])
def test_every_help_has_an_example(name: str) -> None:
    assert "Example: quant" in command(name, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "bitmood3"], "nearest: bitmod3"),
        (["show", "fp16"], "stored as it is"),
        (["quantize", "smollm2-135m", "-o", "x"], "one of --weights and --plan"),
        (["quantize", "smolm2", "--weights", "int4", "-o", "x"], "unknown model 'smolm2'"),
        (["eval", "smollm2-135m", "--plan", "nowhere.toml"], "nowhere.toml"),
        (["eval", "smollm2-135m", "--weights", "int4:g-3"], "'g-3' is not allowed"),
    ],
)
def test_bad_requests_exit_with_2(arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.model
@pytest.mark.slow
def test_quantize_and_eval(tmp_path: Path) -> None:
    import quant

    folder = tmp_path / "out"
    done = command("quantize", "smollm2-135m", "--weights", "bitmod4:g128:int8", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    tensors = quant.load_quantized(folder)
    assert len(tensors) == 210
    plan = str(folder / "plan.toml")
    options = ["--plan", plan, "--tokens", "2048", "--output", "json"]
    rows = json.loads(command("eval", "smollm2-135m", *options).stdout)["results"]
    assert 0.1 < rows[1]["delta_ln_ppl"] < 0.6
    assert rows[1]["effective_bits"] == pytest.approx(4.108, abs=0.001)


def test_quantize_streams_a_local_folder(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "tiny")
    (tmp_path / "mine.toml").write_text(
        'schema = "grid/1"\nname = "stream-mine"\nlevels = [-1.0, -0.25, 0.0, 0.5]\n'
    )
    line = [
        "quantize",
        str(tmp_path / "tiny"),
        "--weights",
        str(tmp_path / "mine.toml"),
        "--stream",
    ]
    done = command(*line, "-o", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "7 layers at 2.450 effective bits" in done.stdout
    code = "import quant, pathlib, sys; print(len(quant.load_quantized(pathlib.Path(sys.argv[1]))))"
    again = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert again.stdout.strip() == "7"
    bad = command(*line, "--method", "gptq", "-o", str(tmp_path / "other"))
    assert bad.returncode == 2
    assert "cannot be streamed" in bad.stderr
    assert not (tmp_path / "other").exists()
