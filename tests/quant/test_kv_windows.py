"""Windows, sinks, channels and rotary, against attention computed pair by pair in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

import quant
from quant.models.attention import attention_calls
from quant.models.kv import rounded_cache
from quant.models.kv_options import CacheRounding
from tests.quant.tiny import WIDTH, one_thread, tiny, tokens

Array = np.ndarray[Any, Any]
SPEC, GROUP = "int3:g4", 4
FAMILIES = {
    "llama": ("model.layers.0.self_attn", "k_proj", "o_proj"),
    "gemma2": ("model.layers.0.self_attn", "k_proj", "o_proj"),
    "gpt_neox": ("gpt_neox.layers.0.attention", "query_key_value", "dense"),
}
SINKS, RECENT = 3, 5


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny matrices gain nothing by threads, and lose much on a machine that is busy."""
    with one_thread():
        yield


class Seen:
    """What the first attention of a model takes and gives in one run."""

    query: Array
    key: Array
    value: Array
    projected_key: Array
    rotary: tuple[torch.Tensor, torch.Tensor]
    mixed: Array

    def __init__(self, model: Any, name: str, **rounding: Any) -> None:  # noqa: ANN401  options
        path, key, out = FAMILIES[name]
        self.module = model.get_submodule(path)
        self.named: dict[str, Any] = {}
        rounded = quant.rounded_activations(model, **rounding)
        with torch.no_grad(), rounded, self.watched(key, out):
            model(input_ids=tokens(), use_cache=False)

    @contextmanager
    def watched(self, key: str, out: str) -> Iterator[None]:
        """Look at the projection, at attention's arguments, and at what comes of it."""

        def first(function: Any, module: Any, tensors: Any, named: Any) -> Any:  # noqa: ANN401
            if module is self.module:
                self.query, self.key, self.value = (own[0].numpy() for own in tensors[:3])
                self.named = named
            return function(module, *tensors, **named)

        def gave(_layer: object, _args: object, output: torch.Tensor) -> None:
            self.projected_key = output[0].numpy().copy()

        def rotary(_module: Any, _args: Any, named: dict[str, Any]) -> None:  # noqa: ANN401
            self.rotary = named["position_embeddings"]

        def took(_layer: object, args: tuple[torch.Tensor, ...]) -> None:
            self.mixed = args[0][0].numpy().copy()

        parts = dict(self.module.named_children())
        hooks = [
            parts[key].register_forward_hook(gave),
            parts[out].register_forward_pre_hook(took),
            self.module.register_forward_pre_hook(rotary, with_kwargs=True),
        ]
        with attention_calls(first):
            yield
        for hook in hooks:
            hook.remove()


def by_token(states: Array) -> Array:
    """``[heads, tokens, channels]``: groups within a token."""
    flat = states.reshape(-1, states.shape[-1])
    return quant.quantize(flat, SPEC).dequantize().reshape(states.shape)


def by_channel(states: Array) -> Array:
    """The same with groups of tokens, from the sinks on; the last may stay open."""
    result = states.copy()
    for start in range(SINKS, states.shape[1] - GROUP + 1, GROUP):
        for head in result:
            own = head[start : start + GROUP]
            own[:] = quant.quantize(own.T, SPEC).dequantize().T
    return result


