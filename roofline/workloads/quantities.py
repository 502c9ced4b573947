"""Quantity: the numbers of an op, which are the columns of every table of ops."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from roofline.workloads.amounts import Amount
from roofline.workloads.ops import Op


class Quantity(IntEnum):
    """A number of an op, and its column."""

    MACS = 0
    OPS = 1
    SPECIAL_OPS = 2
    WEIGHT_BYTES = 3
    INPUT_BYTES = 4
    OUTPUT_BYTES = 5
    KV_BYTES = 6
    LINK_BYTES = 7

    def of(self, op: Op) -> Amount:
        """Return the number of an op for any step."""
        value: Amount = getattr(op, QUANTITIES[self])
        return value


QUANTITIES = tuple(quantity.name.lower() for quantity in Quantity)
"""The names of the columns, in order: those of the ops' attributes, and keys of JSON."""
ACTIVATIONS = [Quantity.INPUT_BYTES, Quantity.OUTPUT_BYTES]
MOVED = [Quantity.WEIGHT_BYTES, *ACTIVATIONS, Quantity.KV_BYTES]
"""What crosses the memory interface."""


def activation_bytes(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the bytes of activations, read and written, of a table's rows."""
    total: npt.NDArray[np.float64] = table[:, ACTIVATIONS].sum(axis=1)
    return total


def moved_bytes(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return all bytes that cross the memory interface, of a table's rows.

    Args:
        table: ``[rows, quantities]``, or with an axis more (expressions), which stays.
    """
    total: npt.NDArray[np.float64] = table[:, MOVED].sum(axis=1)
    return total
