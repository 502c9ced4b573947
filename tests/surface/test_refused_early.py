"""Requests that cannot be met are refused before a weight is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import quant
from hwsim.study.request import Request, check_request
from quant.common.errors import HwsimError, RequestError
from quant.formats.registry import FORMATS
from quant.layers.statistics import LayerStatistics
from quant.methods.base import LayerMethod
from quant.methods.registry import METHODS
from quant.models.compare import EvaluationSetting, compare
from quant.models.preflight import check_quantization, is_same_model
from quant.plan import Plan, check_formats
from roofline.workloads.models import planned_for
from tests.own.tiny_llama import tiny_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights cannot be read: whoever opens them says so."""
    path = tiny_llama(tmp_path_factory.mktemp("models") / "tiny", hidden=16, layers=1)
    (path / "model.safetensors").write_bytes(b"not weights")
    return path


def evaluated(folder: Path, tokens: int = 64, context: int = 32) -> None:
    compare(str(folder), {"int4": "int4"}, EvaluationSetting(tokens, context))


def test_the_weights_are_not_readable(folder: Path) -> None:
    with pytest.raises(HwsimError, match="tiny"):
        evaluated(folder)


def test_windows(folder: Path) -> None:
    with pytest.raises(RequestError, match="tokens 16: at least one window of 32"):
        EvaluationSetting(16, 32)
    with pytest.raises(RequestError, match=r"windows of 513 tokens .* 512 positions"):
        evaluated(folder, 2000, 513)
    with pytest.raises(RequestError, match=r"windows of 513 tokens .* 512 positions"):
        check_request(Request(str(folder), "bitmod", 3.7, tokens=2000, context=513))
    with pytest.raises(RequestError, match=r"windows of 8193 tokens .* 8192 positions"):
        check_request(Request("smollm2-135m", "bitmod", 3.7, tokens=20000, context=8193))


def test_a_model_of_codes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    with pytest.raises(RequestError, match=r"quantized already .gptq"):
        check_quantization(tmp_path, "int4", METHODS["rtn"])
    quant.save_quantized(tmp_path / "own", {"a": quant.quantize(np.eye(2, 128), "int4")})
    with pytest.raises(RequestError, match="quantized already"):
        check_quantization(tmp_path / "own", "int4", METHODS["rtn"])


def test_quantizing_twice_names_the_layer() -> None:
    model = nn.Sequential(nn.Linear(16, 4), nn.Linear(4, 2))
    quant.quantize_model(model, {"0": "int4"})
    last = model.get_submodule("1")
    with pytest.raises(RequestError, match=r"layer 0 is quantized already .int4"):
        quant.quantize_model(model, "int8")
    assert model.get_submodule("1") is last  # nothing was done
    quant.quantize_model(model, {"1": "int8"})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", True),
        ("smollm2-135m", "SMOLLM2-135M", True),
        ("smollm2-135m", "gemma-3-270m", False),
        ("smollm2-135m", "someone/a-model", False),
        ("smollm2-135m", "./models/smollm2", None),
        ("models/a", "./models/a", None),
        ("./models/a", "./models/../models/a", None),
        ("./models/a", "./models/a", True),
        ("smollm2-135m", "", None),
    ],
)
def test_names_of_models(one: str, other: str, same: bool | None) -> None:
    assert is_same_model(one, other) is same


def test_a_plan_of_another_model(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    plan = Plan({"*": "int4"}, "smollm2-135m")
    with pytest.raises(RequestError, match="the plan is made for smollm2-135m, not for gemma"):
        check_quantization("gemma-3-270m", plan, METHODS["rtn"])
    with pytest.raises(RequestError, match="made for smollm2-135m, not for llama-2-7b"):
        planned_for(plan, "llama-2-7b")
    assert planned_for(Plan({"*": "int4"}, "meta-llama/Llama-2-7b-hf"), "llama-2-7b") == {
        "*": "int4"
    }
    check_quantization(str(folder), plan, METHODS["rtn"])
    assert "cannot be known" in " ".join(capsys.readouterr().err.split())
    quant.quantize_model(nn.Sequential(nn.Linear(16, 4)), plan)
    assert "cannot be known" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["gptq", "hqq"])
