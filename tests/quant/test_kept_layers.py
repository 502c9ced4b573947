"""quantize_to_folder and compare: what a cut run has done is not done again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import torch

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.layers.statistics import LayerStatistics
from quant.methods import kept
from quant.methods.builtin import Gptq
from quant.methods.registry import get_method
from quant.models import compare as comparing
from quant.models.calibration import CalibrationText
from quant.models.checkpoint import quantize_to_folder
from quant.models.compare import EvaluationSetting, compare
from quant.models.evaluate import Perplexity, perplexity
from quant.tensors.tensor import QuantizedTensor
from tests.own.tiny_llama import tiny_llama

FORMAT = "int4-asym:g32"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_llama(tmp_path_factory.mktemp("model") / "tiny", hidden=32))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers take no time: keep each of them all the same."""
    monkeypatch.setattr(kept, "KEPT_AFTER_S", -1.0)


@contextmanager
def cut_at(number: int) -> Iterator[list[str]]:
    """Interrupt GPTQ at a layer; yield a list that gets an entry for each."""
    seen: list[str] = []
    original = Gptq.quantize

    def counted(
        self: Gptq, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        seen.append(str(spec))
        if len(seen) == number:
            raise KeyboardInterrupt
        return original(self, weight, spec, statistics)

    with mock.patch.object(Gptq, "quantize", counted):
        yield seen


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_layers_that_were_rounded_are_not_rounded_again(model: str, tmp_path: Path) -> None:
    gptq = get_method("gptq")
    with cut_at(0) as all_of_them:
        quantize_to_folder(
            model, tmp_path / "whole", FORMAT, gptq, calibration=CalibrationText(512)
        )
    assert len(all_of_them) == 14
    with cut_at(10), pytest.raises(KeyboardInterrupt):
        quantize_to_folder(model, tmp_path / "out", FORMAT, gptq, calibration=CalibrationText(512))
    assert not (tmp_path / "out").exists()
    with cut_at(0) as rest:
        done = quantize_to_folder(
            model, tmp_path / "out", FORMAT, gptq, calibration=CalibrationText(512)
        )
    assert len(rest) == 14 - 9
    assert done.report is not None
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))
    with cut_at(1) as none:
        again = quantize_to_folder(
            model, tmp_path / "out", FORMAT, gptq, calibration=CalibrationText(512)
        )
    assert (again.report, none) == (None, [])


def test_another_request_into_a_finished_place_is_refused_before_the_model_is_read(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtn = get_method("rtn")
    quantize_to_folder(model, tmp_path / "out", FORMAT, rtn)
    before = tree(tmp_path / "out")
    with pytest.raises(RequestError, match=r"\(it differs in model, formats\)"):
        quantize_to_folder("no-such-model", tmp_path / "out", "fp4:g32", rtn)
    assert tree(tmp_path / "out") == before
    quantize_to_folder(model, tmp_path / "out", "fp4:g32", rtn, overwrite=True)
    assert tree(tmp_path / "out") != before


def test_an_evaluation_goes_on_with_the_next_format(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "cache"))
    setting = EvaluationSetting(256, 64, 512, "float32")
    choices = {name: name for name in ("int8:g32", "int4:g32", "fp3:g32")}
    # The texts are the package's: only what is measured in the cache must be new.
    texts = torch.arange(256) % 250
    monkeypatch.setattr(comparing, "evaluation_tokens", lambda tokenizer, count: texts[:count])
    measured: list[str] = []
    original = perplexity

    def counted(
        copy: torch.nn.Module, text: torch.Tensor, context: int, *, bos: int | None, label: str
    ) -> Perplexity:
        if label == stop:
            raise KeyboardInterrupt
        measured.append(label)
        return original(copy, text, context, bos=bos, label=label)

    monkeypatch.setattr(comparing, "perplexity", counted)
    stop = "fp3:g32 rtn"
    with pytest.raises(KeyboardInterrupt):
        compare(model, choices, setting)
    assert measured == ["perplexity", "int8:g32 rtn", "int4:g32 rtn"]
    stop = ""
    rows = compare(model, choices, setting)
    assert measured[3:] == ["fp3:g32 rtn"]
    assert compare(model, choices, setting) == rows
    assert len(measured) == 4
    assert [row["format"] for row in rows] == ["none", *choices]
    monkeypatch.setenv("HWSIM_CACHE", str(tmp_path / "another"))
    assert compare(model, choices, setting) == rows
