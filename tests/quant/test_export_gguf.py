"""GGUF files of exported checkpoints, read back by the gguf package and by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize

import quant
from quant.common.errors import RequestError
from tests.quant.tiny import tiny, tokens

WIDE = {"hidden_size": 64, "intermediate_size": 96}
SIZES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 128},
    "gemma2": {"head_dim": 256, "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50.0},
    "gemma3_text": {"head_dim": 256, "query_pre_attn_scalar": 256, "num_hidden_layers": 7},
}


def exported(folder: Path, family: str, formats: object, **changes: object) -> Any:  # noqa: ANN401
    """A quantized model whose export to GGUF is at ``folder / "out"``."""
    model = tiny(family, **{**WIDE, **SIZES.get(family, {}), **changes})
    quant.quantize_model(model, formats)  # type: ignore[arg-type]  # a table of texts
    quant.save_model(folder / "codes", model)
    quant.export(folder / "codes", folder / "out", to="gguf")
    return model


def byte_level() -> Any:  # noqa: ANN401  transformers'
    """A tokenizer of bytes with a special token and some merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    plain.train_from_iterator(["A text that repeats a text, and times. " * 9] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="<s>")


def logits(model: Any) -> torch.Tensor:  # noqa: ANN401  transformers'
    with torch.no_grad():
        found: torch.Tensor = model(tokens()).logits
        return found


@pytest.mark.parametrize(
    ("family", "formats"),
    [
        ("llama", {"*": "int4:g32", "*.down_proj": "int6:g32"}),
        ("qwen2", {"*": "mxfp4", "lm_head": "int8:g32"}),
        ("qwen3", "int4-asym:g32"),
        ("gemma2", "int8:g32"),
        ("gemma3_text", {"*": "int5:g32", "lm_head": "int8:g32"}),
    ],
)
def test_the_file_gives_the_same_logits(family: str, formats: object, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = exported(tmp_path, family, formats)
    again = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", gguf_file="model.gguf", dtype=torch.float32
    ).eval()
    wanted = logits(model)
    assert torch.allclose(logits(again), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    from quant.layers.weights import weights

    for path, weight in weights(model).items():
        if (tensor := weight.tensor) is not None:
            found = again.get_submodule(path).weight.detach()
            assert torch.equal(found, torch.from_numpy(tensor.dequantize())), path


def test_blocks_and_permuted_rows(tmp_path: Path) -> None:
    formats = {"*": "int4:g32:full-range", "*.v_proj": "int8:g32"}
    model = exported(tmp_path, "llama", formats, attention_bias=True)
    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    found = {tensor.name: tensor for tensor in reader.tensors}
    assert found["blk.0.attn_q.weight"].tensor_type.name == "Q4_0"
    assert found["blk.0.attn_norm.weight"].tensor_type.name == "F32"
    for name, path in (("attn_v", "v_proj"), ("attn_k", "k_proj")):
        own = found[f"blk.1.{name}.weight"]
        values = dequantize(own.data, own.tensor_type)
        wanted = model.get_submodule(f"model.layers.1.self_attn.{path}").tensor.dequantize()
        if name == "attn_k":  # llama.cpp has the two channels of a rotation side by side
            wanted = np.stack([wanted.reshape(2, 2, 8, 64)[:, i] for i in (0, 1)], 2)
        assert np.array_equal(values, wanted.reshape(values.shape))
    bias = model.get_submodule("model.layers.0.self_attn.q_proj").bias.detach().numpy()
    permuted = np.stack([bias.reshape(4, 2, 8)[:, i] for i in (0, 1)], 2).reshape(-1)
    assert np.array_equal(found["blk.0.attn_q.bias"].data, permuted)
    ours = quant.load_gguf(tmp_path / "out" / "model.gguf")
    assert ours.keys() == found.keys()
    wanted = model.get_submodule("model.layers.0.mlp.up_proj").tensor
    qt = ours["blk.0.ffn_up.weight"].to_quantized()
    assert (str(qt.spec), qt.codes.tolist()) == (str(wanted.spec), wanted.codes.tolist())


def test_the_tokenizer_is_in_the_file_and_it_loads(tmp_path: Path) -> None:
    tokenizer = byte_level()
    model = tiny("llama", **WIDE, vocab_size=304)
    quant.quantize_model(model, "int4:g32")
    quant.save_model(tmp_path / "codes", model, tokenizer)
    options: dict[str, Any] = {"to": "gguf", "rest_dtype": "bfloat16"}
    report = quant.export(tmp_path / "codes", tmp_path / "out", **options)
    assert report.said == "14 as Q4_0 int4:g32:fp16"
    fields = gguf.GGUFReader(tmp_path / "out" / "model.gguf").fields
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.ggml.tokens"].contents()[:2] == ["<s>", "!"]
    assert len(fields["tokenizer.ggml.merges"].contents()) == 21
    embeddings = quant.load_gguf(tmp_path / "out" / "model.gguf")["token_embd.weight"]
    assert embeddings.kind.name == "BF16"
    again, other = quant.load_model(str(tmp_path / "out" / "model.gguf"))
    text = "A text, 123 times."
    assert other(text)["input_ids"] == tokenizer(text)["input_ids"]
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        assert torch.allclose(again(ids).logits, model(ids).logits, atol=0.05)


@pytest.mark.parametrize(
    ("family", "formats", "changes", "said"),
    [
        ("llama", "nf4:g32", {}, r"layer model.layers.0.self_attn.q_proj: nf4:g32:fp32, rows of"),
        ("phi3", "int4:g32", {"pad_token_id": 0}, r"architecture 'phi3' is not written to GGUF"),
        ("llama", "int4:g32", {"rope_scaling": {
            "rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0,
        }}, "rotary embedding 'linear'"),
        ("gemma2", "int4:g32", {"query_pre_attn_scalar": 224}, "query_pre_attn_scalar 224"),
    ],
)  # fmt: skip
def test_what_is_not_written_is_refused(
    family: str, formats: object, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=said):
        exported(tmp_path, family, formats, **changes)
    assert not (tmp_path / "out").exists()
