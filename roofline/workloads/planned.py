"""What a plan means for a model: the matrices that it may name, and those that it leaves."""

from __future__ import annotations

from collections.abc import Mapping

from quant.common import arguments
from quant.formats.spec import FormatLike, FormatSpec, as_spec
from quant.plan import Plan
from roofline.workloads.inventory import Matrix, left, matrices_of
from roofline.workloads.models import Model, config_text
from roofline.workloads.template import plain_ops, plan_formats


def inventory(model: Model) -> dict[str, Matrix]:
    """Return the matrices of a model that plans name, by path, as ``quant`` lists them.

    Args:
        model: As for ``workload``.

    Raises:
        RequestError: an unknown name, or a config that is not understood.
    """
    return matrices_of(plain_ops(*config_text(model)))


def unplanned(model: Model, plan: Mapping[str, FormatLike] | Plan) -> dict[str, Matrix]:
    """Return the matrices of a model that a plan gives no format, routers among them, by path.

    Args:
        model: As for ``workload``.
        plan: Path or pattern to format, or a Plan.

    Raises:
        RequestError: as ``workload``.
    """
    name, text = config_text(model)
    return left(plain_ops(name, text), plan_formats(name, text, specs_in(plan)))


def specs_in(plan: Mapping[str, FormatLike] | Plan | None) -> dict[str, FormatSpec]:
    """Return the formats of a plan by path or pattern; none: no plan.

    Raises:
        RequestError: no plan, or an unknown format.
    """
    if isinstance(plan, Plan):
        return plan.specs
    return {} if plan is None else arguments.table("plan", plan, as_format)


def as_format(name: str, format_: object) -> FormatSpec:
    """Return an argument that is a format."""
    return as_spec(format_, name)  # type: ignore[arg-type]  # which it checks
