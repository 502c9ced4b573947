"""Layers that a job keeps as they are rounded: a run that was cut does not round them again.

Only methods that see one layer at a time are resumed: what they have rounded is put back, and later
layers see the same. Methods of blocks and models change norms too and begin anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from quant.common.errors import HwsimError
from quant.common.job import Job
from quant.formats.spec import parse_spec
from quant.layers.notes import note, noted
from quant.methods.base import LayerMethod, Method
from quant.tensors.arrays import check_parts, parts
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    from quant.formats.elements import F32
    from quant.formats.spec import FormatSpec
    from quant.layers.blocks import Block
    from quant.layers.statistics import LayerStatistics

KEPT_AFTER_S = 5.0
"""Work that is worth a write to the disk: what took less is done again."""
_PREFIX = "layers-kept-"


def resumable(method: Method, work: Job) -> Method:
    """Return a method that keeps its layers in a job, where it sees one layer at a time."""
    own_drive = isinstance(method, LayerMethod) and type(method).run is LayerMethod.run
    return KeptLayers(method, work) if isinstance(method, LayerMethod) and own_drive else method


class KeptLayers(LayerMethod):
    """A layer method whose results are kept in a job, and taken from it."""

    def __init__(self, inner: LayerMethod, work: Job) -> None:
        self.name, self.source, self.calibration = inner.name, inner.source, inner.calibration
        self.inner, self.work = inner, work
        self.kept = _load(work)
        self.waiting: dict[str, QuantizedTensor] = {}
        self.since = time.monotonic()

    def for_model(self, kinds: Mapping[str, str]) -> Method:
        """The method for a model."""
        inner = self.inner.for_model(kinds)
        assert isinstance(inner, LayerMethod)
        self.inner = inner
        return self

    def of(self, path: str) -> Method:
        """The method that rounds the matrix at a path."""
        return self.inner.of(path)

    def round_outside(self, path: str, weight: F32, spec: FormatSpec) -> QuantizedTensor | None:
        """Round a matrix outside of the blocks as the method does."""
        return self.inner.round_outside(path, weight, spec)

    def check_format(self, spec: FormatSpec) -> None:
        """Those that the method takes."""
        self.inner.check_format(spec)

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a layer as the method does."""
        return self.inner.quantize(weight, spec, statistics)

    def round_at(
        self, path: str, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round the matrix at a path as the method does."""
        return self.inner.round_at(path, weight, spec, statistics)

    def _round_block(
        self, block: Block, specs: Mapping[str, FormatSpec]
    ) -> Iterator[tuple[str, QuantizedTensor]]:
        if specs.keys() <= self.kept.keys():  # no statistics are needed
            yield from ((path, self._known(path)) for path in specs)
        else:
            yield from super()._round_block(block, specs)

    def _round(
        self, path: str, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        if path in self.kept:
            return self._known(path)
        tensor = super()._round(path, weight, spec, statistics)
        self.waiting[path] = tensor
        if time.monotonic() - self.since > KEPT_AFTER_S:
            self._keep()
        return tensor

    def _known(self, path: str) -> QuantizedTensor:
        """Codes that an earlier run kept, with what it noted."""
        tensor, said = self.kept[path]
        if said:
            note(path, said)
        return tensor

    def _keep(self) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        name = f"{_PREFIX}{sum(step.startswith(_PREFIX) for step in self.work.steps):05d}"
        while name in self.work.steps:  # a number that a damaged step left free
            name += "a"
        arrays = {f"{p}.{k}": v for p, t in self.waiting.items() for k, v in parts(t).items()}
        facts = {p: [str(t.spec), *t.shape, noted(p)] for p, t in self.waiting.items()}
        try:
            save_file(arrays, self.work.folder / name)
        except (SafetensorError, OSError) as error:
            raise HwsimError(f"{self.work.goal.folder}: cannot be written: {error}") from None
        self.work.keep(name, facts, [name])
        self.waiting, self.since = {}, time.monotonic()


def _load(work: Job) -> dict[str, tuple[QuantizedTensor, str]]:
    """The layers that earlier runs have kept, and what was noted of each."""
    from safetensors.numpy import load_file

    found: dict[str, tuple[QuantizedTensor, str]] = {}
    for name, step in work.steps.items():
        if not name.startswith(_PREFIX):
            continue
        arrays = load_file(work.folder / name)
        for path, (text, rows, columns, said) in step.facts.items():
            spec, prefix = parse_spec(text), f"{path}."
            own = {
                key.removeprefix(prefix): value
                for key, value in arrays.items()
                if key.startswith(prefix) and "." not in key.removeprefix(prefix)
            }
            check_parts(path, spec, (rows, columns), own)
            found[path] = QuantizedTensor.of(spec, (rows, columns), own), said
    return found
