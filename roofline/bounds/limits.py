"""How large a batch or a context fits a device's memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from roofline.devices.device import HardwareSpec
from roofline.workloads.amounts import Step
from roofline.workloads.workload import Workload

LARGEST = 1 << 32


@dataclass(frozen=True)
class Limits:
    """The largest sizes that fit; 0: not even one.

    Attributes:
        batch: Sequences at the workload's context.
        context: Tokens at the workload's batch.
    """

    batch: int
    context: int


def limits(work: Workload, hardware: HardwareSpec) -> Limits:
    """Return the largest batch and context of a workload's kind that fit a device.

    Each is found by bisection, since memory never shrinks as either grows. A size beyond 2^32
    (a model whose state does not grow) is given as 2^32.
    """
    step, capacity = work.step, hardware.memory_capacity.value

    def fits(candidate: Step) -> bool:
        return sum(work.template.memory(candidate)) <= capacity

    axis = "queries" if work.phase == "prefill" else "past"
    return Limits(
        _largest(lambda n: fits(step._replace(batch=n))),
        _largest(lambda n: fits(step._replace(**{axis: n}))),
    )


def _largest(fits: Callable[[int], bool]) -> int:
    if not fits(1):
        return 0
    low, high = 1, 2
    while high < LARGEST and fits(high):
        low, high = high, 2 * high
    if high >= LARGEST:
        return LARGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
