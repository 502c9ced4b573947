"""save_model(): a quantized model of this process as a checkpoint folder that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from quant.checkpoints.contents import SCHEMA, Findings
from quant.checkpoints.folder import check_tensors, content_hash, write_checkpoint
from quant.checkpoints.runnable import write_assets
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.goal import Goal
from quant.common.job import job
from quant.layers.coverage import kept_of
from quant.layers.parameters import unquantized
from quant.layers.weights import inventory
from quant.models.preflight import name_of


def save_model(
    folder: str | Path,
    model: nn.Module,
    tokenizer: Any = None,  # noqa: ANN401  transformers'
    *,
    overwrite: bool = False,
) -> None:
    """Write a model whose weights ``quantize_model`` made codes to a folder.

    ``quant.load_model`` and ``quant eval`` run it; codes are stored as codes.

    Args:
        folder: Whole or absent; nothing is done where it holds just this already.
        model: Quantized; of transformers, so that its config says how to build it again.
        tokenizer: Its tokenizer; None: the folder has none.
        overwrite: Take the place of an older checkpoint; files that are not of it stay.

    Raises:
        RequestError: a model without codes, or without a config of transformers; a folder that
            holds anything but a checkpoint, or another one.
        HwsimError: another process writes there, or the disk is full.
    """
    arguments.one_of("model", model, nn.Module, "a torch module")
    if tokenizer is not None and not hasattr(tokenizer, "save_pretrained"):
        raise arguments.wrong_type("tokenizer", tokenizer, "a tokenizer of transformers, or None,")
    overwrite, folder = arguments.flag("overwrite", overwrite), arguments.path("folder", folder)
    found = inventory(model)
    codes = {path: own for path, weight in found.weights.items() if (own := weight.tensor)}
    if not codes:
        raise RequestError(
            f"model {type(model).__name__} holds no codes: quantize_model makes them"
        )
    if not hasattr(getattr(model, "config", None), "save_pretrained"):
        raise RequestError(f"model {type(model).__name__} has no config of transformers")
    check_tensors(codes)
    rest = unquantized(model)
    why = {name: entry.why for name, entry in kept_of(found, codes).items()}
    request = {"content": content_hash(codes, rest), "model": name_of(model)}
    with job(Goal(folder, SCHEMA, request, overwrite=overwrite)) as work:
        if work.made is None:
            assets = write_assets(model, tokenizer, work.folder)
            write_checkpoint(
                work, codes, model=name_of(model), rest=rest, found=Findings(why=why), assets=assets
            )
