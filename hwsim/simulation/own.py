"""What no plan names keeps its own format where a machine runs it; where not, that is said.

Routers of experts are quantized by nobody. A machine that has nothing for 16 bits runs them in the
format that its file states for the head, the widest that it has a word on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hwsim.machines.accelerator import Accelerator
from quant.common.errors import RequestError
from quant.formats.spec import FormatLike, FormatSpec, as_spec
from roofline.workloads.inventory import HEAD, ROUTER, Matrix, is_unnamed, left_said
from roofline.workloads.ops import Op
from roofline.workloads.setting import PLAIN
from roofline.workloads.template import Template
from roofline.workloads.workload import Scenario


def runs(machine: Accelerator, spec: FormatSpec) -> bool:
    """Whether a machine multiplies by weights of a format."""
    try:
        machine.steps(spec)
    except RequestError:
        return False
    return True


def own_format(machine: Accelerator, spec: FormatSpec) -> FormatSpec:
    """Return a format, or the machine's of heads where it does not run that one."""
    return spec if runs(machine, spec) else machine.head


def with_own_formats(work: Scenario, machine: Accelerator) -> Scenario:
    """Return a scenario whose unnamed matrices have formats that a machine runs."""
    known: dict[Template, Template] = {}
    parts = []
    for one, times in work.parts:
        before = one.template
        if before not in known:
            ops = tuple(_own(op, machine) for op in before.ops)
            known[before] = before if ops == before.ops else replace(before, ops=ops)
        same = known[before] is before
        parts.append((one if same else replace(one, template=known[before]), times))
    return Scenario(tuple(parts))


def check_rest(left: Mapping[str, Matrix], rest: FormatLike, machine: Accelerator) -> None:
    """Refuse a plan that leaves layers in a format that a machine does not run.

    Args:
        left: The matrices that the plan gives no format (``roofline``'s ``unplanned``).
        rest: The format of the layers among them.
        machine: The machine.

    Raises:
        RequestError: with the first such layer and how many there are.
    """
    layers = [path for path, matrix in left.items() if not matrix.apart]
    if layers and not runs(machine, as_spec(rest)):
        also = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        raise RequestError(
            f"{layers[0]}{also}: not in the plan, so in {rest}, which {machine.name} cannot run: "
            "name a format for the rest (--weights), or put them into the plan"
        )


def rest_said(
    left: Mapping[str, Matrix], machine: Accelerator, rest: FormatLike, head: FormatLike
) -> str:
    """Return in a line how many weights a plan leaves, by what they are, with their formats.

    Args:
        left: As for ``check_rest``.
        machine: The machine.
        rest: Format of the layers that are not in the plan.
        head: Format of the head.
    """
    return left_said(left, {"": rest, HEAD: head, ROUTER: own_format(machine, PLAIN)})


def _own(op: Op, machine: Accelerator) -> Op:
    if op.weights is None or not is_unnamed(op):
        return op
    spec = own_format(machine, op.weights)
    return op if spec == op.weights else op.with_weights(spec)
