"""What ``benchmarks.accuracy`` measures of which model, and what came out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from quant.models.evaluate import Perplexity

GRIDS = ("bitmod3", "int3-asym", "fp3", "bitmod4", "int4-asym", "fp4", "mxfp4", "nvfp4", "nf4")
TRAINED = ("int4-asym", "bitmod3", "int3-asym")
FLOAT_ZERO = ("int4-asym:float-zero", "int3-asym:float-zero")
CALIBRATION = 8192
"""Tokens."""


@dataclass(frozen=True)
class Case:
    """One measurement: weights in a format by a method, activations in another."""

    format: str
    method: str
    activations: str = ""


def most_cases() -> tuple[Case, ...]:
    """Return the measurements of a model that is measured in full, in the order of their cost."""
    found = [Case(name, "rtn") for name in (*GRIDS, *FLOAT_ZERO)]
    found += [Case(name, "gptq") for name in (*TRAINED, "bitmod4", "fp3", "codebook3")]
    found += [Case(name, "peqa") for name in TRAINED]
    found += [Case(name, "clip") for name in GRIDS]
    found += [Case("int4-asym", method, "int8:row") for method in ("rtn", "smoothquant")]
    found += [Case(name, "awq") for name in GRIDS]
    found += [Case(name, "omniquant") for name in TRAINED]
    return (*found, *(Case(name, "hqq") for name in GRIDS))


def few_cases() -> tuple[Case, ...]:
    """Return the measurements that tell the order of formats, rounded to nearest and calibrated."""
    found = [Case(name, "rtn") for name in GRIDS]
    return (*found, *(Case(name, "gptq") for name in (*TRAINED, "bitmod4")))


@dataclass(frozen=True)
class Study:
    """What is measured of a model.

    Attributes:
        source: What the weights were before.
        tokens: Of the evaluation text.
        context: Of a window.
        dtype: What the model computes in.
        cases: The measurements.
    """

    source: str
    tokens: int
    context: int
    dtype: torch.dtype
    cases: tuple[Case, ...]


SOURCE16 = "source16"
STUDIES = {
    "smollm2-135m": Study("Q4_1 with groups of 32", 16384, 1024, torch.bfloat16, most_cases()),
    SOURCE16: Study("bfloat16, trained here", 16384, 256, torch.float32, most_cases()),
    "gemma-3-270m": Study("Q8_0, Q5_0, Q4_K and Q6_K", 4096, 512, torch.float32, few_cases()),
}


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        case: What was measured.
        window_nll: Mean loss of each window, nat per token.
        context: Tokens of a window.
        effective_bits: Stored bits a weight over the quantized layers.
        seconds: CPU seconds of the quantization.
    """

    case: Case
    window_nll: tuple[float, ...]
    context: int
    effective_bits: float
    seconds: float

    @property
    def perplexity(self) -> Perplexity:
        """The windows as a perplexity."""
        return Perplexity(self.window_nll, self.context)
