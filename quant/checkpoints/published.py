"""The names that a model's weights are published under, as every runtime but transformers 5 reads.

transformers 5 builds models that hold other parameters than their files: stacks of experts, fused
projections, other names. Its own conversion is run backwards here on numbers of rows in place of
weights, which shows where each row of a parameter goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quant.checkpoints.finished import FinishedCheckpoint
from quant.common.errors import RequestError
from quant.layers.weights import Weight
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import torch

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """Rows of a parameter.

    Attributes:
        name: The parameter's name in the model.
        place: Which matrix of a stack; None: the parameter is no stack, or all of it is meant.
        rows: Which rows of it, in order; None: the whole, as it is.
    """

    name: str
    place: int | None = None
    rows: Rows | None = None


@dataclass(frozen=True)
class Published:
    """Where published tensors come from.

    Attributes:
        opened: The checkpoint.
        segments: Published name -> the parts that it is put together from.
    """

    opened: FinishedCheckpoint
    segments: Mapping[str, tuple[Segment, ...]]

    @cached_property
    def layers(self) -> dict[str, tuple[str, Rows | None]]:
        """Published name of a module -> path of its codes, and which of their rows.

        Raises:
            RequestError: a layer that is no module with a weight of its own there.
        """
        found = {}
        for name, parts in self.segments.items():
            paths = [path for part in parts if (path := self._quantized(part))]
            if not paths:
                continue
            if len(parts) > 1 or not name.endswith(".weight"):
                raise RequestError(
                    f"layer {paths[0]}: it is published as a part of {name!r}, with others: "
                    "allowed are layers with a weight of their own"
                )
            found[name.removesuffix(".weight")] = (paths[0], parts[0].rows)
        if missing := sorted(self.opened.specs.keys() - {path for path, _ in found.values()}):
            raise RequestError(f"layer {missing[0]}: its published name is not known")
        return found

    @cached_property
    def unquantized(self) -> list[str]:
        """Published names of the linear modules that are not quantized, head and routers too."""
        known = {weight.stored_name: weight for weight in self.opened.inventory.weights.values()}
        others = self.opened.inventory.others
        found = []
        for name, parts in self.segments.items():
            module = name.removesuffix(".weight")
            if module == name or module in self.layers:
                continue
            of = [self._path(part) for part in parts]
            linear = any(path in known and _is_linear(known[path]) for path in of)
            if linear or any(p.name in others and others[p.name].why == "router" for p in parts):
                # Runtimes that build transformers' model match the names of its modules.
                own = [part.name for part in parts if part.place is None]
                found += [module, *(name.removesuffix(".weight") for name in own)]
        return list(dict.fromkeys(found))

    def layer(self, module: str) -> QuantizedTensor:
        """Return the codes of a published module."""
        path, rows = self.layers[module]
        tensor = self.opened.layer(path)
        return tensor if rows is None else rows_of(tensor, rows)

    @property
    def others(self) -> list[str]:
        """Published names of what is stored and not quantized."""
        return [
            name
            for name, parts in self.segments.items()
            if name.removesuffix(".weight") not in self.layers and all(map(self._is_stored, parts))
        ]

    def other(self, name: str) -> torch.Tensor:
        """Return what is not quantized, by its published name."""
        import torch

        values = [self._value(part) for part in self.segments[name]]
        return values[0] if len(values) == 1 else torch.cat(values)

    def _path(self, part: Segment) -> str:
        return part.name if part.place is None else f"{part.name}[{part.place}]"

    def _quantized(self, part: Segment) -> str | None:
        own = self.opened.inventory.weights
        if part.place is None and f"{part.name}[0]" in own:  # a stack in one piece
            paths = [path for path in self.opened.specs if path.startswith(f"{part.name}[")]
            if paths:
                raise RequestError(
                    f"layer {paths[0]}: its experts are published as one tensor {part.name!r}, not "
                    "as modules: allowed are experts that are linear layers"
                )
            return None
        for path in (self._path(part), part.name.removesuffix(".weight")):
            if path in self.opened.specs:
                return path
        return None

    def _is_stored(self, part: Segment) -> bool:
        return part.name in self.opened.files or self._path(part) in self.opened.files

    def _value(self, part: Segment) -> torch.Tensor:
        import torch

        if self._path(part) in self.opened.files:
            value = self.opened.other(self._path(part))
        else:
            value = self.opened.other(part.name)[part.place]
        return value if part.rows is None else value[torch.from_numpy(part.rows)]


def published(opened: FinishedCheckpoint) -> Published:
    """Return the published names of a checkpoint's tensors.

    Raises:
        RequestError: a parameter that the published layout holds in another order than by rows.
    """
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    model = opened.model
    stacks = {w.stored_name.rpartition("[")[0] for w in opened.inventory.weights.values()}
    own: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    own |= {n: b for n, b in model.named_buffers() if n in model.state_dict()}
    numbers, starts, axes = {}, [], {}
    start = 0
    for name, value in own.items():
        axes[name] = 2 if name in stacks else min(1, value.dim())
        leading = value.shape[: axes[name]]
        count = int(np.prod(leading))
        shape = (*leading, *(1 for _ in value.shape[axes[name] :]))
        numbers[name] = (torch.arange(count) + start).reshape(shape)
        starts.append(start)
        start += count
    try:
        found = revert_weight_conversion(model, dict(numbers))
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        raise RequestError(f"{opened.folder}: no published names for its model: {error}") from None
    names, bounds = list(own), np.array(starts)
    segments = {}
    for name, ids in found.items():
        parts = []
        flat = ids.reshape(-1).numpy()
        of = np.searchsorted(bounds, flat, side="right") - 1
        for index in dict.fromkeys(of.tolist()):
            source = names[index]
            same = numbers[source].shape == ids.shape and torch.equal(numbers[source], ids)
            if same:
                parts.append(Segment(source))
                continue
            rows = flat[of == index] - bounds[index]
            if ids.dim() > 1 and len(flat) != ids.shape[0]:
                raise RequestError(f"{source!r}: it is published as {name!r}, not row by row")
            if axes[source] == 1:
                parts.append(Segment(source, None, rows))
                continue
            each = own[source].shape[1]
            places = dict.fromkeys((rows // each).tolist())
            parts += [Segment(source, p, rows[rows // each == p] % each) for p in places]
        segments[name] = tuple(parts)
    return Published(opened, segments)


def rows_of(tensor: QuantizedTensor, rows: Rows) -> QuantizedTensor:
    """Return some rows of a tensor: their codes, scales and zero points, in that order."""
    count = tensor.shape[0]
    wanted = tensor.spec.arrays(tensor.shape)
    arrays = {
        # What the whole tensor shares has other first axes: (1,), (1, 1).
        name: array[rows] if wanted[name][0][0] == count and array.shape != (1, 1) else array
        for name, array in tensor.arrays.items()
        if name in wanted
    }
    return QuantizedTensor.of(tensor.spec, (len(rows), tensor.shape[1]), arrays)


def _is_linear(weight: Weight) -> bool:
    from torch import nn

    return weight.layout.is_stack or isinstance(weight.module, nn.Linear)
