"""Tracing sees every product of a module: parameters and FLOPs equal torch's own counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

import roofline
from quant.common.errors import RequestError
from roofline.workloads.models import config_text
from roofline.workloads.template import parameters

Inputs = Mapping[str, torch.Tensor] | Sequence[torch.Tensor]
TOKENS = torch.zeros(1, 128, dtype=torch.long)
IMAGE = torch.zeros(1, 3, 224, 224)
LLAMA = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
}


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build().eval()


def counted_macs(module: nn.Module, inputs: Inputs) -> float:
    """Torch's own count, which takes attention as not causal."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if isinstance(inputs, Mapping):
            module(**{key: value.to("meta") for key, value in inputs.items()})
        else:
            module(*(value.to("meta") for value in inputs))
    return float(counter.get_total_flops()) / 2


class Odd(nn.Module):
    """Products in every dress: einsum, bmm of activations, a bare parameter, a loop, a group."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 8))
        self.conv = nn.Conv1d(8, 12, 3, groups=4, padding=1)
        self.up = nn.ConvTranspose1d(12, 8, 2, stride=2)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(self.conv(x.transpose(1, 2))).transpose(1, 2)[:, : x.shape[1]]
        for _ in range(2):
            y = self.norm(y + torch.bmm(torch.bmm(y, y.transpose(1, 2)), y))
        out: torch.Tensor = torch.einsum("btc,dc->btd", y, self.weight) @ self.weight
        return out


MODULES: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)),
        [torch.zeros(3, 8)],
    ),
    "odd": (Odd, [torch.zeros(2, 10, 8)]),
    "bert": (lambda: BertModel(BertConfig()), {"input_ids": TOKENS}),
    "vit": (lambda: ViTForImageClassification(ViTConfig(num_labels=1000)), {"pixel_values": IMAGE}),
    "resnet": (
        lambda: ResNetForImageClassification(ResNetConfig(num_labels=1000)),
        {"pixel_values": IMAGE},
    ),
    "efficientnet": (lambda: EfficientNet.from_name("efficientnet-lite0"), [IMAGE]),
}
BUILT_IN = {
    "bert": "bert-base-uncased",
    "vit": "vit-base-patch16-224",
    "resnet": "resnet-50",
    "efficientnet": "efficientnet-lite0",
}


@pytest.mark.parametrize("name", MODULES)
def test_parameters_and_flops_equal_torchs(name: str) -> None:
    build, inputs = MODULES[name]
    module = on_meta(build)
    work = roofline.trace(module, inputs, name=name)
    assert work.template.parameters == sum(value.numel() for value in module.parameters())
    assert work.macs == counted_macs(module, inputs)
    assert work.bytes > 2 * work.template.parameters * 0.9
    assert roofline.analyze(work, "h100-sxm").time_s > 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_families_agree(name: str) -> None:
    build, inputs = MODULES[name]
    traced = roofline.trace(on_meta(build), inputs)
    built = roofline.workload(BUILT_IN[name], "prefill", 1, 128)
    assert traced.macs == built.macs
    assert traced.template.parameters == parameters(*config_text(BUILT_IN[name]))
    paths = {op.name: op.macs for op in traced.ops if op.op in {"Linear", "Convolution"}}
    ours = {op.name: op.macs for op in built.ops if op.op in {"Linear", "Convolution"}}
    assert paths == ours


def test_a_llama_is_its_workload() -> None:
    config = LlamaConfig(**LLAMA, tie_word_embeddings=True)
    module = on_meta(lambda: LlamaForCausalLM(config))
    work = roofline.trace(module, {"input_ids": torch.zeros(2, 32, dtype=torch.long)})
    own = {**LLAMA, "model_type": "llama", "tie_word_embeddings": True}
    built = roofline.workload(own, "prefill", 2, 32, logits="all")
    traced = {op.name: op for op in work.ops}
    for op in built.ops:
        if op.op in {"Linear", "FlashAttention"}:
            assert traced[op.name].macs == op.macs, op.name
    assert work.template.parameters == parameters("own", config_text(own)[1])
    assert work.memory.weights == built.memory.weights


def test_formats_by_module_path() -> None:
    module = on_meta(MODULES["mlp"][0])
    work = roofline.trace(module, [torch.zeros(3, 8)], plan={"0": "int4:g8:fp16"})
    plain = roofline.trace(module, [torch.zeros(3, 8)])
    assert work.linears["0"].weight_bytes == 16 * (8 * 4 + 16) / 8 + 2 * 16
    assert work.linears["2"] == plain.linears["2"]


def test_the_module_stays_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
    module[2].eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    addresses = [value.data_ptr() for value in module.parameters()]
    roofline.trace(module, [torch.zeros(5, 4)])
    assert [value.data_ptr() for value in module.parameters()] == addresses
    assert [part.training for part in module.modules()] == [True, True, True, False]
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    module(torch.zeros(5, 4))


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (nn.Linear(4, 4), [torch.zeros(2, 5)], "the forward pass failed"),
        (nn.Linear(4, 4), [], "inputs must be tensors"),
        (nn.Linear(4, 4), [3], "inputs must be tensors"),
        ("a module", [torch.zeros(1)], "a torch module is needed"),
    ],
)
def test_bad_requests(module: nn.Module, inputs: list[torch.Tensor], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        roofline.trace(module, inputs)
    assert "\n" not in str(caught.value)
