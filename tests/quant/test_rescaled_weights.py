"""Models that change their weights when they run are refused by name; no others are."""

from __future__ import annotations

from pathlib import Path

import pytest

import quant
from quant.common.errors import RequestError
from quant.layers.forwards import check_unchanging
from tests.quant.tiny import tiny
from verification.models.families import Family
from verification.models.table import FAMILIES


def test_rwkv(tmp_path: Path) -> None:
    from transformers import RwkvConfig, RwkvForCausalLM

    sizes = {"hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2}
    model = RwkvForCausalLM(RwkvConfig(vocab_size=64, context_length=32, **sizes)).eval()
    with pytest.raises(RequestError, match="RwkvModel rescales its weights in place"):
        quant.quantize_model(model, "int4:g16")
    model.save_pretrained(tmp_path / "m")
    with pytest.raises(RequestError, match="RwkvModel rescales its weights in place"):
        quant.quantize_checkpoint(tmp_path / "m", tmp_path / "out", "int4:g16")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_other_family(family: Family) -> None:
    check_unchanging(family.build())


def test_a_llama() -> None:
    check_unchanging(tiny("llama"))
