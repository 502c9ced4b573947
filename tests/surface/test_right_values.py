"""What is accepted alike: texts and paths, scalars of numpy and torch, names, configs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import hwsim
import quant
import roofline
from quant.common import arguments
from quant.common.errors import ArgumentTypeError, RequestError
from tests.own.tiny_llama import tiny_llama


@pytest.mark.parametrize("size", [np.int64(64), np.uint8(64), torch.tensor(64), np.array(64)])
def test_scalars_are_the_number_that_they_hold(size: int) -> None:
    weight = np.linspace(-1, 1, 256).reshape(2, 128)
    plain = quant.quantize(weight, "int4", group_size=64)
    given = quant.quantize(weight, np.str_("int4"), group_size=size)
    assert given.spec == plain.spec
    assert type(given.spec.group_size) is int
    assert np.array_equal(given.codes, plain.codes)
    work = roofline.workload("smollm2-135m", batch=size, flash=np.bool_(True))  # type: ignore[arg-type]
    assert work == roofline.workload("smollm2-135m", batch=64)


@pytest.mark.parametrize("value", [True, np.bool_(True), 2.0, np.float32(2), "2", None, 2j, [2]])
def test_no_integer(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match=r"size .*: an integer is needed") as caught:
        arguments.integer("size", value)
    assert issubclass(caught.type, RequestError)
    assert issubclass(caught.type, TypeError)


def test_numbers() -> None:
    for value in (3, 3.0, np.float16(3), np.int8(3), torch.tensor(3.0)):
        assert arguments.number("bits", value) == 3.0
    for value in (float("nan"), float("inf"), 10**400):
        with pytest.raises(RequestError, match="a finite number is needed"):
            arguments.number("bits", value)
    with pytest.raises(RequestError, match="size 0 is not allowed: at least 1"):
        arguments.integer("size", 0, 1)
    with pytest.raises(RequestError, match=r"bits 0\.0 is not allowed: above 0"):
        arguments.number("bits", 0.0, above=0)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32, torch.bfloat16, torch.int64])
def test_weights_of_any_real_type(kind: object) -> None:
    numbers = np.array([[1.0, -2.0, 3.0, 4.0]])
    own = torch.tensor(numbers, dtype=kind) if isinstance(kind, torch.dtype) else None
    given = numbers.astype(kind) if own is None else own  # type: ignore[call-overload]  # a type
    expected = quant.quantize(numbers.astype(np.float32), "int4")
    assert np.array_equal(quant.quantize(given, "int4").codes, expected.codes)
    assert np.array_equal(quant.quantize(numbers.tolist(), "int4").codes, expected.codes)


@pytest.mark.parametrize(
    "weight",
    [
        np.ones((2, 4), np.complex64),
        torch.ones(2, 4, dtype=torch.complex64),
        np.ones((2, 4), bool),
        np.array([[object()]]),
        np.array([["1"]]),
        [[1, 2], [3]],
        "weights",
        None,
    ],
)
def test_weights_that_are_no_real_numbers(weight: object) -> None:
    with pytest.raises(ArgumentTypeError, match="weight"):
        quant.quantize(weight, "int4")


@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (4, 0)])
def test_weights_without_rows_and_columns(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"\[out, in\] needed"):
        quant.quantize(np.zeros(shape), "int4")


def test_a_model_is_a_name_a_folder_or_a_config(tmp_path: Path) -> None:
    from transformers import AutoConfig

    folder = tiny_llama(tmp_path / "model", hidden=16, layers=1)
    work = roofline.workload(folder)
    assert roofline.workload(str(folder)) == work
    given = roofline.workload(AutoConfig.from_pretrained(folder))
    assert given.table.tolist() == work.table.tolist()
    for device in (roofline.load_hardware("h100-sxm"), "h100-sxm"):
        assert roofline.serve(folder, device, 8, 2, np.int64(2)).fits  # type: ignore[arg-type]


def test_names_where_workloads_are_expected() -> None:
    formats = {"weights": "bitmod4:g128:int8", "kv": "int8:g128:int8", "head": "int8:g128:int8"}
    work = roofline.scenario("smollm2-135m", **formats)  # type: ignore[arg-type]
    assert hwsim.simulate("smollm2-135m", "bitmod").ops == hwsim.simulate(work, "bitmod").ops
    plain = roofline.scenario("smollm2-135m")
    device = roofline.load_hardware("h100-sxm")
    assert roofline.analyze("smollm2-135m", device).time_s == roofline.analyze(plain, device).time_s
    space = hwsim.DesignSpace("bitmod", {"tiles": np.array([4, 8])})  # type: ignore[dict-item]
    assert space.axes == {"tiles": (4, 8)}
    frame = hwsim.sweep(space, "smollm2-135m", objectives=["time_s", "area_um2"]).to_frame()
    same = hwsim.sweep(hwsim.DesignSpace("bitmod", {"tiles": [4, 8]}), work).to_frame()
    assert frame["time_s"].equals(same["time_s"])
    with pytest.warns(DeprecationWarning, match=r"hwsim\.sweep"):
        assert hwsim.explore(space, "smollm2-135m", ("time_s", "area_um2")).equals(frame)


def test_files_are_texts_or_paths(tmp_path: Path) -> None:
    plan = quant.Plan({"*": quant.parse_spec("int4")}, "m")  # type: ignore[dict-item]
    plan.save(str(tmp_path / "plan.toml"))
    assert quant.Plan.load(str(tmp_path / "plan.toml")) == quant.Plan.load(tmp_path / "plan.toml")
    qt = {"a": quant.quantize(np.eye(2, 128), "int4")}
    quant.save_quantized(str(tmp_path / "q"), qt)
    for folder in (tmp_path / "q", str(tmp_path / "q")):
        assert np.array_equal(quant.load_quantized(folder)["a"].codes, qt["a"].codes)
    assert hwsim.load_accelerator(hwsim.load_accelerator("bitmod")).name == "bitmod"


def test_tokens_are_a_tensor_an_array_or_a_list(tmp_path: Path) -> None:
    model, _ = quant.load_model(tiny_llama(tmp_path / "model", hidden=16, layers=1))
    ids = np.arange(64) % 50
    whole = quant.perplexity(model, torch.from_numpy(ids), 16)
    assert quant.perplexity(model, ids, torch.tensor(16)) == whole  # type: ignore[arg-type]
    assert quant.perplexity(model, ids.tolist(), 16) == whole
    for wrong in (ids.astype(float), "text", ids.reshape(8, 8), [1.5], None):
        with pytest.raises(ArgumentTypeError, match="tokens"):
            quant.perplexity(model, wrong, 16)  # type: ignore[arg-type]
    first = quant.quantize_model(model, "int4", method="gptq", calibration=ids.tolist())  # type: ignore[arg-type]
    again, _ = quant.load_model(tmp_path / "model")
    second = quant.quantize_model(again, "int4", method="gptq", calibration=torch.from_numpy(ids))
    assert {p: t.codes.tolist() for p, t in first.tensors.items()} == {
        p: t.codes.tolist() for p, t in second.tensors.items()
    }
