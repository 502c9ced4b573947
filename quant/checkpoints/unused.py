"""Tensors of a folder that transformers leaves out of a model by itself: said, never just gone.

Such as layers that predict further tokens (DeepSeek's and GLM's multi-token prediction).
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING

from quant.checkpoints.shards import ShardedModel
from quant.common.progress import say

if TYPE_CHECKING:
    import torch

NOTE = "in the files, and not part of the model as transformers builds it"
_NAMES = "_quant_unused_tensors"


def unused_tensors(opened: ShardedModel, model: torch.nn.Module) -> dict[str, int]:
    """Return the tensors that the class of a model declares to be none of its own, and their sizes.

    Args:
        opened: The folder that it is of.
        model: Loaded, or on the meta device.
    """
    patterns: list[str] = list(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())
    own = model.state_dict().keys() if patterns else ()
    return {
        name: prod(tensor.shape)
        for name, tensor in opened.tensors.items()
        if name not in own and any(re.search(pattern, name) for pattern in patterns)
    }


def keep_unused(opened: ShardedModel, model: torch.nn.Module) -> None:
    """Say what is left out of a model that was loaded, and let its reports say it too."""
    found = unused_tensors(opened, model)
    if found:
        first = next(iter(found))
        say(f"{opened.folder}: {sum(found.values()):,} numbers {NOTE}: {first} and the like")
        setattr(model, _NAMES, tuple(found))


def unused_of(model: torch.nn.Module) -> tuple[str, ...]:
    """Return the names of the tensors that were left out when a model was loaded."""
    return tuple(getattr(model, _NAMES, ()))
