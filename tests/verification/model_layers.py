"""Checks of whole layers and of the tile for ``model_checks``: numbers, operands, clocks."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

import quant
from hwsim.pe import Arithmetic, matmul, reference, term_table
from hwsim.pe.operands import activation_array, block_starts, weights
from hwsim.pe.product import Output
from hwsim.tile.clocks import clocks
from hwsim.tile.model import TileModel
from hwsim.tile.packets import Packet, jobs
from hwsim.tile.side_band import SideBand
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.formats.registry import FORMATS
from quant.formats.rules import GLOBAL
from quant.tensors.tensor import QuantizedTensor


def check(condition: bool, what: object = "") -> None:
    """Fail, also where assertions are turned off."""
    if not condition:
        raise AssertionError(what)


def refused(action: Callable[[], object], word: str) -> None:
    try:
        action()
    except (RequestError, ValueError) as error:
        check(word in str(error), error)
    else:
        raise AssertionError(f"not refused: {word}")


def _layer(name: str, scale: str, seed: int, shape: tuple[int, int], size: int) -> QuantizedTensor:
    weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    if name in {"mxfp4", "nvfp4"}:
        return quant.quantize(weight, name)
    return quant.quantize(weight, name, group_size=size, scale=scale)


LAYERS = (("int4-asym", "int8"), ("bitmod4", "int8"), ("bitmod3", "e4m3"), ("int8", "e8m0"),
          ("mxfp4", "e8m0"), ("nvfp4", "e4m3"), ("fp3", "int8"))  # fmt: skip


def matmul_is_near() -> None:
    """Results of the specification against float64, both outputs, and goldens."""
    digest = 0
    outputs: tuple[tuple[Output, float], ...] = (("fp32", 2e-3), ("fp16", 4e-3))
    for index, (name, scale) in enumerate(LAYERS):
        qt = _layer(name, scale, index, (3, 70), 24)
        x = np.random.default_rng(index).standard_normal((2, 70)).astype(np.float16)
        exact = x.astype(np.float64) @ qt.dequantize().astype(np.float64).T
        for output, places in outputs:
            y, cycles = matmul(qt, x, output=output, backend="reference")
            error = np.abs(y.astype(np.float64) - exact).max()
            check(bool(error <= places * np.abs(exact).max()), (name, error))
            digest = zlib.crc32(y.tobytes() + str(cycles).encode(), digest)
        _, busy = matmul(qt, x, skip_zero_steps=True, backend="reference")
        digest = zlib.crc32(str(busy).encode(), digest)
    check(digest == MATMUL_DIGEST, digest)
    # 5 * factor lies just above a tie of FP16, and FP32 would round it to the tie.
    factor = -(-(2**26 + 2**15) // 5) / 2**26
    one, table = reference.Activation(0, 15, 1024), term_table("int4")
    for to, wanted in ((reference.FP32, 1 + 2**-11), (reference.FP16, 1 + 2**-10)):
        group = reference.Group([5], 0, 1, 0, 0)
        check(reference.dot([one], [group], factor, table, Arithmetic(), to)[0] == wanted)


MATMUL_DIGEST = 2708284370


def operands_are_right() -> None:
    check(block_starts(70, 24, 4).tolist() == [0, 6, 12, 18])
    check(block_starts(65, 24, 4).tolist() == [0, 6, 12, 17])
    check(block_starts(3, 8, 4).tolist() == [0, 1])
    qt = _layer("int4", "e4m3", 0, (2, 8), 4)
    few = replace(qt, scales=np.array([[1, 7], [8, 0x7E]], np.uint8))
    seen = weights(few, None)[0]
    check(seen.scales.tolist() == [[1, 7], [8, 14]], seen.scales)
    check(seen.scale_exponents.tolist() == [[-9, -9], [-9, 5]], seen.scale_exponents)
    qt = replace(_layer("nvfp4", "e4m3", 0, (2, 32), 16), tensor_scale=np.array([4], np.float32))
    check(weights(qt, None)[0].factors.tolist() == [4.0, 4.0])
    qt = replace(qt, spec=replace(qt.spec, rule=GLOBAL))
    check(weights(qt, None)[0].factors.tolist() == [0.25, 0.25])
    for index, (name, scale) in enumerate(LAYERS):
        qt = _layer(name, scale, index, (3, 70), 24)
        seen, rule = weights(qt, None)
        check(rule.exponent_bits == seen.table.exponent_bits)
        size = np.ldexp(seen.scales.astype(np.float64), seen.scale_exponents)
        full = np.repeat(size, seen.size, axis=1)[:, :70] * seen.factors[:, None]
        level = FORMATS[seen.table.format].tables.astype(np.float64)
        groups = np.repeat(seen.selectors, seen.size, axis=1)[:, :70]
        number = level[groups, seen.codes]
        if seen.zero_points is not None:
            number = number - np.repeat(seen.zero_points, seen.size, axis=1)[:, :70]
        near = qt.dequantize().astype(np.float64)
        check(bool(np.allclose(number * full, near, rtol=2e-3, atol=1e-6)), name)
    refused(lambda: weights(_layer("int4", "fp16", 0, (4, 8), 8), None), "not 'fp16'")
    refused(lambda: activation_array(np.ones((2, 9)), 8), "[tokens, 8]")
    refused(lambda: activation_array(np.ones(8), 8), "[tokens, 8]")
    refused(lambda: activation_array(np.ones((1, 8), complex), 8), "real numbers")
    qt = _layer("fp8-e4m3", "int8", 0, (2, 8), 8)
    rule = Arithmetic(exponent_bits=2)
    refused(lambda: weights(qt, rule), "exponents of")


def kernels_are_the_reference() -> None:
    for index, (name, scale) in enumerate(LAYERS[:4]):
        qt = _layer(name, scale, index, (5, 70), 24)
        x = np.random.default_rng(index).standard_normal((2, 70)).astype(np.float32)
        x = np.where(np.arange(70) % 5 == 0, 0, x * 2.0 ** (np.arange(70) % 9))
        width = term_table(name).exponent_bits
        for rule in (Arithmetic(exponent_bits=width), Arithmetic(lanes=3, exponent_bits=width)):
            for skip in (False, True):
                fast = matmul(qt, x, arithmetic=rule, skip_zero_steps=skip)
                slow = matmul(qt, x, arithmetic=rule, skip_zero_steps=skip, backend="reference")
                check(fast[0].tobytes() == slow[0].tobytes() and fast[1] == slow[1], name)


def clocks_are_the_models() -> None:
    """The closed count of clocks against the clock-by-clock model, and both against goldens."""
    found = []
    for index, (name, scale) in enumerate(LAYERS):
        qt = _layer(name, scale, index, (5, 70), 24)
        for skip in (False, True):
            tile = Tile(rows=3, columns=2, max_group=32, digit_bits=2 + 2 * (index % 2),
                        skip_zero_steps=skip)  # fmt: skip
            operand, _ = weights(qt, tile.arithmetic)
            x = np.where(np.arange(210).reshape(3, 70) % 7 < 5, 0, 1).astype(np.float16)
            if name == "int4-asym":  # codes without a term in the first step, in every lane
                operand = replace(operand, codes=np.full_like(operand.codes, 8))
            packets = [p for job in jobs(operand, x.view(np.uint16), tile) for p in job.packets]
            count = clocks(packets, tile)
            check(count == _model_clocks(packets, tile), (name, skip))
            found.append(count)
            whole = b"".join(p.weights.tobytes() + p.words.tobytes() + p.needed.tobytes()
                             + bytes([p.final, p.user.word >> 8]) for p in packets)  # fmt: skip
            found.append(zlib.crc32(whole))
    check(zlib.crc32(repr(found).encode()) == CLOCKS_DIGEST, zlib.crc32(repr(found).encode()))
    # A long drain fills both banks; after it, loading is slower than issue with skipped steps.
    tile = Tile(rows=8, columns=2, max_group=160, skip_zero_steps=True)
    operand = weights(_layer("fp3", "e4m3", 0, (8, 640), 160), tile.arithmetic)[0]
    x = np.ones((6, 640), np.float16).view(np.uint16)
    packets = [p for job in jobs(operand, x, tile) for p in job.packets]
    count, model = clocks(packets, tile), _model_clocks(packets, tile)
    check(count == model, (count, model))
    refused(lambda: Tile(rows=65), "rows 65")
    refused(lambda: Tile(digit_bits=3), "digit_bits = 3")
    long = weights(_layer("int4", "int8", 0, (4, 16), 16), None)[0]
    refused(lambda: Tile(max_group=8).check(long), "hold 8")
    check(Tile(max_group=33).max_blocks == 9 and Tile().word_bits == 32)


CLOCKS_DIGEST = 578048227


def side_bands_are_numbers() -> None:
    """Side bands against words written by hand, as ``rtl/array/tile.sv`` describes them."""
    for name, scale, output, word in (
        ("int4", "int8", "fp32", 0b1_0_00_000011), ("int4", "e8m0", "fp16", 0b1_1_01_000011),
        ("bitmod4", "e4m3", "fp16", 0b1_1_10_011101), ("nvfp4", "e4m3", "fp32", 0b1_0_10_110000),
    ):  # fmt: skip
        operand, rule = weights(_layer(name, scale, 0, (2, 16), 16), None)
        x = np.ones((1, 16), np.float16).view(np.uint16)
        job = next(jobs(operand, x, Tile(arithmetic=rule), cast("Output", output)))
        side = job.packets[-1].user
        check(side.word == word and SideBand.of(word) == side, (name, scale, side))
    inner = SideBand(50, 2, fp16=True, final=False)
    check(inner.word == 0b0_1_10_110010 and SideBand.of(inner.word) == inner, inner)


def _model_clocks(packets: Sequence[Packet], tile: Tile) -> int:
    model, results = TileModel(packets, tile), 0
    wanted = tile.rows * sum(packet.final for packet in packets)
    weight, act = sum(len(p.weights) for p in packets), sum(len(p.words) for p in packets)
    for clock in range(100000):
        shown = model.handshakes()
        if shown.result_valid:
            results += 1
            check(shown.result_last == (results % tile.rows == 0))
        if results == wanted:
            return clock + 1
        weight_valid, act_valid = weight > 0, act > 0
        model.clock(weight_valid, act_valid, True)
        weight -= weight_valid and shown.weight_ready
        act -= act_valid and shown.act_ready
    raise AssertionError("the model does not end")
