"""Requests of quantize, export and eval: what is printed is what is written, faults are named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import quant
from quant.checkpoints.contents import load_manifest
from quant.common.errors import RequestError
from tests.docs.commands import run_command
from tests.own.tiny_llama import tiny_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("requests") / "m", hidden=128)


@pytest.fixture(scope="module")
def checkpoint(model: Path) -> Path:
    folder = model.with_name("codes")
    quant.quantize_checkpoint(model, folder, "int4:g32")
    return folder


def refused(line: str, folder: Path) -> str:
    """What a command that is refused says."""
    with pytest.raises(AssertionError, match="exit code 2") as caught:
        run_command(line.split(), folder)
    return " ".join(str(caught.value).split())


@pytest.mark.parametrize("way", ["--stream", "--no-stream"])
@pytest.mark.parametrize("rest", ["bf16", "bfloat16", "fp32"])
def test_the_bits_that_are_said_are_those_of_the_files(
    way: str, rest: str, model: Path, tmp_path: Path
) -> None:
    line = f"quant quantize {model} --weights int4:g32 --rest {rest} {way} -o out"
    for again in ("", "finished already"):
        said = run_command(line.split(), tmp_path)
        manifest = load_manifest(tmp_path / "out")
        assert f"whole model {manifest.whole_model_bits:.3f} bits a weight" in said
        assert again in said


def test_a_type_of_the_rest_is_named_as_it_was_given(model: Path, tmp_path: Path) -> None:
    said = refused(f"quant quantize {model} --weights int4 --rest int8 -o out", tmp_path)
    assert "rest 'int8': float32 (fp32), bfloat16 (bf16), float16 (fp16) is allowed" in said


@pytest.mark.parametrize("damage", ["cut", "empty", "list", "other version", "none"])
def test_a_damaged_manifest_is_named(damage: str, checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "codes")
    path = folder / "manifest.json"
    text = path.read_text(encoding="utf-8")
    others = {"cut": text[:500], "empty": "", "list": "[1]"}
    others["other version"] = text.replace("hwsim.checkpoint/2", "hwsim.checkpoint/9")
    path.unlink()
    if damage != "none":
        path.write_text(others[damage], encoding="utf-8")
    with pytest.raises(RequestError, match=r"codes/manifest\.json: "):
        quant.load_model(folder)
    small = "--tokens 128 --context 64"
    for line in (f"quant eval {folder} {small}", f"quant export {folder} --to gguf -o out"):
        assert "codes/manifest.json: " in refused(line, tmp_path)
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    ours = damage == "other version"  # by its schema: it may be replaced where that is asked for
    for more in ("",) if ours else ("", " --overwrite"):
        said = refused(f"quant quantize m --weights int4{more} -o {folder}", checkpoint.parent)
        assert ("--overwrite" if ours else "choose another folder") in said
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == kept


def test_a_manifest_that_lists_no_file_is_not_replaced(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "codes")
    (folder / "manifest.json").write_text(json.dumps({"schema": "hwsim.checkpoint/2"}))
    for more in ("", " --overwrite"):
        said = refused(f"quant quantize m --weights int4{more} -o {folder}", checkpoint.parent)
        assert "which files are ours is lost: choose another folder" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("block = 0", "block: Input should be greater than or equal to 1"),
        ("damping = -1.0", "damping: Input should be greater than or equal to 0"),
        ("damping = nan", "damping: "),
        ("norm = 0.0", "norm: Input should be greater than 0"),
        ("shrinks = [1.5]", "shrinks.0: Input should be less than or equal to 1"),
        ("act_ordr = true", "no option 'act_ordr'"),
    ],
)
def test_options_of_methods_have_ranges(options: str, said: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    table = f'{{format = "int4:g32", method = "gptq", {options}}}'
    plan.write_text(f'schema = "plan/1"\n[layers]\n"*.q_proj" = {table}\n', encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        quant.Plan.load(plan)
    assert "layers.*.q_proj: method 'gptq'" in str(caught.value)
    assert said in str(caught.value)


def test_a_regular_expression_may_hold_commas(model: Path, tmp_path: Path) -> None:
    line = f"quant quantize {model} --weights int4:g32 -o out --ignore re:.*[qk]{{1,2}}_proj"
    run_command([*line.split(), "--ignore", "*.gate_proj,*.up_proj"], tmp_path)
    kinds = {path.rsplit(".")[-1] for path in load_manifest(tmp_path / "out").layers}
    assert kinds == {"v_proj", "o_proj", "down_proj"}


@pytest.mark.parametrize("way", ["--stream", "--no-stream"])
def test_a_request_that_quantizes_nothing(way: str, model: Path, tmp_path: Path) -> None:
    line = f"quant quantize {model} --weights int4:g32 --ignore type:Linear {way} -o out"
    assert "nothing to quantize" in refused(line, tmp_path)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RequestError, match="nothing to quantize"):
        quant.quantize_model(torch.nn.Sequential(torch.nn.Linear(8, 8)), {})
    with pytest.raises(RequestError, match="nothing to quantize"):
        quant.quantize_checkpoint(model, tmp_path / "out", {})


def test_a_method_without_formats(model: Path, tmp_path: Path) -> None:
    said = refused(f"quant eval {model} --method gptq", tmp_path)
    assert "method 'gptq': --weights or --plan is needed too" in said


def test_a_tokenizer_without_merges_is_left_out_of_gguf(checkpoint: Path, tmp_path: Path) -> None:
    """This one has bytes alone: no reader of GGUF could split a text with it."""
    from gguf import GGUFReader

    quant.export(checkpoint, tmp_path / "out", to="gguf")
    fields = GGUFReader(tmp_path / "out/model.gguf").fields
    assert not any(name.startswith("tokenizer.") for name in fields)


@pytest.mark.parametrize(("name", "said"), [("none.toml", "no such file"), ("", "a folder")])
def test_files_that_are_not_there(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=said):
        quant.Plan.load(tmp_path / name)
    with pytest.raises(RequestError, match="no such file"):
        quant.load_quantized(tmp_path / "none")
    text = tmp_path / name
    assert said in refused(f"quant eval m --weights int4 --calibration-text {text}", tmp_path)


def test_static_scales_look_at_the_folder_first(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quant.models import export as module

    quant.quantize_checkpoint(model, tmp_path / "codes", "fp8-e4m3:row")
    done = quant.export(tmp_path / "codes", tmp_path / "out", activations="static")
    monkeypatch.setattr(module, "load_model", lambda *_, **__: pytest.fail("inputs are looked at"))
    again = quant.export(tmp_path / "codes", tmp_path / "out", activations="static")
    assert again.was_there
    assert again.files == done.files
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="not ours"):
        quant.export(tmp_path / "codes", tmp_path / "mine", activations="static")
