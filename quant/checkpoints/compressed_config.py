"""What a ``quantization_config`` of compressed-tensors says of the weights of each layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from quant.checkpoints.codes import Blocks
from quant.checkpoints.shards import ShardedModel
from quant.common.config import parse
from quant.common.errors import RequestError


@dataclass(frozen=True)
class Arguments:
    """How the weights of some layers are stored: the library's ``QuantizationArgs``.

    Attributes:
        num_bits: Of a code.
        type: ``int`` or ``float``.
        symmetric: Whether there are no zero points.
        strategy: What shares a scale: ``tensor``, ``channel``, ``group``, ``tensor_group``,
            ``block``.
        group_size: Columns of a group.
        block_structure: Rows and columns of a block.
        format: The packing.
    """

    num_bits: int = 8
    type: str = "int"
    symmetric: bool = True
    strategy: str = ""
    group_size: int | None = None
    block_structure: tuple[int, int] | None = None
    format: str = ""

    @property
    def blocks(self) -> Blocks | None:
        """What shares a scale, where that is neither a row nor all."""
        if self.block_structure is not None:
            return Blocks(*self.block_structure)
        return Blocks(1, self.group_size) if self.group_size and self.group_size > 0 else None


def compressed_groups(
    stated: Mapping[str, Any], allowed: Collection[str]
) -> list[tuple[list[str], Arguments]]:
    """Return the groups of a config: which layers, and how their weights are stored.

    Args:
        stated: The ``quantization_config``.
        allowed: Names of the packings that are read.

    Raises:
        RequestError: what is not read, by its name.
    """
    for key in ("sparsity_config", "transform_config"):
        more = stated.get(key)
        if isinstance(more, Mapping) and more.get("format", key) != "dense" and any(more.values()):
            named = more.get("format", key)
            raise RequestError(f"compressed-tensors with {key} ({named}) is not read")
    groups = stated.get("config_groups")
    if not isinstance(groups, Mapping):
        raise RequestError("compressed-tensors: config_groups is no table")
    found = []
    for label, group in groups.items():
        targets = group.get("targets") if isinstance(group, Mapping) else None
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
            raise RequestError(f"compressed-tensors: group {label!r} has no list of targets")
        if weights is None:
            continue  # activations alone
        if not isinstance(weights, Mapping):
            raise RequestError(f"compressed-tensors: weights of group {label!r} are no table")
        known = {key: weights[key] for key in Arguments.__annotations__ if key in weights}
        known["format"] = group.get("format") or stated.get("format") or ""
        own = parse({k: v for k, v in known.items() if v is not None}, Arguments, str(label))
        if own.format not in allowed:
            raise RequestError(
                f"compressed-tensors format {own.format!r} is not read "
                f"(allowed: {', '.join(allowed)})"
            )
        found.append((list(targets), own))
    return found


def arguments_of(
    opened: ShardedModel, module: str, groups: list[tuple[list[str], Arguments]]
) -> Arguments:
    """Return what is said of a layer: by its name first, then by a pattern, then by its class.

    Raises:
        RequestError: nothing is, or groups contradict each other.
    """
    tests: list[Callable[[str], bool]] = [
        lambda target: target == module,
        lambda target: target.startswith("re:") and _matches(target[3:], module),
        lambda target: not target.startswith("re:") and "." not in target,
    ]
    for test in tests:
        found = dict.fromkeys(own for targets, own in groups if any(map(test, targets)))
        if len(found) == 1:
            return next(iter(found))
        if found:
            break
    raise RequestError(
        f"{opened.folder}: layer {module!r} has codes, and {len(found)} groups of its "
        "quantization_config mean it: one is needed"
    )


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.match(pattern, name) is not None
    except re.error as error:
        raise RequestError(
            f"compressed-tensors: target {pattern!r} is no pattern: {error}"
        ) from None
