"""One inventory of a model's weights: every matrix ``[out, in]``, and what else there is.

A matrix has the path of its module (``model.layers.0.mlp.up_proj``); one that is no module's
``weight`` has its parameter's name too (``...attention.in_proj_weight``), and one of a stack its
place (``...experts.gate_up_proj[3]``). Names, classes and shapes are read alone, so it is
the same on the meta device.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import torch
from torch import nn

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.layers.coded import CodedWeight, Part
from quant.layers.kinds import APART_HEAD, layout_of, tables_of, why_apart, why_not
from quant.layers.layout import Layout
from quant.layers.ties import TIED, configs, untie
from quant.tensors.tensor import QuantizedTensor


class Owner(NamedTuple):
    """Where a parameter is: a module, its path, and the parameter's name in it."""

    path: str
    module: nn.Module
    name: str


@dataclass(frozen=True, eq=False)
class Weight:
    """A matrix of weights in a model.

    Attributes:
        path: What plans, reports and checkpoints call it.
        owners: All modules that hold its parameter; the first one gives it its path.
        layout: How the parameter holds it.
        index: Its place in a stack, else 0.
        apart: Why ``"*"`` does not mean it (the head, an embedding); empty: it does.
    """

    path: str
    owners: tuple[Owner, ...]
    layout: Layout
    index: int = 0
    apart: str = ""

    @property
    def module(self) -> nn.Module:
        """The module that computes with it."""
        return self.owners[0].module

    @property
    def is_layer(self) -> bool:
        """Whether the module's input and output are those of this matrix."""
        _, module, parameter = self.owners[0]
        return parameter == "weight" and not self.layout.is_stack and not is_table(module)

    @property
    def stored_name(self) -> str:
        """What holds it where it is not quantized: its parameter's name; in a stack its path."""
        if self.layout.is_stack or not self.owners:
            return self.path if self.layout.is_stack else f"{self.path}.weight"
        path, _, name = self.owners[0]
        return f"{path}.{name}" if path else name

    @property
    def parameter(self) -> torch.Tensor:
        """The parameter as it is now."""
        own = getattr(self.module, self.owners[0].name)
        assert isinstance(own, torch.Tensor)
        return own

    @property
    def shape(self) -> tuple[int, int]:
        """``(out, in)``."""
        return self.layout.matrix_shape

    @property
    def count(self) -> int:
        """How many weights it has."""
        return self.shape[0] * self.shape[1]

    @property
    def part(self) -> Part:
        """Its codes, or the values as the module stores them: a view."""
        own = self.parameter
        return own.parts[self.index] if isinstance(own, CodedWeight) else self.stored

    @property
    def stored(self) -> torch.Tensor:
        """Its values as the module stores them; a view unless they are decoded for it."""
        own = self.parameter
        if isinstance(own, CodedWeight):
            return own.decoded_part(self.index)
        return self.layout.part(own, self.index)

    @property
    def tensor(self) -> QuantizedTensor | None:
        """Its codes; None: it is not quantized."""
        part = self.part
        return part if isinstance(part, QuantizedTensor) else None

    def matrix(self) -> F32:
        """Return a copy of its values, ``[out, in]`` float32.

        Raises:
            RequestError: it is on the meta device.
        """
        values = self.stored.detach()
        if values.device.type == "meta":
            raise RequestError("its weight is on the meta device: load the model first")
        own: F32 = self.layout.matrix(values.float().cpu()).contiguous().numpy()
        return own.copy()

    def set_matrix(self, values: F32) -> None:
        """Give it other values, in place."""
        with torch.no_grad():
            self.stored.copy_(self.layout.stored(torch.from_numpy(values)))

    def shaped(self, values: torch.Tensor) -> torch.Tensor:
        """Return a matrix ``[out, in]`` in the shape and type that the module computes with."""
        return self.layout.stored(values).to(self.parameter.dtype)


@dataclass(frozen=True, eq=False)
class Other:
    """A parameter that is no matrix of weights.

    Attributes:
        parameter: Itself.
        why: What it is.
    """

    parameter: torch.Tensor
    why: str


