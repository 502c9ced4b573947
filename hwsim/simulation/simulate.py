"""simulate(): cycles and energy of a workload on an accelerator, op by op.

A product is cut into jobs that the tiles take side by side, by the tile's closed form (for the
bit-serial machine the clocks of the Verilog); buffers, their ports and the memory run beside them,
the best tiles and loops are found for each op (``ways``), and the vector unit runs what is no
product (``cost``). Inside an op all of these overlap; ops follow one another. An op that the
machine has nothing for (other formats, links to other devices), or that no buffer holds the
smallest part of, is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.skipping import Measured
from hwsim.machines.load import load_accelerator
from hwsim.simulation.codes import Tensors, as_tensors, check_codes, measured_codes
from hwsim.simulation.machine_row import machine_row
from hwsim.simulation.mapping import Order
from hwsim.simulation.op_rows import NO_CODES, Part, parts_of
from hwsim.simulation.own import with_own_formats
from hwsim.simulation.records import OP, Misfit, Record, rows
from hwsim.simulation.result import OpResult, PhaseResult, SimulationResult
from hwsim.simulation.routing import UNIFORM, Routing, as_routing
from hwsim.simulation.run import Ran, run
from quant.common.errors import RequestError
from quant.common.sourced import Sourced
from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import Step
from roofline.workloads.models import Model, is_model
from roofline.workloads.op_work import OpWork
from roofline.workloads.ops import Op
from roofline.workloads.template import Template
from roofline.workloads.workload import Scenario, Workload, as_scenario


def simulate(
    work: Workload | Scenario | Model,
    accelerator: Accelerator | str | Path,
    codes: Tensors | str | Path | None = None,
    routing: Routing = UNIFORM,
) -> SimulationResult:
    """Return what a workload costs on an accelerator.

    Args:
        work: A workload or scenario; its formats must be ones that the machine runs. Fused
            attention runs as its three ops, whose scores stay on the chip if the machine fuses and
            a block of rows of them fits half of the activations' buffer. A model (a name, a folder,
            a config) stands for a prompt of 256 tokens and 32 generated ones in the formats that
            the machine has where none is asked for, as ``hwsim simulate`` runs it.
        accelerator: A design, a built-in name, or a TOML file.
        codes: Quantized matrices by path, or a checkpoint's folder: their formats replace the
            workload's, and where a machine's clocks depend on the data they are counted from the
            codes (``OpResult.steps_from``); else normally distributed weights stand for them.
            Routers, which no plan names, run in 16 bits, or as the machine runs heads where it has
            nothing for those.
        routing: How tokens choose experts: ``uniform``, ``zipf:S``, or a weight for each expert
            (``hwsim.simulation.routing``).

    Raises:
        RequestError: an op that the machine cannot run, or whose smallest part a buffer does not
            hold; the message names its path and kind. An unknown model or machine, or an argument
            of a wrong type.

    Example:
        >>> import roofline
        >>> formats = {"weights": "bitmod3:g128:int8", "kv": "int8:g128:int8"}
        >>> work = roofline.workload("smollm2-135m", "decode", head="int8:g128:int8", **formats)
        >>> simulate(work, "bitmod").cycles
        3117996
    """
    machine = load_accelerator(accelerator)
    routing = as_routing(routing)
    asked = scenario_on(work, machine)
    known: dict[str, Measured] = {}
    if codes is not None:
        tensors = as_tensors(codes)
        for part, _ in asked.parts:
            check_codes(part, tensors, machine)
        asked = asked.with_weights({path: tensor.spec for path, tensor in tensors.items()})
    asked = with_own_formats(asked, machine)
    if codes is not None:
        for part, _ in asked.parts:
            prepared(part, machine, routing)  # what the machine cannot run is found before counting
        known = measured_codes(tensors, machine)
    phases = tuple(_phase(part, n, machine, routing, known) for part, n in asked.parts)
    return SimulationResult(machine, phases, asked.memory, tokens_of(asked))


def tokens_of(work: Scenario) -> float:
    """Return the tokens that come out: of decode steps, or of the prompts where there are none."""
    made = {"prefill": 0.0, "decode": 0.0}
    for part, n in work.parts:
        made[part.phase] += n * part.batch * part.step.queries
    return made["decode"] or made["prefill"]


def scenario_on(work: Workload | Scenario | Model, machine: Accelerator) -> Scenario:
    """Return what runs on a machine, as a scenario; a model runs in the machine's own formats.

    Raises:
        RequestError: as ``roofline.workloads.workload.as_scenario``.
    """
    return as_scenario(work, **(machine_formats(machine) if is_model(work) else {}))


def machine_formats(
    machine: Accelerator, weights: str | FormatSpec | None = None
) -> dict[str, Any]:
    """Return the keywords of ``roofline.workload`` for what a machine runs.

    Args:
        machine: The machine.
        weights: Format of the block layers; None: the machine's default.

    Raises:
        RequestError: a format that the machine does not run.
    """
    return {
        "weights": str(machine.spec(weights or machine.default_weights)),
        "activations": str(machine.activations),
        "kv": str(machine.kv),
        "head": str(machine.head),
        "flash": True,
    }


class Prepared(NamedTuple):
    """A workload for a kind of machine: its parts, which kind each is of, and their rows."""

    parts: tuple[Part, ...]
    kinds: tuple[int, ...]
    table: Record
    starts: NDArray[np.intp]


def _phase(
    work: Workload,
    repeats: float,
    machine: Accelerator,
    routing: Routing,
    codes: Mapping[str, Measured],
) -> PhaseResult:
    kinds, index = _kinds(work.template, codes)
    if codes:
        ready = _ready(kinds, work.step, machine, routing, codes)
    else:
        ready = prepared(work, machine, routing)
    ran = run(ready.table, machine_row(machine))
    if ran.costs["misfit"].any():
        _refuse(ready, machine, ran)
    found: list[list[OpResult]] = [[] for _ in kinds]
    for kind, result in zip(
        ready.kinds, _op_results(ready, work.phase, repeats, ran, machine), strict=True
    ):
        found[kind].append(result)
    return PhaseResult(work, repeats, tuple(map(tuple, found)), index)


def _kinds(
    template: Template, codes: Mapping[str, Measured]
) -> tuple[tuple[Op, ...], tuple[int, ...]]:
    """The first op of each kind, and which kind each op is of: ops of unlike codes are unlike."""
    if not codes:
        return template.kinds, tuple(template.index.tolist())
    numbers: dict[tuple[object, ...], int] = {}
    first, index = [], []
    for op, kind in zip(template.ops, template.index, strict=True):
        key = (kind, *(codes.get(path) for path in op.paths))
        if key not in numbers:
            numbers[key] = len(numbers)
            first.append(op)
        index.append(numbers[key])
    return tuple(first), tuple(index)


def prepared(work: Workload, machine: Accelerator, routing: Routing = UNIFORM) -> Prepared:
    """Return a workload's rows; kept, so that machines that differ elsewhere share them."""
    tiles = replace(machine.tiles, count=1)
    plain = replace(machine, tiles=tiles, clock_hz=Sourced(1.0, ""))
    return _prepared(work.template, work.step, plain, as_routing(routing))