def test_formats_that_a_method_does_not_take(name: str) -> None:
    """What ``check_format`` says is what ``quantize`` does, format by format."""
    method = METHODS[name]
    assert isinstance(method, LayerMethod)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(32, 8)).astype(np.float32)
    largest, mean = np.abs(inputs).max(axis=0), np.abs(inputs).mean(axis=0)
    statistics = LayerStatistics((inputs.T @ inputs / 32).astype(np.float32), mean, largest, 32)
    weight = rng.normal(size=(2, 8)).astype(np.float32)
    kinds = {(type(e.layout), e.is_asymmetric, e.scale): e for e in FORMATS.values()}
    for spec in (quant.parse_spec(e.name) for e in kinds.values() if not e.is_plain):
        refused = [False, False]
        try:
            method.check_format(spec)
        except RequestError:
            refused[0] = True
        try:
            method.quantize(weight.copy(), spec, statistics)
        except RequestError:
            refused[1] = True
        assert refused[0] == refused[1], spec


@pytest.mark.parametrize(
    ("method", "format_"), [("gptq", "olive-int4"), ("gptq", "hif4"), ("hqq", "codebook3"),
                            ("omniquant", "mxfp4"), ("peqa", "nvfp4")],
)  # fmt: skip
def test_a_method_and_a_format(folder: Path, method: str, format_: str) -> None:
    choice = METHODS[method]
    for formats in (format_, {"model.layers.0.mlp.up_proj": format_}, Plan({"*": format_})):
        with pytest.raises(RequestError, match=format_):
            check_formats(formats, choice)
    check_formats({"*": "int4", "lm_head": format_}, choice)
    check_formats({"*": format_, "model.layers.*": "int4"}, choice)  # none of its layers, maybe
    with pytest.raises(RequestError, match=r"trains|gptq|hqq"):
        compare(str(folder), {"x": format_}, EvaluationSetting(64, 32), [choice])


def test_weights_and_parameters_that_are_no_numbers() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layer = nn.Embedding(4, 8), nn.Linear(8, 2)

    model = Model()
    with torch.no_grad():
        model.table.weight[1, 2] = float("nan")
    with pytest.raises(RequestError, match=r"table\.weight\[1, 2\] is NaN or Inf"):
        quant.quantize_model(model, "int4")
    assert isinstance(model.layer, nn.Linear)
    model.layer.weight = nn.Parameter(torch.ones(2, 8, dtype=torch.complex64))
    with pytest.raises(RequestError, match=r"layer layer: its weight is torch.complex64"):
        quant.quantize_model(model, "int4")


def test_a_loss_that_is_no_number_names_the_window(tmp_path: Path) -> None:
    model, _ = quant.load_model(tiny_llama(tmp_path / "model", hidden=16, layers=1))
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight")[7] = float("inf")
    tokens = [1] * 32 + [7] * 16
    with pytest.raises(HwsimError, match=r"window 2 \(tokens 32 to 47\) is nan"):
        quant.perplexity(model, tokens, 16)
    with pytest.raises(RequestError, match=r"token 1000 is not allowed: .* vocabulary has 256"):
        quant.perplexity(model, [1000] * 16, 16)


def test_groups_that_lose_half_are_counted() -> None:
    layer = nn.Linear(256, 2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0)
        layer.weight[0, :128] = torch.tensor([1.0] + [0.2] * 127)  # rounds to nothing but one
        layer.weight[1, 128:] = 1.0
    report = quant.quantize_model(nn.Sequential(layer), "int2")
    assert (report.poor_groups, report.groups) == (1, 4)
    assert report.warning == "1 of 4 groups have a relative error of 0.5 or more"
    assert report.to_frame()["poor_groups"].tolist() == [1]
    exact = quant.quantize_model(nn.Sequential(nn.Linear(128, 2)), "int8")
    assert (exact.poor_groups, exact.warning) == (0, "")
