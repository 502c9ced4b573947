"""Which matrices get which format by which method: patterns, lists, functions, recipes, texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.checkpoints.contents import load_manifest
from quant.common.errors import RequestError
from quant.models.calibration import CalibrationText
from quant.models.save import save_model
from verification.models.table import family

DATA = [{"input_ids": torch.arange(48).view(2, 24) + 3}]


def llama() -> nn.Module:
    return family("llama").build()


@pytest.mark.parametrize(
    ("formats", "count"),
    [
        ("int4:g16", 14),
        ({"*": "int4:g16", "lm_head": "int8"}, 15),
        ({"re:.*layers\\.1\\..*": "int4:g16"}, 7),
        ({"type:Linear": "int4:g16"}, 15),
        ({"*": "int4:g16", "model.embed_tokens": "int8"}, 15),
        ({"*": "int4:g16", "*.q_proj": "fp16"}, 12),
    ],
)
def test_patterns(formats: str | dict[str, str], count: int) -> None:
    assert len(quant.quantize_model(llama(), formats).layers) == count


def test_lists_and_functions() -> None:
    report = quant.quantize_model(llama(), "int4:g16", ignore=["*.down_proj", "re:.*q_proj"])
    assert len(report.layers) == 10
    assert "not in the plan" in report.warning
    chosen = quant.quantize_model(llama(), "int4:g16", only=lambda path, module: "mlp" in path)
    assert len(chosen.layers) == 6
    for bad in (["*.nowhere"], ["re:("], ["type:Conv2d"]):
        with pytest.raises(RequestError):
            quant.quantize_model(llama(), "int4:g16", ignore=bad)


def test_one_expert_by_its_path() -> None:
    path = "model.layers.1.mlp.experts.down_proj[2]"
    report = quant.quantize_model(family("mixtral").build(), {path: "int4:g16"})
    assert list(report.layers) == [path]


def test_methods_by_pattern() -> None:
    recipe: Any = {"format": "int4:g16", "method": "gptq", "act_order": False}
    head_recipe: Any = {"format": "int4:g16", "method": "hqq"}
    plan = quant.Plan({"*": "int4-asym:g16", "*.down_proj": recipe, "lm_head": head_recipe})
    report = quant.quantize_model(llama(), plan, calibration=DATA)
    nearest = quant.quantize_model(llama(), "int4-asym:g16").tensors
    path = "model.layers.0.self_attn.q_proj"
    assert np.array_equal(report.tensors[path].codes, nearest[path].codes)
    own = {"*.down_proj": "int4:g16"}
    alone = {"*": "int4-asym:g16", **own}
    every = quant.quantize_model(llama(), alone).tensors
    down = "model.layers.0.mlp.down_proj"
    assert not np.array_equal(report.tensors[down].codes, every[down].codes)
    head = quant.quantize_model(llama(), {"lm_head": "int4:g16"}, method="hqq").tensors["lm_head"]
    assert np.array_equal(report.tensors["lm_head"].codes, head.codes)


def test_a_plan_with_recipes_is_read_as_it_was_written(tmp_path: Path) -> None:
    recipe: Any = {"format": "int4:g16", "method": "gptq", "act_order": False}
    plan = quant.Plan({"*": "int4:g16", "*.up_proj": recipe}, method="hqq")
    plan.save(tmp_path / "plan.toml")
    assert quant.Plan.load(tmp_path / "plan.toml") == plan
    (tmp_path / "plan.toml").write_text(plan.to_toml().replace("act_order", "order"))
    with pytest.raises(RequestError, match="no option 'order': damping, act_order"):
        quant.Plan.load(tmp_path / "plan.toml")
    with pytest.raises(RequestError, match="sees a whole block"):
        quant.quantize_model(
            llama(), {"*": "int4", "*.up_proj": {"format": "int4", "method": "awq"}}
        )


def test_a_saved_model_runs_and_says_what_it_holds(tmp_path: Path) -> None:
    model = family("llama-tied").build()
    report = quant.quantize_model(model, {"*": "int4:g16", "lm_head": "int8:g16"})
    save_model(tmp_path / "out", model)
    loaded: tuple[Any, Any] = quant.load_model(tmp_path / "out")
    again, tokenizer = loaded
    assert tokenizer is None
    ids = DATA[0]["input_ids"]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)
    manifest = load_manifest(tmp_path / "out")
    assert manifest.why["model.embed_tokens.weight"] == "embedding"
    assert manifest.whole_model_bits == pytest.approx(report.whole_model_bits)
    assert manifest.coverage == pytest.approx(report.coverage)
    again.save_pretrained(tmp_path / "dense")
    dense, _ = _dense(tmp_path / "dense")
    with torch.no_grad():
        assert torch.equal(dense(ids).logits, model(ids).logits)
    with pytest.raises(RequestError, match="holds no codes"):
        save_model(tmp_path / "none", llama())


def _dense(folder: Path) -> tuple[Any, None]:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval(), None


class Tokenizer:
    """A word is a number; what it is asked for by texts."""

    chat_template: str | None = None
    bos_token_id = None

    def __call__(self, text: str, **_settings: object) -> dict[str, list[int]]:
        return {"input_ids": [len(word) for word in text.split()]}

    def apply_chat_template(self, messages: list[dict[str, str]], **_settings: object) -> str:
        return " ".join(f"<{m['role']}> {m['content']} <end> " for m in messages)


def test_texts_of_ones_own(tmp_path: Path) -> None:
    text, lines = tmp_path / "text.txt", tmp_path / "chat.jsonl"
    text.write_text("a bb ccc\n\ndddd " * 20)
    tokens = CalibrationText(8, text, window=4).read(Tokenizer())
    assert tokens.tolist() == [1, 2, 3, 4, 1, 2, 3, 4]
    data = CalibrationText(None, text, window=4, batch=3).data(Tokenizer())
    assert next(batch["input_ids"].shape for batch in data) == (3, 4)  # type: ignore[index]  # batches by name
    with pytest.raises(RequestError, match="no chat template"):
        CalibrationText(8, text, chat=True, window=4).read(Tokenizer())
    entry = {"messages": [{"role": "user", "content": "hello there"}]}
    lines.write_text("\n".join(json.dumps(entry) for _ in range(5)))
    talking = Tokenizer()
    talking.chat_template = "yes"
    found = CalibrationText(None, lines, chat=True, window=4).read(talking)
    assert found.tolist()[:4] == [6, 5, 5, 5]
    lines.write_text('{"other": 1}')
    with pytest.raises(RequestError, match=r"chat.jsonl, line 1: neither 'text' nor 'messages'"):
        CalibrationText(None, lines).read(talking)
    with pytest.raises(RequestError, match="no such file"):
        CalibrationText(None, tmp_path / "none.txt")


def test_as_many_tokens_as_the_widest_layer_has_inputs() -> None:
    assert CalibrationText().count(1536) == 8192
    assert CalibrationText().count(11008) == 11264
    assert CalibrationText(600).count(11008) == 600
