"""run(): a quantized layer through the tile of the Verilog, compiled, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.operands import activation_array, weights
from hwsim.pe.product import Output
from hwsim.tile.packets import Job, jobs
from hwsim.tile.tile import Tile
from hwsim.verilog.compiled import Run, program, simulate
from quant.common import arguments
from quant.tensors.tensor import QuantizedTensor


class LayerRun(NamedTuple):
    """What the Verilog gave for a layer.

    Attributes:
        y: ``x @ W.T``, ``[tokens, out]``, float32 or float16: bit for bit ``hwsim.pe.matmul``'s.
        clocks: From the first beat to the last result, without stalls from outside.
        cpu_s: CPU seconds of the simulation.
    """

    y: NDArray[Any]
    clocks: int
    cpu_s: float


def run(
    tile: Tile,
    weight: QuantizedTensor,
    activations: Any,  # noqa: ANN401  whatever is an array
    output: Output = "fp32",
) -> LayerRun:
    """Run a layer through compiled Verilog; the program is built once for a tile and a format.

    Args:
        tile: The machine; its arithmetic says what activations are rounded to.
        weight: The quantized layer.
        activations: ``[tokens, in]``, numpy or torch.
        output: ``fp32`` or ``fp16``.

    Raises:
        RequestError: as ``hwsim.pe.matmul``, a layer that the tile does not take, or of more beats
            than one run takes.
        HwsimError: Verilator or a C++ compiler is missing, or the build or the run fails.

    Example:
        >>> import numpy as np, quant
        >>> from hwsim.tile.tile import Tile
        >>> qt = quant.quantize(np.eye(8, 64), "int4", group_size=32, scale="int8")
        >>> run(Tile(rows=2, columns=2), qt, np.ones((2, 64))).y.shape  # doctest: +SKIP
        (2, 8)
    """
    arguments.one_of("tile", tile, Tile, "a Tile")
    operand, rule = weights(weight, tile.arithmetic)
    given = activation_array(activations, weight.shape[1])
    words = rule.activations.words(given)
    found = list(jobs(operand, words, tile, output))
    packets = [packet for job in found for packet in job.packets]
    made = program(tile, [weight.spec.format.name])
    with TemporaryDirectory(prefix="hwsim-verilog-") as name:
        ran = simulate(made, packets, tile, Path(name))
    shape = len(words), weight.shape[0]
    return LayerRun(_joined(ran, found, tile, shape, output), ran.clocks, ran.cpu_s)


def _joined(
    ran: Run, found: Sequence[Job], tile: Tile, shape: tuple[int, int], output: Output
) -> NDArray[Any]:
    """The results of all jobs in their places."""
    beats = ran.words.astype(np.uint16).view(np.float16) if output == "fp16" else ran.words
    values = cast("NDArray[Any]", beats.view(np.float16 if output == "fp16" else np.float32))
    y = np.zeros(shape, values.dtype)
    for number, job in enumerate(found):
        part = values[number * tile.rows : (number + 1) * tile.rows].T
        place = y[job.columns, job.rows]
        place[:] = part[: place.shape[0], : place.shape[1]]
    return y
