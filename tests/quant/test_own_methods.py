"""Methods of the user's: each scope goes where it can, and is refused by name elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

import quant
from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.spec import FormatSpec, parse_spec
from quant.layers.blocks import Block, CalibrationData, as_batches
from quant.layers.matrices import matrix, set_matrix
from quant.layers.statistics import LayerStatistics
from quant.layers.weights import Weight
from quant.methods.base import BlockMethod, CalibrationNeed, LayerMethod, Method, ModelMethod
from quant.methods.registry import METHODS, register
from quant.plan import Plan
from quant.tensors.tensor import QuantizedTensor


class Smaller(LayerMethod):
    """Round what a weight is nine tenths of."""

    name = "smaller"
    source = "this file"
    calibration = CalibrationNeed.OPTIONAL

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        part = 0.9 if statistics is None else 0.8
        return quant.quantize(weight * np.float32(part), spec)


class ByInputs(LayerMethod):
    """Round columns that no input reaches to zero."""

    name = "by-inputs"
    source = "this file"
    calibration = CalibrationNeed.REQUIRED

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        assert statistics is not None
        return quant.quantize(weight * (statistics.max_abs > 0), spec)


class Folding(BlockMethod):
    """Double a block's norms and halve its weights."""

    name = "folding"
    source = "this file"
    needs_references = True

    def quantize(
        self, block: Block, specs: Mapping[str, FormatSpec]
    ) -> Mapping[str, QuantizedTensor]:
        wanted = block.run()
        # The first block sees what it would see in the unquantized model.
        same = [torch.equal(a, b) for a, b in zip(wanted, block.references, strict=True)]
        assert same == [block.path == "layers.0"]
        with torch.no_grad():
            for name, parameter in block.module.named_parameters():
                if "norm" in name:
                    parameter.mul_(2)
            for value in block.module.buffers():
                value.add_(1)
        for path in specs:
            if path.endswith("up"):
                set_matrix(block.layers[path], matrix(block.layers[path]) / np.float32(2))
        for got, reference in zip(block.run(), wanted, strict=True):
            torch.testing.assert_close(got, reference)
        return {path: quant.quantize(matrix(block.layers[path]), s) for path, s in specs.items()}


class Alike(BlockMethod):
    """Round all layers of a block, without looking at inputs."""

    name = "alike"
    source = "this file"
    calibration = CalibrationNeed.NONE

    def quantize(
        self, block: Block, specs: Mapping[str, FormatSpec]
    ) -> Mapping[str, QuantizedTensor]:
        assert block.inputs == []
        return {path: quant.quantize(matrix(block.layers[path]), s) for path, s in specs.items()}


class Whole(ModelMethod):
    """Round a model after a look at its outputs."""

    name = "whole"
    source = "this file"

    def quantize(
        self,
        model: nn.Module,
        layers: Mapping[str, Weight],
        specs: Mapping[str, FormatSpec],
        calibration: CalibrationData | None,
    ) -> Mapping[str, QuantizedTensor]:
        assert calibration is not None
        (batch,) = as_batches(calibration)
        with torch.no_grad():
            largest = float(model(batch).abs().max())
            model.get_submodule("final").weight.fill_(largest)  # type: ignore[operator]
        return {path: quant.quantize(matrix(layers[path]), spec) for path, spec in specs.items()}


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.up, self.down = nn.Linear(32, 48, bias=False), nn.Linear(48, 32, bias=False)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.down(self.up(self.norm(x)))
        return y


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([Layer(), Layer()])
        self.final, self.lm_head = nn.LayerNorm(32), nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        y: torch.Tensor = self.lm_head(self.final(x))
        return y


OWN = (Smaller(), ByInputs(), Folding(), Alike(), Whole())
FORMATS = {"*": "int8:row:fp32", "lm_head": "int4"}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    before = dict(METHODS)
    for method in OWN:
        register(method)
    yield
    METHODS.clear()
    METHODS.update(before)


