"""A head that is the table of embeddings, in codes: the model computes the same, and runs again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from quant.layers.ties import TIED, configs
from quant.layers.weights import weights
from tests.quant.tiny import HEADS, SIZE, USUAL, WIDTH, tokens

LAYERS = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
BOTH = {
    **LAYERS, "d_model": SIZE, "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS,
    "decoder_start_token_id": 0, "forced_eos_token_id": None,
}  # fmt: skip
T5 = {
    "d_model": SIZE, "d_kv": WIDTH, "d_ff": 64, "num_layers": 1, "num_decoder_layers": 1,
    "num_heads": HEADS, "decoder_start_token_id": 0, "tie_word_embeddings": True,
}  # fmt: skip
EXPERTS = {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "num_experts": 4}
SOUND = {"max_source_positions": 16, "max_target_positions": 32, "num_mel_bins": 8}
ENCODER = {"num_key_value_heads": None, "intermediate_size": 64}
PART = {**USUAL, "head_dim": WIDTH, "intermediate_size": 64}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bart": ("BartForConditionalGeneration", BOTH),
    "mbart": ("MBartForConditionalGeneration", BOTH),
    "marian": ("MarianMTModel", BOTH),
    "whisper": ("WhisperForConditionalGeneration", {**BOTH, **SOUND}),
    "t5": ("T5ForConditionalGeneration", T5),
    "mt5": ("MT5ForConditionalGeneration", T5),
    "switch_transformers": ("SwitchTransformersForConditionalGeneration", {**T5, **EXPERTS}),
    "udop": ("UdopForConditionalGeneration", T5),
    "t5gemma": ("T5GemmaForConditionalGeneration", {"encoder": PART, "decoder": PART}),
    "bert": ("BertForMaskedLM", ENCODER),
    "roberta": ("RobertaForMaskedLM", ENCODER),
    "llama": ("LlamaForCausalLM", {**ENCODER, "num_key_value_heads": 2}),
}
READS = ("switch_transformers", "udop")
"""Their forward asks whether embeddings are tied."""
FORMAT = "int8:g16"


def build(name: str) -> Any:  # noqa: ANN401  transformers'
    import transformers

    kind, settings = FAMILIES[name]
    usual = {key: value for key, value in USUAL.items() if settings.get(key, value) is not None}
    own = {key: value for key, value in settings.items() if value is not None}
    config = transformers.CONFIG_MAPPING[name](**{**usual, TIED: True, **own})
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config)
    with torch.no_grad():
        for parameter in (own for own in model.parameters() if own.requires_grad):
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


def output(model: Any) -> torch.Tensor:  # noqa: ANN401  transformers'
    ids = tokens(12)
    batch: dict[str, torch.Tensor] = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = ids[:, :8]
    if model.config.model_type == "whisper":
        generator = torch.Generator().manual_seed(0)
        batch = {"input_features": torch.randn(1, 8, 32, generator=generator)}
        batch["decoder_input_ids"] = ids
    if model.config.model_type == "udop":
        batch["bbox"] = torch.rand(1, 12, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: torch.Tensor = model(**batch).logits
    return found


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal weights lie elsewhere in memory, where MKL adds up in another order."""
    return bool(torch.allclose(one, other, rtol=1e-5, atol=1e-7))


def paths(model: nn.Module, apart: str) -> list[str]:
    return [path for path, weight in weights(model).items() if weight.apart == apart]


def head_alone(model: nn.Module) -> list[str]:
    return paths(model, "head")


def head_and_tables(model: nn.Module) -> list[str]:
    return [*paths(model, "head"), *paths(model, "embedding")]


def head_and_layers(model: nn.Module) -> list[str]:
    return [*paths(model, "head"), "*"]


def tables_alone(model: nn.Module) -> list[str]:
    return paths(model, "embedding")