def rotated(states: Array, seen: Seen) -> Array:
    """Keys ``[heads, tokens, channels]`` with their rotary embedding."""
    cos, sin = (own[0].numpy() for own in seen.rotary)
    width = cos.shape[-1]
    turned, rest = states[..., :width], states[..., width:]
    half = np.concatenate([-turned[..., width // 2 :], turned[..., : width // 2]], -1)
    return np.concatenate([turned * cos + half * sin, rest], -1)


def attention(seen: Seen, sides: tuple[tuple[Array, Array], ...], options: CacheRounding) -> Array:
    """``[tokens, heads * channels]``: softmax over what each query sees of exact and rounded."""
    (exact_key, exact_value), (key, value) = sides
    heads, length, width = seen.query.shape
    scale = seen.named["scaling"] or width**-0.5
    cap, window = seen.named.get("softcap"), seen.named.get("sliding_window") or length
    result = np.zeros((length, heads * width), np.float32)
    for head in range(heads):
        own = head // (heads // len(key))
        for t in range(length):
            score, chosen = [], []
            for s in range(max(0, t - window + 1), t + 1):
                group = SINKS + (s - SINKS) // GROUP * GROUP
                is_delayed = options.keys == "channel" and s >= SINKS
                end = group + GROUP - 1 if is_delayed else s
                old_key, old_value = end <= t - options.recent, s <= t - options.recent
                score.append(scale * seen.query[head, t] @ (key if old_key else exact_key)[own, s])
                chosen.append((value if old_value else exact_value)[own, s])
            logits = np.array(score)
            logits = np.tanh(logits / cap) * cap if cap else logits
            share = np.exp(logits - logits.max())
            result[t, head * width : (head + 1) * width] = share / share.sum() @ np.array(chosen)
    return result


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("rotary", ["before", "after"])
@pytest.mark.parametrize("keys", ["token", "channel"])
@pytest.mark.parametrize("recent", [0, RECENT])
def test_each_query_sees_its_own_mix(name: str, rotary: str, keys: str, recent: int) -> None:
    model = tiny(name)
    options = CacheRounding(keys, recent, SINKS, rotary)
    exact = Seen(model, name)
    raw = exact.key
    if rotary == "before":
        columns = exact.projected_key.reshape(24, -1, WIDTH).swapaxes(0, 1)
        raw = columns[1::3] if name == "gpt_neox" else columns  # each head's query, key, value
        assert np.allclose(rotated(raw, exact), exact.key, atol=1e-5)
    key = by_channel(raw) if keys == "channel" else by_token(raw)
    value = by_token(exact.value)
    key = rotated(key, exact) if rotary == "before" else key
    key[:, :SINKS], value[:, :SINKS] = exact.key[:, :SINKS], exact.value[:, :SINKS]
    wanted = attention(exact, ((exact.key, exact.value), (key, value)), options)
    found = Seen(model, name, kv=SPEC, **vars(options)).mixed
    assert np.allclose(found, wanted, atol=2e-5)
    assert np.abs(found - exact.mixed).max() > 1e-2


@pytest.mark.parametrize("rotary", ["before", "after"])
@pytest.mark.parametrize("name", ["llama", "gpt2", "phi3", "deepseek_v3", "cohere", "qwen2_moe"])
def test_nothing_comes_from_the_future(name: str, rotary: str) -> None:
    """Other last tokens change no logits before them; windows as long as the text change none."""
    model = tiny(name)
    text, other = tokens(), tokens()
    other[:, 17:] = tokens(7, seed=9)
    kinds = ["token"] if name == "deepseek_v3" else ["token", "channel"]
    with torch.no_grad():
        exact = model(input_ids=text, use_cache=False).logits
        for keys in kinds:
            with quant.rounded_activations(model, kv=SPEC, keys=keys, recent=2, rotary=rotary):
                one, two = (model(input_ids=own, use_cache=False).logits for own in (text, other))
            assert torch.allclose(one[:, :17], two[:, :17], atol=1e-4)
            assert float((one - exact).abs().max()) > 1e-2
            with quant.rounded_activations(model, kv=SPEC, keys=keys, recent=24, rotary=rotary):
                seen = model(input_ids=text, use_cache=False).logits
            assert torch.allclose(seen, exact, atol=1e-4)


def test_before_and_after_are_one_without_a_rotary_embedding() -> None:
    spec = quant.parse_spec(SPEC)
    for name in ("gpt2", "bloom", "mpt"):
        model = tiny(name)
        found = []
        for rotary in ("before", "after"):
            with torch.no_grad(), rounded_cache(model, spec, CacheRounding(rotary=rotary)):
                found.append(model(input_ids=tokens(), use_cache=False).logits)
        assert torch.equal(*found)


def test_eager_attention_and_batches_agree() -> None:
    model = tiny("llama")
    texts = torch.cat([tokens(), tokens(seed=2)])
    with (
        torch.no_grad(),
        quant.rounded_activations(model, kv=SPEC, keys="channel", recent=3, sinks=2),
    ):
        together = model(input_ids=texts, use_cache=False).logits
        model.set_attn_implementation("eager")
        apart = [model(input_ids=own[None], use_cache=False).logits for own in texts]
    assert torch.allclose(together, torch.cat(apart), atol=1e-4)
