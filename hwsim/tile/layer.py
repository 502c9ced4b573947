"""The clocks of a whole layer on a tile, in closed form: those of its packets, never built.

All jobs of a layer have packets of the same lengths: ``groups`` of inputs, of which the last may be
shorter and is followed by the results. With ``e`` the clock in which a packet of weights is loaded
(activations always come sooner) and ``p`` that in which its last step is issued, a group has

    e[k] = max(e[k-1], p[k-2]) + beats[k]
    p[k] = max(e[k] + issue[k], p[k-1] + max(issue[k], PIPELINE + drain[k-1]))

as ``hwsim.tile.clocks.clocks``. Over a run of equal groups the longest path turns at the ends only,
so that it takes no loop; over jobs all times repeat, shifted, once their differences do.
"""

from __future__ import annotations

from typing import NamedTuple

from hwsim.tile.tile import Tile
from hwsim.tile.timing import OUTPUT, PIPELINE, group_drain, job_end
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.jit import jit
from quant.formats.scale_kind import ScaleKind


class State(NamedTuple):
    """Times in clocks: a packet is loaded, the last group and the one before it are issued.

    ``after``: clocks from the last group's issue until its results have left the array.
    """

    loaded: int
    issued: int
    before: int
    after: int


BEGIN = State(-1, -1, -1, 1)
"""Before the first clock; the drain is free."""


def layer_clocks(
    tile: Tile,
    shape: tuple[int, int, int],
    size: int,
    steps: int,
    scale_kind: ScaleKind,
    corrects: bool = False,
) -> int:
    """Return the clocks of ``x @ W.T`` on one tile, without stalls from outside.

    It equals ``clocks`` of the packets that ``jobs`` makes, for a tile that skips no steps.

    Args:
        tile: The array.
        shape: Outputs, inputs and tokens.
        size: Weights of a group.
        steps: Of the format.
        scale_kind: Of the groups' scales.
        corrects: Whether the format is asymmetric.

    Raises:
        RequestError: no such layer, or a tile that skips steps: its clocks depend on the data.

    Example:
        >>> from quant.formats.scales import SCALES
        >>> layer_clocks(Tile(), (4096, 4096, 256), 128, 2, SCALES["int8"])
        34209890
    """
    if tile.skip_zero_steps:
        raise RequestError("a tile that skips zero steps: count the clocks of its packets")
    names = ("outputs", "inputs", "tokens", "size", "steps")
    outputs, inputs, tokens, size, steps = (
        arguments.integer(name, value, 1, 1 << 40)
        for name, value in zip(names, (*shape, size, steps), strict=True)
    )
    lanes, groups = tile.arithmetic.lanes, -(-inputs // size)
    return int(
        total(
            -(-outputs // tile.rows) * -(-tokens // tile.columns),
            groups,
            -(-min(size, inputs) // lanes),
            -(-(inputs - (groups - 1) * size) // lanes),
            steps,
            group_drain(tile.rows, tile.digit_bits, scale_kind, corrects),
            job_end(tile.rows, tile.digit_bits, scale_kind),
        )
    )


@jit
def total(
    jobs: int, groups: int, blocks: int, last_blocks: int, steps: int, drain: int, factors: int
) -> int:
    """Return the clocks of jobs; ``drain`` is that of a group, ``factors`` follow a job's last."""
    now = BEGIN
    for done in range(1, jobs + 1):
        then = now
        if groups > 1:
            now = _group(now, blocks + 1, blocks * steps, drain)
            now = _equal_groups(now, groups - 2, blocks + 1, blocks * steps, drain)
        now = _group(now, last_blocks + 2, last_blocks * steps, drain + factors)
        same = now.loaded - now.issued == then.loaded - then.issued
        if same and now.before - now.issued == then.before - then.issued and done > 1:
            return now.issued + (jobs - done) * (now.issued - then.issued) + now.after + OUTPUT
    return now.issued + now.after + OUTPUT


@jit
def _group(now: State, beats: int, issue: int, drain: int) -> State:
    """One group."""
    loaded = max(now.loaded, now.before) + beats
    issued = max(loaded + issue, now.issued + max(issue, now.after))
    return State(loaded, issued, now.issued, PIPELINE + drain)


@jit
def _equal_groups(now: State, count: int, beats: int, issue: int, drain: int) -> State:
    """A run of groups, each after one of its own kind."""
    if count <= 0:
        return now
    period = max(issue, PIPELINE + drain)
    start = max(now.loaded, now.before)
    loaded = start + count * beats
    if count > 1:
        early = _issued(now.issued, start, count - 2, beats, issue, period)
        loaded = max(loaded, now.issued + (count - 1) * beats, early + beats)
    issued = _issued(now.issued, start, count, beats, issue, period)
    before = _issued(now.issued, start, count - 1, beats, issue, period)
    return State(loaded, issued, before, PIPELINE + drain)


@jit
def _issued(issued: int, start: int, count: int, beats: int, issue: int, period: int) -> int:
    """When the run's group of a number is issued: the longest of the paths to it."""
    if count == 0:
        return issued
    found = max(issued + count * period, start + issue + beats + (count - 1) * period)
    found = max(found, start + issue + count * beats)
    if count > 1:
        found = max(found, issued + (count - 2) * period + beats + issue)
        found = max(found, issued + (count - 1) * beats + issue)
    return found
