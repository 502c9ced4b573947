"""One family, one method, one way: what was quantized, what was kept, and whether it runs again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from quant.checkpoints.runnable import load_checkpoint
from quant.checkpoints.stream import quantize_checkpoint
from quant.common.errors import HwsimError
from quant.layers.coverage import COVERED, kept_said
from quant.layers.parameters import unquantized
from quant.layers.weights import inventory, weights
from quant.models.apply import quantize_model
from quant.models.evaluate import perplexity
from quant.models.report import QuantizationReport
from quant.models.save import save_model
from quant.tensors.arrays import parts
from verification.models.families import Family

FORMAT = "int4-asym:g16"
MEMORY, STREAM = "memory", "stream"
METHODS = {"rtn": (MEMORY, STREAM), "hqq": (MEMORY, STREAM), "gptq": (MEMORY,), "awq": (MEMORY,)}
"""Methods, and the ways that each goes: those that look at inputs cannot stream."""
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Row:
    """What one family was in one method and one way.

    Attributes:
        family: Its name.
        kind: Of what sort it is.
        method: How it was rounded.
        way: In memory, or streamed.
        layers: Quantized matrices.
        coverage: Quantized weights over all but embeddings and heads.
        effective_bits: Over the quantized matrices.
        whole_model_bits: Over everything.
        kept: What stays as it is, in words.
        notes: Matrices that were not treated as the method treats them.
        faults: What is not as it must be; none in a sound build.
    """

    family: str
    kind: str
    method: str
    way: str
    layers: int
    coverage: float
    effective_bits: float
    whole_model_bits: float
    kept: str
    notes: tuple[str, ...]
    faults: tuple[str, ...]


def run(family: Family, method: str, way: str, folder: Path) -> Row:
    """Quantize a family's model, write it, load it again, and compare all that can be."""
    model = family.build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    source = folder / "source"
    if way == STREAM:
        model.save_pretrained(source)  # type: ignore[operator]  # transformers' own
    calibration = [family.batch(seed) for seed in SEEDS]
    report = quantize_model(model, FORMAT, method=method, calibration=calibration)
    if way == STREAM:
        quantize_checkpoint(source, folder / "out", FORMAT, method=method)
    else:
        save_model(folder / "out", model)
    faults = list(_faults(family, model, before, report, method, folder / "out"))
    return Row(
        family.name, family.kind, method, way, len(report.layers), report.coverage,
        report.effective_bits, report.whole_model_bits, kept_said(report.kept),
        tuple(report.warnings), tuple(faults),
    )  # fmt: skip


def _faults(
    family: Family,
    model: nn.Module,
    before: dict[str, torch.Tensor],
    report: QuantizationReport,
    method: str,
    folder: Path,
) -> Iterator[str]:
    yield from _uncounted(model, before, report)
    yield from _changed(model, before, report, method)
    try:
        again = load_checkpoint(folder, torch.float32)
    except HwsimError as error:
        yield f"cannot be loaded: {error}"
        return
    yield from _different(model, again)
    batch = family.batch()
    if not torch.equal(_output(model, batch), _output(again, batch)):
        yield "logits of the reloaded model differ"
    if family.is_causal:
        yield from _loss(again, batch)


def _uncounted(
    model: nn.Module, before: dict[str, torch.Tensor], report: QuantizationReport
) -> Iterator[str]:
    """Numbers that the report leaves out or counts twice."""
    tied = _tied(model, before)
    total = sum(value.numel() for name, value in before.items() if name not in tied)
    counted = report.weights + report.other_weights
    if counted != total:
        yield f"{counted} numbers in the report, {total} in the model"
    if report.coverage < COVERED and not any("only" in line for line in report.warnings):
        yield f"{report.coverage:.1%} are quantized and nothing is said"


def _tied(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of state that is another name's."""
    own = {name for name, _ in model.named_parameters()} | {n for n, _ in model.named_buffers()}
    return before.keys() - own


def _changed(
    model: nn.Module, before: dict[str, torch.Tensor], report: QuantizationReport, method: str
) -> Iterator[str]:
    """Parameters that changed though they are not quantized."""
    if method == "awq":  # norms take the scales up
        return
    for name, value in unquantized(model).items():
        if name in before and not torch.equal(value, before[name]):
            yield f"{name} changed"


def _different(model: nn.Module, again: nn.Module) -> Iterator[str]:
    """What the reloaded model has otherwise: codes, the rest, formats."""
    one, other = weights(model), weights(again)
    for path, weight in one.items():
        mine, its = weight.tensor, other[path].tensor
        if (mine is None) != (its is None):
            yield f"{path}: codes in one of the two"
        elif mine is not None and its is not None:
            arrays = parts(its)
            if any(not np.array_equal(v, arrays[k]) for k, v in parts(mine).items()):
                yield f"{path}: other codes"
    rest, known = unquantized(model), unquantized(again)
    if rest.keys() != known.keys():
        yield f"other parameters: {sorted(rest.keys() ^ known.keys())[:3]}"
    yield from (f"{name} differs" for name in rest.keys() & known.keys()
                if not torch.equal(rest[name], known[name]))  # fmt: skip
    if inventory(model).weights.keys() != inventory(again).weights.keys():
        yield "another inventory"


def _loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> Iterator[str]:
    """Perplexity beside the model's own loss."""
    ids = batch["input_ids"]
    with torch.no_grad():
        own: Any = model(input_ids=ids, labels=ids)
    measured = perplexity(model, ids[0], context=ids.shape[1]).ln
    if abs(measured - float(own.loss)) > 1e-5 * abs(float(own.loss)):
        yield f"ln(perplexity) {measured}, the model's own loss {float(own.loss)}"


def _output(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(**batch)[0]
    return result


def ways() -> list[tuple[str, str]]:
    """Return every method with every way that it goes."""
    return [(method, way) for method, own in METHODS.items() for way in own]
