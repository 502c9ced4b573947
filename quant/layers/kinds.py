"""What a parameter of a module is: a matrix of weights, and in which layout, or something else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from quant.layers.layout import Layout
from quant.layers.towers import is_head, tower_of

HEAD = "lm_head"
"""The path that a causal language model's head has nearly always."""
APART_HEAD = "head"
FUSED = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Parameters of torch's MultiheadAttention that are matrices."""
STACKS_OF_INPUTS_FIRST = ("Llama4TextExperts",)
"""Experts that hold ``[experts, in, out]`` and do not say so by ``is_transposed``."""


def layout_of(module: nn.Module, name: str, parameter: torch.Tensor) -> Layout | None:
    """Return where the matrices of a parameter are; None: it holds none.

    Read from the module's class: linear layers and what is derived from them, convolutions,
    embeddings, torch's attention, transformers' Conv1D and experts in a stack.
    """
    shape = tuple(parameter.shape)
    kinds = nn.Linear | _ConvNd | nn.Embedding | nn.EmbeddingBag
    if name == "weight" and isinstance(module, kinds) and not isinstance(module, _ConvTransposeNd):
        return Layout(shape)
    if name == "weight" and getattr(module, "is_quantized_linear", False):
        return Layout(shape)
    if name == "weight" and is_conv1d(module):
        return Layout(shape, is_transposed=True)
    if name in FUSED and isinstance(module, nn.MultiheadAttention):
        return Layout(shape)
    if _is_experts(module) and len(shape) == 3:
        stated = getattr(module, "is_transposed", type(module).__name__ in STACKS_OF_INPUTS_FIRST)
        return Layout(shape, is_stack=True, is_transposed=bool(stated))
    return None


def why_not(module: nn.Module, name: str, parameter: torch.Tensor) -> str:
    """Return what a parameter is that holds no matrix of weights, in a word or two."""
    kind = type(module).__name__
    if parameter.dim() < 2 or "bias" in name:
        return "bias" if "bias" in name else "vector"
    if "Router" in kind or "Gate" in kind:
        return "router"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "recurrent layer"
    if isinstance(module, _ConvTransposeNd):
        return "transposed convolution"
    if "embed" in name.lower() or "Embed" in kind or name.endswith(("token", "tokens", "probe")):
        return "embedding"
    return f"parameter of {kind}, whose use is not known"


def why_apart(
    model: nn.Module, tables: frozenset[int], places: Sequence[tuple[str, nn.Module]]
) -> str:
    """Return why ``"*"`` does not mean a matrix; empty: it does.

    Args:
        model: The whole model.
        tables: Identities of the weights of embeddings (``tables_of``).
        places: Path and module of all that hold it.
    """
    if any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for _, module in places):
        return "embedding"
    for path, module in places:
        weight = getattr(module, "weight", None)
        if path == HEAD or id(weight) in tables or is_head(model, path, module):
            return APART_HEAD
    tower = tower_of(model, places[0][0])
    return f"tower of {tower}" if tower else ""


def tables_of(model: nn.Module) -> frozenset[int]:
    """Return the identities of the weights of embeddings: who shares one is a head."""
    modules = (m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag))
    return frozenset(id(module.weight) for module in modules)


def is_conv1d(module: nn.Module) -> bool:
    """Whether it is transformers' Conv1D (GPT-2), whose weight is ``[in, out]``."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"


def _is_experts(module: nn.Module) -> bool:
    return "Expert" in type(module).__name__
