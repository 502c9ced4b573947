"""How tensors of a source become parameters of its model, a few at a time.

transformers 5 stores models as they were published and builds others: experts that are a tensor
each become one stack, names change, fused projections are split. Its own conversion decides here
too, so that a model that is streamed has the parameters of one that is loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quant.checkpoints.shards import ShardedModel
from quant.common.errors import RequestError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Unit:
    """Tensors of a source that become parameters together.

    Attributes:
        sources: Their names in the files.
        shapes: Parameter of the model -> its shape.
        convert: Takes the tensors in order, gives the parameters by name.
    """

    sources: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    convert: Callable[[list[torch.Tensor]], dict[str, torch.Tensor]]

    def read(self, opened: ShardedModel) -> dict[str, torch.Tensor]:
        """Return the parameters, by name.

        Raises:
            RequestError: a file is cut or damaged, or its tensors do not fit together.
        """
        found = _converted(self, [opened.read(name) for name in self.sources])
        for name, value in found.items():
            if tuple(value.shape) != self.shapes[name]:
                raise RequestError(
                    f"{opened.folder}: parameter {name!r} has shape {tuple(value.shape)}, "
                    f"{self.shapes[name]} is needed"
                )
        return found


def plain_units(opened: ShardedModel) -> list[Unit]:
    """Return units of one tensor each, under their own names: for sources without a config."""
    return [_same(name, name, info.shape) for name, info in opened.tensors.items()]


def units(opened: ShardedModel, model: torch.nn.Module) -> list[Unit]:
    """Return what the tensors of a source become in its model, in the order of the files.

    Args:
        opened: The source.
        model: Its model, on the meta device.

    Raises:
        RequestError: tensors that cannot be converted.
    """
    import torch
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    by_pattern = {key: entry for entry in converters for key in entry.source_patterns}
    state = model.state_dict()
    prefix = getattr(model, "base_model_prefix", "")
    gathered: dict[str, list[tuple[str, str]]] = {}  # first parameter -> (source, pattern)
    for source in sorted(opened.tensors, key=dot_natural_key):
        name, pattern = rename_source_key(source, renamings, converters, prefix, state)
        if name not in state and source in state:
            name, pattern = rename_source_key(source, [], [], prefix, state)
        if name in state:
            gathered.setdefault(name, []).append((source, pattern or ""))
    made = []
    for first, parts in gathered.items():
        sources = tuple(source for source, _ in parts)
        if not parts[0][1]:
            if len(sources) > 1:
                raise RequestError(
                    f"{opened.folder}: {sources[0]!r} and {sources[1]!r} are both {first!r}"
                )
            made.append(_same(sources[0], first, opened.tensors[sources[0]].shape))
            continue
        patterns = [pattern for _, pattern in parts]
        convert = _Converter(by_pattern[patterns[0]], first, patterns, model)
        empty = [torch.empty(opened.tensors[name].shape, device="meta") for name in sources]
        found = _converted(Unit(sources, {}, convert), empty)
        made.append(Unit(sources, {n: tuple(v.shape) for n, v in found.items()}, convert))
    order = {name: index for index, name in enumerate(opened.tensors)}
    return sorted(made, key=lambda unit: min(order[name] for name in unit.sources))


@dataclass(frozen=True)
class _Converter:
    """A conversion of transformers for one set of tensors."""

    entry: Any
    first: str
    patterns: list[str]
    model: torch.nn.Module

    def __call__(self, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        own = copy.deepcopy(self.entry)
        for tensor, pattern in zip(tensors, self.patterns, strict=True):
            own.add_tensor(self.first, "", pattern, tensor)
        found = own.convert(self.first, model=self.model, config=self.model.config)
        return {name: v[0] if isinstance(v, list) else v for name, v in found.items()}


def _same(source: str, name: str, shape: tuple[int, ...]) -> Unit:
    return Unit((source,), {name: shape}, lambda tensors: {name: tensors[0]})


def _converted(unit: Unit, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    try:
        return unit.convert(tensors)
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        raise RequestError(
            f"tensors {unit.sources[0]!r} and {len(unit.sources) - 1} more cannot be converted: "
            f"{error}"
        ) from None