@lru_cache(maxsize=512)
def _prepared(template: Template, step: Step, machine: Accelerator, routing: Routing) -> Prepared:
    return _ready(template.kinds, step, machine, routing, NO_CODES)


def _ready(
    ops: Sequence[Op],
    step: Step,
    machine: Accelerator,
    routing: Routing,
    codes: Mapping[str, Measured],
) -> Prepared:
    parts, kinds = [], []
    for kind, op in enumerate(ops):
        for part in parts_of(OpWork.of(op, step), machine, routing, codes):
            parts.append(part)
            kinds.append(kind)
    table = op_table(parts)
    table.setflags(write=False)
    lengths = [len(part.rows) for part in parts]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)
    return Prepared(tuple(parts), tuple(kinds), table, starts)


def op_table(parts: Sequence[Part]) -> Record:
    """Return the rows of parts, one after the other."""
    table = rows(OP, sum(len(part.rows) for part in parts))
    at = 0
    for number, part in enumerate(parts):
        for row in part.rows:
            for key, value in row.items():
                table[key][at] = value
            table["op"][at] = number
            at += 1
    return table


SUMMED = (
    "cycles", "compute", "vector", "dram", "link", "dram_bytes",
    "compute_j", "sram_j", "vector_j", "dram_j", "link_j", "leakage_j",
)  # fmt: skip
"""The costs that an op's rows add up to, each as often as its row is expected."""


def _op_results(
    ready: Prepared, phase: str, repeats: float, ran: Ran, machine: Accelerator
) -> list[OpResult]:
    """The results of a workload's parts."""
    costs, table, lanes = ran.costs, ready.table, machine.pe.lanes
    weights = table["repeats"]
    sums = {key: np.add.reduceat(costs[key] * weights, ready.starts).tolist() for key in SUMMED}
    ports = np.maximum(costs["weight_port"], costs["input_port"]) * weights
    sums["port"] = np.add.reduceat(ports, ready.starts).tolist()
    steps, products = table["steps"][ready.starts].tolist(), table["product"][ready.starts].tolist()
    stays = costs["on_chip"][ready.starts].tolist()
    found = []
    for i, part in enumerate(ready.parts):
        op = part.op
        total = {key: values[i] for key, values in sums.items()}
        clocks = {
            f"{key}_cycles": total.pop(key) for key in ("compute", "port", "vector", "dram", "link")
        }
        elements = machine.tiles.pes * total["cycles"]
        found.append(
            OpResult(
                name=op.name,
                op=op.op,
                phase=phase,
                repeats=repeats,
                macs=op.macs,
                utilisation=op.macs / lanes * steps[i] / elements if elements else 0.0,
                mapping=_said(ran.ways[ready.starts[i]]) if products[i] else "",
                on_chip=bool(stays[i]),
                steps=steps[i],
                steps_from=part.steps_from,
                **total,
                **clocks,
            )
        )
    return found


def _said(way: Record) -> str:
    """A way to run a product, in words."""
    grid = f"{way['outputs']} x {way['tokens']} x {way['products']} tiles"
    order = Order(int(way["order"])).name.lower()
    parts = f"m/{way['m_parts']} n/{way['n_parts']} k/{way['k_parts']}"
    return f"{grid}, {order}, {parts}"


def _refuse(ready: Prepared, machine: Accelerator, ran: Ran) -> None:
    """Raise for the first product whose smallest part a buffer does not hold."""
    row = int(np.flatnonzero(ran.costs["misfit"])[0])
    found, op = ran.costs[row], ready.parts[int(ready.table["op"][row])].op
    key = "weight" if found["misfit"] == Misfit.WEIGHTS else "activation"
    has = getattr(machine, f"{key}_buffer").bytes
    raise RequestError(
        f"{op.name} ({op.op}): the {key} buffer of {machine.name} has {has} bytes: its smallest "
        f"part needs {found['needed_bytes']:.0f} (two groups for a tile, one used, one loaded)"
    )
