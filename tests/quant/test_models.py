"""Models and text: checked downloads, data that is never run, clear refusals."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

import quant
from quant.common.errors import HwsimError, RequestError
from quant.models.catalog import MODELS, TEXTS, Package
from quant.models.packages import package_file, unpack


def wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def pinned(content: bytes, member: str = "pack/data.bin") -> Package:
    return Package("pack", "1.0", None, {member: hashlib.sha256(content).hexdigest()})


def test_only_pinned_files_are_unpacked(tmp_path: Path) -> None:
    members = {"pack/data.bin": b"good", "../evil.py": b"evil", "pack/__init__.py": b"raise"}
    target = tmp_path / "out"
    target.mkdir()
    unpack(wheel(tmp_path / "w.whl", members), pinned(b"good"), target)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["w.whl", "data.bin"]


def test_a_pinned_path_cannot_escape(tmp_path: Path) -> None:
    target = tmp_path / "a/b"
    target.mkdir(parents=True)
    source = wheel(tmp_path / "w.whl", {"../../evil": b"x"})
    unpack(source, pinned(b"x", "../../evil"), target)
    assert (target / "evil").is_file()


@pytest.mark.parametrize(
    ("members", "message"),
    [({"pack/data.bin": b"bad"}, "expected"), ({"other": b"good"}, "not a readable wheel")],
)
def test_other_content_is_refused(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(HwsimError, match=message):
        unpack(wheel(tmp_path / "w.whl", members), pinned(b"good"), tmp_path)


def test_a_cut_wheel_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path / "w.whl", {"pack/data.bin": b"good" * 1000})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(HwsimError, match="not a readable wheel"):
        unpack(path, pinned(b"good" * 1000), tmp_path)


def test_a_damaged_cache_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    path = tmp_path / "packages/pack-1.0/data.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"good")
    assert package_file(pinned(b"good"), "pack/data.bin") == path
    path.write_bytes(b"goop")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    capsys.readouterr()
    with pytest.raises(HwsimError, match=r"neither in the cache .* nor downloadable"):
        package_file(pinned(b"good"), "pack/data.bin")
    said = " ".join(capsys.readouterr().err.split())
    assert "data.bin: damaged: its SHA-256 is not the pinned one; made anew" in said


def test_without_cache_and_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(HwsimError, match="run once with network access"):
        quant.load_model("smollm2-135m")
    assert list(tmp_path.rglob("*.gguf")) == []


def test_unknown_names() -> None:
    with pytest.raises(RequestError, match="nearest: smollm2-135m"):
        quant.load_model("smolm2-135m")
    with pytest.raises(RequestError, match="unknown dtype 'float8'"):
        quant.load_model("smollm2-135m", dtype="float8")


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"config\.json is missing"):
        quant.load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RequestError, match=r"no \*\.safetensors"):
        quant.load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(RequestError, match="not readable as JSON"):
        quant.load_model(tmp_path)


@pytest.mark.model
@pytest.mark.parametrize("damage", ["cut", "hostile header"])
def test_damaged_safetensors(damage: str, tmp_path: Path) -> None:
    _, tokenizer = quant.load_model("smollm2-135m", dtype="bfloat16")
    tokenizer.save_pretrained(tmp_path)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8}
    config |= {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    header = b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    size = len(header) if damage == "cut" else 2**60
    (tmp_path / "model.safetensors").write_bytes(size.to_bytes(8, "little") + header)
    with pytest.raises(RequestError, match="not readable as safetensors"):
        quant.load_model(tmp_path)


@pytest.mark.model
def test_a_hostile_gguf_is_refused(tmp_path: Path) -> None:
    from quant.models.converted import convert

    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (2**62).to_bytes(8, "little") * 2)
    with pytest.raises(RequestError, match=r"more than the file holds"):
        convert(path, tmp_path / "out")


@pytest.mark.model
def test_the_real_model_and_its_texts() -> None:
    from quant.models.texts import calibration_text, evaluation_text

    model, tokenizer = quant.load_model("smollm2-135m", dtype="bfloat16")
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    text = evaluation_text()
    wanted = "4c9d6b54b8fa1b4d9270d9bd92255938358e2ba087e325bb21f8b2758aa64229"
    assert hashlib.sha256(text.encode()).hexdigest() == wanted
    assert calibration_text()[:5000] not in text
    tokens = quant.evaluation_tokens(tokenizer, 100)
    assert tokenizer.decode(tokens) == text[: len(tokenizer.decode(tokens))]
    with pytest.raises(RequestError, match="the text has 373686"):
        quant.evaluation_tokens(tokenizer, 10**6)


def test_the_catalog_pins_everything() -> None:
    packages = [entry.package for entry in MODELS.values() if entry.package] + [TEXTS]
    assert all(len(digest) == 64 for package in packages for digest in package.files.values())


# Round to nearest on SmolLM2-135M: every linear layer but the head, group 128, float32 scales,
# first 8192 tokens in windows of 1024, bfloat16 compute, measured independently of this code.
PERPLEXITIES = {
    "int4-asym:minmax": 24.193,
    "fp4": 26.474,
    "int3-asym:minmax": 99.908,
    "fp3": 187.54,
    "int3": 500.6,
}


@pytest.mark.slow
@pytest.mark.model
def test_perplexities_of_smollm2() -> None:
    import torch

    from quant.models.apply import quantized, replaced

    exact, tokenizer = quant.load_model("smollm2-135m")
    fast = quant.load_model("smollm2-135m")[0].to(torch.bfloat16)
    tokens = quant.evaluation_tokens(tokenizer, 8192)
    assert float(quant.perplexity(fast, tokens)) == pytest.approx(18.624, rel=0.005)
    for name, wanted in PERPLEXITIES.items():
        with quantized(exact, f"{name}:g128:fp32") as report, replaced(fast, report.tensors):
            assert float(quant.perplexity(fast, tokens)) == pytest.approx(wanted, rel=0.005)
