"""What an array passes over that codes do not need, and how long that leaves it: from real codes.

A block's steps are the terms or bit columns of its format. Each code needs some of them; lanes of a
row go through the steps together or each on its own, and so do the rows of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

U64: TypeAlias = NDArray[np.uint64]
Together: TypeAlias = Literal["together", "alone"]


@dataclass(frozen=True, eq=False)
class Skipping:
    """Which steps each code needs, and who waits for whom.

    Attributes:
        needs: Bit ``i`` of a code is set where it needs step ``i``, ``[selectors, codes]`` uint64.
        lanes: ``together``: a row passes over a step that none of its lanes needs; ``alone``: each
            lane goes through its own, the block of a row lasts as long as its longest.
        rows: ``together``: a tile passes over a step that none of its rows needs; ``alone``: each
            row has its own, the block lasts as long as the slowest row's.
        index_bits: Bits stored beside a row's block that say which steps it has, so that the others
            are not stored; None: all codes are stored whole.
    """

    needs: U64
    lanes: Together = "together"
    rows: Together = "together"
    index_bits: int | None = None

    @property
    def least_steps(self) -> int:
        """Clocks that no block is under, whatever its codes."""
        return max(1, min(int(bits).bit_count() for bits in self.needs.ravel()))


class Measured(NamedTuple):
    """What codes take.

    Attributes:
        steps: Mean clocks of a block on an array, one at least.
        weight_bits: Mean bits of a weight's code as it is stored; scales are apart.
    """

    steps: float
    weight_bits: float
