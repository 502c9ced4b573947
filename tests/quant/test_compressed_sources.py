"""Folders of compressed-tensors, written by the library itself and decoded as it decodes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import quant
from quant.checkpoints.stream import quantize_checkpoint
from quant.common.errors import RequestError
from tests.quant.quantized_folders import FILE, float_folder, rewritten
from tests.quant.test_quantized_sources import alike

Tensors = dict[str, torch.Tensor]
GROUP = {"strategy": "group", "group_size": 16}
CHANNEL = {"strategy": "channel"}
FLOAT4 = {"num_bits": 4, "type": "float", "group_size": 16, "strategy": "tensor_group"}
FLOAT8 = {"num_bits": 8, "type": "float"}
SCHEMES: dict[str, tuple[str, dict[str, Any]]] = {
    "W4A16": ("pack-quantized", {"num_bits": 4, **GROUP}),
    "W4A16 asymmetric": ("pack-quantized", {"num_bits": 4, "symmetric": False, **GROUP}),
    "W3 asymmetric rows": ("pack-quantized", {"num_bits": 3, "symmetric": False, **CHANNEL}),
    "W8A16 rows": ("pack-quantized", {"num_bits": 8, **CHANNEL}),
    "W8A8": ("int-quantized", {"num_bits": 8, **CHANNEL}),
    "W8 asymmetric": ("naive-quantized", {"num_bits": 8, "symmetric": False, **GROUP}),
    "FP8 rows": ("float-quantized", {**FLOAT8, **CHANNEL}),
    "FP8 tensor": ("float-quantized", {**FLOAT8, "strategy": "tensor"}),
    "FP8 blocks": (
        "float-quantized", {**FLOAT8, "strategy": "block", "block_structure": [32, 32]},
    ),
    "NVFP4": ("nvfp4-pack-quantized", FLOAT4),
    "MXFP4": ("mxfp4-pack-quantized", {**FLOAT4, "group_size": 32, "strategy": "group"}),
    "MXFP8": ("mxfp8-quantized", {**FLOAT8, "group_size": 32, "strategy": "group"}),
}  # fmt: skip


def compressed(
    weight: torch.Tensor, layout: str, settings: dict[str, Any], dtype: torch.dtype
) -> tuple[Tensors, torch.Tensor]:
    """What the library makes of a weight, and what it reads back with scales in float32."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.nvfp4 import unpack_fp4_from_uint8
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    args = QuantizationArgs(**settings)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    rows, columns = weight.shape
    block = settings.get("block_structure") or [1, settings.get("group_size", columns)]
    if args.strategy == "tensor":
        block = [rows, columns]
    grid = (-(-rows // block[0]), -(-columns // block[1]))
    state: Tensors = {"weight": weight, "weight_scale": (torch.rand(grid) * 0.02 + 0.01).to(dtype)}
    if layout.startswith("mx"):
        state["weight_scale"] = 2.0 ** torch.randint(-9, -5, grid)
    if layout.startswith("nvfp4"):
        state["weight_global_scale"] = torch.tensor([37.3])
        state["weight_scale"] = (torch.rand(grid) + 0.5).to(torch.float8_e4m3fn).float()
    if args.strategy == "tensor":
        state["weight_scale"] = state["weight_scale"].reshape(1)
    if not args.symmetric:
        half = 1 << (args.num_bits - 1)
        state["weight_zero_point"] = torch.randint(-half, half, grid, dtype=torch.int8)
    compressor = BaseCompressor.get_value_from_registry(layout)
    stored = compressor.compress(state, scheme)
    wide = dict(stored)
    if wide["weight_scale"].dtype == torch.bfloat16:
        wide["weight_scale"] = wide["weight_scale"].float()
        ours = compressor.decompress(wide, scheme)["weight"]
        theirs = compressor.decompress(stored, scheme)["weight"]
        assert torch.equal(ours.to(torch.bfloat16), theirs)  # as the library's own type rounds
    if "4-pack" not in layout:
        return stored, compressor.decompress(wide, scheme)["weight"]
    # There the library rounds to bfloat16; its own steps in float32 do not.
    wanted = dequantize(
        unpack_fp4_from_uint8(stored["weight_packed"], rows, columns, torch.float32),
        compressor._decompress_scale(stored["weight_scale"], torch.float32),
        args=args,
        global_scale=stored.get("weight_global_scale"),
    )
    assert torch.equal(wanted.to(torch.bfloat16), compressor.decompress(stored, scheme)["weight"])
    return stored, wanted


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return float_folder(tmp_path_factory.mktemp("compressed") / "floats", "llama")


def in_scheme(
    source: Path, folder: Path, kind: str, dtype: torch.dtype = torch.float32
) -> tuple[Path, Path]:
    """A folder whose projections are codes, and the floats that the library reads."""
    layout, settings = SCHEMES[kind]
    codes, plain = load_file(source / FILE), load_file(source / FILE)
    for name in [name for name in codes if "self_attn" in name]:
        stored, plain[name] = compressed(codes.pop(name), layout, settings, dtype)
        module = name.removesuffix("weight")
        codes |= {f"{module}{part}": value for part, value in stored.items()}
        codes[f"{module}input_scale"] = torch.ones(1)  # of activations: of no use here
    stated = {
        "quant_method": "compressed-tensors", "format": layout, "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": settings}},
    }  # fmt: skip
    return rewritten(source, folder, codes, stated), rewritten(
        source, folder.with_name(folder.name + "-floats"), plain
    )


