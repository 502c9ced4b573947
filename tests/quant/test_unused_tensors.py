"""Tensors that a model's class leaves out are said; what is kept whole is called what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import quant
from quant.checkpoints.contents import load_manifest
from quant.checkpoints.stream import quantize_checkpoint
from quant.checkpoints.unused import NOTE
from quant.methods.registry import METHODS
from quant.models.checkpoint import quantize_to_folder
from tests.quant.quantized_folders import FILE, float_folder, in_fp8, rewritten

FURTHER = "model.layers.61."


def with_further_layer(folder: Path) -> Path:
    """A DeepSeek-V3 whose files hold a layer that predicts further tokens."""
    arrays = load_file(folder / FILE)
    more = {n.replace("model.layers.1.", FURTHER): v.clone() for n, v in arrays.items()}
    return rewritten(folder, folder.with_name(f"{folder.name}-further"), arrays | more)


@pytest.mark.parametrize("coded", [False, True])
def test_layers_that_transformers_ignores(
    coded: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = float_folder(tmp_path / "floats", "deepseek-v3")
    if coded:
        source, _ = in_fp8(source, tmp_path / "fp8", (16, 16))
        arrays = load_file(source / FILE)
        more = {n.replace("model.layers.1.", FURTHER): v.clone() for n, v in arrays.items()}
        save_file(arrays | more, source / FILE, {"format": "pt"})
    else:
        source = with_further_layer(source)
    model, _ = quant.load_model(source)
    assert NOTE in " ".join(capsys.readouterr().err.split())
    report = quant.quantize_model(model, "int4:g16")
    streamed = quantize_checkpoint(source, tmp_path / "streamed", "int4:g16")
    quantize_to_folder(str(source), tmp_path / "whole", "int4:g16", METHODS["rtn"])
    for notes in (
        report.notes, streamed.notes,
        load_manifest(tmp_path / "streamed").notes, load_manifest(tmp_path / "whole").notes,
    ):  # fmt: skip
        left = [name for name, what in notes.items() if what == NOTE]
        assert left
        assert all(name.startswith(FURTHER) for name in left)
    assert any(line.startswith(NOTE) for line in streamed.warnings)
    assert any(line.startswith(NOTE) for line in report.warnings)


@pytest.mark.parametrize("family", ["qwen3-moe", "gpt-oss", "deepseek-v3"])
@pytest.mark.parametrize("ignore", ["*experts*", "*self_attn*", "*.layers.1.*"])
def test_both_ways_say_the_same_of_what_stays(family: str, ignore: str, tmp_path: Path) -> None:
    folder = float_folder(tmp_path / "floats", family)
    streamed = quantize_checkpoint(folder, tmp_path / "out", "int4:g16", ignore=[ignore])
    report = quant.quantize_model(quant.load_model(folder)[0], "int4:g16", ignore=[ignore])
    assert streamed.kept_said == report.kept_said
    assert streamed.coverage == report.coverage


def test_a_model_without_such_tensors_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = quant.load_model(float_folder(tmp_path / "floats", "llama"))
    assert NOTE not in " ".join(capsys.readouterr().err.split())
    with torch.no_grad():
        assert not quant.quantize_model(model, "int4:g16").notes
