"""Calibration data as batches: windows of tokens, or a model's arguments, without padding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import torch

from quant.common.errors import RequestError

CONTEXT = 512
"""Tokens of a window of calibration text."""
Batch: TypeAlias = torch.Tensor | Mapping[str, Any]
"""A model's one argument, or its arguments by name."""
CalibrationData: TypeAlias = torch.Tensor | Iterable[Batch]
"""Token ids ``[n]``, which are cut into windows of 512, or batches."""
MASKS = {"attention_mask": "", "decoder_attention_mask": "decoder_"}
"""Arguments that say which tokens are padding, and how the names begin that they are about."""


def as_batches(calibration: CalibrationData) -> list[Batch]:
    """Return calibration data as a list of batches.

    Padding plays no part in any statistic: sequences with padding run one by one, without it.

    Raises:
        RequestError: no batch, a single token, or padding beside arguments that cannot be told
            apart by sequence.
    """
    if isinstance(calibration, torch.Tensor) and calibration.dim() == 1:
        if calibration.numel() < 2:
            raise RequestError(f"{calibration.numel()} calibration tokens: at least 2 are needed")
        context = min(CONTEXT, calibration.numel())
        whole = calibration[: calibration.numel() // context * context]
        return [{"input_ids": window[None]} for window in whole.view(-1, context)]
    batches = [part for batch in calibration for part in unpadded(batch)]
    if not batches:
        raise RequestError("calibration holds no batch")
    return batches


def unpadded(batch: Batch) -> Iterator[Batch]:
    """Yield the sequences of a batch without their padding; a batch without padding as it is.

    Raises:
        RequestError: padding beside an argument that is not one entry a sequence.
    """
    if not isinstance(batch, Mapping):
        yield batch
        return
    stated = {name: _mask(name, batch[name]) for name in MASKS if batch.get(name) is not None}
    masks = {name: mask for name, mask in stated.items() if not mask.all()}
    _check_labels(batch)
    if not masks:
        yield batch
        return
    rows = len(next(iter(masks.values())))
    for name, value in batch.items():
        if isinstance(value, torch.Tensor) and rows > 1 and (value.dim() < 1 or len(value) != rows):
            raise RequestError(
                f"calibration: {name} has shape {tuple(value.shape)} beside {rows} padded "
                "sequences: give one sequence a batch"
            )
    for row in range(rows):
        if all(mask[row].any() for mask in masks.values()):  # else there is no token in it
            yield {name: _cut(name, value, row, masks) for name, value in batch.items()}


def _cut(name: str, value: object, row: int, masks: Mapping[str, torch.Tensor]) -> object:
    """An argument of one sequence, its tokens without padding."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    rows = len(next(iter(masks.values())))
    own = value[row : row + 1] if len(value) == rows else value
    for mask, prefix in MASKS.items():
        is_about = name.startswith("decoder_") == bool(prefix)
        if mask in masks and is_about and value.shape[:2] == masks[mask].shape:
            return own[:, masks[mask][row]]
    return own


def _mask(name: str, value: object) -> torch.Tensor:
    """A mask as booleans ``[sequences, tokens]``.

    Raises:
        RequestError: no tensor, or one of more dimensions that masks something out: which tokens
            are padding does not show in it.
    """
    if not isinstance(value, torch.Tensor):
        kind = type(value).__name__
        raise RequestError(f"calibration: {name} of type {kind}: a tensor is needed")
    seen = value.bool() if value.dim() == 2 else torch.ones(1, 1, dtype=torch.bool)
    if value.dim() != 2 and _hides(value):
        raise RequestError(
            f"calibration: {name} has shape {tuple(value.shape)}: [sequences, tokens] is needed, "
            "which says where padding is"
        )
    return seen


def _hides(mask: torch.Tensor) -> bool:
    """Whether a mask of attention hides a token from all that come after it, as padding is."""
    shown = mask if mask.dtype == torch.bool else mask >= 0 if (mask <= 0).all() else mask > 0
    return mask.dim() < 3 or not bool(shown[..., -1, :].all())


def _check_labels(batch: Mapping[str, Any]) -> None:
    """Refuse labels whose padding (-100) an encoder-decoder would turn into tokens.

    Raises:
        RequestError: such labels, without a mask of the decoder's tokens.
    """
    labels, ids = batch.get("labels"), batch.get("input_ids")
    if not isinstance(labels, torch.Tensor) or "decoder_input_ids" in batch:
        return
    if isinstance(ids, torch.Tensor) and ids.shape == labels.shape:  # of a decoder alone
        return
    if "decoder_attention_mask" in batch:
        return
    if bool((labels == -100).any()):
        raise RequestError(
            "calibration: labels with -100 and no decoder_attention_mask: which of the decoder's "
            "tokens are padding is not said"
        )
