"""MLPs, gated or not, and mixtures of experts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from roofline.workloads.amounts import TOKENS, distinct_experts
from roofline.workloads.amounts import amount as amount_of
from roofline.workloads.models.builder import Builder
from roofline.workloads.ops import Elementwise, Experts
from roofline.workloads.ops.elementwise import RESIDUAL, SOFTMAX


@dataclass(frozen=True)
class Mlp:
    """An MLP.

    Attributes:
        hidden: Inputs and outputs.
        inner: Intermediate width.
        names: Paths of its matrices: gate, up, down; gate empty: not gated; up empty: gate and
            up are one matrix.
        bias: Whether they have biases.
    """

    hidden: int
    inner: int
    names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    bias: bool = False

    @property
    def gated(self) -> bool:
        """Whether there is a gate."""
        return bool(self.names[0])


def mlp(build: Builder, at: str, shape: Mlp, *, reduce: bool = True) -> None:
    """Add an MLP; ``reduce``: its output is summed over the devices."""
    inner = build.shard(shape.inner, "intermediate size")
    gate, up, down = shape.names
    if gate and not up:
        build.linear(f"{at}.{gate}", shape.hidden, 2 * inner, shape.bias)
    else:
        for name in (gate, up):
            if name:
                build.linear(f"{at}.{name}", shape.hidden, inner, shape.bias)
    build.activation(f"{at}.act_fn", inner, gated=shape.gated)
    build.linear(f"{at}.{down}", inner, shape.hidden, shape.bias)
    if reduce:
        build.all_reduce(f"{at}.all_reduce", shape.hidden)


@dataclass(frozen=True)
class Mixture:
    """Routed experts, and one that every token goes through.

    Attributes:
        hidden: Inputs and outputs.
        inner: Intermediate width of an expert.
        experts: Routed experts.
        chosen: Experts of a token.
        shared: Intermediate width of the shared expert; 0: none.
        shared_name: Its path.
        shared_gate: Whether a sigmoid of its own scales it (Qwen).
        router: Path of the router.
        router_bias: Whether the router has a bias, or a score correction (DeepSeek-V3).
        bias: Whether experts have biases.
        router_is_layer: Whether the router is a linear layer, which plans name.
    """

    hidden: int
    inner: int
    experts: int
    chosen: int
    shared: int = 0
    shared_name: str = "shared_experts"
    shared_gate: bool = False
    router: str = "gate"
    router_bias: bool = False
    bias: bool = False
    router_is_layer: bool = False


def mixture(build: Builder, at: str, shape: Mixture) -> None:
    """Add router, experts and shared expert.

    Routing is taken as even: the expected number of distinct experts that T tokens use is
    ``E (1 - (1 - k/E)^T)``. Expert parallelism spreads the experts over ``ep`` devices. Up to
    ``tp`` these are the devices that share attention, so all have the tokens, and experts are
    split further over ``tp / ep``; beyond, each group of ``tp`` has a batch of its own, and tokens
    travel to their experts.
    """
    ep, tp = build.setting.ep, build.setting.tp
    experts = build.shard(shape.experts, "experts", ep)
    split = tp // ep if ep < tp and tp % ep == 0 else 1
    inner = build.shard(shape.inner, "expert width", split)
    sizes = (shape.hidden, shape.experts, shape.router_bias)
    score = build.linear if shape.router_is_layer else build.router
    score(f"{at}.{shape.router}", *sizes)
    scores = TOKENS * shape.experts
    build.add(Elementwise(f"{at}.top_k", build.act, SOFTMAX, scores, 5, special=1))
    build.all_to_all(f"{at}.dispatch", shape.hidden * shape.chosen)
    _experts(build, at, shape, experts, inner)
    build.all_to_all(f"{at}.combine", shape.hidden * shape.chosen)
    if shape.shared:
        path = f"{at}.{shape.shared_name}"
        mlp(build, path, Mlp(shape.hidden, shape.shared), reduce=False)
        if shape.shared_gate:
            build.linear(f"{at}.shared_expert_gate", shape.hidden, 1)
    build.all_reduce(f"{at}.all_reduce", shape.hidden)


def _experts(build: Builder, at: str, shape: Mixture, experts: int, inner: int) -> None:
    ep, tp = build.setting.ep, build.setting.tp
    replicas = max(1.0, ep / tp)
    used = amount_of(distinct_experts(shape.experts, shape.chosen, replicas)) * (1 / ep)
    tokens = TOKENS * (replicas * shape.chosen / ep)
    hidden, stack = shape.hidden, shape.experts if ep > 1 else 0
    for name, inputs, outputs in (
        ("gate_up_proj", hidden, 2 * inner),
        ("down_proj", inner, hidden),
    ):
        path = f"{at}.experts.{name}"
        spec, bias = build.format_of(path), shape.bias
        op = Experts(
            path, build.act, inputs, outputs, spec, tokens, bias, experts=experts,
            pool=shape.experts, chosen=shape.chosen, batches=replicas,
        )  # fmt: skip
        build.add(*replace(op, used=used, stack=stack).with_formats(build.formats))
        if name == "gate_up_proj":
            build.activation(f"{at}.experts.act_fn", inner, gated=True, tokens=tokens)
    combined = TOKENS * hidden
    build.add(
        Elementwise(f"{at}.weigh", build.act, RESIDUAL, combined, 2.0 * shape.chosen, shape.chosen)
    )
