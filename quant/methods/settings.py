"""Options of the methods that come along, with their defaults: plans and commands name them."""

from __future__ import annotations

from dataclasses import dataclass

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

    damping: float = 0.01
    act_order: bool = True
    static_groups: bool = True
    block: int = 128
    shrinks: tuple[float, ...] = ()
    norm: float = 2.0
    weighted: bool = False


DEFAULT_GPTQ = GptqOptions(shrinks=SHRINKS, weighted=True)


@dataclass(frozen=True)
class SmoothQuantOptions:
    """How SmoothQuant goes about it.

    Attributes:
        strength: How much of the activations' range goes into the weights, 0 to 1.
    """

    strength: float = 0.5


@dataclass(frozen=True)
class TrainingOptions:
    """How a method trains.

    Attributes:
        epochs: Passes over the calibration text.
        learning_rate: Of AdamW.
    """

    epochs: int
    learning_rate: float


OMNIQUANT = TrainingOptions(5, 2e-2)
PEQA = TrainingOptions(2, 2e-3)
