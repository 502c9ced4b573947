"""Cycles of systolic arrays as SCALE-Sim and ANT's simulator count them: closed forms, exact.

SCALE-Sim (v2 and v3, https://github.com/scalesim-project/SCALE-Sim) fills and drains the array for
every fold, none overlapping; its report says one cycle less. ANT's simulator (MICRO 2022,
clevercool/ANT-Quantization, a fork of BitFusion's) counts neither; low widths enlarge the array.
"""

from __future__ import annotations

from typing import Literal, get_args

from quant.common import arguments

Dataflow = Literal["os", "ws", "is"]
"""What stays in the array: outputs, weights or inputs."""
AntDataflow = Literal["os", "ws"]


def scale_sim(dataflow: Dataflow, m: int, k: int, n: int, rows: int, columns: int) -> int:
    """Return the cycles that SCALE-Sim reports for ``[m, k] x [k, n]``, without memory stalls.

    Args:
        dataflow: Output-, weight- or input-stationary.
        m: Rows of the inputs.
        k: What is summed over.
        n: Columns of the weights.
        rows: Of the array.
        columns: Of the array.

    Raises:
        RequestError: another dataflow, or a size below 1.

    Example:
        >>> scale_sim("os", 100, 300, 130, 32, 32)
        7239
    """
    m, k, n, rows, columns = _sizes(m=m, k=k, n=n, rows=rows, columns=columns)
    if arguments.choice("dataflow", dataflow, get_args(Dataflow)) == "os":
        folds, each = -(-m // rows) * -(-n // columns), k + rows + columns - 2
    elif dataflow == "ws":
        folds, each = -(-k // rows) * -(-n // columns), m + 2 * rows + columns - 2
    else:
        folds, each = -(-k // rows) * -(-m // columns), n + 2 * rows + columns - 2
    return folds * each - 1


def ant(
    dataflow: AntDataflow,
    m: int,
    k: int,
    n: int,
    rows: int,
    columns: int,
    input_bits: int,
    weight_bits: int,
    widest: int = 8,
    narrowest: int = 4,
) -> int:
    """Return the compute cycles of ANT's simulator, stalls on memory not counted.

    Args:
        dataflow: Output- or weight-stationary.
        m: Rows of the inputs.
        k: What is summed over.
        n: Columns of the weights.
        rows: Of the array, along the inputs.
        columns: Of the array, along the weights.
        input_bits: Of an input.
        weight_bits: Of a weight.
        widest: Bits that an element multiplies whole.
        narrowest: Below them nothing is won.

    Raises:
        RequestError: another dataflow, or a size below 1.
    """
    m, k, n, rows, columns = _sizes(m=m, k=k, n=n, rows=rows, columns=columns)
    by_input, by_weight = (
        widest // max(bits, narrowest) for bits in (input_bits, weight_bits)
    )  # elements that one element stands for
    along_n = -(-n // (columns * by_weight))
    if arguments.choice("dataflow", dataflow, get_args(AntDataflow)) == "os":
        return -(-m // (rows * by_input)) * along_n * k
    return m * along_n * -(-k // (rows * by_input))


def _sizes(**sizes: int) -> tuple[int, ...]:
    return tuple(arguments.integer(name, size, 1, 1 << 40) for name, size in sizes.items())
