"""Torch tensors looked at: their bytes, a hash of them, the first value that is not finite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def raw(value: torch.Tensor) -> memoryview:
    """Return the bytes of a tensor in the order of its elements, whatever its strides and place."""
    import torch

    flat = value.detach().contiguous().cpu().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and contents of tensors, in hexadecimal."""
    whole = hashlib.sha256()
    for name, value in tensors.items():
        whole.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        whole.update(raw(value))
    return whole.hexdigest()


def first_not_finite(value: torch.Tensor) -> list[int] | None:
    """Return the index of the first NaN or Inf; None where all values are finite, or integers."""
    if not value.is_floating_point() or not value.numel():
        return None
    # The extremes are NaN if anything is: one pass, and nothing of the tensor's size is made.
    seen = value.detach() if value.element_size() > 1 else value.detach().float()
    low, high = seen.aminmax()
    if -float("inf") < float(low) <= float(high) < float("inf"):
        return None
    place: list[int] = (~seen.isfinite()).nonzero()[0].tolist()
    return place


def cast_floats(tensors: Mapping[str, torch.Tensor], dtype: str) -> dict[str, torch.Tensor]:
    """Return floats in another type, by name; integers, and all where it is empty, as they are."""
    import torch

    if not dtype:
        return dict(tensors)
    kind: torch.dtype = getattr(torch, dtype)
    return {
        n: value.to(kind) if value.is_floating_point() else value for n, value in tensors.items()
    }
