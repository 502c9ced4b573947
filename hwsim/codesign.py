"""codesign(): which format each layer of a model gets on a machine, chosen and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hwsim.accelerator import load_accelerator
from hwsim.costs import BITS, Request, costs
from hwsim.pe import matmul
from hwsim.simulate import SimulationResult, simulate
from quant.common.progress import track
from quant.evaluate import Perplexity
from quant.plan import HEAD, Plan
from quant.spec import parse_spec
from quant.tensor import QuantizedTensor
from roofline.workload import Scenario

if TYPE_CHECKING:
    import torch

CALIBRATION_TOKENS = 8192


@dataclass(frozen=True)
class ExactLayer:
    """A layer run in the PE's arithmetic on real activations.

    Attributes:
        layer: Module path.
        format: Its format.
        outputs: How many outputs (tokens x rows).
        pe_cycles: Summed over outputs and tokens.
        mean_error: Mean |y - exact| over mean |exact|.
        max_error: Largest |y - exact| over mean |exact|.
        stimulus: SHA-256 of the FP16 activations.
    """

    layer: str
    format: str
    outputs: int
    pe_cycles: int
    mean_error: float
    max_error: float
    stimulus: str


@dataclass(frozen=True)
class Candidate:
    """A choice of formats that was measured.

    Attributes:
        name: ``plan`` or a uniform format.
        effective_bits: Over the block layers.
        whole_model_bits: Over all parameters, head and embeddings included.
        simulation: The scenario on the machine.
        perplexity: On the evaluation text.
        expected: Expected increase of ln(perplexity).
    """

    name: str
    effective_bits: float
    whole_model_bits: float
    simulation: SimulationResult
    perplexity: Perplexity
    expected: float


@dataclass(frozen=True)
class CodesignResult:
    """What a co-design run found."""

    request: Request
    plan: Plan
    scenario: Scenario
    loss: pd.DataFrame
    baseline: Perplexity
    candidates: tuple[Candidate, ...]
    exact: tuple[ExactLayer, ...]
    tensors: dict[str, QuantizedTensor]


class Study:
    """A model on a machine: loaded once, asked for plans, measured."""

    def __init__(self, request: Request) -> None:
        from hwsim.selection import check_budgets
        from hwsim.sensitivity import sensitivities
        from quant.apply import linear_layers
        from quant.data import calibration_tokens, evaluation_tokens
        from quant.models import load_model

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
        from hwsim.selection import select

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
        from quant.apply import quantized

        with quantized(self.model, formats) as report:
            return report.tensors, report.whole_model_bits

    def perplexity(self, tensors: Mapping[str, QuantizedTensor], label: str) -> Perplexity:
        """Return the perplexity (bfloat16 compute, float32 loss) with some layers' codes."""
        from quant.apply import replaced
        from quant.evaluate import perplexity
        from quant.models import load_model

        if self._fast is None:
            self._fast, _ = load_model(self.request.model, dtype="bfloat16")
        with replaced(self._fast, tensors):
            return perplexity(self._fast, self.text, self.request.context, label=label)

    def measure(
        self, name: str, formats: Mapping[str, str]
    ) -> tuple[Candidate, dict[str, QuantizedTensor]]:
        """Quantize, simulate and evaluate a choice."""
        from hwsim.sensitivity import total

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

        from quant.apply import linear_layers, replaced

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


def run_exactly(path: str, tensor: QuantizedTensor, x: np.ndarray[Any, Any]) -> ExactLayer:
    """Run one layer in the PE's arithmetic and compare with the exact product of the same codes."""
    half = x.astype(np.float16)
    y, cycles = matmul(tensor, half)
    exact = half.astype(np.float64) @ tensor.dequantize().astype(np.float64).T
    error, size = np.abs(y - exact), float(np.abs(exact).mean())
    return ExactLayer(
        path,
        str(tensor.spec),
        y.size,
        cycles,
        float(error.mean()) / size,
        float(error.max()) / size,
        hashlib.sha256(half.tobytes()).hexdigest(),
    )


def run(request: Request) -> CodesignResult:
    """Choose a plan, measure it beside the baseline and its uniform neighbours, run a block."""
    study = Study(request)
    plan = study.choose(request.budgets)
    baseline = study.perplexity({}, "baseline")
    chosen, tensors = study.measure("plan", plan.layers)
    others = [
        study.measure(text, study.uniform(text))[0]
        for text in study.neighbours(study.bits(plan.layers))
    ]
    exact = study.exact(tensors)
    candidates = (chosen, *others)
    return CodesignResult(
        request, plan, study.work, study.loss, baseline, candidates, tuple(exact), tensors
    )


def codesign(
    model: str,
    accelerator: str,
    *,
    max_effective_bits: float | None = None,
    max_prefill_time: float | None = None,
    max_decode_time: float | None = None,
    prompt: int = 256,
    generate: int = 32,
    batch: int = 1,
    out: Path | None = None,
) -> Plan:
    """Return the plan with the least expected loss for a model on a machine within budgets.

    Args:
        model: Built-in name, folder or hub id.
        accelerator: Built-in name or TOML file.
        max_effective_bits: Stored bits per weight over the block layers.
        max_prefill_time: Seconds from prompt to first token.
        max_decode_time: Seconds per generated token, on average.
        prompt: Tokens of the prompt.
        generate: Tokens generated.
        batch: Sequences.
        out: If given, the plan is measured too, and report and checkpoint are written there.

    Raises:
        RequestError: unknown names, no budget, or one that is infeasible (the smallest feasible
            is stated).
    """
    request = Request(
        model,
        accelerator,
        max_effective_bits,
        max_prefill_time,
        max_decode_time,
        prompt,
        generate,
        batch,
    )
    if out is None:
        return Study(request).choose(request.budgets)
    from hwsim.report.codesign import write_report

    result = run(request)
    write_report(result, out)
    return result.plan
