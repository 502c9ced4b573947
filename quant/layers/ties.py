"""A head that is the table of input embeddings, and the flag of a config that says so.

transformers ties by that flag when it builds a model; it may tie other parameters by it too, and
some models compute otherwise where it is false. So codes of a head change it where that means the
head alone; everywhere else it stays, and a checkpoint's own codes say what is apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from quant.layers.forwards import asks_for

TIED = "tie_word_embeddings"
"""What configs call a head that is the table of input embeddings."""


def untie(model: nn.Module, head: Iterable[str]) -> None:
    """Let a model's config say that its head is no embedding, where that changes nothing else.

    Args:
        model: The model.
        head: Names of the head's parameter.
    """
    if reads_flag(model) or not ties_of(model) <= {*head}:
        return
    for config in configs(model):
        if getattr(config, TIED, False):
            setattr(config, TIED, False)


def configs(model: nn.Module) -> list[Any]:
    """Return a model's config, and that of its text part; none where it has none."""
    own = getattr(model, "config", None)
    return [c for c in (own, getattr(own, "text_config", None)) if c is not None]


def ties_of(model: nn.Module) -> set[str]:
    """Return the names of the parameters that transformers makes others of by the flag."""
    expanded = getattr(model, "get_expanded_tied_weights_keys", None)
    return set(expanded(all_submodels=True)) if callable(expanded) else set()


def reads_flag(model: nn.Module) -> bool:
    """Whether what a model computes depends on the flag: a forward of its asks for it."""
    return asks_for(model, TIED)
