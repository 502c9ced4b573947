"""Options of the methods that come along, with their defaults: plans and commands name them."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Le, Lt

Count: TypeAlias = Annotated[int, Ge(1)]
Positive: TypeAlias = Annotated[float, Gt(0), Lt(inf)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
SHRINKS = tuple(1 - i / 25 for i in range(16))


@dataclass(frozen=True)
class GptqOptions:
    """How GPTQ goes about it.

    Attributes:
        damping: Part of the mean diagonal that is added to the diagonal.
        act_order: Round the columns with the largest diagonal first.
        static_groups: Group parameters from the unchanged weights; else from the weights as they
            are when the group's first column is reached. Groups stay contiguous, so act-order
            always takes static ones.
        block: Columns a block.
        shrinks: Clipping factors to try for each group; empty: none.
        norm: Power of the errors that clipping compares (the released code: 2.4).
        weighted: Clipping weighs each column by the diagonal of the Hessian.
    """

    damping: Annotated[float, Ge(0), Lt(inf)] = 0.01
    act_order: bool = True
    static_groups: bool = True
    block: Count = 128
    shrinks: tuple[Annotated[float, Gt(0), Le(1)], ...] = ()
    norm: Positive = 2.0
    weighted: bool = False


DEFAULT_GPTQ = GptqOptions(shrinks=SHRINKS, weighted=True)


@dataclass(frozen=True)
class SmoothQuantOptions:
    """How SmoothQuant goes about it.

    Attributes:
        strength: How much of the activations' range goes into the weights, 0 to 1.
    """

    strength: Share = 0.5


@dataclass(frozen=True)
class TrainingOptions:
    """How a method trains.

    Attributes:
        epochs: Passes over the calibration text.
        learning_rate: Of AdamW.
    """

    epochs: Count
    learning_rate: Positive


OMNIQUANT = TrainingOptions(5, 2e-2)
PEQA = TrainingOptions(2, 2e-3)
