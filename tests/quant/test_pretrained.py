"""An encoder and a convolutional network with real weights go through the same API."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import quant
from quant.layers.matrices import linear_layers
from quant.models.pretrained import load_efficientnet, load_minilm, photo_crops

SENTENCES = [
    "The roofline says whether a layer is bound by memory or by arithmetic.",
    "A bakery on the corner sells bread, and it opens at six in the morning.",
    "Groups of weights share a scale; each group chooses its own special value.",
    "The train to the coast was late, so they walked along the river instead.",
]


@pytest.fixture(scope="module")
def minilm() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    model, tokenizer = load_minilm()
    return model, dict(tokenizer(SENTENCES, padding=True, return_tensors="pt"))


def embedding(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    pooled: torch.Tensor = (hidden * mask).sum(1) / mask.sum(1)
    return pooled


@pytest.mark.model
@pytest.mark.parametrize("method", ["rtn", "clip", "gptq", "awq", "smoothquant"])
def test_minilm_keeps_its_embeddings(
    method: str, minilm: tuple[nn.Module, dict[str, torch.Tensor]]
) -> None:
    model, batch = minilm
    before = embedding(model, batch)
    cosines = {}
    for name in ("int8", "bitmod3"):
        seen = None if method in {"rtn", "clip"} else [batch]
        with quant.quantized(model, name, method=method, calibration=seen) as report:
            after = embedding(model, batch)
        assert len(report.layers) == 37
        cosines[name] = float(nn.functional.cosine_similarity(after, before).mean())
    assert cosines["int8"] > 0.999
    assert 0.7 < cosines["bitmod3"] < cosines["int8"]
    assert torch.equal(embedding(model, batch), before)


@pytest.mark.model
def test_efficientnet_keeps_its_classes_at_8_bits() -> None:
    model, crops = load_efficientnet(), photo_crops(4)
    assert crops.shape == (4, 3, 224, 224)
    with torch.inference_mode():
        before = model(crops)
        # Middle crops: a palace (698) and a flower, which the network calls 985, daisy.
        assert before.argmax(1).tolist()[1] == 985
        with quant.quantized(model, "int8:row") as report:
            after = model(crops)
        with quant.quantized(model, "int4:row"):
            worse = model(crops)
    convolutions = [m for m in linear_layers(model).values() if isinstance(m, nn.Conv2d)]
    assert len(report.layers) == 50 == len(convolutions) + 1
    divergence = [
        float((before.softmax(1) * (before.log_softmax(1) - x.log_softmax(1))).sum(1).mean())
        for x in (after, worse)
    ]
    assert 0 < divergence[0] < 0.05 < divergence[1]
