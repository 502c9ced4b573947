"""Every kernel of torch that multiplies is counted; what is not known is named, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GptOssConfig,
    MixtralConfig,
    Qwen3MoeConfig,
    T5Config,
    T5ForConditionalGeneration,
)

import roofline
from quant.common.errors import RequestError
from tests.roofline.test_tracing import counted_macs, on_meta


@torch.library.custom_op("tracing_test::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@twice.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Products(nn.Module):
    """A kernel of torch that multiplies, called by hand."""

    def __init__(self, run: Callable[..., torch.Tensor], **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.run = run
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(x, **self.weights)


def int8(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.int8)


def fp8(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.float8_e4m3fn)


def grouped(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    ends = torch.zeros(len(w), dtype=torch.int32, device=x.device)
    return torch._grouped_mm(x, w, offs=ends)


ONE = torch.ones(())
KERNELS: dict[str, tuple[Callable[..., torch.Tensor], dict[str, tuple[int, ...]], int]] = {
    # What runs on 32 x 48 inputs, its parameters, and multiply-accumulates by hand.
    "mv": (lambda x, w: torch.mv(w, x[0]), {"w": (7, 48)}, 7 * 48),
    "addmv": (lambda x, w, b: torch.addmv(b, w, x[0]), {"w": (7, 48), "b": (7,)}, 7 * 48),
    "dot": (lambda x: torch.dot(x[0], x[1]), {}, 48),
    "vdot": (lambda x: torch.vdot(x[0], x[1]), {}, 48),
    "addbmm": (
        lambda x: torch.addbmm(x[:4, :1], x.reshape(4, 4, 96), x.reshape(4, 96, 4)[:, :, :1]),
        {}, 4 * 4 * 96,
    ),
    "outer by mm": (lambda x: x[:, :1] @ x[:1], {}, 32 * 48),
    "int_mm": (lambda x: torch._int_mm(int8(x), int8(x.T)), {}, 32 * 32 * 48),
    "scaled_mm": (
        lambda x: torch._scaled_mm(
            fp8(x), fp8(x).T, ONE.to(x.device), ONE.to(x.device), out_dtype=torch.bfloat16
        ),
        {}, 32 * 32 * 48,
    ),
    "int8pack": (
        lambda x: torch._weight_int8pack_mm(x.bfloat16(), int8(x[:16]), x[0, :16].bfloat16()),
        {}, 32 * 16 * 48,
    ),
    "grouped": (grouped, {"w": (5, 48, 16)}, 32 * 48 * 16),
    "bilinear": (
        lambda x, w: torch.nn.functional.bilinear(x[:, :8], x[:, :6], w), {"w": (3, 8, 6)},
        32 * 3 * 8 * 6,
    ),
    "attention": (
        lambda x: torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            *3 * (x.reshape(1, 2, 32, 24),), 0.0, True
        )[0],
        {}, 2 * 2 * 24 * (32 * 33 // 2),
    ),
    "chain_matmul": (lambda x: torch.linalg.multi_dot([x, x.T, x]), {}, 2 * 32 * 32 * 48),
    "tensordot": (lambda x: torch.tensordot(x, x, dims=([1], [1])), {}, 32 * 32 * 48),
}  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_every_product_is_counted(name: str) -> None:
    run, shapes, macs = KERNELS[name]
    work = roofline.trace(Products(run, **shapes), [torch.zeros(32, 48)], strict=True)
    assert work.macs == macs
    assert work.template.parameters == sum(math.prod(shape) for shape in shapes.values())
    assert work.unknown == ()


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("aten::_fft_r2c", torch.fft.rfft),
        ("aten::_linalg_solve_ex", lambda x: torch.linalg.solve(x[:, :32], x)),
        ("aten::_euclidean_dist", lambda x: torch.cdist(x, x)),
        ("tracing_test::twice", lambda x: twice(x) + 0),
    ],
)
def test_what_is_not_known_is_named(
    name: str, run: Callable[..., torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    work = roofline.trace(Products(run), [torch.zeros(32, 48)])
    assert len(work.unknown) == 1
    assert name.partition("::")[2] in work.unknown[0]
    assert name in "".join(capsys.readouterr().err.split())
    assert [op.op for op in work.ops if op.name in work.unknown] == ["Unknown"]
    assert roofline.analyze(work, "h100-sxm").time_s > 0
    with pytest.raises(RequestError, match=f"kernels that are not known: {name} \\(1\\)"):
        roofline.trace(Products(run), [torch.zeros(32, 48)], strict=True)


SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
}  # fmt: skip
MIXTURES = {
    "mixtral": (MixtralConfig, {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3_moe": (
        Qwen3MoeConfig,
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    ),
    "gpt_oss": (GptOssConfig, {"num_local_experts": 4, "num_experts_per_tok": 2}),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_are_all_counted(name: str) -> None:
    """As the built-in family: the products of grouped kernels, parameters, each expert by name."""
    kind, own = MIXTURES[name]
    config = {**SMALL, **own, "tie_word_embeddings": False}
    module = on_meta(lambda: AutoModelForCausalLM.from_config(kind(**config)))
    traced = roofline.trace(module, {"input_ids": torch.zeros(1, 8, dtype=torch.long)}, strict=True)
    built = roofline.workload({**config, "model_type": name}, "prefill", 1, 8, logits="all")
    assert traced.template.parameters == sum(value.numel() for value in module.parameters())
    products = {"Linear", "Experts"}
    sums = [sum(op.macs for op in work.ops if op.op in products) for work in (traced, built)]
    assert sums[0] == sums[1]
    experts = [path for path in traced.inventory if path.endswith("[3]")]
    assert len(experts) == 2 * 2


def test_shared_tables_are_counted_once() -> None:
    config = T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    module = on_meta(lambda: T5ForConditionalGeneration(config))
    ids = {"input_ids": torch.zeros(1, 8, dtype=torch.long)}
    inputs = ids | {"decoder_input_ids": torch.zeros(1, 4, dtype=torch.long)}
    work = roofline.trace(module, inputs, strict=True)
    assert work.template.parameters == sum(value.numel() for value in module.parameters())
    assert work.macs == counted_macs(module, inputs)
