"""Study: which format each layer of a model may get on a machine, chosen and measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hwsim.machines.load import load_accelerator
from hwsim.simulation.simulate import simulate
from hwsim.study import fingerprint
from hwsim.study.costs import costs
from hwsim.study.exact import exact_arithmetic, middle_block, run_exactly
from hwsim.study.request import BITS, Request
from hwsim.study.result import Candidate, Conditions, ExactLayer
from quant.common.errors import HwsimError
from quant.common.job import Job
from quant.common.progress import track
from quant.common.sealed import digest
from quant.common.versions import made_by
from quant.formats.spec import FormatSpec
from quant.layers.coverage import sums_of
from quant.models.evaluate import Perplexity
from quant.plan import Plan
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

    from hwsim.study.selection import Selection
    from quant.models.report import QuantizationReport

CALIBRATION_TOKENS = 8192
COMPUTE = "bfloat16"
"""Data type that perplexities are computed in."""
SLACK = 1e-9
"""What a total may gain by being summed in another order."""
Choice: TypeAlias = dict[str, FormatSpec]
"""Format of each layer, experts one by one, and of the head."""


class Study:
    """A model on a machine: loaded once, asked for plans, measured."""

    def __init__(self, request: Request) -> None:
        from hwsim.study.selection import check_budgets
        from hwsim.study.sensitivity import sensitivities
        from quant.layers.blocks import CONTEXT
        from quant.layers.kinds import APART_HEAD
        from quant.layers.weights import weights
        from quant.models.load import load_model
        from quant.models.texts import calibration_tokens, evaluation_tokens

        self.request, self.machine = request, load_accelerator(request.accelerator)
        self.model, self.tokenizer = load_model(request.model)
        self.config: dict[str, Any] = self.model.config.to_dict()  # type: ignore[operator,union-attr]  # transformers' own
        self.text = evaluation_tokens(self.tokenizer, request.tokens)
        known = weights(self.model)
        self.layers = [path for path, weight in known.items() if not weight.apart]
        self.heads = [path for path, weight in known.items() if weight.apart == APART_HEAD]
        self.formats = [self.machine.spec(name) for name in self.machine.weights]
        self.work, self.costs = costs(self.machine, self.config, self.layers, self.formats, request)
        check_budgets(self.costs, request.budgets)
        self.head = self.machine.spec(self.machine.head)
        calibration = calibration_tokens(self.tokenizer, CALIBRATION_TOKENS)
        self.loss = sensitivities(self.model, calibration, self.layers, self.formats)
        self.conditions = Conditions(
            "C4 web pages",
            calibration.numel() // CONTEXT * CONTEXT,
            "Wikipedia articles",
            COMPUTE,
            str(next(self.model.parameters()).dtype).removeprefix("torch."),
        )
        self._fast: torch.nn.Module | None = None
        self.journal: Job | None = None

    def select(self, budgets: Mapping[str, float]) -> Selection:
        """Return the formats with the least expected loss within budgets."""
        from hwsim.study.selection import select

        return select(self.loss, self.costs, budgets, time_limit_s=self.request.time_limit)

    def choice(self, selection: Selection) -> Choice:
        """Return a selection's formats, the head's added."""
        by_text = {str(spec): spec for spec in self.formats}
        formats = {path: by_text[text] for path, text in selection.formats.items()}
        return {**formats, **dict.fromkeys(self.heads, self.head)}

    def plan(self, choice: Choice) -> Plan:
        """Return a choice as a plan."""
        return Plan({path: str(spec) for path, spec in choice.items()}, self.request.model)

    def uniform(self, spec: FormatSpec) -> Choice:
        """Return one format for every block layer, the head's format added."""
        return {**dict.fromkeys(self.layers, spec), **dict.fromkeys(self.heads, self.head)}

    def cost(self, name: str, choice: Choice) -> float:
        """Return the total of a choice in one of the budgets."""
        table = self.costs[name].to_dict("index")
        return float(sum(table[path][str(choice[path])] for path in self.layers))

    def bits(self, choice: Choice) -> float:
        """Return the effective bits over the block layers."""
        return self.cost(BITS, choice)

    def alternatives(self, choice: Choice) -> dict[str, Selection | None]:
        """Return what each cost alone would choose, allowed no more of it than ``choice`` takes.

        None where the solver had nothing in time. A cost that was the only budget is left out.
        """
        others = [name for name in self.costs if self.request.budgets.keys() != {name}]
        results: dict[str, Selection | None] = {}
        for name in track(others, "comparing budgets", len(others)):
            try:
                results[name] = self.select({name: self.cost(name, choice) * (1 + SLACK)})
            except HwsimError:
                results[name] = None
        return results

    def neighbours(self, bits: float) -> list[FormatSpec]:
        """Return the best uniform format of the widths just below and just above some bits.

        Best is the least expected loss among formats of one element width.
        """
        totals = self.loss.sum()
        best: dict[int, FormatSpec] = {}
        for spec in sorted(self.formats, key=lambda spec: float(totals[str(spec)])):
            best.setdefault(spec.element_bits, spec)
        ordered = sorted(best.values(), key=lambda spec: self.bits(self.uniform(spec)))
        below = [s for s in ordered if self.bits(self.uniform(s)) <= bits][-1:]
        above = [s for s in ordered if self.bits(self.uniform(s)) > bits][:1]
        return below + above

    def quantize(self, choice: Choice) -> QuantizationReport:
        """Return what a choice does to the model, with its codes."""
        from quant.models.apply import quantized

        with quantized(self.model, choice) as report:
            return report

    def perplexity(self, tensors: Mapping[str, QuantizedTensor], label: str) -> Perplexity:
        """Return the perplexity (bfloat16 compute, float32 loss) with some layers' codes.

        It is kept in the job, if the study has one, and taken from it.
        """
        step = f"perplexity of {label}"
        formats = digest({path: str(tensor.spec) for path, tensor in tensors.items()})
        if self.journal is not None and step in self.journal.steps:
            facts = self.journal.steps[step].facts
            if facts["formats"] == formats:
                return Perplexity(tuple(facts["window_nll"]), self.request.context)
        measured = self._measured(tensors, label)
        if self.journal is not None:
            self.journal.keep(step, {"formats": formats, "window_nll": list(measured.window_nll)})
        return measured

    def identity(self) -> dict[str, object]:
        """Return hashes of all that the results depend on beside the request."""
        return {
            "machine": digest(fingerprint.describe(self.machine)),
            "model": digest(fingerprint.model_facts(self.model)),
            "text": digest(fingerprint.tensor_facts({"": self.text})),
            **made_by(("quant", "roofline", "hwsim")),
        }

    def _measured(self, tensors: Mapping[str, QuantizedTensor], label: str) -> Perplexity:
        from quant.models.apply import replaced
        from quant.models.evaluate import perplexity
        from quant.models.load import load_model

        if self._fast is None:
            self._fast, _ = load_model(self.request.model, dtype=COMPUTE)
        with replaced(self._fast, tensors):
            return perplexity(self._fast, self.text, self.request.context, label=label)

    def measure(
        self, name: str, choice: Choice, *, is_plan: bool = False
    ) -> tuple[Candidate, dict[str, QuantizedTensor]]:
        """Quantize, simulate and evaluate a choice."""
        from hwsim.study.sensitivity import total

        report = self.quantize(choice)
        return Candidate(
            name,
            is_plan,
            self.bits(choice),
            report.whole_model_bits,
            simulate(self.work.with_weights(choice), self.machine),
            self.perplexity(report.tensors, name),
            total(self.loss, choice),
            sums_of(report.kept),
        ), report.tensors

    def exact(self, tensors: Mapping[str, QuantizedTensor]) -> list[ExactLayer]:
        """Run the linear layers of the middle block bit-exactly on real tokens.

        Experts are not run. Empty where the machine's elements have no bit-exact model.
        """
        arithmetic = exact_arithmetic(self.machine)
        if arithmetic is None:
            return []
        from quant.layers.matrices import linear_layers

        modules = linear_layers(self.model)
        middle = middle_block(self.layers)
        inside = [path for path in middle if path in tensors and path in modules]
        inputs = self._activations(tensors, inside)
        return [
            run_exactly(path, tensors[path], inputs[path], arithmetic)
            for path in track(inside, "bit-exact block", len(inside))
        ]

    def _activations(
        self, tensors: Mapping[str, QuantizedTensor], paths: list[str]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Inputs of some layers of the quantized model on the first evaluation tokens."""
        import torch

        from quant.layers.hooks import watched
        from quant.layers.matrices import columns, linear_layers
        from quant.models.apply import replaced

        inputs: dict[str, np.ndarray[Any, Any]] = {}
        with replaced(self.model, tensors), torch.inference_mode():
            modules = {path: linear_layers(self.model)[path] for path in paths}

            def keep(path: str, seen: torch.Tensor) -> None:
                inputs[path] = columns(modules[path], seen).numpy()

            with watched(modules, inputs=keep):
                self.model(self.text[None, : self.request.exact_tokens], use_cache=False)
        return inputs
