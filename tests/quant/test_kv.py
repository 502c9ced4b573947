"""Keys and values alone are rounded, head by head, wherever a model makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from quant.models.compare import EvaluationSetting
from quant.models.kv_groups import KEYS, by_token
from quant.models.kv_options import CacheRounding
from tests.quant.tiny import HEADS, SIZE, WIDTH, one_thread, tiny, tokens

Array = np.ndarray[Any, Any]
Heads = tuple[Array, Array]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing by threads, and lose much on a machine that is busy."""
    with one_thread():
        yield


def each(channels: Array) -> Heads:
    """``[heads, query | key | value, channels]``: each head's three together."""
    own = channels.reshape(HEADS, 3, WIDTH)
    return own[:, 1], own[:, 2]


def thirds(channels: Array) -> Heads:
    """All queries, all keys, all values."""
    own = channels.reshape(3, HEADS, WIDTH)
    return own[1], own[2]


def few(channels: Array) -> Heads:
    """All queries, then keys and values of two heads."""
    own = channels[SIZE:].reshape(2, 2, WIDTH)
    return own[0], own[1]


def one(channels: Array) -> Heads:
    """All queries, one key head, one value head."""
    own = channels.reshape(HEADS + 2, 1, WIDTH)
    return own[-2], own[-1]


def grouped(channels: Array) -> Heads:
    """Two groups of two queries, a key and a value."""
    own = channels.reshape(2, 4, WIDTH)
    return own[:, 2], own[:, 3]


def latent(channels: Array) -> Heads:
    """A latent of 16 channels and the rotary part of keys, 8."""
    return channels[None, :16], channels[None, 16:]


FUSED: dict[str, tuple[str, Callable[[Array], Heads]]] = {
    "gpt_neox": ("gpt_neox.layers.0.attention.query_key_value", each),
    "bloom": ("transformer.h.0.self_attention.query_key_value", each),
    "gpt2": ("transformer.h.0.attn.c_attn", thirds),
    "mpt": ("transformer.blocks.0.attn.Wqkv", thirds),
    "phi3": ("model.layers.0.self_attn.qkv_proj", few),
    "falcon": ("transformer.h.0.self_attention.query_key_value", one),
    "falcon new": ("transformer.h.0.self_attention.query_key_value", grouped),
    "deepseek_v2": ("model.layers.0.self_attn.kv_a_proj_with_mqa", latent),
    "deepseek_v3": ("model.layers.0.self_attn.kv_a_proj_with_mqa", latent),
}


def given(model: Any, path: str, **rounding: Any) -> Array:  # noqa: ANN401  torch and options
    """What a layer gives in a run, ``[tokens, out]``, after all rounding."""
    seen: list[Array] = []
    with quant.rounded_activations(model, **rounding), torch.no_grad():
        hook = model.get_submodule(path).register_forward_hook(
            lambda _layer, _args, output: seen.append(output[0].numpy().copy())
        )
        model(input_ids=tokens(), use_cache=False)
        hook.remove()
    return seen[0]


def directly(states: Array, heads: Heads, spec: str) -> Array:
    """``states [tokens, out]`` with each head of each token rounded as a matrix of its own."""
    wanted = states.copy()
    for channels in (*heads[0], *heads[1]):
        wanted[:, channels] = quant.quantize(states[:, channels], spec).dequantize()
    return wanted


@pytest.mark.parametrize("name", FUSED)
def test_of_fused_projections_keys_and_values_alone(name: str) -> None:
    path, layout = FUSED[name]
    model = tiny(name)
    exact = given(model, path)
    heads = layout(np.arange(exact.shape[1]))
    for spec in ("int4:row", "bitmod4:g4", "nvfp4"):
        found = given(model, path, kv=spec)
        assert np.array_equal(found, directly(exact, heads, spec))
        cached = np.concatenate([own.ravel() for own in heads])
        others = np.setdiff1d(np.arange(exact.shape[1]), cached)
        assert np.array_equal(found[:, others], exact[:, others])
        assert (found[:, cached] != exact[:, cached]).mean() > 0.5
    assert np.array_equal(given(model, path), exact)


@pytest.mark.parametrize("name", ["llama", "qwen2_moe", "gemma2", "opt", "cohere", "olmo2"])
def test_of_single_projections(name: str) -> None:
    model = tiny(name)
    own = [path for path, _ in model.named_modules() if "layers.0.self_attn." in path]
    paths = [path for path in own if path.endswith(("q_proj", "k_proj", "v_proj"))]
    assert len(paths) == 3
    for path in paths:
        exact = given(model, path)
        heads = np.arange(exact.shape[1]).reshape(1, -1, WIDTH)
        wanted = directly(exact, (heads[0], heads[0][:0]), "int4:row")
        found = given(model, path, kv="int4:row")
        assert np.array_equal(found, exact if path.endswith("q_proj") else wanted)
        if not path.endswith("q_proj"):  # groups that divide a head are those of the whole row
            row = quant.quantize(exact, "int4:g4").dequantize()
            assert np.array_equal(given(model, path, kv="int4:g4"), row)


