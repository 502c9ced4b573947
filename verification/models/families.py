"""Tiny random models of transformers, one of each family, and what each is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

VOCABULARY, TOKENS = 100, 24


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        name: What it is called in the report.
        kind: Of what sort it is: dense, experts, latent attention and so on.
        model: Name of its class in transformers.
        config: Name of its config's class.
        settings: What makes it tiny.
        inputs: Makes what it is called with, from a generator; None: token ids.
    """

    name: str
    kind: str
    model: str
    config: str
    settings: Mapping[str, Any]
    inputs: Callable[[torch.Generator], dict[str, torch.Tensor]] | None = None

    @property
    def is_causal(self) -> bool:
        """Whether perplexity is its measure."""
        return self.inputs is None

    def build(self, seed: int = 0) -> nn.Module:
        """Return the model in evaluation mode, its matrices from a normal distribution.

        The deviation is larger than that of training's first step, so that logits differ.
        """
        import transformers

        torch.manual_seed(seed)
        config = getattr(transformers, self.config)(**self.settings)
        model: nn.Module = getattr(transformers, self.model)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.1)
        return model

    def batch(self, seed: int = 0) -> dict[str, torch.Tensor]:
        """Return what it is called with."""
        generator = torch.Generator().manual_seed(seed)
        return text(generator) if self.inputs is None else self.inputs(generator)


def text(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Token ids, ``[1, 24]``."""
    return {"input_ids": torch.randint(3, VOCABULARY, (1, TOKENS), generator=generator)}


def pairs(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Token ids for an encoder and for its decoder."""
    return {**text(generator), "decoder_input_ids": text(generator)["input_ids"][:, :8]}


def pixels(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """An image."""
    return {"pixel_values": torch.randn(1, 3, 16, 16, generator=generator)}


def sound(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """A spectrogram, and the first words."""
    features = torch.randn(1, 8, 32, generator=generator)
    return {"input_features": features, "decoder_input_ids": text(generator)["input_ids"][:, :8]}
