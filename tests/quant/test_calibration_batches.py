"""Padding of every kind is in no statistic, or the batch is refused in a line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import quant
from quant.common.errors import RequestError
from quant.layers.batches import as_batches
from tests.quant.tiny import tiny

IDS = torch.arange(1, 25).view(2, 12)
RIGHT = torch.ones(2, 12, dtype=torch.long)
RIGHT[1, 8:] = 0


def codes(batches: Any) -> dict[str, Any]:  # noqa: ANN401  calibration data
    report = quant.quantize_model(tiny("llama"), "int4:g8", method="gptq", calibration=batches)
    return {path: tensor.codes for path, tensor in report.tensors.items()}


def test_a_sequence_of_padding_alone_is_none() -> None:
    mask = RIGHT.clone()
    mask[0] = 0
    with_it = codes([{"input_ids": IDS, "attention_mask": mask}])
    without = codes([{"input_ids": IDS[1:, :8], "attention_mask": RIGHT[1:, :8]}])
    assert all(np.array_equal(with_it[path], own) for path, own in without.items())
    with pytest.raises(RequestError, match="no batch"):
        as_batches([{"input_ids": IDS, "attention_mask": torch.zeros_like(IDS)}])


def test_an_argument_of_no_dimensions_stays() -> None:
    batch = {"input_ids": IDS[1:], "attention_mask": RIGHT[1:], "logits_to_keep": torch.tensor(2)}
    (own,) = as_batches([batch])
    assert isinstance(own, dict)
    assert own["logits_to_keep"] == 2
    assert own["input_ids"].shape == (1, 8)


def test_a_mask_that_hides_nothing_but_the_future_is_no_padding() -> None:
    causal = torch.ones(12, 12, dtype=torch.bool).tril().expand(2, 1, 12, 12)
    for mask in (causal, torch.where(causal, 0.0, -1e30)):
        (own,) = as_batches([{"input_ids": IDS, "attention_mask": mask}])
        assert isinstance(own, dict)
        assert own["input_ids"] is IDS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention_mask": RIGHT.tolist()}, "attention_mask of type list: a tensor is needed"),
        ({"attention_mask": RIGHT.bool()[:, None, None].expand(2, 1, 12, 12)}, r"\(2, 1, 12, 12\)"),
        ({"attention_mask": (RIGHT[:, None, None] - 1) * 1e9}, r"\(2, 1, 1, 12\): \[sequences"),
        ({"attention_mask": RIGHT[0]}, r"\(12,\): \[sequences, tokens\] is needed"),
        ({"labels": torch.tensor([[3, -100, -100], [4, 5, -100]])}, "labels with -100 and no"),
    ],
)
def test_what_does_not_say_where_padding_is(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        as_batches([{"input_ids": IDS, **change}])


def test_labels_of_a_decoder_alone_play_no_part() -> None:
    labels = IDS.masked_fill(RIGHT == 0, -100)
    batch = {"input_ids": IDS, "attention_mask": RIGHT, "labels": labels}
    lengths = [own["input_ids"].shape[1] for own in as_batches([batch]) if isinstance(own, dict)]
    assert lengths == [12, 8]


@pytest.mark.parametrize("data", [torch.full((64,), 64), [torch.full((1, 16), 99)]])
def test_tokens_beyond_the_vocabulary(data: Any) -> None:  # noqa: ANN401  calibration data
    model = tiny("llama")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RequestError, match=r"token (64|99) is not allowed: .* has 64"):
        quant.quantize_model(model, "int4:g8", method="gptq", calibration=data)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
