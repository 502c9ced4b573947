"""How keys and values are cut into the groups that share a scale."""

from __future__ import annotations

from typing import Protocol

import torch

from quant.formats.spec import FormatSpec
from quant.tensors.quantize import quantize


class Grouping(Protocol):
    """A way to cut states into groups."""

    is_delayed: bool
    """Whether a token has to wait for others before it can be rounded."""

    def rounded(self, states: torch.Tensor, spec: FormatSpec) -> torch.Tensor:
        """Return ``states [batch, tokens, heads, channels]`` rounded, in their own type."""

    def last(self, places: torch.Tensor, size: int) -> torch.Tensor:
        """Return the last place of each token's group of ``size``; places count from 0."""


class _ByToken:
    """Groups lie within one head of one token."""

    is_delayed = False

    def rounded(self, states: torch.Tensor, spec: FormatSpec) -> torch.Tensor:
        """Round every head of every token."""
        rows = states.transpose(1, 2)
        return rounded_rows(rows, spec).transpose(1, 2)

    def last(self, places: torch.Tensor, size: int) -> torch.Tensor:
        """Each token is its own."""
        return places


class _ByChannel:
    """Groups are tokens of one channel, in a row; an open last group stays exact."""

    is_delayed = True

    def rounded(self, states: torch.Tensor, spec: FormatSpec) -> torch.Tensor:
        """Round the groups that are full."""
        size = spec.group_size
        full = states.shape[1] // size * size
        if not full:
            return states
        batch, _, heads, width = states.shape
        groups = states[:, :full].reshape(batch, -1, size, heads, width).permute(0, 3, 1, 4, 2)
        rows = rounded_rows(groups.flatten(2, 3), spec).reshape(groups.shape)
        return torch.cat([rows.permute(0, 2, 4, 1, 3).flatten(1, 2), states[:, full:]], 1)

    def last(self, places: torch.Tensor, size: int) -> torch.Tensor:
        """The end of the group; what is before place 0 is in none, and is never waited for."""
        ends = torch.div(places, size, rounding_mode="floor") * size + size - 1
        return torch.where(places < 0, places, ends)


by_token: Grouping = _ByToken()
KEYS: dict[str, Grouping] = {"token": by_token, "channel": _ByChannel()}


def rounded_rows(states: torch.Tensor, spec: FormatSpec) -> torch.Tensor:
    """Return ``states [batch, heads, rows, columns]`` rounded, in their own type and place.

    Groups lie within a row; what a format keeps once a tensor is kept once a head.
    """
    if not (spec.has_tensor_scale or (spec.has_selectors and spec.selects_per_tensor)):
        return rounded(states, spec)
    heads = [rounded(head, spec) for head in states.flatten(0, 1)]
    return torch.stack(heads).reshape(states.shape)


def rounded(values: torch.Tensor, spec: FormatSpec) -> torch.Tensor:
    """Return ``values [..., channels]`` as the codes of a format mean them, in their own type."""
    flat = values.detach().reshape(-1, values.shape[-1])
    decoded = torch.from_numpy(quantize(flat, spec).dequantize())
    return decoded.reshape(values.shape).to(values.device, values.dtype)
