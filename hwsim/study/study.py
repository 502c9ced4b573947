"""codesign(): which format each layer of a model gets on a machine, chosen and measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hwsim.machines.load import load_accelerator
from hwsim.simulation.simulate import simulate
from hwsim.study.costs import costs
from hwsim.study.exact import run_exactly
from hwsim.study.request import BITS, Request
from hwsim.study.result import Candidate, ExactLayer
from quant.common.progress import track
from quant.formats.spec import parse_spec
from quant.models.evaluate import Perplexity
from quant.plan import HEAD, Plan
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

CALIBRATION_TOKENS = 8192


class Study:
    """A model on a machine: loaded once, asked for plans, measured."""

    def __init__(self, request: Request) -> None:
        from hwsim.study.selection import check_budgets
        from hwsim.study.sensitivity import sensitivities
        from quant.models.apply import linear_layers
        from quant.models.load import load_model
        from quant.models.texts import calibration_tokens, evaluation_tokens

        self.request, self.machine = request, load_accelerator(request.accelerator)
        self.model, self.tokenizer = load_model(request.model)
        self.config: dict[str, Any] = self.model.config.to_dict()  # type: ignore[operator,union-attr]
        self.text = evaluation_tokens(self.tokenizer, request.tokens)
        self.layers = [path for path in linear_layers(self.model) if path != HEAD]
        self.formats = [str(self.machine.spec(name)) for name in self.machine.weights]
        self.work, self.costs = costs(self.machine, self.config, self.layers, self.formats, request)
        check_budgets(self.costs, request.budgets)
        self.head = {HEAD: str(self.machine.spec(self.machine.head))}
        calibration = calibration_tokens(self.tokenizer, CALIBRATION_TOKENS)
        self.loss = sensitivities(self.model, calibration, self.layers, self.formats)
        self._fast: torch.nn.Module | None = None

    def choose(self, budgets: Mapping[str, float]) -> Plan:
        """Return the plan with the least expected loss within budgets, the head's format added."""
        from hwsim.study.selection import select

        layers = select(self.loss, self.costs, budgets)
        return Plan(layers | self.head, self.request.model)

    def uniform(self, text: str) -> dict[str, str]:
        """Return one format for every block layer, the head's format added."""
        return dict.fromkeys(self.layers, text) | self.head

    def bits(self, formats: Mapping[str, str]) -> float:
        """Return the effective bits over the block layers."""
        table = self.costs[BITS].to_dict("index")
        return float(sum(table[path][formats[path]] for path in self.layers))

    def neighbours(self, bits: float) -> list[str]:
        """Return the best uniform format of the widths just below and just above some bits.

        Best is the least expected loss among formats of one element width.
        """
        totals = self.loss.sum()
        best: dict[int, str] = {}
        for text in sorted(self.formats, key=lambda text: float(totals[text])):
            best.setdefault(parse_spec(text).format.element_bits, text)
        ordered = sorted(best.values(), key=lambda text: self.bits(self.uniform(text)))
        below = [t for t in ordered if self.bits(self.uniform(t)) <= bits][-1:]
        above = [t for t in ordered if self.bits(self.uniform(t)) > bits][:1]
        return below + above

    def quantize(self, formats: Mapping[str, str]) -> tuple[dict[str, QuantizedTensor], float]:
        """Return the codes of a choice and the whole model's bits a weight."""
        from quant.models.apply import quantized

        with quantized(self.model, formats) as report:
            return report.tensors, report.whole_model_bits

    def perplexity(self, tensors: Mapping[str, QuantizedTensor], label: str) -> Perplexity:
        """Return the perplexity (bfloat16 compute, float32 loss) with some layers' codes."""
        from quant.models.apply import replaced
        from quant.models.evaluate import perplexity
        from quant.models.load import load_model

        if self._fast is None:
            self._fast, _ = load_model(self.request.model, dtype="bfloat16")
        with replaced(self._fast, tensors):
            return perplexity(self._fast, self.text, self.request.context, label=label)

    def measure(
        self, name: str, formats: Mapping[str, str]
    ) -> tuple[Candidate, dict[str, QuantizedTensor]]:
        """Quantize, simulate and evaluate a choice."""
        from hwsim.study.sensitivity import total

        tensors, whole = self.quantize(formats)
        planned = self.work.with_weights({path: t.spec for path, t in tensors.items()})
        return Candidate(
            name,
            self.bits(formats),
            whole,
            simulate(planned, self.machine),
            self.perplexity(tensors, name),
            total(self.loss, formats),
        ), tensors

    def exact(self, tensors: Mapping[str, QuantizedTensor]) -> list[ExactLayer]:
        """Run all linear layers of the middle block bit-exactly on real tokens."""
        block = f"model.layers.{int(self.config['num_hidden_layers']) // 2}."
        inside = {path: t for path, t in tensors.items() if path.startswith(block)}
        inputs = self._activations(tensors, list(inside))
        return [
            run_exactly(path, tensor, inputs[path])
            for path, tensor in track(inside.items(), "bit-exact block", len(inside))
        ]

    def _activations(
        self, tensors: Mapping[str, QuantizedTensor], paths: list[str]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Inputs of some layers of the quantized model on the first evaluation tokens."""
        import torch

        from quant.models.apply import linear_layers, replaced

        found: dict[str, np.ndarray[Any, Any]] = {}
        with replaced(self.model, tensors), torch.inference_mode():
            modules = linear_layers(self.model)
            hooks = [
                modules[path].register_forward_pre_hook(
                    lambda _, args, path=path: found.update({path: args[0][0].numpy()})
                )
                for path in paths
            ]
            self.model(self.text[None, : self.request.exact_tokens], use_cache=False)
            for hook in hooks:
                hook.remove()
        return found
