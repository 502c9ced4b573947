"""A local folder of weights as the matrices and parameters of its model, none of them read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quant.checkpoints.conversion import Unit, plain_units, units
from quant.checkpoints.shards import CONFIG, FLOATS, ShardedModel, check_stored
from quant.checkpoints.unused import unused_tensors
from quant.common.errors import RequestError
from quant.layers.forwards import check_unchanging
from quant.layers.layout import Layout
from quant.layers.weights import Weight, inventory

if TYPE_CHECKING:
    import torch

# What is a matrix in a file and no layer in the model, by the names in use.
_NO_LAYERS = ("embed", "wte", "wpe", "norm", "position")


@dataclass(frozen=True)
class Source:
    """What is in a folder, from its headers and its config alone.

    Attributes:
        opened: The files.
        units: What their tensors become, in order.
        weights: Path -> matrix.
        apart: The paths that ``"*"`` does not mean.
        held: Parameter -> the matrices that it holds.
        why: Parameter that holds none -> what it is.
        unused: Tensors that are not part of the model, and their sizes.
    """

    opened: ShardedModel
    units: list[Unit]
    weights: Mapping[str, Weight]
    apart: frozenset[str]
    held: Mapping[str, list[Weight]]
    why: Mapping[str, str]
    unused: Mapping[str, int]

    @property
    def kinds(self) -> dict[str, str]:
        """The class of the module of each matrix, where it is known."""
        known = {path: weight for path, weight in self.weights.items() if weight.owners}
        return {path: type(weight.module).__name__ for path, weight in known.items()}


def source_of(opened: ShardedModel) -> Source:
    """Return the matrices of a folder's model, its tensors as ``open_source`` gives them.

    From the architecture that ``config.json`` names, built without weights (no code of the
    model's own is run); without one, matrices whose names are not those of embeddings or norms.

    Raises:
        RequestError: an architecture that is not known, or whose tensors are not those of the
            folder.
    """
    if not (opened.folder / CONFIG).is_file():
        return _bare(opened)
    check_stored(opened)
    from quant.checkpoints.pretrained import skeleton

    model = skeleton(opened)
    check_unchanging(model)
    found = inventory(model)
    made = _first_of_shared(units(opened, model), model)
    by_parameter: dict[int, list[Weight]] = {}
    for weight in found.weights.values():
        by_parameter.setdefault(id(weight.parameter), []).append(weight)
    named = dict(model.named_parameters(remove_duplicate=False))
    held = {name: by_parameter.get(id(value), []) for name, value in named.items()}
    there = {weight.path for unit in made for name in unit.shapes for weight in held.get(name, ())}
    weights = {path: weight for path, weight in found.weights.items() if path in there}
    if not weights:
        raise RequestError(f"{opened.folder}: no tensor is a matrix of its model")
    why = {name: other.why for name, other in found.others.items()}
    return Source(opened, made, weights, found.apart, held, why, unused_tensors(opened, model))


def check_floats(source: Source) -> None:
    """Raise a RequestError for a matrix that is stored in codes already."""
    for unit in source.units:
        if not any(source.held.get(name) for name in unit.shapes):
            continue
        for name in unit.sources:
            tensor = source.opened.tensors[name]
            if tensor.dtype not in FLOATS:
                raise RequestError(
                    f"{source.opened.folder / tensor.file}: tensor {name!r} is {tensor.dtype}: a "
                    f"source that is quantized already is not read ({', '.join(FLOATS)} are)"
                )


def _bare(opened: ShardedModel) -> Source:
    paths = {n: n.removesuffix(".weight") for n in opened.tensors if n.endswith(".weight")}
    held = {
        name: [Weight(path, (), Layout(opened.tensors[name].shape))]
        for name, path in paths.items()
        if len(opened.tensors[name].shape) == 2 and not any(part in path for part in _NO_LAYERS)
    }
    weights = {weight.path: weight for (weight,) in held.values()}
    why = {name: "not a matrix by its name" for name in opened.tensors if name not in held}
    return Source(opened, plain_units(opened), weights, frozenset({"lm_head"}), held, why, {})


def _first_of_shared(made: list[Unit], model: torch.nn.Module) -> list[Unit]:
    """Leave out what is stored again of a parameter that has two names."""
    named = dict(model.named_parameters(remove_duplicate=False))
    seen: set[int] = set()
    kept = []
    for unit in made:
        own = {id(named[name]) for name in unit.shapes if name in named}
        if own and own <= seen:
            continue
        seen |= own
        kept.append(unit)
    return kept
