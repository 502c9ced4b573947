"""The timeline of a tile: what loads, steps and drains in which clocks; a table and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.bit_serial import BitSerial
from hwsim.tile.clocks import drain_clocks, issue_clocks
from hwsim.tile.packets import Packet
from hwsim.tile.tile import Tile
from hwsim.tile.timing import OUTPUT, PIPELINE
from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.output import Report
from quant.common.tables import Table, table_of
from quant.formats.spec import FormatSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "hwsim.timeline/1"
LANES = ("weights", "activations", "steps", "drain", "last result")
"""What happens side by side in a tile, from its buffers to its output."""
MOST_GROUPS = 512


class Span(NamedTuple):
    """Clocks in which a group is in one part of a tile, both ends among them.

    Attributes:
        part: One of ``LANES``.
        job: Number of the job.
        group: Number of the group in it.
        first: First clock.
        last: Last clock.
        waits: Clocks of them in which it stands still: its last step waits for the drain before it.
    """

    part: str
    job: int
    group: int
    first: int
    last: int
    waits: int = 0


def spans(packets: Sequence[Packet], tile: Tile) -> list[Span]:
    """Return what a tile does with packets, without stalls from outside.

    The same recurrence as ``hwsim.tile.clocks.clocks``, whose result is the last span's end.
    """
    found: list[Span] = []
    ends, pops, drained = [-1, -1], [-1, -1], 0
    job, group = 0, 0
    for packet in packets:
        for stream, beats in enumerate((len(packet.weights), len(packet.words))):
            begin = max(ends[stream], pops[-2])
            ends[stream] = begin + beats
            found.append(Span(LANES[stream], job, group, begin + 1, ends[stream]))
        start = max(*ends, pops[-1]) + 1
        ready = start + issue_clocks(packet, tile) - 1
        pop = max(ready, drained)
        found.append(Span("steps", job, group, start, pop, pop - ready))
        drained = pop + PIPELINE + drain_clocks(packet, tile)
        found.append(Span("drain", job, group, pop + PIPELINE, drained - 1))
        pops = [pops[-1], pop]
        group += 1
        if packet.final:
            found.append(Span("last result", job, group - 1, drained, drained - 1 + OUTPUT))
            job, group = job + 1, 0
    return found


def timeline_report(
    machine: Accelerator, weights: str | FormatSpec, inputs: int = 512, jobs: int = 2
) -> Report:
    """Return the timeline of a machine's tile over some jobs (``hwsim.timeline/1``).

    Args:
        machine: A machine of bit-serial elements.
        weights: Format of the weights.
        inputs: Inputs of a job.
        jobs: Jobs, one after the other.

    Raises:
        RequestError: another kind of element, a format that the machine does not run, or more
            groups than a figure shows.
    """
    spec = machine.spec(weights)
    tile = tile_of(machine)
    inputs = arguments.integer("inputs", inputs, 1)
    jobs = arguments.integer("jobs", jobs, 1)
    groups = jobs * -(-inputs // spec.group_size)
    if groups > MOST_GROUPS:
        raise RequestError(f"{groups} groups: at most {MOST_GROUPS} are drawn")
    found = spans(packets_of(tile, spec, inputs, jobs), tile)
    rows = [span._asdict() for span in found]
    title = f"{machine.name}: a tile of {tile.rows} x {tile.columns}, {spec}, {inputs} inputs"

    def tables() -> list[Table]:
        clocks = found[-1].last + 1
        steps = sum(s.last - s.first + 1 - s.waits for s in found if s.part == "steps")
        waits = sum(s.waits for s in found)
        notes = [f"{clocks} clocks: steps in {steps / clocks:.1%}, waits for drains {waits}"]
        return [table_of(rows, title, notes)]

    def frame() -> Any:  # noqa: ANN401  a DataFrame
        import pandas as pd

        return pd.DataFrame(rows)

    request = {"machine": machine.name, "weights": str(spec), "inputs": inputs, "jobs": jobs}
    content = request | {"clocks": found[-1].last + 1, "spans": rows}
    return Report(title, SCHEMA, lambda: content, tables, frame, lambda: draw(found, title))


def tile_of(machine: Accelerator) -> Tile:
    """Return the tile of the Verilog that a machine is built of.

    Raises:
        RequestError: its elements are of another kind.
    """
    pe = machine.pe
    if not isinstance(pe, BitSerial):
        raise RequestError(
            f"{machine.name}: {machine.kind} elements; a timeline is of bit-serial tiles"
        )
    sides = machine.tiles.rows, machine.tiles.columns
    rule = pe.arithmetic(machine.activations)
    return Tile(*sides, pe.max_group, pe.digit_bits, pe.skip_zero_steps, rule)


def packets_of(tile: Tile, spec: FormatSpec, inputs: int, jobs: int) -> list[Packet]:
    """Return the packets of jobs on normally distributed weights."""
    from hwsim.pe.operands import weights
    from hwsim.tile.packets import jobs as jobs_of
    from quant.tensors.quantize import quantize

    drawn = np.random.default_rng(0).standard_normal((tile.rows, inputs)).astype(np.float32)
    operand, rule = weights(quantize(drawn, spec), tile.arithmetic)
    words = rule.activations.words(np.ones((tile.columns * jobs, inputs), np.float16))
    return [packet for job in jobs_of(operand, words, tile) for packet in job.packets]


def draw(found: Sequence[Span], title: str) -> Figure:
    """Return the timeline as a figure: a row a part, groups alternate, waiting is hatched."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for span in found:
        row, width = LANES.index(span.part), span.last - span.first + 1
        color = f"C{span.job % 10}"
        alpha = 0.9 if span.group % 2 else 0.55
        axes.barh(row, width - span.waits, left=span.first, color=color, alpha=alpha)
        if span.waits:
            waits = span.last + 1 - span.waits
            axes.barh(row, span.waits, left=waits, facecolor="none", edgecolor=color, hatch="///")
    axes.set_yticks(range(len(LANES)), LANES)
    axes.invert_yaxis()
    axes.set(xlabel="clock", title=title, xlim=(0, found[-1].last + 1))
    handles = [Patch(color=f"C{job}", label=f"job {job}") for job in {s.job % 10 for s in found}]
    handles.append(Patch(facecolor="none", edgecolor="black", hatch="///", label="waits for drain"))
    figure.legend(handles=handles, loc="outside right upper", fontsize=8)
    return figure
