"""The results of a co-design run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from hwsim.machines.accelerator import Accelerator
from hwsim.simulation.result import SimulationResult
from hwsim.study.request import Request
from hwsim.study.selection import Selection
from quant.formats.spec import FormatSpec
from quant.models.evaluate import Perplexity
from quant.plan import Plan
from quant.tensors.tensor import QuantizedTensor
from roofline.workloads.workload import Scenario


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
        stimulus: SHA-256 of the activations' words.
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
        is_plan: Whether it is the plan, not a neighbour to compare it with.
        effective_bits: Over the block layers.
        whole_model_bits: Over all parameters, head and embeddings included.
        simulation: The scenario on the machine.
        perplexity: On the evaluation text.
        expected: Expected increase of ln(perplexity).
        kept: What has no format in the choice, by what it is: how many numbers.
    """

    name: str
    is_plan: bool
    effective_bits: float
    whole_model_bits: float
    simulation: SimulationResult
    perplexity: Perplexity
    expected: float
    kept: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Conditions:
    """Under which conditions choices were made and measured.

    Attributes:
        calibration: The text that formats were chosen on.
        calibration_tokens: How much of it.
        evaluation: The text that perplexities are of.
        compute: Data type that perplexities are computed in.
        stored: Data type of what has no codes (norms, embeddings), as whole-model bits count it.
    """

    calibration: str
    calibration_tokens: int
    evaluation: str
    compute: str
    stored: str


@dataclass(frozen=True)
class CodesignResult:
    """The results of a co-design run.

    Attributes:
        request: What was asked.
        machine: The accelerator.
        conditions: How choices were made and measured.
        formats: What the machine offers.
        costs: Each budget's ``[layers, formats]``.
        loss: Expected increase of ln(perplexity), ``[layers, formats]``.
        scenario: Prompt and generated tokens.
        selection: The choice, and how good it is known to be.
        plan: The choice with the head's format.
        alternatives: Name of a cost to what it alone would choose, allowed no more of it than the
            plan takes; None where the solver had no choice in time. Costs that were the run's only
            budget are left out: they choose the plan.
        baseline: Perplexity of the model as it was loaded.
        chosen: The plan, measured.
        neighbours: The uniform formats beside it, measured.
        exact: Layers run bit-exactly; empty where the machine has no bit-exact model, or where the
            plan gives no codes.
        tensors: The plan's codes.
    """

    request: Request
    machine: Accelerator
    conditions: Conditions
    formats: tuple[FormatSpec, ...]
    costs: dict[str, pd.DataFrame]
    loss: pd.DataFrame
    scenario: Scenario
    selection: Selection
    plan: Plan
    alternatives: dict[str, Selection | None]
    baseline: Perplexity
    chosen: Candidate
    neighbours: tuple[Candidate, ...]
    exact: tuple[ExactLayer, ...]
    tensors: dict[str, QuantizedTensor]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All measured choices, the plan first."""
        return (self.chosen, *self.neighbours)
