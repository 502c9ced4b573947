"""export(): a finished quantized checkpoint in the layout of another runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from quant.checkpoints.export import ExportOptions, ExportReport, export_checkpoint
from quant.checkpoints.finished import open_finished
from quant.checkpoints.hub_folder import SHARD_BYTES
from quant.common import arguments
from quant.common.float_types import DTYPES
from quant.models.calibration import CalibrationText
from quant.models.load import load_model

if TYPE_CHECKING:
    import torch
    from torch import nn

STATIC = "static"
WAYS = ("none", "dynamic", STATIC)
"""How a runtime rounds what layers are given: not at all, each token, by a stored scale."""


def export(
    checkpoint: str | Path,
    folder: str | Path,
    *,
    to: str = "compressed-tensors",
    activations: str = "none",
    calibration: CalibrationText | None = None,
    rest_dtype: str = "",
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
) -> ExportReport:
    """Write a quantized checkpoint in the layout of another runtime, whole or absent.

    Codes carry over: what the runtime decodes is what ``QuantizedTensor.dequantize`` returns.

    Args:
        checkpoint: A folder as ``quant quantize`` writes it.
        folder: The export; nothing is done where it holds just this already.
        to: ``compressed-tensors``, ``gguf``, ``gptq`` or ``awq``.
        activations: How the runtime rounds inputs (compressed-tensors alone): ``none``, ``dynamic``
            or ``static``.
        calibration: The text whose inputs give static scales; None: the usual one.
        rest_dtype: What is not quantized is stored as this type (``bfloat16``); empty: as it is.
        shard_bytes: Size from which a file of safetensors is full.
        overwrite: Take the place of an older export; files that are not of it stay.

    Raises:
        RequestError: no checkpoint, an unknown target, a layer that it cannot hold exactly (named
            with its format), or a folder that may not be replaced.
        HwsimError: another process writes there, or the disk is full.
    """
    checkpoint = arguments.path("checkpoint", checkpoint)
    folder = arguments.path("folder", folder)
    if calibration is not None:
        arguments.one_of("calibration", calibration, CalibrationText, "a CalibrationText")
    text = calibration or CalibrationText()
    is_static = arguments.choice("activations", activations, WAYS) == STATIC
    options = ExportOptions(
        activations,
        ranges=cache(partial(input_ranges, checkpoint, text)) if is_static else dict,
        ranged_by=text.facts if is_static else {},
        rest_dtype=arguments.choice("rest_dtype", rest_dtype, ("", *DTYPES)),
        shard_bytes=arguments.integer("shard_bytes", shard_bytes, least=1),
    )
    overwrite, target = arguments.flag("overwrite", overwrite), arguments.text("to", to)
    opened = open_finished(checkpoint)
    return export_checkpoint(opened, folder, target, options, overwrite=overwrite)


def input_ranges(checkpoint: Path, text: CalibrationText) -> dict[str, float]:
    """Return the largest magnitude of each layer's inputs over a text; computed in float32.

    Layers are plain modules; experts of a stack have no inputs of their own.
    """
    import torch

    model, tokenizer = load_model(str(checkpoint), dtype="float32")
    tokens = text.read(tokenizer)
    windows = tokens[: len(tokens) // text.window * text.window].view(-1, text.window)
    found: dict[str, float] = {}
    with _watched(model, found), torch.inference_mode():
        for window in windows:
            model(input_ids=window[None])
    return found


@contextmanager
def _watched(model: nn.Module, found: dict[str, float]) -> Iterator[None]:
    """Keep the largest magnitude of what each layer is given, for the length of a block."""
    from quant.layers.weights import weights

    def watch(path: str) -> object:
        def seen(_: object, given: tuple[torch.Tensor, ...]) -> None:
            found[path] = max(found.get(path, 0.0), float(given[0].abs().max()))

        return seen

    layers = {path: weight for path, weight in weights(model).items() if weight.is_layer}
    handles = [
        weight.module.register_forward_pre_hook(watch(path))  # type: ignore[arg-type]  # torch's own
        for path, weight in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