def inputs() -> list[torch.Tensor]:
    return [torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("method", OWN, ids=lambda method: method.name)
def test_a_method_goes_through_the_calls_for_models(method: Method) -> None:
    model, data = Small(), inputs()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = dict(model.named_modules())
    with quant.quantized(model, FORMATS, method=method.name, calibration=data) as report:
        assert len(report.layers) == 5
        assert str(report.tensors["lm_head"].spec) == "int4:g128:fp16"
        folded = {n for n, value in model.state_dict().items() if n in before}
        changed = {n for n in folded if not torch.equal(model.state_dict()[n], before[n])}
        own = {f"{path}.weight" for path in report.layers}
        assert bool(changed - own) == method.changes_other_parameters or (method.name == "alike")
    assert {n: id(m) for n, m in model.named_modules()} == {n: id(m) for n, m in layers.items()}
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    again = quant.quantize_model(model, FORMATS, method=method, calibration=data)
    planned = quant.quantize_model(
        Small(), Plan(dict(FORMATS), method=method.name), calibration=data
    )
    for path, tensor in report.tensors.items():
        for other in (again, planned):
            assert np.array_equal(other.tensors[path].dequantize(), tensor.dequantize())


def test_layers_outside_of_blocks_are_rounded_to_nearest() -> None:
    for method in ("smaller", "by-inputs", "folding", "alike"):
        tensors = quant.quantize_model(
            Small(), FORMATS, method=method, calibration=inputs()
        ).tensors
        wanted = quant.quantize(Small().lm_head.weight, "int4")
        assert np.array_equal(tensors["lm_head"].codes, wanted.codes), method


def test_calibration_is_used_where_there_is_some() -> None:
    weight = matrix(Small().get_submodule("layers.0.up"))
    for data, part in ((None, 0.9), (inputs(), 0.8)):
        report = quant.quantize_model(Small(), FORMATS, method="smaller", calibration=data)
        wanted = quant.quantize(weight * np.float32(part), FORMATS["*"])
        assert np.array_equal(report.tensors["layers.0.up"].codes, wanted.codes)


@pytest.mark.parametrize("method", OWN, ids=lambda method: method.name)
def test_a_method_without_the_calibration_it_needs_is_refused(method: Method) -> None:
    if method.needs_calibration:
        with pytest.raises(RequestError, match=f"method '{method.name}' needs calibration="):
            quant.quantize_model(Small(), "int4", method=method.name)
        with (
            pytest.raises(RequestError, match=f"'{method.name}' needs"),
            quant.quantized(Small(), "int4", method=method),
        ):
            pass
    else:
        assert len(quant.quantize_model(Small(), "int4", method=method.name).layers) == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("source") / "llama"
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    return path


@pytest.mark.parametrize("method", OWN, ids=lambda method: method.name)
def test_only_what_sees_a_layer_and_no_inputs_is_streamed(
    method: Method, folder: Path, tmp_path: Path
) -> None:
    if not method.is_streamable:
        with pytest.raises(RequestError, match=rf"'{method.name}' looks at .* cannot be streamed"):
            quant.quantize_checkpoint(folder, tmp_path / "out", "int4", method=method.name)
        with pytest.raises(RequestError, match=f"'{method.name}' looks at"):
            method.quantize_alone(np.ones((2, 4), np.float32), parse_spec("int4"))
        assert not (tmp_path / "out").exists()
        return
    quant.quantize_checkpoint(folder, tmp_path / "out", "int4", method=method.name)
    model = AutoModelForCausalLM.from_pretrained(folder)
    wanted = quant.quantize_model(model, "int4", method=method).tensors
    streamed = quant.load_quantized(tmp_path / "out")
    assert streamed.keys() == wanted.keys()
    assert all(np.array_equal(streamed[path].codes, wanted[path].codes) for path in wanted)


def test_a_format_that_a_method_does_not_take_is_refused_before_a_layer_is_read(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=r"^hqq moves scales and zero points of grids: hif4"):
        quant.quantize_checkpoint(folder, tmp_path / "out", "hif4", method="hqq")


def test_codes_that_do_not_fit_are_refused() -> None:
    class Forgetful(Alike):
        name = "forgetful"

        def quantize(
            self, block: Block, specs: Mapping[str, FormatSpec]
        ) -> Mapping[str, QuantizedTensor]:
            return dict(list(super().quantize(block, specs).items())[1:])

    class Turned(Smaller):
        name = "turned"

        def quantize(
            self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
        ) -> QuantizedTensor:
            return quant.quantize(weight.T, spec)

    with pytest.raises(RequestError, match=r"'forgetful' must return .*: layers\.0\.up"):
        quant.quantize_model(Small(), "int4", method=Forgetful())
    with pytest.raises(
        RequestError, match=r"layer layers\.0\.up: codes of \(32, 48\) for a weight"
    ):
        quant.quantize_model(Small(), "int4", method=Turned())


@pytest.mark.parametrize("batch", [torch.ones(1, 4), {"pixels": torch.ones(1, 4)}])
def test_peqa_asks_for_text(batch: torch.Tensor | dict[str, torch.Tensor]) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RequestError, match="calibration must be token ids"):
        quant.quantize_model(model, "int4:g4", method="peqa", calibration=[batch])
