"""Contract of methods."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hwsim.testing.refusals import refusal
from quant.layers.matrices import linear_layers
from quant.methods.base import Method
from quant.methods.registry import METHODS, register
from quant.models.apply import quantize_model, quantized
from quant.plan import HEAD

if TYPE_CHECKING:
    import torch

FORMAT = "int4:g32"
VOCABULARY = 97


def small_llama(width: int = 32) -> torch.nn.Module:
    """Return a Llama of two layers with random weights, float32, the same each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
    )
    model: torch.nn.Module = LlamaForCausalLM(config).eval()
    return model


class MethodContract:
    """Set ``method``, and ``format`` where it does not take ``int4:g32``."""

    method: ClassVar[Method]
    format: ClassVar[str] = FORMAT

    def model(self) -> torch.nn.Module:
        """A small model, the same each time."""
        return small_llama()

    def calibration(self) -> list[dict[str, torch.Tensor]] | None:
        """Batches of token ids, the same each time; None for a method that looks at none."""
        import torch

        if not self.method.uses_calibration:
            return None
        generator = torch.Generator().manual_seed(1)
        ids = [torch.randint(0, VOCABULARY, (1, 128), generator=generator) for _ in range(4)]
        return [{"input_ids": batch} for batch in ids]

    def test_it_is_registered(self) -> None:
        """Under its own name, with a source."""
        register(self.method)
        assert METHODS[self.method.name] is self.method
        assert self.method.source

    def test_it_rounds_a_model(self) -> None:
        """Every layer has codes of the format, near its weights; the model still computes."""
        import torch

        register(self.method)
        model = self.model()
        report = quantize_model(
            model, self.format, method=self.method.name, calibration=self.calibration()
        )
        assert set(report.layers) == {p for p in linear_layers(self.model()) if p != HEAD}
        for path, layer in report.layers.items():
            assert str(layer.tensor.spec).startswith(self.format.split(":")[0]), path
            assert layer.relative_error < 0.5, f"{path}: {layer.relative_error}"
        with torch.no_grad():
            logits = model(torch.arange(16)[None]).logits
        assert torch.isfinite(logits).all()

    def test_the_same_twice(self) -> None:
        """The same model and inputs give the same codes."""
        register(self.method)
        reports = [
            quantize_model(
                self.model(), self.format, method=self.method.name, calibration=self.calibration()
            )
            for _ in range(2)
        ]
        for path, tensor in reports[0].tensors.items():
            np.testing.assert_array_equal(tensor.codes, reports[1].tensors[path].codes)

    def test_afterwards_the_model_is_as_it_was(self) -> None:
        """``quantized`` restores every parameter; none changes that the method says it leaves."""
        import torch

        register(self.method)
        model = self.model()
        before = deepcopy(model.state_dict())
        with quantized(model, self.format, method=self.method.name, calibration=self.calibration()):
            if not self.method.changes_other_parameters:
                kept = model.state_dict()
                assert all(torch.equal(before[n], kept[n]) for n in kept if "norm" in n)
        after = model.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())

    def test_needed_calibration_is_asked_for(self) -> None:
        """A method that needs inputs says so before it works."""
        if not self.method.needs_calibration:
            return
        register(self.method)
        name = self.method.name
        assert name in refusal(lambda: quantize_model(self.model(), self.format, method=name))
