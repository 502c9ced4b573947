"""What a co-design run found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from hwsim.simulation.result import SimulationResult
from hwsim.study.request import Request
from quant.models.evaluate import Perplexity
from quant.plan import Plan
from quant.tensors.tensor import QuantizedTensor
from roofline.workloads.workload import Scenario

if TYPE_CHECKING:
    pass


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
