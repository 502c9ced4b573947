"""matmul(): a quantized layer on a bit-serial PE array, bit for bit."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.operands import Weights, activation_array, block_starts, weights
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.sizes import need_memory
from quant.formats.elements import F32
from quant.tensors.tensor import QuantizedTensor

Words = NDArray[Any]
BYTES = 48
"""Of an activation or a result, about: its fields, aligned ones, and what is summed up."""
Output = Literal["fp32", "fp16"]
Nonfinite = Literal["refuse", "nan"]
Backend = Literal["numba", "reference"]
OUTPUTS: dict[str, type[np.floating[Any]]] = {"fp32": np.float32, "fp16": np.float16}


def matmul(
    weight: QuantizedTensor,
    activations: Any,  # noqa: ANN401  anything numpy or torch can turn into an array
    *,
    arithmetic: Arithmetic | None = None,
    skip_zero_steps: bool = False,
    output: Output = "fp32",
    nonfinite: Nonfinite = "refuse",
    backend: Backend = "numba",
) -> tuple[F32, int]:
    """Multiply ``x @ W.T`` in the PE's arithmetic (docs/pe_arithmetic.md).

    Args:
        weight: ``[out, in]``, with int8, e8m0 or e4m3 scales, in a format that has terms.
        activations: ``[tokens, in]``; rounded to the arithmetic's activation format (to nearest,
            ties to even) if they are not; for INT8 activations they must be integers.
        arithmetic: Lanes, widths and format of activations. None: FP16 and the default widths,
            with terms as wide as the weight's format needs.
        skip_zero_steps: Do not spend cycles on steps whose products are all zero. Never changes
            a value.
        output: Format that results are rounded to, once.
        nonfinite: What an activation that is NaN, Inf or too large does: it is refused, or its
            token's results are all NaN, as in the RTL (INT8 has no such word: always refused).
        backend: The fast kernels, or the plain-integer specification (slow, equal).

    Returns:
        ``y [tokens, out]`` float32 (float16 if asked for), and the PE cycles summed over outputs
        and tokens (one cycle is one issue slot of ``lanes`` terms).

    Raises:
        RequestError: a scale or format the PE does not take, a shape that does not fit, or an
            activation that is NaN or too large for its format (with its index).

    Example:
        >>> import numpy as np, quant
        >>> qt = quant.quantize(np.eye(8, 128, dtype=np.float32), "int4", scale="int8")
        >>> y, cycles = matmul(qt, np.ones((2, 128), np.float16))
        >>> y.shape, cycles
        ((2, 8), 1024)
    """
    for name, given, allowed in (
        ("output", output, get_args(Output)),
        ("nonfinite", nonfinite, get_args(Nonfinite)),
        ("backend", backend, get_args(Backend)),
    ):
        arguments.choice(name, given, allowed)
    skip_zero_steps = arguments.flag("skip_zero_steps", skip_zero_steps)
    operand, rule = weights(weight, arithmetic)
    shape = tuple(getattr(activations, "shape", ()))
    size = BYTES * (math.prod(shape) + shape[0] * weight.shape[0]) if shape else 0
    need_memory(size, f"a product of activations {shape} and weights {weight.shape}", "take parts")
    values = activation_array(activations, weight.shape[1])
    words = rule.activations.words(values)
    broken = ~rule.activations.fields(words).finite
    if broken.any() and nonfinite == "refuse":
        token, column = (int(i) for i in np.argwhere(broken)[0])
        kind, value = rule.activation.upper(), values[token, column]
        raise RequestError(
            f"activation [{token}, {column}] is {value}: not a finite {kind} number (largest "
            f"{rule.activations.largest:.5g})"
        )
    return product(operand, words, rule, skip_zero_steps, output, backend)


def product(
    weight: Weights,
    words: Words,
    rule: Arithmetic,
    skip_zero_steps: bool = False,
    output: Output = "fp32",
    backend: Backend = "numba",
) -> tuple[Any, int]:
    """Multiply operands of the PE: what ``matmul`` does with them, and the Verilog, bit for bit.

    Args:
        weight: ``[out, in]``, as the PE sees it.
        words: Activation words ``[tokens, in]``; one that is Inf or NaN makes its token's results
            NaN.
        rule: The arithmetic.
        skip_zero_steps: As for ``matmul``.
        output: Format that results are rounded to.
        backend: As for ``matmul``.
    """
    broken = ~rule.activations.fields(words).finite
    run = _by_reference if backend == "reference" else _by_kernels
    y, cycles = run(weight, np.where(broken, 0, words), rule, skip_zero_steps, OUTPUTS[output])
    y[broken.any(axis=1)] = np.nan
    # One pattern for NaN, as in the RTL (x86 makes others).
    np.copyto(y, np.nan, where=np.isnan(y))
    return y, cycles


def _by_reference(
    weight: Weights, words: Words, rule: Arithmetic, skip: bool, kind: type[np.floating[Any]]
) -> tuple[Any, int]:
    from hwsim.pe import reference

    to = reference.FP16 if kind is np.float16 else reference.FP32
    (rows, columns), size = weight.codes.shape, weight.size
    inputs = [[reference.decode(int(word), rule.activations) for word in line] for line in words]
    out = np.zeros((len(inputs), rows), kind)
    cycles = 0
    for row in range(rows):
        groups = [
            reference.Group(
                [int(code) for code in weight.codes[row, start : start + size]],
                int(weight.selectors[row, g]),
                int(weight.scales[row, g]),
                int(weight.scale_exponents[row, g]),
                0 if weight.zero_points is None else int(weight.zero_points[row, g]),
            )
            for g, start in enumerate(range(0, columns, size))
        ]
        factor = float(weight.factors[row])
        for token, line in enumerate(inputs):
            y, steps, busy = reference.dot(line, groups, factor, weight.table, rule, to)
            out[token, row] = y
            cycles += busy if skip else steps
    return out, cycles


def _by_kernels(
    weight: Weights, words: Words, rule: Arithmetic, skip: bool, kind: type[np.floating[Any]]
) -> tuple[Any, int]:
    from hwsim.pe.kernels.run import run

    rows, columns = weight.codes.shape
    starts = block_starts(columns, weight.size, rule.lanes)
    sums, busy = run(weight, rule.activations.fields(words), starts, rule)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        y = (sums.astype(np.float64) * weight.factors.astype(np.float64)).astype(kind)
    if not weight.factors.all():
        nothing = weight.factors == 0
        y[:, nothing] = np.where(np.isfinite(sums[:, nothing]), 0, sums[:, nothing])
    steps = len(words) * rows * int(starts[-1]) * weight.table.steps
    return y, busy if skip else steps
