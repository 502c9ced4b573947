"""Perplexity is the model's own loss, whatever the family, with the logits of few positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import quant
from quant.models import logits
from tests.quant.tiny import EXPERTS, LATENT, one_thread, tiny, tokens
from verification.models.table import FAMILIES, family

ROWS, CONTEXT = 8, 24
"""Positions a slice: three slices of each window."""
WINDOWS = 2
STATE = {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 8}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
CHANGES: dict[str, dict[str, Any]] = {
    "llama": {}, "mistral": {}, "qwen2": {}, "qwen3": {"head_dim": 8}, "phi": {}, "phi3": {},
    "stablelm": {}, "olmo2": {}, "starcoder2": {}, "glm": {"head_dim": 8}, "smollm3": {},
    "gemma": {"head_dim": 8}, "gemma2": {"final_logit_softcapping": 1.5},
    "gemma3_text": {"head_dim": 8, "final_logit_softcapping": 1.5},
    "cohere": {"logit_scale": 0.25}, "cohere2": {"logit_scale": 4.0},
    "granite": {"logits_scaling": 4.0}, "granitemoe": {"logits_scaling": 0.25},
    "gpt2": {}, "openai-gpt": {}, "gpt_bigcode": {}, "gpt_neox": {"intermediate_size": 48},
    "gptj": {"rotary_dim": 4}, "codegen": {"rotary_dim": 4}, "ctrl": {"dff": 48},
    "falcon": {}, "falcon new": {}, "bloom": {}, "opt": {}, "mpt": {}, "biogpt": {},
    "xglm": {"ffn_dim": 48, "num_layers": 2, "attention_heads": 4},
    "qwen3_moe": {**EXPERTS, "head_dim": 8}, "mixtral": {}, "gpt_oss": {"num_local_experts": 4},
    "deepseek_v3": LATENT,
    "llama4_text": {"head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 48},
    "mamba": {}, "mamba2": STATE, "rwkv": {"attention_hidden_size": 32},
    "recurrent_gemma": {"lru_width": 32, "num_hidden_layers": 3},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 64, "lm_head_multiplier": 0.25},
}  # fmt: skip
"""What makes a family tiny, or shows what it does to logits."""


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401  a fixture's generator
    monkeypatch.setattr(logits, "HEAD_ROWS", ROWS)
    with one_thread():
        yield


def own_loss(model: nn.Module, ids: torch.Tensor, **settings: object) -> float:
    """The loss that a model gives by itself, over windows."""
    with torch.no_grad():
        rows = [row[None] for row in ids.view(WINDOWS, CONTEXT)]
        found: list[float] = [
            float(model(input_ids=row, labels=row, use_cache=False, **settings).loss)
            for row in rows
        ]
    return sum(found) / len(found)


def most_rows(model: Any, ids: torch.Tensor) -> tuple[float, int]:  # noqa: ANN401  transformers
    """ln(perplexity), and the most positions that the head was asked for at once."""
    rows: list[int] = []
    head = model.get_output_embeddings()
    hook = head.register_forward_hook(
        lambda _module, _args, output: rows.append(output.numel() // output.shape[-1])
    )
    measured = quant.perplexity(model, ids, CONTEXT).ln
    hook.remove()
    return measured, max(rows)


@pytest.mark.parametrize("name", CHANGES)
def test_perplexity_is_the_models_own_loss_in_slices(name: str) -> None:
    model, ids = tiny(name, **CHANGES[name]), tokens(WINDOWS * CONTEXT)[0]
    measured, rows = most_rows(model, ids)
    assert measured == pytest.approx(own_loss(model, ids), rel=1e-5)
    assert rows <= ROWS


@pytest.mark.parametrize("name", [entry.name for entry in FAMILIES if entry.is_causal])
def test_every_causal_family_of_the_matrix_is_sliced(name: str) -> None:
    model, ids = family(name).build(), tokens(WINDOWS * CONTEXT)[0]
    measured, rows = most_rows(model, ids)
    assert measured == pytest.approx(own_loss(model, ids), rel=1e-5)
    assert rows <= ROWS


def test_labels_that_a_model_does_not_shift() -> None:
    """Decoders of translation models compare labels with predictions as they come."""
    from transformers import BartConfig, BartForCausalLM

    config = BartConfig(
        vocab_size=64, d_model=32, decoder_ffn_dim=48, decoder_layers=2, encoder_layers=1,
        decoder_attention_heads=4, max_position_embeddings=64, init_std=0.2,
    )  # fmt: skip
    decoder, ids = BartForCausalLM(config).eval(), tokens(CONTEXT)[0]
    labels = torch.cat([ids[1:], torch.tensor([-100])])[None]
    with torch.no_grad():
        own = float(decoder(input_ids=ids[None], labels=labels, use_cache=False).loss)
    measured, rows = most_rows(decoder, ids)
    assert measured == pytest.approx(own, rel=1e-5)
    assert rows <= ROWS


def test_a_head_that_cannot_be_sliced_runs_whole() -> None:
    """Logits that depend on their place in the window are right all the same."""
    model, ids = tiny("llama"), tokens(WINDOWS * CONTEXT)[0]
    gain = torch.linspace(0.5, 2, CONTEXT)[:, None]
    model.lm_head.register_forward_hook(lambda _m, _a, output: output * gain[: output.shape[1]])
    measured, rows = most_rows(model, ids)
    assert measured == pytest.approx(own_loss(model, ids), rel=1e-5)
    assert rows == CONTEXT


def test_a_model_whose_head_is_unknown_runs_whole() -> None:
    inner, ids = tiny("gemma2"), tokens(WINDOWS * CONTEXT)[0]

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: torch.Tensor) -> Any:  # noqa: ANN401  transformers' output
            return self.inner(input_ids=input_ids, use_cache=False)

    assert quant.perplexity(Wrapped(), ids, CONTEXT).ln == pytest.approx(
        own_loss(inner, ids), rel=1e-5
    )


@pytest.mark.parametrize("settings", [{"inputs": "nvfp4"}, {"kv": "nvfp4"}])
@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_scales_of_a_whole_text_do_not_make_a_model_look_ahead(
    name: str, settings: dict[str, str]
) -> None:
    model, ids = tiny(name), tokens(WINDOWS * CONTEXT)[0]
    with quant.rounded_activations(model, **settings):  # type: ignore[arg-type]  # by name
        measured, rows = most_rows(model, ids)
        assert measured == pytest.approx(own_loss(model, ids), rel=1e-5)
    assert rows <= ROWS
    assert measured != pytest.approx(own_loss(model, ids), rel=1e-5)


def test_a_forward_of_an_object_comes_back() -> None:
    """Libraries that move weights wrap the forward of the object, not of its class."""
    model, ids = tiny("llama"), tokens(WINDOWS * CONTEXT)[0]
    wanted, inner = quant.perplexity(model, ids, CONTEXT), model.model.forward

    def wrapped(*args: object, **settings: object) -> object:
        return inner(*args, **settings)

    model.model.forward = wrapped
    assert quant.perplexity(model, ids, CONTEXT) == wanted
    assert model.model.forward is wrapped


def test_half_precision_is_sliced_too() -> None:
    model, ids = tiny("cohere").bfloat16(), tokens(WINDOWS * CONTEXT)[0]
    measured, rows = most_rows(model, ids)
    assert measured == pytest.approx(own_loss(model, ids), rel=1e-2)
    assert rows <= ROWS
