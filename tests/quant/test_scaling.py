"""Scale moved from inputs into weights leaves alone what a model computes."""

from __future__ import annotations

import pytest
import torch

import quant


@pytest.mark.parametrize("method", ["awq", "smoothquant"])
def test_scales_fold_only_where_nothing_else_sees_the_input(method: str) -> None:
    """BERT's norms feed the residual too: scaling them would change what the model computes."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    model = BertModel(config).eval()
    batch = {"input_ids": torch.randint(0, 64, (4, 16))}
    with torch.no_grad():
        for layer in model.encoder.layer:  # channels that a scale search is drawn to
            layer.attention.output.LayerNorm.weight[::5] = 8
        before = model(**batch).last_hidden_state
        with quant.quantized(model, "int8:g32:fp32", method=method, calibration=[batch]):
            after = model(**batch).last_hidden_state
    assert float((after - before).norm() / before.norm()) < 0.02
