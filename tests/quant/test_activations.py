"""The inputs of layers of all kinds are rounded, or what is not is said."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from tests.quant.tiny import one_thread, tiny, tokens


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def rounded(values: torch.Tensor, spec: str) -> torch.Tensor:
    """Rows ``[..., channels]`` as a matrix of their own."""
    flat = values.reshape(-1, values.shape[-1])
    return torch.from_numpy(quant.quantize(flat, spec).dequantize()).reshape(values.shape)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("gpt2", ["transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj"]),
        ("gpt_neox", ["gpt_neox.layers.0.attention.query_key_value"]),
        ("deepseek_v3", ["model.layers.0.self_attn.kv_b_proj", "model.layers.0.mlp.down_proj"]),
        ("mamba", ["backbone.layers.0.mixer.in_proj"]),
    ],
)
def test_layers_of_all_kinds(name: str, paths: list[str]) -> None:
    model = tiny(name)
    seen: dict[str, list[np.ndarray]] = {path: [] for path in [*paths, "head"]}
    layers = {path: model.get_submodule(path) for path in paths}
    layers["head"] = model.get_output_embeddings()

    def look(path: str) -> object:
        return lambda _layer, args: seen[path].append(args[0].numpy().copy())

    for spec in (None, "int4:g16"):
        with torch.no_grad(), quant.rounded_activations(model, inputs=spec):
            hooks = [own.register_forward_pre_hook(look(path)) for path, own in layers.items()]
            model(input_ids=tokens(), use_cache=False)
        for hook in hooks:
            hook.remove()
    for path in paths:
        found = torch.from_numpy(seen[path][1])
        assert not np.array_equal(seen[path][0], seen[path][1])
        assert len(np.unique(seen[path][1])) > 16
        assert torch.allclose(rounded(found, "int4:g16"), found, rtol=1e-3, atol=1e-6)
    first = torch.from_numpy(seen[paths[0]][0])  # what comes before it is not rounded
    if name != "deepseek_v3":
        assert torch.equal(rounded(first, "int4:g16"), torch.from_numpy(seen[paths[0]][1]))
    head = torch.from_numpy(seen["head"][1])
    assert float((rounded(head, "int4:g16") - head).abs().max()) > 1e-2


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_experts_in_a_stack(implementation: str) -> None:
    model = tiny("qwen2_moe")
    model.config._experts_implementation = implementation
    experts = model.model.layers[0].mlp.experts
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 32, generator=generator)
    chosen = torch.randint(0, 4, (9, 1), generator=generator)
    share = torch.rand(9, 1, generator=generator)
    with torch.no_grad():
        plain = experts(x, chosen, share)
        with quant.rounded_activations(model, inputs="int4:g16"):
            found = experts(x, chosen, share)
        wanted = torch.zeros_like(x)
        for row, expert in enumerate(chosen[:, 0]):
            both = experts.gate_up_proj[expert] @ rounded(x[row : row + 1], "int4:g16")[0]
            gate, up = both.chunk(2)
            inner = rounded((nn.functional.silu(gate) * up)[None], "int4:g16")[0]
            wanted[row] = share[row] * (experts.down_proj[expert] @ inner)
    # A value that lies between two codes may go to the other one where sums differ in an ulp.
    near = torch.isclose(found, wanted, rtol=1e-4, atol=1e-5).float().mean()
    assert near > 0.9
    assert torch.isclose(found, plain, rtol=1e-4, atol=1e-5).float().mean() < 0.1


def test_convolutions_are_rounded_along_their_channels() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(16, 4, 3), nn.Conv2d(1, 2, 3))
    x = torch.randn(2, 16, 40)
    with torch.no_grad(), quant.rounded_activations(model, inputs="int4:row"):
        found = model[0](x)
    own = rounded(x.transpose(1, 2), "int4:row").transpose(1, 2)
    assert torch.equal(found, model[0](own).detach())


def test_quantized_experts_take_rounded_inputs() -> None:
    model = tiny("qwen2_moe")
    with torch.no_grad(), quant.quantized(model, "int8:g16"):
        exact = model(input_ids=tokens(), use_cache=False).logits
        with quant.rounded_activations(model, inputs="int4:g16"):
            found = model(input_ids=tokens(), use_cache=False).logits
        assert not torch.equal(found, exact)
        assert torch.equal(model(input_ids=tokens(), use_cache=False).logits, exact)


def test_attention_of_torch_is_refused_by_its_path() -> None:
    model = nn.ModuleDict({"attention": nn.MultiheadAttention(16, 2), "after": nn.Linear(16, 16)})
    with (
        pytest.raises(RequestError, match=r"attention\.in_proj_weight: the inputs in a Multihead"),
        quant.rounded_activations(model, inputs="int8"),
    ):
        pass


def test_layers_that_a_run_goes_past_are_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HWSIM_QUIET", raising=False)
    model = nn.ModuleDict({"used": nn.Linear(8, 8), "dead": nn.Linear(8, 8)})
    with quant.rounded_activations(model, inputs="int8"):
        model["used"](torch.ones(1, 8))
    said = capsys.readouterr().err
    assert "1 layers were not rounded" in said
    assert "dead" in said
    with quant.rounded_activations(model, inputs="int8"):
        for layer in model.values():
            layer(input=torch.ones(1, 8))
    assert not capsys.readouterr().err
