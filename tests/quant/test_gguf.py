"""GGUF: blocks equal to the gguf package bit for bit; damaged files refused in one line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quant
from quant.checkpoints.gguf import load_gguf
from quant.checkpoints.gguf_blocks import BLOCKS, BlockType
from quant.common.errors import RequestError
from quant.models import converted as models
from quant.models.catalog import MODELS
from quant.models.packages import package_file

KINDS = list(BLOCKS.items())
QUANTIZABLE = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
# Bytes of each float16 scale in a block: random bits could be NaN there.
HALVES = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,), "MXFP4": ()}


def random_blocks(kind: BlockType, count: int = 300) -> np.ndarray:
    rng = np.random.default_rng(kind.size)
    blocks = rng.integers(0, 256, (count, kind.size)).astype(np.uint8)
    if kind.weights > 1:
        pairs = (0, 2) if kind.name in {"Q4_1", "Q5_1", "Q4_K", "Q5_K"} else (0,)
        for at in HALVES.get(kind.name, pairs):
            halves = (rng.standard_normal(count) * 0.1).astype("<f2")
            blocks[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
    if kind.name == "MXFP4":
        blocks[:, 0] = rng.integers(2, 250, count)
    if kind.name == "F16":
        blocks = rng.standard_normal((count, 1)).astype("<f2").view(np.uint8)
    if kind.name in {"F32", "BF16"}:
        blocks[:, -1] &= 0x3F
    return blocks


@pytest.mark.parametrize(("number", "kind"), KINDS, ids=[k.name for _, k in KINDS])
def test_blocks_equal_the_gguf_package(number: int, kind: BlockType) -> None:
    size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)]
    assert size == (kind.weights, kind.size)
    blocks = random_blocks(kind)
    wanted = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType(number))
    np.testing.assert_array_equal(kind.decode(blocks), wanted.reshape(len(blocks), -1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the gguf package wrote, with a tensor of each type that it can quantize."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.name", "small")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    writer.add_array("numbers", [1, 2, 3])
    values = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
    for name in QUANTIZABLE:
        kind = gguf.GGMLQuantizationType[name]
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    mxfp4 = random_blocks(BLOCKS[39], 12).reshape(6, 34)
    writer.add_tensor("MXFP4", mxfp4, raw_dtype=gguf.GGMLQuantizationType.MXFP4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_decodes_as_the_gguf_package_decodes_it(model: Path) -> None:
    found = load_gguf(model)
    reader = gguf.GGUFReader(model)
    assert set(found) == {tensor.name for tensor in reader.tensors} == {*QUANTIZABLE, "MXFP4"}
    for tensor in reader.tensors:
        wanted = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert found[tensor.name].shape == (6, 64)
        np.testing.assert_array_equal(found[tensor.name].dequantize(), wanted)


@pytest.mark.parametrize("name", ["Q4_0", "Q8_0", "MXFP4"])
def test_codes_carry_over_exactly(name: str, model: Path) -> None:
    tensor = load_gguf(model)[name]
    qt = tensor.to_quantized()
    assert qt.spec.group_size == 32
    assert qt.effective_bits == tensor.kind.size * 8 / 32
    np.testing.assert_array_equal(qt.dequantize(), tensor.dequantize())


def test_other_blocks_name_those_that_carry_over(model: Path) -> None:
    with pytest.raises(RequestError, match=r"Q5_1 is no format here \(Q4_0, Q8_0, MXFP4\)"):
        load_gguf(model)["Q5_1"].to_quantized()


def test_a_file_cut_anywhere_is_refused(model: Path, tmp_path: Path) -> None:
    data, cut = model.read_bytes(), tmp_path / "cut.gguf"
    whole = load_gguf(model)
    last = max(tensor.blocks.nbytes for tensor in whole.values())
    for size in [*range(0, 600, 7), *range(600, len(data) - last, 101), len(data) // 2]:
        cut.write_bytes(data[:size])
        with pytest.raises(RequestError, match=r"cut\.gguf: "):
            load_gguf(cut)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 900), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(
    at: int, value: int, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(model.read_bytes())
    data[at] = value
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(data)
    # Anything else than a RequestError fails here; so does a tensor larger than the file.
    with contextlib.suppress(RequestError):
        for tensor in load_gguf(path).values():
            assert tensor.blocks.nbytes <= len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(40), "not a GGUF file"),
        (b"GGUF" + (9).to_bytes(4, "little") + bytes(32), "version 9"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 8 + bytes(32), "more than the file holds"),
    ],
)
def test_what_is_no_gguf_file(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(RequestError, match=message):
        load_gguf(tmp_path / "x.gguf")


@pytest.mark.model
def test_a_local_file_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged model's own file, given as a path; a second load takes the converted one."""
    entry = MODELS["smollm2-135m"]
    assert entry.package is not None
    source = package_file(entry.package, *entry.package.files)
    converted: list[Path] = []
    original = models.convert

    def noted(path: Path, target: Path) -> None:
        converted.append(path)
        original(path, target)

    monkeypatch.setattr(models, "convert", noted)
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path))
    tensor = load_gguf(source)["blk.0.ffn_down.weight"]
    for _ in range(2):
        model, tokenizer = quant.load_model(source)
        weight = model.get_parameter("model.layers.0.mlp.down_proj.weight")
        np.testing.assert_array_equal(weight.detach().numpy(), tensor.dequantize())
        assert tokenizer("a")["input_ids"]
    assert converted == [source]


def test_a_damaged_local_file_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes(model.read_bytes()[:700])
    with pytest.raises(RequestError, match=r"half\.gguf: "):
        quant.load_model(tmp_path / "half.gguf")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RequestError, match="not a GGUF file"):
        quant.load_model(tmp_path / "notes.txt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        load_gguf(tmp_path / "none.gguf")
