"""quantize_to_folder(): a model is loaded, quantized and written as a checkpoint, resumably."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.checkpoints.contents import SCHEMA, Findings, grid_facts
from quant.checkpoints.folder import write_checkpoint
from quant.checkpoints.pretrained import source_format
from quant.checkpoints.runnable import write_assets
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.float_types import DTYPES
from quant.common.goal import Goal
from quant.common.job import job
from quant.common.versions import code_of, made_by
from quant.methods.base import Method
from quant.methods.kept import resumable
from quant.models.calibration import CalibrationText, calibration_for
from quant.models.kept import model_identity
from quant.plan import NOTHING, Formats, specs_of
from quant.tensors.values import cast_floats, tensors_hash

if TYPE_CHECKING:
    import torch

    from quant.layers.blocks import CalibrationData
    from quant.models.apply import QuantizationReport


@dataclass(frozen=True)
class Written:
    """A checkpoint folder.

    Attributes:
        manifest: Its manifest.
        report: What quantization did; None: the folder held just this already.
    """

    manifest: dict[str, Any]
    report: QuantizationReport | None


def quantize_to_folder(
    model: str,
    folder: Path,
    formats: Formats,
    method: Method,
    *,
    calibration: CalibrationText | None = None,
    rest_dtype: str = "",
    ignore: Sequence[str] = (),
    overwrite: bool = False,
) -> Written:
    """Quantize a model and write a checkpoint folder, whole or absent.

    Layers of methods that see one at a time are kept as they are done, and a run that was cut goes
    on with the next one; a finished folder of the same request is left as it is.

    Args:
        model: A name, folder, file or hub id, as ``load_model`` takes it.
        folder: The checkpoint.
        formats: As ``quantize_model`` takes them.
        method: How weights are rounded.
        calibration: The text for methods that look at inputs; None: the usual one.
        rest_dtype: What is not quantized is stored as this type (``bfloat16``); empty: as it is.
        ignore: Paths or patterns of matrices that stay as they are.
        overwrite: Take the place of an older checkpoint of another request.

    Raises:
        RequestError: as ``load_model`` and ``quantize_model``, or a folder that may not be
            replaced.
        HwsimError: another process writes there, or the disk is full.
    """
    import torch

    from quant.layers.parameters import unquantized
    from quant.layers.weights import kinds_of, weights
    from quant.models.apply import quantize_model
    from quant.models.load import load_model

    specs = specs_of(formats)
    # A folder is known by its content: how its path is spelled plays no part.
    named = Path(model).resolve().name if Path(model).exists() else model
    asked: dict[str, Any] = {"model": named, "method": method.described}
    asked |= {"formats": {path: str(spec) for path, spec in specs.items()}}
    asked |= {"ignore": list(arguments.several("ignore", ignore, arguments.text))}
    asked |= {"rest": arguments.choice("rest_dtype", rest_dtype, ("", *DTYPES))}
    asked |= {"grids": grid_facts(specs.values()), "method_code": code_of(method)}
    Goal(folder, SCHEMA, asked, overwrite=overwrite).check()
    loaded, tokenizer = load_model(model)
    widest = max((weight.shape[1] for weight in weights(loaded).values()), default=0)
    text = calibration_for(method, tokenizer, calibration or CalibrationText(), widest)
    seen = {"tokens": text} if isinstance(text, torch.Tensor) else _named(text)
    request = {**asked, "weights": model_identity(loaded), "calibration": tensors_hash(seen)}
    if decoded_from := source_format(loaded):
        request["source_format"] = decoded_from
    with job(Goal(folder, SCHEMA, {**request, **made_by()}, overwrite=overwrite)) as work:
        if work.made is not None:
            return Written(work.made, None)
        report = quantize_model(
            loaded, formats, method=resumable(method, work), calibration=text, ignore=ignore
        )
        if not report.layers:
            raise RequestError(NOTHING)
        used = method.for_model(kinds_of(loaded))
        why = {name: entry.why for name, entry in report.kept.items()}
        found = Findings(report.poor_groups, report.groups, why, report.notes)
        rest = unquantized(loaded)
        if rest_dtype:
            rest = cast_floats(rest, rest_dtype)
        assets = write_assets(loaded, tokenizer, work.folder)
        write_checkpoint(
            work, report.tensors, model=model, rest=rest, found=found, assets=assets, method=used
        )
        return Written(work.made or {}, report)


def _named(batches: CalibrationData | None) -> dict[str, torch.Tensor]:
    """The tokens of batches by names that tell them apart."""
    whole = [] if batches is None else list(batches)
    return {str(i): batch["input_ids"] for i, batch in enumerate(whole) if isinstance(batch, dict)}
