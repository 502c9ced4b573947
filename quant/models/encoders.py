"""Measures of models that are no causal language models.

Encoders with a head for words: masked words. Encoders with a decoder: what the decoder is expected
to say. Others: hidden states beside those of another model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.models.evaluate import WindowLoss, check_fit, standard_error, windows_of
from quant.models.texts import token_ids

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

MASKED = "a masked language model of transformers"
CONDITIONAL = "an encoder with a decoder of transformers"
IGNORED = -100
"""The label of what is not counted, as transformers has it."""
SHARE = 0.15
"""Of the tokens that are masked, as BERT was trained (Devlin et al., arXiv 1810.04805)."""


@dataclass(frozen=True)
class MaskedLoss(WindowLoss):
    """Mean negative log-likelihood of masked words, given all others; no perplexity of a text."""


@dataclass(frozen=True)
class ConditionalLoss:
    """Mean negative log-likelihood of a decoder's words, given the input and all words before.

    Attributes:
        sequence_nll: Mean over the words of each sequence, in nat.
    """

    sequence_nll: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over sequences."""
        return float(np.mean(self.sequence_nll))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for one sequence."""
        return standard_error(np.array(self.sequence_nll))


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
        RequestError: fewer tokens than one window, windows longer than the model has positions, a
            mask outside of the vocabulary, or a model that gives no logits of words or generates
            word by word.
    """
    import torch

    from quant.layers.coded import held_decoded
    from quant.models.looking_ahead import generates
    from quant.models.words import whole_logits

    arguments.one_of("model", model, torch.nn.Module, MASKED)
    if generates(model):
        kind = type(model).__name__
        raise RequestError(f"model {kind} predicts the next word: quant.perplexity measures it")
    ids, context = token_ids("tokens", tokens), arguments.integer("context", context, 2)
    mask, label = arguments.integer("mask", mask, 0), arguments.text("label", label)
    windows, _ = windows_of(ids, context, None)
    check_fit(model, windows)
    generator = torch.Generator().manual_seed(arguments.integer("seed", seed, 0, 2**63 - 1))
    losses = []
    with torch.inference_mode(), held_decoded(model):
        for window in track(windows, label, len(windows)):
            count = max(1, round(SHARE * context))
            hidden = torch.randperm(context, generator=generator)[:count]
            shown = window.clone()
            shown[hidden] = mask
            check_fit(model, shown[None])
            logits = whole_logits(model, shown, MASKED)[hidden].float()
            losses.append(float(torch.nn.functional.cross_entropy(logits, window[hidden])))
    return MaskedLoss(tuple(losses), context)


def conditional_loss(
    model: torch.nn.Module, batches: Sequence[Mapping[str, Any]]
) -> ConditionalLoss:
    """Measure the loss of an encoder's decoder, each word after the right ones (teacher forcing).

    Args:
        model: A model of transformers with encoder and decoder: T5, BART, Whisper.
        batches: What it is called with, by name: the encoder's input, and ``labels [n, words]``,
            the token ids that the decoder is expected to give; -100 is not counted.

    Raises:
        RequestError: another kind of model, no batch, a batch without labels or that the model
            does not take, or a sequence with nothing to count.
    """
    import torch

    from quant.layers.coded import held_decoded
    from quant.models.looking_ahead import has_encoder
    from quant.models.texts import calibration_data

    arguments.one_of("model", model, torch.nn.Module, CONDITIONAL)
    if not has_encoder(model):
        raise RequestError(f"model {type(model).__name__}: {CONDITIONAL} is needed")
    found: list[float] = []
    with torch.inference_mode(), held_decoded(model):
        for batch in calibration_data("batches", batches):
            found += _losses_of(model, batch)
    if not found:
        raise RequestError("batches: at least one is needed")
    return ConditionalLoss(tuple(found))


def _losses_of(model: torch.nn.Module, batch: object) -> list[float]:
    """Mean loss of each sequence of a batch."""
    import torch

    from quant.layers.blocks import run_model

    labels = batch.get("labels") if isinstance(batch, Mapping) else None
    if not isinstance(batch, Mapping) or not isinstance(labels, torch.Tensor) or labels.dim() != 2:
        raise RequestError("batches: each needs labels, a tensor of token ids [n, words]")
    if not bool((labels != IGNORED).any(1).all()):
        raise RequestError(f"batches: a sequence without labels other than {IGNORED}")
    try:
        logits = getattr(run_model(model, batch), "logits", None)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise RequestError(f"batches: the model cannot be called with one: {error}") from None
    if not isinstance(logits, torch.Tensor) or logits.shape[:2] != labels.shape:
        kind = type(model).__name__
        raise RequestError(
            f"model {kind} gives no logits of words; quant.embedding_similarity compares "
            "hidden states"
        )
    each = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )
    mean: list[float] = (each.sum(1) / (labels != IGNORED).sum(1)).tolist()
    return mean


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
    with torch.inference_mode(), held_decoded(model), held_decoded(reference):
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
