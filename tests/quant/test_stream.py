"""quantize_checkpoint: the codes of quantize_model, bounded, resumable, whole or absent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

import quant
from quant.checkpoints.contents import load_manifest
from quant.checkpoints.folder import load_quantized, load_rest
from quant.checkpoints.shards import ShardedModel
from quant.checkpoints.stream import quantize_checkpoint
from quant.common.errors import RequestError
from quant.tensors.arrays import parts


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama in bfloat16, in several shards."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=160, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("source") / "llama"
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="60KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 3
    return folder


def equal(
    folder: Path, model: torch.nn.Module, formats: str | dict[str, str], method: str = ""
) -> None:
    """Compare a folder with quantize_model of the same model."""
    rest = {name: value.detach().clone() for name, value in model.named_parameters()}
    wanted = quant.quantize_model(model, formats, method=method).tensors
    found = load_quantized(folder)
    assert found.keys() == wanted.keys()
    for path, tensor in wanted.items():
        assert found[path].spec == tensor.spec
        for part, values in parts(tensor).items():
            assert np.array_equal(getattr(found[path], part), values), (path, part)
    kept = load_rest(folder)
    assert kept.keys() == rest.keys() - {f"{path}.weight" for path in wanted}
    assert all(torch.equal(kept[name], rest[name]) for name in kept)


@pytest.mark.parametrize(
    ("formats", "method"),
    [
        ("bitmod4:g64", ""),
        ({"*": "int4-asym:g32", "lm_head": "int8:row", "*.down_proj": "nvfp4"}, ""),
        ({"*": "fp4:g32", "*.o_proj": "bf16"}, ""),
        ("int3-asym:g64", "clip"),
        ("int4-asym:g64", "hqq"),
    ],
)
def test_the_codes_are_those_of_quantize_model(
    formats: str | dict[str, str], method: str, source: Path, tmp_path: Path
) -> None:
    report = quantize_checkpoint(
        source, tmp_path / "out", formats, method=method, shard_bytes=30_000
    )
    assert len(list((tmp_path / "out").glob("quantized-*"))) > 1
    assert len(list((tmp_path / "out").glob("rest-*"))) >= 1
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    equal(tmp_path / "out", model, formats, method)
    manifest = load_manifest(tmp_path / "out")
    assert manifest.model == "llama"
    assert report.layers.keys() == manifest.layers.keys()
    assert 3 < report.effective_bits < 17


def test_transposed_layers_and_tied_heads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=2)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path / "gpt2")
    quantize_checkpoint(tmp_path / "gpt2", tmp_path / "out", "int4-asym:g32")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "gpt2")
    wanted = quant.quantize_model(again, "int4-asym:g32").tensors
    found = load_quantized(tmp_path / "out")
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[p].codes, wanted[p].codes) for p in wanted)


def test_without_a_config_names_decide(source: Path, tmp_path: Path) -> None:
    arrays: dict[str, torch.Tensor] = {}
    for path in source.glob("model-*.safetensors"):
        arrays |= load_file(path)
    (tmp_path / "bare").mkdir()
    save_file(arrays, tmp_path / "bare/model.safetensors")
    quantize_checkpoint(tmp_path / "bare", tmp_path / "out", "fp4:g32")
    quantize_checkpoint(source, tmp_path / "known", "fp4:g32")
    assert load_manifest(tmp_path / "out").layers == load_manifest(tmp_path / "known").layers


def cut_after(source: Path, folder: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Interrupt a run at a tensor; return the names of the tensors that are read, as they are."""
    read = ShardedModel.read
    seen: list[str] = []

    def noted(model: ShardedModel, name: str) -> torch.Tensor:
        seen.append(name)
        if len(seen) == count:
            raise KeyboardInterrupt
        return read(model, name)

    monkeypatch.setattr(ShardedModel, "read", noted)
    with pytest.raises(KeyboardInterrupt):
        quantize_checkpoint(source, folder, "bitmod4:g64", shard_bytes=10_000)
    assert not folder.exists()
    return seen


def test_a_cut_run_goes_on(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quantize_checkpoint(source, tmp_path / "whole", "bitmod4:g64", shard_bytes=10_000)
    seen = cut_after(source, tmp_path / "out", 15, monkeypatch)
    first = len(seen)
    quantize_checkpoint(source, tmp_path / "out", "bitmod4:g64", shard_bytes=10_000)
    again = seen[first:]
    assert 0 < len(again) < len(whole.layers) + 8
    assert set(again) != set(seen)
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    assert not list(tmp_path.glob(".*"))


def test_another_request_does_not_go_on(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cut_after(source, tmp_path / "out", 15, monkeypatch)
    quantize_checkpoint(source, tmp_path / "out", "fp4:g32")
    assert len(load_quantized(tmp_path / "out")) == 21
    said = " ".join(capsys.readouterr().err.split())
    assert "run of another request is given up (it differs in shard_bytes, formats)" in said


def test_a_finished_request_is_not_done_again(source: Path, tmp_path: Path) -> None:
    first = quantize_checkpoint(source, tmp_path / "out", "fp4:g32")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = quantize_checkpoint(source, tmp_path / "out", "fp4:g32")
    assert (first.was_there, again.was_there) == (False, True)
    assert again.layers == first.layers
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(RequestError, match=r"another request \(it differs in .*formats.*overwrite"):
        quantize_checkpoint(source, tmp_path / "out", "bitmod4:g32")
    (tmp_path / "out/notes.txt").write_text("mine")
    quantize_checkpoint(source, tmp_path / "out", "bitmod4:g32", overwrite=True)
    assert {str(spec) for spec, _ in load_manifest_layers(tmp_path / "out")} == {"bitmod4:g32:fp16"}
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def load_manifest_layers(folder: Path) -> list[tuple[str, tuple[int, int]]]:
    return [(layer.format, layer.shape) for layer in load_manifest(folder).layers.values()]


def damaged(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("kind", ["cut", "missing", "index", "nan", "none", "config"])
def test_bad_sources_are_refused_by_name(kind: str, source: Path, tmp_path: Path) -> None:
    folder = damaged(source, tmp_path / "bad")
    shards = sorted(folder.glob("model-*.safetensors"))
    message = {
        "cut": "not readable as safetensors",
        "missing": "of the index is missing",
        "index": "weight_map is no table of file names",
        "nan": r"tensor .*weight: weight \[0, 0\] is nan",
        "none": "nothing to quantize",
        "config": "unheard-of",
    }[kind]
    if kind == "cut":
        shards[1].write_bytes(shards[1].read_bytes()[:-20])
    elif kind == "missing":
        shards[1].unlink()
    elif kind == "index":
        (folder / "model.safetensors.index.json").write_text('{"weight_map": [1]}')
    elif kind == "none":
        for path in [*shards, folder / "model.safetensors.index.json"]:
            path.unlink()
    elif kind == "config":
        (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    else:
        index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
        name = index["model.layers.1.mlp.up_proj.weight"]
        arrays = load_file(folder / name)
        arrays["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.nan
        save_file(arrays, folder / name)
    with pytest.raises(RequestError, match=message):
        quantize_checkpoint(folder, tmp_path / "out", "fp4:g32")
    assert not (tmp_path / "out").exists()


def test_methods_that_look_at_inputs_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be streamed"):
        quantize_checkpoint(source, tmp_path / "out", "fp4:g32", method="gptq")
