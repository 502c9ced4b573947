"""GGUF files: every tensor has its place; the converted copy in the cache notices damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

import quant
from quant.common.errors import RequestError
from quant.common.sealed import read_sealed, write_sealed
from quant.models import converted
from verification.reliability.inputs import Tensors, gguf_tensors, write_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def whole(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "whole.gguf", gguf_tensors())


def test_a_whole_file_gives_its_own_values(tmp_path: Path) -> None:
    model, tokenizer = quant.load_model(whole(tmp_path))
    up = model.get_parameter("model.layers.0.mlp.up_proj.weight").detach().numpy()
    np.testing.assert_array_equal(up, gguf_tensors()["blk.0.ffn_up.weight"])
    assert tokenizer("!")["input_ids"]


CHANGES: dict[str, tuple[Callable[[Tensors], object], dict[str, Any], str]] = {
    "a tensor less": (
        lambda t: t.pop("blk.0.ffn_up.weight"),
        {},
        r"files lack 'model\.layers\.0\.mlp\.up_proj\.weight'",
    ),
    "an output less": (lambda t: t.pop("output_norm.weight"), {}, r"files lack 'model\.norm"),
    "a tensor more": (
        lambda t: t.update({"blk.0.spare.weight": np.ones((2, 32), np.float32)}),
        {},
        r"'blk\.0\.spare\.weight'",
    ),
    "a layer more": (
        lambda t: t.update({k.replace("blk.0", "blk.1"): v for k, v in t.items() if "blk" in k}),
        {},
        r"'blk\.1\.",
    ),
    "a layer less": (lambda t: None, {"blocks": 2}, r"files lack 'model\.layers\.1"),
    "another shape": (
        lambda t: t.update({"blk.0.ffn_up.weight": np.ones((48, 32), np.float32)}),
        {},
        "another shape.*up_proj",
    ),
    "NaN": (
        lambda t: t["blk.0.ffn_up.weight"].__setitem__((5, 3), np.nan),
        {},
        r"ffn_up\.weight: block .* holds nan",
    ),
    "Inf": (
        lambda t: t["token_embd.weight"].__setitem__((5, 3), -np.inf),
        {},
        r"token_embd\.weight: block .* holds -inf",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_named(change: str, tmp_path: Path, cache: Path) -> None:
    edit, settings, said = CHANGES[change]
    found = gguf_tensors()
    edit(found)
    path = write_gguf(tmp_path / "bad.gguf", found, **settings)
    with pytest.raises(RequestError, match=said):
        quant.load_model(path)
    assert not list((cache / "models").glob("*"))


def test_nan_in_the_scale_of_a_block_is_named(tmp_path: Path) -> None:
    blocks = gguf.quantize(np.ones((4, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    blocks[2, 34:36] = (0, 0x7E)  # float16 NaN, in the second block of the third row
    path = tmp_path / "nan.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensor = quant.load_gguf(path)["w.weight"]
    for read in (tensor.dequantize, tensor.to_quantized):
        with pytest.raises(RequestError, match=r"w\.weight: block 5 \(Q8_0\) holds nan at 0"):
            read()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_flipped_bit_of_the_kept_copy_is_said_and_mended(
    file: str, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = whole(tmp_path)
    loaded, _ = quant.load_model(source)
    first = {name: value.clone() for name, value in loaded.state_dict().items()}  # not mapped
    (folder,) = (cache / "models").iterdir()
    content = (folder / file).read_bytes()
    place = len(content) - 30
    (folder / file).write_bytes(
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    )
    capsys.readouterr()
    again, _ = quant.load_model(source)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{file}: damaged: SHA-256" in said
    assert "made anew" in said
    assert (folder / file).read_bytes() == content
    for name, value in first.items():
        assert torch.equal(again.state_dict()[name], value)


def test_a_manifest_of_the_kept_copy_that_was_changed_is_not_believed(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = whole(tmp_path)
    quant.load_model(source)
    (folder,) = (cache / "models").iterdir()
    manifest = read_sealed(folder / "manifest.json")
    write_sealed(folder / "manifest.json", {**manifest, "request": {"gguf": ["another"]}})
    capsys.readouterr()
    quant.load_model(source)
    assert "of another version; made anew" in " ".join(capsys.readouterr().err.split())
    assert read_sealed(folder / "manifest.json") == manifest


def test_the_kept_copy_is_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = whole(tmp_path)
    quant.load_model(source)

    def forbidden(*_: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(converted, "convert", forbidden)
    quant.load_model(source)


def test_what_lies_beside_the_file_plays_no_part(tmp_path: Path) -> None:
    source = whole(tmp_path)
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        (tmp_path / name).write_text('{"auto_map": {"AutoConfig": "x.Y"}, "model_type": "x"}')
    model, _ = quant.load_model(source)
    assert type(model).__name__ == "LlamaForCausalLM"
