"""Checkpoints of every format: what is saved is loaded, what does not fit is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import quant
from quant.checkpoints.folder import CODES, load_rest
from quant.common.errors import RequestError
from quant.common.files import sha256_of
from quant.common.manifest import MANIFEST
from quant.common.sealed import read_sealed, write_sealed
from quant.formats.elements import FloatType
from quant.formats.registry import FORMATS
from quant.tensors.tensor import PARTS

QUANTIZED = [name for name, entry in FORMATS.items() if not entry.is_plain]
SPECS = [
    *QUANTIZED,
    *(f"{name}:{rule}" for name in QUANTIZED for rule in FORMATS[name].rules[1:]),
    *("int4:g16:fp32", "int4:g32:int8", "int4:g32:e8m0", "int4:g16:e4m3", "int3-asym:row:int8"),
    *("bitmod3:g64:int8", "bitmod4:g40:fp32", "fp4:g16:e4m3", "olive-int4:int8"),
]


def weights(rows: int = 6, columns: int = 150) -> np.ndarray:
    values = np.random.default_rng(3).standard_t(4, (rows, columns)).astype(np.float32)
    values[2] = 0
    return values


def refuse(folder: Path, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        quant.load_quantized(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", SPECS)
def test_every_format_comes_back(tmp_path: Path, text: str) -> None:
    tensor = quant.quantize(weights(), text)
    quant.save_quantized(tmp_path / "c", {"a.b": tensor, "c": tensor})
    loaded = quant.load_quantized(tmp_path / "c")
    assert list(loaded) == ["a.b", "c"]
    for found in loaded.values():
        assert (found.spec, found.shape) == (tensor.spec, tensor.shape)
        for part in PARTS:
            first, second = getattr(tensor, part), getattr(found, part)
            assert (first is None) == (second is None)
            assert first is None or (first.dtype == second.dtype and np.array_equal(first, second))
        assert np.array_equal(found.dequantize(), tensor.dequantize(), equal_nan=True)


@pytest.mark.parametrize("text", SPECS)
def test_every_array_of_another_shape_or_type_is_refused(tmp_path: Path, text: str) -> None:
    tensor = quant.quantize(weights(), text)
    quant.save_quantized(tmp_path / "c", {"x": tensor})
    whole = load_file(tmp_path / "c" / CODES)
    assert {f"x.{part}" for part in tensor.spec.arrays(tensor.shape)} == set(whole)
    for name, array in whole.items():
        other = np.float32 if array.dtype != np.float32 else np.float16
        for changed in (None, array[..., :0], array[:, None], array.astype(other)):
            if changed is not None and (changed.shape, changed.dtype) == (array.shape, array.dtype):
                continue  # a codebook's scales are empty
            arrays = {key: value for key, value in whole.items() if key != name}
            rewrite(tmp_path / "c", arrays if changed is None else {**arrays, name: changed})
            refuse(tmp_path / "c", rf"layer x: {name[2:]} (has shape|is) .* is needed")


def rewrite(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Other arrays under hashes that fit them."""
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, folder / CODES)
    edit(folder, lambda content: content["sha256"].update({CODES: sha256_of(folder / CODES)}))


