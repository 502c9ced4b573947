"""Methods by name: taken once, read from a file, decided in one place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

import quant
from quant.common.errors import RequestError
from quant.methods.base import LayerMethod
from quant.methods.builtin import Awq, RoundToNearest
from quant.methods.registry import METHODS, get_method, load_method, method_rows, register
from quant.plan import Plan, method_of


class Smaller(RoundToNearest):
    name = "smaller"
    source = "this file"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def test_names_are_taken_once() -> None:
    first = register(Smaller())
    assert register(first) is first is METHODS["smaller"]
    with pytest.raises(RequestError, match="method 'smaller' is taken"):
        register(Smaller())

    class Taken(Smaller):
        name = "gptq"

    with pytest.raises(RequestError, match="method 'gptq' is taken"):
        register(Taken())
    assert get_method("gptq").source.startswith("GPTQ")


@pytest.mark.parametrize("name", ["", "Upper", "mine.py", " padded"])
def test_names_that_could_not_be_typed_are_refused(name: str) -> None:
    method = Smaller()
    method.name = name
    with pytest.raises(RequestError, match="lower-case letters are needed"):
        register(method)


def test_what_is_no_method_is_refused() -> None:
    class Nameless(LayerMethod):
        source = "this file"
        quantize = RoundToNearest.quantize

    with pytest.raises(RequestError, match="method name '': lower-case letters"):
        register(Nameless())
    with pytest.raises(RequestError, match="an instance of a subclass"):
        register(Smaller)  # type: ignore[arg-type]


def test_listed_beside_the_others() -> None:
    class Folding(Awq):
        name = "folding"
        source = "this file"

    register(Folding())
    rows = {row["name"]: row for row in method_rows()}
    wanted = {"name": "folding", "calibration": "required", "scope": "block", "source": "this file"}
    assert rows["folding"] == wanted
    assert rows["clip"]["calibration"] == "optional"
    assert (rows["rtn"]["calibration"], rows["rtn"]["scope"]) == ("none", "layer")


def test_the_method_is_the_one_named_else_the_plans_else_rtn() -> None:
    register(Smaller())
    plan = Plan({"*": "int4"}, method="smaller")
    assert method_of("int4") is method_of({"*": "int4"}) is METHODS["rtn"]
    assert method_of(plan) is METHODS["smaller"]
    assert method_of(plan, "clip") is METHODS["clip"]
    assert method_of(plan, METHODS["hqq"]) is METHODS["hqq"]
    with pytest.raises(RequestError, match="nearest: smaller"):
        method_of("int4", "smaler")


FILE = """
from dataclasses import dataclass
import quant
from quant.methods.base import LayerMethod
from quant.methods.registry import register

@dataclass
class Half(LayerMethod):
    part: float = 0.5
    name = "half"
    source = "a file"

    def quantize(self, weight, spec, statistics):
        return quant.quantize(weight * self.part, spec)

register(Half())
"""


def test_a_file_of_the_users_is_run_once(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(FILE)
    method = load_method(path)
    assert load_method(path) is method is get_method("half")
    assert quant.quantize_model(nn.Sequential(nn.Linear(8, 4)), "int4", method="half").layers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "0 methods are registered"),
        (FILE + "\nclass Other(Half):\n    name = 'other'\nregister(Other())", "2 methods are"),
        (FILE + "\n1 / 0", "ZeroDivisionError: division by zero"),
        (FILE.replace('"half"', '"rtn"'), "method 'rtn' is taken"),
        (None, "no such Python file"),
    ],
)
def test_files_without_a_method_are_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RequestError, match=rf"own\.py: .*{message}"):
        load_method(path)
    assert ("half" in METHODS) == ("2 methods" in message)


def test_the_command_takes_a_file_and_plans_that_name_its_method(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "tiny")
    (tmp_path / "own.py").write_text(FILE)
    plan = "schema = 'plan/1'\nmethod = 'half'\n[layers]\n'*' = 'int4:g32'\n"
    (tmp_path / "plan.toml").write_text(plan)
    line = ["quantize", "tiny", "--plan", "plan.toml", "--stream", "-o", "out"]

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = [sys.executable, "-c", "from quant.cli import main; main()", *arguments]
        return subprocess.run(code, capture_output=True, text=True, check=False, cwd=tmp_path)

    refused = command(*line)
    assert refused.returncode == 2
    assert "unknown method 'half'" in refused.stderr
    done = command(*line, "--method", "own.py")
    assert done.returncode == 0, done.stderr
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    weight = model.model.layers[0].mlp.up_proj.weight.detach() * 0.5
    tensor = quant.load_quantized(tmp_path / "out")["model.layers.0.mlp.up_proj"]
    assert np.array_equal(tensor.codes, quant.quantize(weight, "int4:g32").codes)
