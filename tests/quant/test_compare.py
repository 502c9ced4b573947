"""Formats and methods side by side are the same calls one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

import quant
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from quant.methods.registry import METHODS
from quant.models.compare import EvaluationSetting, compare
from quant.plan import Formats, Plan


@pytest.mark.model
def test_comparing_formats_and_methods(tmp_path: Path) -> None:
    """A small model of random weights under a real tokenizer, beside the same calls one by one."""
    _, tokenizer = quant.load_model("smollm2-135m", dtype="bfloat16")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    setting = EvaluationSetting(
        128, 32, 512, "float32", activations=parse_spec("int8:row"), kv=parse_spec("int4:g16")
    )
    choices: dict[str, Formats] = {
        "a": parse_spec("int3:g32"),
        "b": Plan({"*": "int4:g32"}, method="gptq"),
    }
    rows = compare(str(tmp_path), choices, setting)
    names = [("none", ""), ("none", ""), ("a", "rtn"), ("b", "gptq")]
    assert [(row["format"], row["method"]) for row in rows] == names
    model, _ = quant.load_model(tmp_path)
    text = quant.evaluation_tokens(tokenizer, 128)
    seen = quant.calibration_tokens(tokenizer, 512)
    exact = quant.perplexity(model, text, 32)
    assert rows[0]["ln_ppl"] == exact.ln
    with (
        quant.quantized(model, "int4:g32", method="gptq", calibration=seen) as report,
        quant.rounded_activations(model, "int8:row", "int4:g16"),
    ):
        rounded = quant.perplexity(model, text, 32)
    assert rows[3]["ln_ppl"] == rounded.ln
    assert rows[3]["delta_ln_ppl"] == rounded.difference(exact)[0]
    assert rows[3]["effective_bits"] == report.effective_bits
    both = compare(str(tmp_path), {"b": choices["b"]}, setting, [METHODS["rtn"], METHODS["hqq"]])
    assert [row["method"] for row in both[2:]] == ["rtn", "hqq"]


def test_types_to_compute_in() -> None:
    with pytest.raises(RequestError, match="unknown dtype 'float8'"):
        EvaluationSetting(dtype="float8")