@pytest.mark.parametrize("spec", ["int8:row", "int3:g32", "bitmod3:g32:int8", "nvfp4", "mxfp4"])
@pytest.mark.parametrize("keys", KEYS)
def test_no_group_spans_heads(keys: str, spec: str) -> None:
    states = torch.randn(2, 64, 4, 16, generator=torch.Generator().manual_seed(3))
    scaled = states.clone()
    scaled[:, :, 1] *= 1000
    if keys == "channel" and spec.endswith("row"):
        return
    one, other = (KEYS[keys].rounded(own, quant.parse_spec(spec)) for own in (states, scaled))
    apart = [0, 2, 3]
    assert torch.equal(one[:, :, apart], other[:, :, apart])
    assert not torch.equal(one, states)
    head = by_token.rounded(states[:, :, 2:3], quant.parse_spec(spec))
    assert keys == "channel" or torch.equal(one[:, :, 2:3], head)


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "opt", "bloom", "falcon", "falcon new"])
def test_what_a_format_holds_stays(name: str) -> None:
    """Keys and values are whole numbers with a 127 in each head: int8 holds them."""
    model = tiny(name)
    generator = torch.Generator().manual_seed(5)
    made = ("c_attn", "query_key_value", "k_proj", "v_proj")
    with torch.no_grad():
        for path, layer in model.named_modules():
            if path.endswith(made):
                layer.weight.zero_()
                whole = torch.randint(-127, 128, layer.bias.shape, generator=generator).float()
                whole.reshape(-1, WIDTH)[:, 0] = 127
                layer.bias.copy_(whole)
        wanted = model(input_ids=tokens(), use_cache=False).logits
        for sinks in (0, 3):
            with quant.rounded_activations(model, kv="int8:row", sinks=sinks):
                assert torch.equal(model(input_ids=tokens(), use_cache=False).logits, wanted)
        with quant.rounded_activations(model, kv="int4:row"):
            assert not torch.equal(model(input_ids=tokens(), use_cache=False).logits, wanted)


def test_generation_with_a_cache_rounds_each_token_once() -> None:
    model = tiny("llama")
    with quant.rounded_activations(model, kv="int3:row"):
        texts = [
            model.generate(tokens(6), max_new_tokens=8, do_sample=False, use_cache=use)
            for use in (True, False)
        ]
    assert torch.equal(*texts)


def test_encoders_and_pairs_of_both_have_keys_too() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
    encoder, pair = BertModel(config).eval(), tiny("t5")
    calls: list[tuple[nn.Module, dict[str, Any]]] = [
        (encoder, {}),
        (pair, {"decoder_input_ids": tokens()}),
    ]
    for model, more in calls:
        with torch.no_grad():
            exact = model(input_ids=tokens(), **more)[0]
            with quant.rounded_activations(model, kv="int4"):
                assert not torch.equal(model(input_ids=tokens(), **more)[0], exact)
    with torch.no_grad(), quant.rounded_activations(encoder, kv="int4", recent=24):
        seen = encoder(input_ids=tokens())[0]  # a window of the whole text, and what is ahead
    assert torch.allclose(seen, encoder(input_ids=tokens())[0], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("mamba", {}, "MambaForCausalLM has no attention with keys and values"),
        ("openai-gpt", {}, "OpenAIGPTLMHeadModel has no attention"),
        ("falcon", {"recent": 4}, "FalconForCausalLM computes attention by itself"),
        ("deepseek_v3", {"keys": "channel", "kv": "int4:g4"}, "caches a latent in place of keys"),
        ("deepseek_v32", {"recent": 4}, "DeepseekV32ForCausalLM cannot take exact and rounded"),
        ("t5", {"rotary": "after"}, "T5ForConditionalGeneration hands no keys to a cache"),
        ("t5", {"recent": 2}, "T5ForConditionalGeneration is no decoder alone"),
        ("llama", {"keys": "channel", "kv": "int4:row"}, "need a group of so many tokens"),
        ("llama", {"keys": "head"}, "unknown keys 'head'"),
        ("llama", {"rotary": "never"}, "unknown rotary 'never'"),
        ("llama", {"recent": -1, "sinks": 0.5}, "recent -1.*sinks 0.5"),
        ("llama", {"sinks": 4, "kv": None}, "kv, the format of keys and values, is needed"),
        ("llama", {"kv": "fp16"}, "stored as it is"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, options: dict[str, Any], said: str) -> None:
    model = tiny(name)
    calls: list[object] = []
    with (
        pytest.raises(RequestError, match=said),
        quant.rounded_activations(model, **{"kv": "int4", **options}),
    ):
        calls.append(model)
    assert not calls
    assert not any(module._forward_hooks for module in model.modules())


def test_options_that_need_the_whole_text_refuse_a_cache() -> None:
    from transformers import DynamicCache

    model = tiny("llama")
    for options in ({"sinks": 2}, {"recent": 2}, {"rotary": "after"}):
        with quant.rounded_activations(model, kv="int4", **options):
            with pytest.raises(RequestError, match="whole text in one call"):
                model(tokens(), past_key_values=DynamicCache())
            with torch.no_grad():  # a cache of the model's own is none of the caller's
                one, other = (model(tokens(), use_cache=use).logits for use in (True, False))
            assert torch.equal(one, other)
    for name in ("t5", "bloom"):
        model = tiny(name)
        with (
            quant.rounded_activations(model, kv="int4", sinks=2),
            pytest.raises(RequestError, match="whole text in one call"),
        ):
            model.generate(tokens(), max_new_tokens=3, do_sample=False)


def test_evaluation_rounds_as_its_setting_says() -> None:
    options = CacheRounding("channel", 4, 2, "after")
    setting = EvaluationSetting(64, 24, kv=quant.parse_spec("int4:g4"), cache=options)
    model = tiny("llama")
    with torch.no_grad():
        with setting.rounding(model):
            found = model(tokens(), use_cache=False).logits
        with quant.rounded_activations(model, kv="int4:g4", **vars(options)):
            assert torch.equal(model(tokens(), use_cache=False).logits, found)
    with pytest.raises(RequestError, match="kv, the format of keys and values, is needed"):
        EvaluationSetting(64, 24, cache=options)
    with pytest.raises(RequestError, match="a CacheRounding is needed"):
        EvaluationSetting(64, 24, cache="channel")  # type: ignore[arg-type]  # a wrong one
