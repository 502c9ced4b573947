"""Folders of tiny models in floats and the same in codes, written with independent arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    GptOssConfig,
    LlamaConfig,
    Qwen3MoeConfig,
)

from tests.own.tiny_llama import tiny_llama

FILE = "model.safetensors"
Tensors = dict[str, torch.Tensor]
SIZES = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
MOE = {"moe_intermediate_size": 48, "num_experts_per_tok": 2}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**SIZES),
    "qwen3-moe": lambda: Qwen3MoeConfig(**SIZES, **MOE, num_experts=4, head_dim=16),
    "deepseek-v3": lambda: DeepseekV3Config(
        **{**SIZES, "num_key_value_heads": 4}, **MOE, n_routed_experts=4, n_group=2, topk_group=1,
        q_lora_rank=24, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=16,
        first_k_dense_replace=1,
    ),
    "gpt-oss": lambda: GptOssConfig(
        **{**SIZES, "intermediate_size": 64}, num_local_experts=4, num_experts_per_tok=2,
        head_dim=16,
    ),
}  # fmt: skip


def float_folder(folder: Path, family: str) -> Path:
    """A model of floats with a tokenizer, as transformers writes it."""
    tiny_llama(folder)  # for the tokenizer
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(CONFIGS[family]())
    for name, buffer in model.named_buffers():
        if name.endswith("correction_bias"):
            buffer.copy_(torch.linspace(-1, 1, buffer.numel()))
    model.save_pretrained(folder)
    return folder


def rewritten(
    source: Path, folder: Path, tensors: Mapping[str, torch.Tensor], stated: object = None
) -> Path:
    """A copy of a model folder with other tensors, and codes that its config speaks of."""
    folder.mkdir()
    for path in source.iterdir():
        if path.name != FILE:
            (folder / path.name).write_bytes(path.read_bytes())
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / FILE, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    if stated is not None:
        config["quantization_config"] = stated
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def in_fp8(
    source: Path, folder: Path, size: tuple[int, int] | None, scale: torch.dtype = torch.float32
) -> tuple[Path, Path]:
    """A folder in 8-bit floats with blocks (None: one scale a tensor), and what it stands for."""
    arrays = load_file(source / FILE)
    rng = np.random.default_rng(2)
    codes, plain = dict(arrays), dict(arrays)
    for name, value in arrays.items():
        if "_proj" not in name or value.dim() != 2:
            continue
        rows, columns = size or value.shape
        grid = (-(-value.shape[0] // rows), -(-value.shape[1] // columns))
        scales = torch.from_numpy(rng.uniform(0.5, 2, grid).astype(np.float32)).to(scale)
        codes[name] = (value * 300).to(torch.float8_e4m3fn)
        codes[f"{name}_scale_inv"] = scales if size else scales.reshape(())
        each = np.kron(scales.float().numpy(), np.ones((rows, columns), np.float32))
        each = each[: value.shape[0], : value.shape[1]]
        plain[name] = torch.from_numpy(e4m3(codes[name].view(torch.uint8).numpy()) * each)
    stated: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic"}
    stated |= {"modules_to_not_convert": ["lm_head"]}
    if size:
        stated["weight_block_size"] = list(size)
    return rewritten(source, folder, codes, stated), rewritten(
        source, folder.with_name(folder.name + "-floats"), plain
    )


def e4m3(codes: np.ndarray) -> np.ndarray:
    """The values of 8-bit codes, from the text of the standard: bias 7, no infinities."""
    exponent, mantissa = (codes >> 3).astype(int) & 15, (codes & 7).astype(np.float64)
    size = np.where(exponent, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
    found: np.ndarray = np.where(codes >> 7, -size, size).astype(np.float32)
    return found


def in_mxfp4(source: Path, folder: Path) -> tuple[Path, Path]:
    """gpt-oss with random codes in its experts, and what it stands for."""
    arrays = load_file(source / FILE)
    rng = np.random.default_rng(3)
    codes, plain = dict(arrays), dict(arrays)
    for name, value in arrays.items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            continue
        experts, inputs, outputs = value.shape
        fours = rng.integers(0, 16, (experts, outputs, inputs // 32, 32)).astype(np.uint8)
        powers = rng.integers(118, 126, fours.shape[:-1]).astype(np.uint8)
        del codes[name]
        codes[f"{name}_blocks"] = torch.from_numpy(fours[..., ::2] | (fours[..., 1::2] << 4))
        codes[f"{name}_scales"] = torch.from_numpy(powers)
        sizes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])[fours & 7] * np.where(fours >> 3, -1.0, 1.0)
        values = sizes * 2.0 ** (powers.astype(float)[..., None] - 127)
        whole = values.reshape(experts, outputs, inputs).transpose(0, 2, 1)
        plain[name] = torch.from_numpy(whole.astype(np.float32).copy())
    stated = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    return rewritten(source, folder, codes, stated), rewritten(
        source, folder.with_name(folder.name + "-floats"), plain
    )
