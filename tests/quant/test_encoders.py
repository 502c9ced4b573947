"""Measures of encoders, with a decoder or without: what they are, and whom they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from tests.quant.tiny import tiny, tokens

MASK, CONTEXT = 3, 20
BERT = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "initializer_range": 0.2,
    "pad_token_id": 0,
}  # fmt: skip


def bert(kind: str, **settings: Any) -> Any:  # noqa: ANN401  transformers has no types
    import transformers

    torch.manual_seed(0)
    return getattr(transformers, kind)(transformers.BertConfig(**BERT, **settings)).eval()


def test_masked_loss_is_the_models_own_with_masked_words() -> None:
    model, ids = bert("BertForMaskedLM"), tokens(3 * CONTEXT)[0]
    measured = quant.masked_loss(model, ids, MASK, CONTEXT, seed=5)
    generator, own = torch.Generator().manual_seed(5), []
    for window in ids.view(3, CONTEXT):
        hidden = torch.randperm(CONTEXT, generator=generator)[:3]  # 15 % of 20
        labels, shown = torch.full_like(window, -100), window.clone()
        labels[hidden], shown[hidden] = window[hidden], MASK
        with torch.no_grad():
            own.append(float(model(input_ids=shown[None], labels=labels[None]).loss))
    assert measured.window_nll == pytest.approx(own, rel=1e-6)
    assert measured.ln == pytest.approx(np.mean(own))
    assert measured.standard_error == pytest.approx(np.std(own, ddof=1) / math.sqrt(3))
    assert measured == quant.masked_loss(model, ids.tolist(), MASK, CONTEXT, seed=5)
    assert measured != quant.masked_loss(model, ids, MASK, CONTEXT)
    with pytest.raises(RequestError, match="a MaskedLoss"):
        measured.difference(quant.Perplexity(measured.window_nll, CONTEXT))


def test_masked_loss_refuses_by_name() -> None:
    model, ids = bert("BertForMaskedLM"), tokens(130)[0]
    with pytest.raises(RequestError, match=r"token 64 is not allowed: .* vocabulary has 64"):
        quant.masked_loss(model, ids, 64, CONTEXT)
    with pytest.raises(RequestError, match=r"windows of 65 tokens .* has 64 positions"):
        quant.masked_loss(model, ids, MASK, 65)
    with pytest.raises(RequestError, match=r"LlamaForCausalLM .* quant\.perplexity measures it"):
        quant.masked_loss(tiny("llama"), ids, MASK, CONTEXT)
    with pytest.raises(RequestError, match=r"BertModel gives no logits .* quant\.embedding_sim"):
        quant.masked_loss(bert("BertModel"), ids, MASK, CONTEXT)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_conditional_loss_is_the_models_own(name: str) -> None:
    model = tiny(name)
    ids, labels = tokens(20).view(2, 10), tokens(14, seed=2).view(2, 7)
    labels[1, 5:] = -100
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    batch["attention_mask"][0, 6:] = 0
    measured = quant.conditional_loss(model, [batch])
    with torch.no_grad():
        own = [
            float(model(**{key: value[row : row + 1] for key, value in batch.items()}).loss)
            for row in range(2)
        ]
    assert measured.sequence_nll == pytest.approx(own, rel=1e-5)
    assert measured.mean == pytest.approx(np.mean(own), rel=1e-5)
    assert measured.standard_error == pytest.approx(np.std(own, ddof=1) / math.sqrt(2), rel=1e-4)
    assert math.isnan(quant.conditional_loss(model, [{k: v[:1] for k, v in batch.items()}])
                      .standard_error)  # fmt: skip


def test_conditional_loss_refuses_by_name() -> None:
    model, ids = tiny("t5"), tokens(8)
    for batches, said in (
        ([], "at least one"),
        ([{"input_ids": ids}], "each needs labels"),
        ([ids], "each needs labels"),
        ([{"input_ids": ids, "labels": torch.full_like(ids, -100)}], "other than -100"),
        ([{"labels": ids}], "cannot be called with one"),
    ):
        with pytest.raises(RequestError, match=said):
            quant.conditional_loss(model, batches)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(RequestError, match=r"LlamaForCausalLM: an encoder with a decoder"):
        quant.conditional_loss(tiny("llama"), [{"input_ids": ids, "labels": ids}])


def test_embeddings_are_compared_without_padding() -> None:
    model, ids = bert("BertModel"), tokens(20).view(2, 10)
    same = quant.embedding_similarity(model, model, [{"input_ids": ids}])
    assert same.cosines == pytest.approx((1, 1), abs=1e-6)
    rounded = bert("BertModel")
    quant.quantize_model(rounded, "int3:g16")
    found = quant.embedding_similarity(rounded, model, [{"input_ids": ids}])
    assert 0.3 < found.mean < 0.999
    assert found.standard_error == pytest.approx(np.std(found.cosines, ddof=1) / math.sqrt(2))
    with torch.no_grad():
        one, other = (m(input_ids=ids[:1]).last_hidden_state.mean(1) for m in (rounded, model))
    by_hand = float(nn.functional.cosine_similarity(one, other))
    assert found.cosines[0] == pytest.approx(by_hand, abs=1e-6)
    padded = nn.functional.pad(ids, (0, 4))
    batch = {"input_ids": padded, "attention_mask": (padded > 0).long()}
    assert quant.embedding_similarity(rounded, model, [batch]).cosines == pytest.approx(
        found.cosines, abs=1e-6
    )
    with pytest.raises(RequestError, match="the same are needed"):
        quant.embedding_similarity(bert("BertForMaskedLM"), model, [{"input_ids": ids}])


@pytest.mark.parametrize(
    ("kind", "measure"),
    [("BertForMaskedLM", "masked_loss"), ("BertLMHeadModel", "masked_loss"),
     ("BertModel", "embedding_similarity"),
     ("BertForSequenceClassification", "embedding_similarity")],
)  # fmt: skip
def test_perplexity_of_an_encoder_names_its_measure(kind: str, measure: str) -> None:
    with pytest.raises(RequestError, match=rf"^model {kind} .*quant\.{measure} [^\n]*$"):
        quant.perplexity(bert(kind), tokens(CONTEXT)[0], CONTEXT)


def test_perplexity_of_an_encoder_with_a_decoder_names_its_measure() -> None:
    for name in ("t5", "bart"):
        with pytest.raises(RequestError, match=r"^model \w+ .*quant\.conditional_loss [^\n]*$"):
            quant.perplexity(tiny(name), tokens(CONTEXT)[0], CONTEXT)


def test_an_encoder_as_a_decoder_has_a_perplexity() -> None:
    model, ids = bert("BertLMHeadModel", is_decoder=True), tokens(CONTEXT)
    with torch.no_grad():
        own = float(model(input_ids=ids, labels=ids).loss)
    assert quant.perplexity(model, ids[0], CONTEXT).ln == pytest.approx(own, rel=1e-5)
    with pytest.raises(RequestError, match=r"quant\.perplexity"):
        quant.masked_loss(model, ids[0], MASK, CONTEXT)
