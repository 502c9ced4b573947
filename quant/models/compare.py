"""A model unquantized, and in each format by each method, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from quant.checkpoints.contents import grid_facts
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.float_types import DTYPES
from quant.common.progress import say
from quant.common.versions import code_of, made_by
from quant.formats.spec import FormatSpec, as_spec
from quant.layers.weights import weights
from quant.methods.base import Method
from quant.models.activations import rounded_activations
from quant.models.apply import quantized
from quant.models.calibration import CalibrationText, calibration_for
from quant.models.evaluate import Perplexity, perplexity
from quant.models.kept import evaluation, model_identity, step
from quant.models.kv_options import PLAIN, CacheRounding
from quant.models.load import load_model
from quant.models.preflight import check_quantization, check_window, known_config
from quant.models.texts import evaluation_tokens, leading_token
from quant.plan import Formats, method_of, specs_of
from quant.tensors.values import tensors_hash


@dataclass(frozen=True)
class EvaluationSetting:
    """How models are measured.

    Attributes:
        tokens: Evaluation tokens.
        context: Tokens of a window.
        calibration: The text for methods that look at inputs; a number: so many tokens of the
            usual one; None: as many as are usual.
        dtype: What the model computes in.
        activations: Format of the inputs of layers; None: not rounded.
        kv: Format of keys and values; None: not rounded.
        cache: How keys and values are rounded.
    """

    tokens: int = 16384
    context: int = 1024
    calibration: int | CalibrationText | None = None
    dtype: str = "bfloat16"
    activations: FormatSpec | None = None
    kv: FormatSpec | None = None
    cache: CacheRounding = PLAIN

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("tokens", "context"), _size)
        arguments.check_fields(self, {**sizes, "dtype": _dtype})
        arguments.check_fields(self, dict.fromkeys(("activations", "kv"), _format))
        arguments.one_of("cache", self.cache, CacheRounding, "a CacheRounding")
        self.cache.check_used(self.kv)
        if not isinstance(self.calibration, CalibrationText):
            count = self.calibration
            text = CalibrationText(None if count is None else _size("calibration", count))
            object.__setattr__(self, "calibration", text)
        if self.tokens < self.context:
            raise RequestError(
                f"tokens {self.tokens}: at least one window of {self.context} is needed"
            )

    def rounding(self, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Return the block within which a model's activations are rounded as they are to be."""
        return rounded_activations(model, self.activations, self.kv, **vars(self.cache))


def compare(
    model: str,
    choices: Mapping[str, Formats],
    setting: EvaluationSetting,
    methods: Sequence[Method] = (),
) -> list[dict[str, Any]]:
    """Measure a model unquantized, and in each format by each method.

    Weights are rounded from float32, the model computes in the setting's type. Every perplexity is
    kept in the cache as it is measured: a run that was cut goes on, the same again is read.

    Args:
        model: As ``load_model`` takes it.
        choices: Label -> format or plan.
        setting: Text, context, types.
        methods: How weights are rounded; none: by the choice's own.

    Returns:
        A row each: ``format, method, perplexity, ln_ppl, se, delta_ln_ppl, delta_se,
        effective_bits``; deltas are to the unquantized model, paired by window.

    Raises:
        RequestError: as ``load_model``, ``quantize_model`` and ``perplexity``; what the config
            alone shows, before a weight is read.
    """
    check_window(known_config(model), setting.context)
    for choice in choices.values():
        for method in methods or [method_of(choice)]:
            check_quantization(model, choice, method)
    loaded, tokenizer = load_model(model)
    text, bos = evaluation_tokens(tokenizer, setting.tokens), leading_token(tokenizer)
    dtype: torch.dtype = getattr(torch, setting.dtype)
    widest = max((weight.shape[1] for weight in weights(loaded).values()), default=0)
    with setting.rounding(loaded):  # what cannot be rounded is refused before hours of work
        pass

    def measured(label: str, *, rounded: bool = True) -> list[float]:
        copy = deepcopy(loaded).to(dtype)
        with setting.rounding(copy) if rounded else nullcontext():
            result = perplexity(copy, text, setting.context, bos=bos, label=label)
        return list(result.window_nll)

    def quantized_in(label: str, choice: Formats, method: Method) -> dict[str, Any]:
        assert isinstance(setting.calibration, CalibrationText)
        seen = calibration_for(method, tokenizer, setting.calibration, widest)
        with quantized(loaded, choice, method=method, calibration=seen) as report:
            nll = measured(f"{label} {method.name}")
        return {"window_nll": nll, "effective_bits": report.effective_bits}

    asked = [
        (label, choice, method)
        for label, choice in choices.items()
        for method in methods or [method_of(choice)]
    ]
    request = {
        "setting": {name: str(value) for name, value in vars(setting).items()},
        "choices": [[label, *_identity(choice, method)] for label, choice, method in asked],
        "grids": grid_facts(filter(None, (setting.activations, setting.kv))),
        "model": model_identity(loaded),
        "text": [tensors_hash({"": text}), bos],
        **made_by(),
    }
    with evaluation(request) as work:
        if work is not None and work.made is not None:
            say(f"measured before: taken from {work.goal.folder}")
            rows: list[dict[str, Any]] = work.made["rows"]
            return rows
        first = step(work, "none", lambda: {"window_nll": measured("perplexity", rounded=False)})
        base = Perplexity(tuple(first["window_nll"]), setting.context)
        rows = [_row("none", "", base, None)]
        if setting.activations or setting.kv:
            alone = step(work, "activations", lambda: {"window_nll": measured("activations alone")})
            result = Perplexity(tuple(alone["window_nll"]), setting.context)
            rows.append(_row("none", "", result, base))
        for number, (label, choice, method) in enumerate(asked):
            facts = step(work, f"choice {number}", partial(quantized_in, label, choice, method))
            result = Perplexity(tuple(facts["window_nll"]), setting.context)
            bits = {"effective_bits": facts["effective_bits"]}
            rows.append(_row(label, method.name, result, base) | bits)
        if work is not None:
            work.finish({"rows": rows}, [])
        return rows


def _identity(choice: Formats, method: Method) -> list[Any]:
    """What weights are rounded to, and how, as JSON can hold it."""
    specs = specs_of(choice)
    formats = {path: str(spec) for path, spec in specs.items()}
    return [formats, grid_facts(specs.values()), method.name, code_of(method)]


def _size(name: str, value: object) -> int:
    return arguments.integer(name, value, 2)


def _dtype(name: str, value: object) -> str:
    return arguments.choice(name, value, DTYPES)


def _format(name: str, value: object) -> FormatSpec | None:
    return None if value is None else as_spec(value, name)  # type: ignore[arg-type]  # checked


def _row(label: str, method: str, result: Perplexity, base: Perplexity | None) -> dict[str, Any]:
    row = {"format": label, "method": method, "perplexity": result.value, "ln_ppl": result.ln}
    row |= {"se": _finite(result.standard_error)}
    if base is None:
        return row
    delta, error = result.difference(base)
    return row | {"delta_ln_ppl": delta, "delta_se": _finite(error)}


def _finite(value: float) -> float | None:
    """JSON has no NaN: the standard error of a single window is unknown."""
    return value if math.isfinite(value) else None
