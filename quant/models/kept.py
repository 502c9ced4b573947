"""Evaluations that are kept as they are measured: a run that was cut goes on with the next one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from quant.common.cache import cache_dir
from quant.common.errors import RequestError
from quant.common.goal import Goal, check_parent
from quant.common.job import Job, job
from quant.common.progress import say
from quant.common.sealed import digest
from quant.tensors.values import tensors_hash

if TYPE_CHECKING:
    import torch

SCHEMA = "hwsim.evaluation/1"
UNSEEN = ("_name_or_path", "name_or_path", "transformers_version")
"""Settings that change nothing of what is computed."""


@contextmanager
def evaluation(request: Mapping[str, Any]) -> Iterator[Job | None]:
    """Yield the job of an evaluation, in the cache under a hash of its request.

    Args:
        request: All that the results depend on.

    Yields:
        The job, which is ``made`` where the same was evaluated before; None where the cache cannot
        be written to, which is said.
    """
    folder = cache_dir() / "evaluations" / digest(request)[:32]
    try:
        check_parent(folder)
    except RequestError as error:
        say(f"results are not kept: {error}")
        yield None
        return
    with job(Goal(folder, SCHEMA, request, owned=True)) as work:
        yield work


def step(work: Job | None, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a step of an evaluation found, from an earlier run or measured now."""
    if work is None:
        return measure()
    if name not in work.steps:
        work.keep(name, measure())
    facts: dict[str, Any] = work.steps[name].facts
    return facts


def model_identity(model: torch.nn.Module) -> dict[str, str]:
    """Return hashes of what a model computes: its weights, its class, its config.

    Where it was loaded from, and by which version of transformers, plays no part.
    """
    config: Any = getattr(model, "config", None)
    settings = config.to_dict() if hasattr(config, "to_dict") else {}
    plain = {key: value for key, value in settings.items() if key not in UNSEEN}
    described = json.loads(json.dumps(plain, default=str))
    return {
        "weights": tensors_hash(model.state_dict()),
        "config": digest(described),
        "class": type(model).__qualname__,
    }