@pytest.mark.parametrize("kind", SCHEMES)
def test_the_library_is_the_oracle(kind: str, source: Path, tmp_path: Path) -> None:
    coded, plain = in_scheme(source, tmp_path / "coded", kind)
    model, wanted = quant.load_model(coded)[0], load_file(plain / FILE)
    for name, value in model.state_dict().items():
        assert torch.equal(value, wanted[name].float()), name


@pytest.mark.parametrize("kind", ["W4A16 asymmetric", "FP8 rows"])
def test_streamed_and_in_memory_alike(kind: str, source: Path, tmp_path: Path) -> None:
    alike(*in_scheme(source, tmp_path / "coded", kind, torch.bfloat16))


def test_groups_are_told_apart_by_name(source: Path, tmp_path: Path) -> None:
    codes, plain = load_file(source / FILE), load_file(source / FILE)
    groups: dict[str, Any] = {}
    for target, part, kind in (
        ("re:.*self_attn.*", "self_attn", "W4A16"), ("Linear", "mlp", "FP8 rows"),
    ):  # fmt: skip
        layout, settings = SCHEMES[kind]
        groups[kind] = {"targets": [target], "weights": settings, "format": layout}
        for name in [name for name in plain if part in name and name.endswith("proj.weight")]:
            stored, plain[name] = compressed(codes.pop(name), layout, settings, torch.float32)
            codes |= {name.removesuffix("weight") + key: value for key, value in stored.items()}
    stated: dict[str, Any] = {"quant_method": "compressed-tensors", "format": "mixed-precision"}
    stated["config_groups"] = groups
    coded = rewritten(source, tmp_path / "mixed", codes, stated)
    model = quant.load_model(coded)[0]
    assert all(torch.equal(value, plain[name]) for name, value in model.state_dict().items())


def test_columns_in_another_order(source: Path, tmp_path: Path) -> None:
    coded, plain = in_scheme(source, tmp_path / "coded", "W4A16 asymmetric")
    arrays = load_file(coded / FILE)
    wanted = load_file(plain / FILE)
    module = "model.layers.0.self_attn.q_proj"
    # Each column names its own group: the same as no order; then all of them the group 2.
    arrays[f"{module}.weight_g_idx"] = torch.arange(64, dtype=torch.int32) // 16
    same = rewritten(coded, tmp_path / "same", arrays)
    assert torch.equal(
        quant.load_model(same)[0].get_parameter(f"{module}.weight"), wanted[f"{module}.weight"]
    )
    arrays[f"{module}.weight_g_idx"] = torch.full((64,), 2, dtype=torch.int32)
    moved = rewritten(coded, tmp_path / "moved", arrays)
    arrays[f"{module}.weight_g_idx"] = torch.full((64,), 4, dtype=torch.int32)
    with pytest.raises(RequestError, match=r"self_attn\.q_proj: a column is of group 4 of 4"):
        quant.load_model(rewritten(coded, tmp_path / "bad", arrays))
    found = quant.load_model(moved)[0].get_parameter(f"{module}.weight")
    assert torch.equal(found[:, 32:48], wanted[f"{module}.weight"][:, 32:48])
    assert not torch.equal(found[:, :16], wanted[f"{module}.weight"][:, :16])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "marlin-24"}, "format 'marlin-24' is not read .allowed: pack-quantized"),
        ({"format": "dense"}, "format 'dense' is not read"),
        ({"sparsity_config": {"format": "sparse-24-bitmask"}}, "sparse-24-bitmask. is not read"),
        ({"transform_config": {"config_groups": {"u": 1}}}, "with transform_config"),
        ({"config_groups": {"W4A16": ["Linear"]}}, "group 'W4A16' has no list of targets"),
        ({"config_groups": {}}, "0 groups of its quantization_config mean it"),
        ({"bits": 3}, "weight_packed' is I32 of shape .* it does not fit"),
        ({"group_size": 32}, "weight_scale' is F32 of shape .* it does not fit"),
        ({"missing": "weight_scale"}, "weight_packed' has no .*weight_scale' beside it"),
        ({"missing": "weight_zero_point"}, "has no .*weight_zero_point' beside it"),
        ({"missing": "weight_packed"}, "part of no codes|weight_scale"),
    ],
)
def test_what_is_not_read_is_refused(
    change: dict[str, Any], said: str, source: Path, tmp_path: Path
) -> None:
    coded, _ = in_scheme(source, tmp_path / "coded", "W4A16 asymmetric")
    arrays = load_file(coded / FILE)
    config = json.loads((coded / "config.json").read_text())
    stated = config["quantization_config"]
    weights = stated["config_groups"]["group_0"]["weights"]
    if "missing" in change:
        del arrays[f"model.layers.0.self_attn.q_proj.{change['missing']}"]
    elif "bits" in change:
        weights["num_bits"] = change["bits"]
    elif "group_size" in change:
        weights |= change
    else:
        stated |= change
    bad = rewritten(coded, tmp_path / "bad", arrays, stated)
    for read in (quant.load_model, lambda at: quantize_checkpoint(at, tmp_path / "out", "fp4:g32")):
        with pytest.raises(RequestError, match=said) as caught:
            read(bad)
        assert "\n" not in str(caught.value)
