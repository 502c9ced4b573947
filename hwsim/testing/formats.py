"""Contracts of formats, layouts and scale kinds."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hwsim.testing.refusals import refusal
from quant.checkpoints.folder import load_quantized, save_quantized
from quant.formats.elements import F32
from quant.formats.format import Format
from quant.formats.grid import grid_of
from quant.formats.layout import GridLayout, Layout
from quant.formats.registry import FORMATS, register
from quant.formats.scale_kind import ScaleKind, Scales
from quant.formats.scales import E4M3_LARGEST, SCALES, register_scale
from quant.formats.spec import FormatSpec, parse_spec, specification
from quant.rounding.layouts.codecs import codec_of
from quant.tensors.quantize import quantize

SHAPES = ((1, 1), (3, 70), (5, 300))
"""Rows shorter than a group, and groups that end short."""


def weights(shape: tuple[int, int], seed: int = 0) -> F32:
    """Return normal weights with an outlier a row, a row of zeros and exact zeros, float32."""
    rng = np.random.default_rng([seed, *shape])
    values = rng.standard_normal(shape).astype(np.float32) * np.float32(0.02)
    values[np.arange(shape[0]), rng.integers(0, shape[1], shape[0])] *= 12
    values[rng.random(shape) < 0.05] = 0
    values[-1] = 0
    return values


def stored_bits(arrays: dict[str, Any], spec: FormatSpec) -> int:
    """Return the bits that the arrays hold; a selector and a zero point count their own width."""
    widths = {"selectors": spec.selector_bits or 8, "zero_points": spec.zero_point_bits}
    return sum(
        array.size * widths.get(name, array.dtype.itemsize * 8) for name, array in arrays.items()
    )


class _SpecContract:
    """What every specification keeps to."""

    def specification(self) -> FormatSpec:
        """The specification under test."""
        raise NotImplementedError

    def test_its_text_means_itself(self) -> None:
        """``parse_spec(str(spec)) == spec``."""
        spec = self.specification()
        assert parse_spec(str(spec)) == spec, f"{spec} reads as {parse_spec(str(spec))}"

    def test_arrays_are_the_announced_ones(self) -> None:
        """Shapes and types are those of ``FormatSpec.arrays``; storage counts their bits."""
        spec = self.specification()
        for shape in SHAPES:
            tensor = quantize(weights(shape), spec)
            found = {name: (a.shape, str(a.dtype)) for name, a in tensor.arrays.items()}
            assert found == dict(spec.arrays(shape)), f"{spec}, {shape}: {found}"
            assert stored_bits(tensor.arrays, spec) == spec.storage_bits(*shape), f"{spec}, {shape}"

    def test_decoded_weights_are_finite_and_near(self) -> None:
        """Decoding gives finite weights of the same shape, nearer than zeros would be."""
        spec = self.specification()
        for shape in SHAPES[1:]:
            weight = weights(shape)
            decoded = quantize(weight, spec).dequantize()
            assert decoded.shape == shape, f"{spec}: {decoded.shape}"
            assert decoded.dtype == np.float32, f"{spec}: {decoded.dtype}"
            assert np.isfinite(decoded).all(), f"{spec}: NaN or Inf"
            error = float(np.square(decoded - weight).sum())
            if spec.element_bits == 1:  # outliers at one bit: zeros may well be nearer
                continue
            assert error < float(np.square(weight).sum()), f"{spec}: worse than zeros"

    def test_the_same_twice(self) -> None:
        """The same weight gives the same arrays."""
        spec, weight = self.specification(), weights(SHAPES[-1])
        first, again = quantize(weight, spec).arrays, quantize(weight.copy(), spec).arrays
        for name, array in first.items():
            np.testing.assert_array_equal(array, again[name], err_msg=f"{spec}: {name}")

    def test_numbers_that_are_none_are_refused(self) -> None:
        """NaN and Inf raise a RequestError."""
        for value in (np.nan, np.inf):
            weight = weights(SHAPES[1])
            weight[1, 2] = value
            assert refusal(partial(quantize, weight, self.specification()))

    def test_a_checkpoint_keeps_it(self) -> None:
        """What is written to a checkpoint folder is what is read."""
        spec = self.specification()
        tensor = quantize(weights(SHAPES[1]), spec)
        with tempfile.TemporaryDirectory() as folder:
            save_quantized(Path(folder) / "checkpoint", {"layer": tensor})
            loaded = load_quantized(Path(folder) / "checkpoint")["layer"]
        assert loaded.spec == spec, f"{loaded.spec} is not {spec}"
        for name, array in tensor.arrays.items():
            np.testing.assert_array_equal(array, loaded.arrays[name], err_msg=f"{spec}: {name}")


class FormatContract(_SpecContract):
    """Set ``format``; it is added to the registry, if it is not there."""

    format: ClassVar[Format]

    def specification(self) -> FormatSpec:
        """The format with its own group, scale and rule."""
        return specification(register(self.format))

    def test_levels(self) -> None:
        """Every candidate has a table of ``2^bits`` values, some of them numbers but zero."""
        tables = self.format.tables
        assert tables.shape == (self.format.candidates, 2**self.format.element_bits)
        assert ((tables != 0) & np.isfinite(tables)).any(axis=1).all()

    def test_its_number_in_the_verilog_is_its_own(self) -> None:
        """No two formats share a number."""
        own = self.format
        same = [e.name for e in FORMATS.values() if e.id is not None and e.id == own.id]
        assert own.id is None or same == [own.name], same

    def test_kernels_equal_the_reference(self) -> None:
        """The fast kernels and the readable reference give the same arrays."""
        spec = self.specification()
        if not spec.format.layout.is_grid:
            return
        for shape in SHAPES:
            fast = quantize(weights(shape), spec).arrays
            plain = quantize(weights(shape), spec, backend="numpy").arrays
            for name, array in fast.items():
                np.testing.assert_array_equal(array, plain[name], err_msg=f"{spec}: {name}")

    def test_codes_are_the_nearest(self) -> None:
        """No level of the chosen candidate lies nearer than the one taken, but for rounding."""
        spec = self.specification()
        if not spec.format.layout.is_grid or spec.format.is_asymmetric:
            return
        weight = weights(SHAPES[1])
        tensor = quantize(weight, spec)
        grid = grid_of(spec.format, spec.scale_rule)
        size = min(spec.group_size, weight.shape[1])
        group = np.arange(weight.shape[1]) // size
        scales, chosen = tensor.group_scales()[:, group], tensor.group_selectors()[:, group]
        errors = np.abs(grid.levels[chosen] * scales[..., None] - weight[..., None]).min(axis=-1)
        own = np.abs(tensor.dequantize() - weight)
        assert (own <= errors * (1 + 1e-5) + 1e-7 * np.abs(weight).max()).all(), f"{spec}"


class LayoutContract(_SpecContract):
    """Set ``format``: one that has the layout; the layout's codec must be registered."""

    format: ClassVar[Format]

    def specification(self) -> FormatSpec:
        """The format with its own group, scale and rule."""
        return specification(register(self.format))

    def test_facts(self) -> None:
        """It is a layout with a name, equal to itself, that a codec is known for."""
        layout = self.format.layout
        assert isinstance(layout, Layout)
        assert layout.name
        assert hash(layout) == hash(layout)
        assert codec_of(layout) is codec_of(layout)

    def test_a_grid_is_a_level_times_a_scale(self) -> None:
        """``is_grid`` promises ``(level - zero) * scale``."""
        if not self.format.layout.is_grid:
            return
        tensor = quantize(weights(SHAPES[1]), self.specification())
        size = min(tensor.spec.group_size, tensor.shape[1])
        scales = tensor.group_scales()[:, np.arange(tensor.shape[1]) // size]
        np.testing.assert_array_equal(tensor.levels() * scales, tensor.dequantize())


class ScaleKindContract:
    """Set ``kind``; it is added to the registry, if it is not there."""

    kind: ClassVar[ScaleKind]

    def raw(self) -> F32:
        """Raw scales ``[out, groups]``: of the sizes that real weights have, and a row of ones."""
        rng = np.random.default_rng(0)
        values = np.exp2(rng.normal(-6, 2, (8, 24))).astype(np.float32)
        values[-1] = 1
        return values

    def stored(self) -> Scales:
        """The raw scales as they are stored, under a scale of the tensor where there may be one."""
        raw = self.raw()
        above = np.float32(raw.max() / E4M3_LARGEST) if self.kind.takes_tensor_scale else None
        return self.kind.store(raw, above)

    def test_its_name_is_read_in_format_strings(self) -> None:
        """``int4:g32:NAME`` has this kind of scale."""
        kind = register_scale(self.kind)
        spec = parse_spec(f"int4:g32:{kind.name}")
        assert spec.scale == kind
        assert parse_spec(str(spec)) == spec
        assert SCALES[kind.name] is kind

    def test_stored_type_has_the_stored_bits(self) -> None:
        """``bits`` are those of ``dtype``, and of what is stored."""
        stored = self.stored().stored
        assert np.dtype(self.kind.dtype).itemsize * 8 == self.kind.bits
        assert stored.dtype == self.kind.dtype

    def test_used_is_the_value_of_what_is_stored(self) -> None:
        """``store(...).used`` equals ``used`` of the stored arrays, finite and not negative."""
        scales = self.stored()
        used = self.kind.used(scales.stored, scales.rows, scales.tensor, scales.inverse)
        np.testing.assert_array_equal(used, scales.used)
        assert used.dtype == np.float32
        assert (np.isfinite(used) & (used >= 0)).all()
        assert self.kind.is_number(scales.stored).all()
        assert (scales.rows is not None) == (self.kind.row_bits > 0)

    def test_stored_scales_are_near(self) -> None:
        """No scale is off by more than a factor of two, but for small ones under a row's."""
        raw = self.raw()
        used = self.stored().used
        large = raw >= raw.max(axis=1, keepdims=True) / 64
        assert (used[large] <= 2.001 * raw[large]).all()
        assert (used[large] >= raw[large] / 2.001).all()

    def test_larger_scales_are_not_stored_smaller(self) -> None:
        """Storing keeps the order."""
        raw = np.sort(self.raw(), axis=1)
        assert (np.diff(self.kind.store(raw).used, axis=1) >= 0).all()

    def test_others_go_under_the_same_row_and_tensor_scales(self) -> None:
        """``store_under`` keeps what rows and tensor add, and stores equal scales equally."""
        scales = self.stored()
        again = self.kind.store_under(self.raw(), scales)
        np.testing.assert_array_equal(again.used, scales.used)
        np.testing.assert_array_equal(again.stored, scales.stored)

    def test_what_a_pe_multiplies_by(self) -> None:
        """``integer * 2^exponent`` times the row's scale is the scale; the integer has the bits."""
        scales = self.stored()
        if self.kind.multiplied_bits is None:
            return
        integers, exponents = self.kind.multiplier(scales.stored)
        assert (integers >= 0).all()
        assert (integers < 1 << self.kind.multiplied_bits).all()
        values = np.ldexp(integers.astype(np.float64), exponents)
        if scales.rows is not None:
            values *= scales.rows.astype(np.float64)[:, None]
        if scales.tensor is not None:
            values = (values.astype(np.float32) * scales.tensor).astype(np.float64)
        np.testing.assert_array_equal(values.astype(np.float32), scales.used)

    def test_weights_go_through(self) -> None:
        """A weight is quantized under it, and decoded near."""
        kind, weight = register_scale(self.kind), weights((4, 256))
        spec = FormatSpec(Format("int4-under-test", FORMATS["int4"].element, "contract"), 32, kind)
        assert spec.format.layout == GridLayout()
        decoded = quantize(weight, spec).dequantize()
        assert float(np.square(decoded - weight).sum()) < 0.2 * float(np.square(weight).sum())
