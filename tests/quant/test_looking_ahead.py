"""Models that say that they give texts word by word, and yet look at later words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from quant.models.looking_ahead import generates
from tests.quant.tiny import EXPERTS, tiny, tokens

CONTEXT, MASK = 24, 5
SMALL = {"vocab_size": 64, "emb_dim": 32, "n_layers": 2, "n_heads": 4}
BOTH_WAYS: dict[str, dict[str, Any]] = {
    "xlnet": {"vocab_size": 64, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
    "xlm": SMALL, "flaubert": SMALL,
    "gemma3_text": {"head_dim": 8, "use_bidirectional_attention": True},
}  # fmt: skip
ONE_WAY: dict[str, dict[str, Any]] = {
    "xlm": {**SMALL, "causal": True}, "gemma3_text": {"head_dim": 8}, "mixtral": {},
    "qwen3_moe": {**EXPERTS, "head_dim": 8},
    "reformer": {
        "vocab_size": 64, "attention_head_size": 8, "feed_forward_size": 48, "is_decoder": True,
        "attn_layers": ["local", "lsh"], "axial_pos_embds": False, "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8, "num_buckets": 4, "hash_seed": 1,
    },
}  # fmt: skip


def build(family: str, settings: dict[str, Any]) -> nn.Module:
    """Return a model with weights that let attention matter."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, FlaubertWithLMHeadModel

    model: nn.Module
    if "vocab_size" not in settings:
        model = tiny(family, **settings)
    else:
        torch.manual_seed(0)
        config: Any = CONFIG_MAPPING[family](**settings)
        if family == "flaubert":  # transformers lists it for masked words alone
            model = FlaubertWithLMHeadModel(config).eval()
        else:
            model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in (own for own in model.parameters() if own.dim() > 1):
            nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("family", BOTH_WAYS)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_looks_ahead_has_a_masked_loss_and_no_perplexity(
    family: str, kind: torch.dtype
) -> None:
    model, ids = build(family, BOTH_WAYS[family]).to(kind), tokens(2 * CONTEXT)[0]
    assert not generates(model)
    with pytest.raises(
        RequestError, match=r"^model \w+ looks at later .*quant\.masked_loss [^\n]*$"
    ):
        quant.perplexity(model, ids, CONTEXT)
    assert quant.masked_loss(model, ids, MASK, CONTEXT).ln > 0


@pytest.mark.parametrize("family", ONE_WAY)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_what_goes_one_way_has_a_perplexity(family: str, kind: torch.dtype) -> None:
    model, ids = build(family, ONE_WAY[family]).to(kind), tokens(2 * CONTEXT)[0]
    assert generates(model)
    assert quant.perplexity(model, ids, CONTEXT).ln > 0


def test_experts_that_share_a_batch_are_no_look_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits that jump, but do not follow the last token, do not depend on it."""
    from quant.models import looking_ahead, words

    whole: Callable[..., torch.Tensor] = words.whole_logits

    def shared(model: nn.Module, ids: torch.Tensor, *rest: str) -> torch.Tensor:
        return whole(model, ids, *rest) * (1 + 0.05 * (int(ids[-1]) % 2))

    monkeypatch.setattr(looking_ahead, "whole_logits", shared)
    assert generates(tiny("llama"))


def test_models_without_values_are_believed() -> None:
    with torch.device("meta"):
        assert generates(tiny("llama"))
