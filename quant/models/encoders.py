"""Measures of models that are no causal language models: masked words, and embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.models.evaluate import WindowLoss, standard_error, windows_of
from quant.models.texts import token_ids

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

SHARE = 0.15
"""Of the tokens that are masked, as BERT was trained (Devlin et al., arXiv 1810.04805)."""


@dataclass(frozen=True)
class MaskedLoss(WindowLoss):
    """Mean negative log-likelihood of masked words, given all others; no perplexity of a text."""


@dataclass(frozen=True)
class EmbeddingSimilarity:
    """How near embeddings are to those of another model.

    Attributes:
        cosines: Cosine of each sequence's mean hidden state with the other model's.
    """

    cosines: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over sequences; 1 for equal directions."""
        return float(np.mean(self.cosines))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for one sequence."""
        return standard_error(np.array(self.cosines))


def masked_loss(
    model: torch.nn.Module,
    tokens: torch.Tensor | NDArray[np.integer[Any]] | Sequence[int],
    mask: int,
    context: int = 128,
    *,
    seed: int = 0,
    label: str = "masked loss",
) -> MaskedLoss:
    """Measure how well an encoder with a head for words finds masked ones.

    A seeded 15 % of the tokens of each window, at least one, are masked at once.

    Args:
        model: A masked language model of transformers.
        tokens: ``[n]`` token ids; a last part shorter than ``context`` is not used.
        mask: The token that stands for a masked one (``tokenizer.mask_token_id``).
        context: Tokens of a window, at least 2.
        seed: Which tokens are masked.
        label: What the progress bar says.

    Raises:
        RequestError: fewer tokens than one window, a mask outside of the vocabulary, or a model
            that gives no logits of words.
    """
    import torch

    from quant.layers.coded import held_decoded
    from quant.models.logits import whole_logits

    arguments.one_of("model", model, torch.nn.Module, "a masked language model of transformers")
    ids, context = token_ids("tokens", tokens), arguments.integer("context", context, 2)
    mask, label = arguments.integer("mask", mask, 0), arguments.text("label", label)
    windows, _ = windows_of(ids, context, None)
    generator = torch.Generator().manual_seed(arguments.integer("seed", seed, 0, 2**63 - 1))
    losses = []
    with torch.inference_mode(), held_decoded(model):
        for window in track(windows, label, len(windows)):
            count = max(1, round(SHARE * context))
            hidden = torch.randperm(context, generator=generator)[:count]
            shown = window.clone()
            shown[hidden] = mask
            logits = whole_logits(model, shown)[hidden].float()
            if max(mask, int(window.max())) >= logits.shape[-1]:
                raise RequestError(
                    f"token {max(mask, int(window.max()))} is not allowed: the model's vocabulary "
                    f"has {logits.shape[-1]}"
                )
            losses.append(float(torch.nn.functional.cross_entropy(logits, window[hidden])))
    return MaskedLoss(tuple(losses), context)


def embedding_similarity(
    model: torch.nn.Module,
    reference: torch.nn.Module,
    batches: Sequence[torch.Tensor | Mapping[str, Any]],
) -> EmbeddingSimilarity:
    """Compare the mean hidden states of sequences with those of another model.

    Args:
        model: An encoder, quantized for instance.
        reference: The same unquantized.
        batches: What both are called with: tensors, or arguments by name; padding is left out.

    Raises:
        RequestError: no batch, or models whose hidden states have other shapes.
    """
    import torch

    from quant.layers.batches import as_batches
    from quant.layers.blocks import first, run_model
    from quant.layers.coded import held_decoded
    from quant.models.texts import calibration_data

    for name, value in (("model", model), ("reference", reference)):
        arguments.one_of(name, value, torch.nn.Module, "a torch module")
    found: list[float] = []
    with torch.inference_mode(), held_decoded(model):
        for batch in as_batches(calibration_data("batches", batches)):
            try:
                one, other = (first(run_model(m, batch)) for m in (model, reference))
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                raise RequestError(f"batches: a model cannot be called with one: {error}") from None
            if one.shape != other.shape or one.dim() < 2:
                shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
                raise RequestError(f"hidden states {shapes}: the same are needed")
            mean, wanted = (
                s.float().reshape(len(s), -1, s.shape[-1]).mean(1) for s in (one, other)
            )
            found += torch.nn.functional.cosine_similarity(mean, wanted, dim=-1).tolist()
    return EmbeddingSimilarity(tuple(found))
