"""The roofline at every memory level: what an op must move to the units from each of them.

A product whose operands do not fit the next level in is read again: with M numbers kept there,
at least ``2 * macs / sqrt(M)`` numbers cross (Hong and Kung 1981; Irony, Toledo and Tiskin 2004).
Other ops cross every level once. These are bounds: no kernel moves less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roofline.bounds.analysis import Analysis
from roofline.workloads.op_work import OpWork

if TYPE_CHECKING:
    import pandas as pd

MEMORY = "memory"


@dataclass(frozen=True)
class Level:
    """A memory and what lies between it and the units.

    Attributes:
        name: Level; ``memory`` is the main one.
        bandwidth: Byte/s towards the units.
        inner: Bytes of the next level in; None: the units themselves.
    """

    name: str
    bandwidth: float
    inner: float | None


def levels_of(analysis: Analysis) -> list[Level]:
    """Return the levels whose bandwidth is known, outermost first."""
    spec = analysis.hardware
    sizes = [level.capacity.value for level in spec.levels]
    levels = [Level(MEMORY, spec.memory_bandwidth.value, sizes[0] if sizes else None)]
    for i, level in enumerate(spec.levels):
        if level.bandwidth is not None:
            inner = sizes[i + 1] if i + 1 < len(sizes) else None
            levels.append(Level(level.name, level.bandwidth.value, inner))
    return levels


def bytes_from(op: OpWork, level: Level) -> float:
    """Return the least bytes that an op takes from a level.

    The innermost level feeds the units from registers whose size is not modelled: each operand
    crosses once, as a lower bound.
    """
    if not op.macs or level.inner is None:
        return op.bytes
    width = op.definition.activations.format.element_bits / 8
    again = 2 * op.macs / math.sqrt(level.inner / width) * width
    return max(op.bytes, again)


def by_level(analysis: Analysis) -> pd.DataFrame:
    """Return one row an op and level: bytes, intensity and least time there.

    ``bound`` marks the level (or computing) that takes longest.
    """
    import pandas as pd

    levels, rows = levels_of(analysis), []
    for entry in analysis.ops:
        compute = entry.op.ops / entry.peak
        times = {level.name: bytes_from(entry.op, level) / level.bandwidth for level in levels}
        longest = max([compute, *times.values()])
        for level in levels:
            moved = bytes_from(entry.op, level)
            rows.append(
                {
                    "name": entry.op.name,
                    "op": entry.op.op,
                    "level": level.name,
                    "bytes": moved,
                    "arithmetic_intensity": entry.op.ops / moved if moved else 0.0,
                    "time_s": times[level.name],
                    "bound": times[level.name] == longest and longest > compute,
                }
            )
    return pd.DataFrame(rows)