def edit(folder: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    """Change what a manifest says, under a seal that fits it."""
    content = read_sealed(folder / MANIFEST)
    change(content)
    write_sealed(folder / MANIFEST, content)


@pytest.mark.parametrize(
    ("text", "part", "value", "message"),
    [
        ("bitmod3-er", "selectors", 2, "selectors 2 is not allowed: 0 to 1"),
        ("ant4", "selectors", 3, "selectors 3 is not allowed: 0 to 2"),
        ("m-ant4", "selectors", 16, "selectors 16 is not allowed: 0 to 15"),
        ("int3-asym", "zero_points", 8, "zero_points 8 is not allowed: 0 to 7"),
        ("int4-asym:float-zero", "zero_points", np.nan, "zero_points holds NaN"),
        ("int4", "scales", np.inf, "scales holds NaN or Inf"),
        ("int4:g32:int8", "row_scales", np.nan, "row_scales holds NaN"),
        ("nvfp4", "tensor_scale", np.inf, "tensor_scale holds NaN or Inf"),
        ("codebook3", "codebooks", np.nan, "codebooks holds NaN"),
        ("mxfp4", "scales", 255, "scale code 255 is NaN"),
    ],
)
def test_a_value_without_meaning_is_refused(
    tmp_path: Path, text: str, part: str, value: float, message: str
) -> None:
    tensor = quant.quantize(weights(), text)
    quant.save_quantized(tmp_path / "c", {"x": tensor})
    arrays = load_file(tmp_path / "c" / CODES)
    arrays[f"x.{part}"].flat[-1] = value
    rewrite(tmp_path / "c", arrays)
    refuse(tmp_path / "c", f"layer x: {message}")
    bad = getattr(tensor, part).copy()
    bad.flat[-1] = value
    with pytest.raises(RequestError, match=message):
        quant.save_quantized(tmp_path / "d", {"x": replace(tensor, **{part: bad})})
    assert not (tmp_path / "d").exists()


def everything(folder: Path) -> None:
    quant.user_format("quarters", [-0.25, 0.25, 0.5, 1.0])
    tensors = {text: quant.quantize(weights(), text) for text in ("nvfp4", "quarters", "hif4")}
    rest = {"norm.weight": torch.arange(5, dtype=torch.bfloat16)}
    quant.save_quantized(folder, tensors, model="m", rest=rest)


@pytest.mark.parametrize("name", ["manifest.json", "plan.toml", CODES, "rest.safetensors"])
def test_a_checkpoint_cut_at_any_byte_is_refused(tmp_path: Path, name: str) -> None:
    everything(tmp_path / "c")
    path = tmp_path / "c" / name
    whole = path.read_bytes()
    last = range(max(0, len(whole) - 9), len(whole))
    for size in {*range(0, len(whole), max(1, len(whole) // 97)), *range(9), *last}:
        path.write_bytes(whole[:size])
        refuse(tmp_path / "c", "SHA-256|not readable as JSON|damaged")
        with pytest.raises(RequestError):
            load_rest(tmp_path / "c")
    path.write_bytes(whole)
    assert len(quant.load_quantized(tmp_path / "c")) == 3
    assert load_rest(tmp_path / "c")["norm.weight"].tolist() == [0, 1, 2, 3, 4]


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    everything(tmp_path / "c")
    path = tmp_path / "c" / CODES
    whole = path.read_bytes()
    for at in range(0, len(whole), len(whole) // 30):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refuse(tmp_path / "c", "SHA-256")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["layers"]["nvfp4"].update(format="int44"), "unknown format 'int44'"),
        (lambda c: c["layers"]["nvfp4"].update(format="fp16"), "nothing quantized"),
        (lambda c: c["layers"]["nvfp4"].update(format="grid.toml"), "'grid.toml' is not allowed"),
        (lambda c: c["layers"]["nvfp4"].update(format="mxfp4"), "layer nvfp4: scales has shape"),
        (lambda c: c["layers"]["nvfp4"].update(shape=[150, 6]), "layer nvfp4: codes has shape"),
        (lambda c: c["layers"]["nvfp4"].update(shape=[-6, 150]), "-6 is not allowed"),
        (lambda c: c["layers"]["nvfp4"].update(shape=[6]), "shape"),
        (lambda c: c["layers"].pop("nvfp4"), "belongs to no layer"),
        (lambda c: c["layers"].update(y=c["layers"]["hif4"]), "layer y: codes has shape None"),
        (lambda c: c["sha256"].pop(CODES), "has no hash"),
        (lambda c: c["sha256"].update({"../c/" + CODES: "0"}), "'../c/"),
        (lambda c: c["sha256"].update({"/etc/hostname": "0"}), "is missing"),
        (lambda c: c["sha256"].update({"a\0b": "0"}), "is missing"),
        (lambda c: c["sha256"].update({"..": "0"}), "is missing"),
        (lambda c: c.update(schema="hwsim.checkpoint/1"), "hwsim.checkpoint/2 is needed"),
        (lambda c: c.update(extra=1), "extra: no such key"),
        (lambda c: c["grids"]["quarters"].update(levels=[-1, 2, 3, 4]), "'quarters' is taken"),
        (lambda c: c["grids"]["quarters"].update(levels=[1, 1]), "stands twice"),
        (lambda c: c["grids"].update(nf4=c["grids"]["quarters"]), "'nf4' is taken"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path,
    change: Callable[[dict], object],  # type: ignore[type-arg]
    message: str,
) -> None:
    everything(tmp_path / "c")
    edit(tmp_path / "c", change)
    refuse(tmp_path / "c", message)


@pytest.mark.parametrize(
    ("before", "after"),
    [("nvfp4:", "mxfp4:"), ('"hif4', '"hif5'), ("0.25", "0.75"), ("150", "151"), ('"m"', '"n"')],
)
def test_any_change_of_a_manifest_breaks_its_seal(tmp_path: Path, before: str, after: str) -> None:
    everything(tmp_path / "c")
    path = tmp_path / "c" / MANIFEST
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    refuse(tmp_path / "c", "damaged: its content is not what its seal was made for")


def test_a_group_size_that_fits_the_arrays_as_well_is_refused(tmp_path: Path) -> None:
    quant.save_quantized(tmp_path / "c", {"x": quant.quantize(weights(), "fp4:g128")})
    path = tmp_path / "c" / MANIFEST
    path.write_text(path.read_text().replace("g128", "g118"))  # two groups in each
    refuse(tmp_path / "c", "damaged")


def test_a_grid_of_the_users_is_known_to_another_process(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        "schema='grid/1'\nname='kept-grid'\nlevels=[-1.0, -0.3, 0.1, 0.7, 1.25]\nties='even'\n"
    )
    tensor = quant.quantize(weights(), f"{tmp_path / 'own.toml'}:g64:int8")
    quant.save_quantized(tmp_path / "c", {"x": tensor})
    (tmp_path / "own.toml").unlink()
    program = (
        "import sys, numpy, quant; from pathlib import Path; from quant.plan import Plan;"
        "tensor = quant.load_quantized(Path(sys.argv[1]) / 'c')['x'];"
        "assert quant.FORMATS['kept-grid'] is tensor.spec.format;"
        "Plan.load(Path(sys.argv[1]) / 'c/plan.toml');"
        "numpy.save(Path(sys.argv[1]) / 'x.npy', tensor.dequantize())"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert np.array_equal(np.load(tmp_path / "x.npy"), tensor.dequantize())


def test_a_format_that_nobody_else_knows_is_not_saved(tmp_path: Path) -> None:
    own = quant.Format("nobody-knows", FloatType(3, 0), "here")
    with pytest.raises(RequestError, match="'nobody-knows' is not in the registry"):
        quant.save_quantized(tmp_path / "c", {"x": quant.quantize(weights(), own)})
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    tensors = {"layer": quant.quantize(np.eye(4, 64, dtype=np.float32), "int4")}
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="is a file"):
        quant.save_quantized(tmp_path / "file", tensors)
    with pytest.raises(RequestError, match="holds files that are not ours"):
        quant.save_quantized(tmp_path / "folder", tensors)
    assert (tmp_path / "file").read_text() == (tmp_path / "folder/notes.txt").read_text() == "mine"
    for _ in range(2):  # a checkpoint is
        quant.save_quantized(tmp_path / "new", tensors)