@pytest.mark.parametrize("chosen", [head_alone, head_and_tables, head_and_layers, tables_alone])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_in_codes_changes_nothing_else(
    name: str, chosen: Callable[[nn.Module], list[str]], tmp_path: Path
) -> None:
    model = build(name)
    before = output(model)
    assert paths(model, "head")
    quant.quantize_model(model, dict.fromkeys(chosen(model), FORMAT))
    after = output(model)
    assert float((after - before).norm() / before.norm()) < 0.04
    quant.save_model(tmp_path / "out", model)
    again, _ = quant.load_model(tmp_path / "out")
    assert is_same(output(again), after)
    own, its = weights(model), weights(again)
    assert {p for p, w in own.items() if w.tensor} == {p for p, w in its.items() if w.tensor}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_streamed_head_is_the_one_in_memory(name: str, tmp_path: Path) -> None:
    model = build(name)
    formats = dict.fromkeys(head_and_layers(model), FORMAT)
    model.save_pretrained(tmp_path / "source")
    quant.quantize_checkpoint(tmp_path / "source", tmp_path / "out", formats)
    quant.quantize_model(model, formats)
    again, _ = quant.load_model(tmp_path / "out")
    assert is_same(output(again), output(model))


@pytest.mark.parametrize("name", ["bart", "switch_transformers", "bert", "llama"])
def test_a_model_of_values_is_what_the_codes_mean(name: str, tmp_path: Path) -> None:
    model = build(name)
    quant.quantize_model(model, dict.fromkeys(head_alone(model), FORMAT))
    model.save_pretrained(tmp_path / "dense")
    dense = type(model).from_pretrained(tmp_path / "dense").eval()
    assert is_same(output(dense), output(model))
    # Its config may still tie what it holds apart: both go into a checkpoint, and come out of it.
    layers = [path for path, weight in weights(dense).items() if not weight.apart]
    quant.quantize_model(dense, dict.fromkeys(layers, FORMAT))
    quant.save_model(tmp_path / "out", dense)
    again, _ = quant.load_model(tmp_path / "out")
    assert is_same(output(again), output(dense))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_block_with_codes_leaves_the_model_as_it_was(name: str, tmp_path: Path) -> None:
    model = build(name)
    before, flags = output(model), [getattr(config, TIED) for config in configs(model)]
    with quant.quantized(model, dict.fromkeys(head_alone(model), FORMAT)):
        assert not is_same(output(model), before)
    assert is_same(output(model), before)
    assert [getattr(config, TIED) for config in configs(model)] == flags
    model.tie_weights()
    model.save_pretrained(tmp_path / "dense")
    assert is_same(output(type(model).from_pretrained(tmp_path / "dense").eval()), before)


@pytest.mark.parametrize("name", ["bart", "t5", "bert", "switch_transformers"])
def test_codes_are_not_lost_where_weights_are_tied_again(name: str) -> None:
    model = build(name)
    quant.quantize_model(model, dict.fromkeys(head_alone(model), FORMAT))
    with pytest.raises(RequestError, match=r"takes no other values \(tie_weights"):
        model.tie_weights()
    assert all(weights(model)[path].tensor is not None for path in head_alone(model))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in READS])
def test_an_export_ties_nothing_and_lacks_nothing(name: str, tmp_path: Path) -> None:
    from transformers import CompressedTensorsConfig

    model = build(name)
    quant.quantize_model(model, dict.fromkeys(head_alone(model), FORMAT))
    quant.save_model(tmp_path / "codes", model)
    quant.export(tmp_path / "codes", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config[TIED] is False
    found, info = type(model).from_pretrained(
        tmp_path / "out",
        dtype=torch.float32,
        quantization_config=CompressedTensorsConfig(dequantize=True),
        output_loading_info=True,
    )
    assert not any(info.values()), info
    assert is_same(output(found.eval()), output(model))


@pytest.mark.parametrize("to", ["compressed-tensors", "gptq"])
@pytest.mark.parametrize("name", READS)
def test_an_export_that_would_compute_otherwise_is_refused(
    name: str, to: str, tmp_path: Path
) -> None:
    model = build(name)
    quant.quantize_model(model, dict.fromkeys(head_alone(model), FORMAT))
    quant.save_model(tmp_path / "codes", model)
    with pytest.raises(RequestError, match=r"layer lm_head: codes of a head need tie_word_embeddi"):
        quant.export(tmp_path / "codes", tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()
