"""What the three scopes of methods run by: layers block by block, codes checked as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from quant.common.errors import RequestError

if TYPE_CHECKING:
    from torch import nn

    from quant.formats.elements import F32
    from quant.formats.spec import FormatSpec
    from quant.layers.blocks import Block, CalibrationData
    from quant.tensors.tensor import QuantizedTensor

    Rounded = Iterator[tuple[str, QuantizedTensor]]


def by_blocks(
    model: nn.Module,
    specs: Mapping[str, FormatSpec],
    calibration: CalibrationData | None,
    round_block: Callable[[Block, Mapping[str, FormatSpec]], Rounded],
    *,
    references: bool = False,
    outside: Callable[[str, F32, FormatSpec], QuantizedTensor | None] = lambda *_: None,
) -> Rounded:
    """Round the layers of each block, then those outside of blocks to nearest.

    Args:
        model: Any torch model.
        specs: Module path -> format of the layers to round.
        calibration: Tokens or batches; None: the blocks have no inputs.
        round_block: Rounds those of a block.
        outside: Rounds a matrix outside of blocks; where it gives None, it is rounded to nearest.
        references: Whether blocks hold what the unquantized ones give.
    """
    from quant.layers.blocks import blocks
    from quant.layers.notes import note
    from quant.layers.weights import weights
    from quant.tensors.quantize import quantize

    left, known = dict(specs), weights(model)
    for block in blocks(model, calibration, references=references):
        own = {path: left.pop(path) for path in block.layers if path in left}
        if own:
            yield from round_block(block, own)
    for path, spec in left.items():
        tensor = outside(path, known[path].matrix(), spec)
        if tensor is None:
            note(path, "outside of the blocks: rounded to nearest")
            tensor = quantize(known[path].matrix(), spec)
        yield path, tensor


def inside(model: nn.Module, paths: Iterable[str]) -> list[str]:
    """Return which of some layers lie in blocks."""
    from quant.layers.blocks import layers_in_blocks

    known = layers_in_blocks(model)
    return [path for path in paths if path in known]


def free_scales(name: str, spec: FormatSpec) -> None:
    """Raise a RequestError for a format whose scales a method cannot train."""
    if not spec.has_free_scales:
        raise RequestError(f"{name} trains continuous scales: {spec} has none")


def checked(method: str, tensor: object) -> QuantizedTensor:
    """Refuse what is no QuantizedTensor, such as the rounded weights themselves."""
    from quant.tensors.tensor import QuantizedTensor

    if not isinstance(tensor, QuantizedTensor):
        raise RequestError(
            f"method {method!r} returned {type(tensor).__name__}: a QuantizedTensor is needed"
        )
    return tensor


def all_of(method: str, tensors: Mapping[str, QuantizedTensor], wanted: Iterable[str]) -> Rounded:
    """Yield the codes of each layer that was asked for, and of no other."""
    if not isinstance(tensors, Mapping):
        kind = type(tensors).__name__
        raise RequestError(f"method {method!r} returned {kind}: module path -> codes is needed")
    if faults := sorted(tensors.keys() ^ set(wanted)):
        raise RequestError(
            f"method {method!r} must return the codes of the layers that it was given, "
            f"all and no others: {', '.join(faults[:3])}"
        )
    yield from ((path, checked(method, tensor)) for path, tensor in tensors.items())