@dataclass(frozen=True)
class Inventory:
    """All parameters of a model, each once.

    Attributes:
        weights: Path -> matrix.
        others: Name of a parameter -> what it is.
    """

    weights: dict[str, Weight]
    others: dict[str, Other]

    @cached_property
    def apart(self) -> frozenset[str]:
        """The paths that ``"*"`` does not mean."""
        return frozenset(path for path, weight in self.weights.items() if weight.apart)


def inventory(model: nn.Module) -> Inventory:
    """Return the matrices and the other parameters of a torch model.

    Parameters that several modules share are one matrix; a head that shares the table of input
    embeddings is a matrix of its own, since only one of the two is multiplied with.
    """
    weights: dict[str, Weight] = {}
    others: dict[str, Other] = {}
    places = _places(model)
    tables = tables_of(model)
    for owners, parameter in places:
        path, module, name = owners[0]
        layout = layout_of(module, name, parameter)
        full = f"{path}.{name}" if path else name
        if layout is None:
            others[full] = Other(parameter, why_not(module, name, parameter))
            continue
        apart = why_apart(model, tables, [(own.path, own.module) for own in owners])
        base = path if name == "weight" and path else full
        if not layout.is_stack:
            weights[base] = Weight(base, owners, layout, 0, apart)
            continue
        for index in range(layout.count):
            own = f"{base}[{index}]"
            weights[own] = Weight(own, owners, layout, index, apart)
    state = {name for name, _ in model.named_buffers()} & model.state_dict().keys()
    others |= {name: Other(model.get_buffer(name), "buffer") for name in sorted(state)}
    return Inventory(weights, others)


def weights(model: nn.Module) -> dict[str, Weight]:
    """Return the matrices of a model by path (``inventory``)."""
    return inventory(model).weights


def kinds_of(model: nn.Module) -> dict[str, str]:
    """Return the class of the module of each matrix, by path."""
    return {path: type(weight.module).__name__ for path, weight in weights(model).items()}


def put(model: nn.Module, weight: Weight, part: Part) -> None:
    """Let a model compute with other contents of a matrix: codes, or values as they are stored.

    All modules that share the parameter share the codes. Plain linear layers become
    ``QuantizedLinear``; every other module keeps its class and its own ``forward``.
    """
    from quant.layers.linear import replacement

    own = weight.parameter
    if isinstance(own, CodedWeight):
        coded = own.with_part(weight.index, part)
    else:
        parts = [weight.layout.part(own.detach(), index) for index in range(weight.layout.count)]
        coded = CodedWeight(parts, weight.layout, own.dtype).with_part(weight.index, part)
    if weight.apart == APART_HEAD and isinstance(part, QuantizedTensor):
        untie(model, (f"{path}.{name}" for path, _, name in weight.owners))
    made: dict[nn.Module, nn.Module] = {}
    for path, module, name in weight.owners:
        if module not in made:
            made[module] = replacement(module, coded) if path else module
        if made[module] is not module:
            model.set_submodule(path, made[module])
        else:
            module.register_parameter(name, cast("nn.Parameter", coded))  # it passes for one


def _places(model: nn.Module) -> Iterator[tuple[tuple[Owner, ...], torch.Tensor]]:
    """Each parameter once, with all its places; tables of embeddings apart from matrices."""
    found: dict[tuple[int, bool], list[Owner]] = {}
    tensors: dict[int, torch.Tensor] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module._parameters.items():
            if parameter is not None:
                tensors[id(parameter)] = parameter
                key = (id(parameter), is_table(module))
                found.setdefault(key, []).append(Owner(path, module, name))
    for (identity, _), owners in found.items():
        yield tuple(owners), tensors[identity]


def is_table(module: nn.Module) -> bool:
    """Whether a module looks its rows up in place of multiplying with them."""
    return isinstance(module, nn.Embedding | nn.EmbeddingBag)


__all__ = [
    "TIED",
    "Inventory",
    "Other",
    "Owner",
    "Weight",
    "configs",
    "inventory",
    "is_table",
    "kinds_of",
    "put",
    "weights",
]
