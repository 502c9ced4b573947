"""Which ops cost a launch, and what decides an op's law."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from roofline.workloads.ops import Op


def launches(ops: tuple[Op, ...]) -> npt.NDArray[np.bool_]:
    """Return whether an op costs a launch, ``[ops]``: fused ones do not."""
    alone = np.array([not op.is_fused for op in ops])
    out: npt.NDArray[np.bool_] = starts_kernel(ops) & alone
    return out


def starts_kernel(ops: tuple[Op, ...]) -> npt.NDArray[np.bool_]:
    """Return whether an op is a kernel of its own, ``[ops]``.

    Neighbours of one launch group (q, k and v; gate and up) run as one.
    """
    starts = [True] * len(ops)
    for i, (before, op) in enumerate(itertools.pairwise(ops), start=1):
        starts[i] = op.launch_group is None or op.launch_group != before.launch_group
    return np.array(starts)


def law_key(op: Op, queries: float) -> str:
    """Return what decides the law and the launch of an op."""
    ranks = f" x{op.ranks}" if op.ranks > 1 else ""
    return f"{op.kernel_class(queries)}{ranks}"
