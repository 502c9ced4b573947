"""Quick checks of the PE's model against numbers that do not come from it.

Run by ``mutation_model`` on every mutant of the model, in a process of its own: the code it ends
with says whether the mutant was found. Each check is a function without arguments.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import softfloatpy

import quant
from hwsim.pe import PUBLISHED, Arithmetic, matmul, pe_formats, reference, term_table
from hwsim.pe.activations import ACTIVATIONS
from hwsim.pe.operands import activation_words, block_starts, weights
from hwsim.pe.tile import Packet, Tile, clocks, jobs
from hwsim.pe.tile_model import TileModel
from quant.common.errors import RequestError
from quant.formats import FORMATS

RULES = (Arithmetic(), PUBLISHED, Arithmetic(lanes=3, guard_bits=5, accumulator_bits=9))
STEPS = {"int2": 1, "int3": 2, "int4": 2, "int5": 3, "int6": 3, "int8": 4, "fp3": 1, "fp4": 2,
         "bitmod3": 2, "bitmod4": 2, "int8-asym": 4, "ternary": 1, "pot4": 1}  # fmt: skip


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


def terms_are_levels() -> None:
    for name in pe_formats():
        levels = FORMATS[name].tables
        table = term_table(name)
        check(table.steps == STEPS.get(name, table.steps), name)
        check(table.significance[0] == 0 and max(table.significance) <= 6, name)
        check(int(table.exp.max()) < 2**table.exponent_bits, name)
        for at in np.ndindex(*levels.shape):
            total = Fraction(0)
            for s in range(table.steps):
                part = Fraction(2) ** (int(table.exp[*at, s]) + table.significance[s])
                total += int(table.man[*at, s]) * (-1) ** int(table.sign[*at, s]) * part
            check(table.value(*at) == total, name)
            check(bool(table.has_value[at]) == bool(np.isfinite(levels[at])), name)
            if np.isfinite(levels[at]):
                unit = Fraction(2) ** table.unit_exponent
                check(total * unit == Fraction(float(levels[at])) - table.offset, (name, at))
            else:
                check(not table.man[at].any(), name)
    check(len(pe_formats(2)) < len(pe_formats(5)))
    digest = 0
    for name in pe_formats():
        for width in range(2, 6):
            if name in pe_formats(width):
                table = term_table(name, width)
                own = (table.significance, table.exponent_bits, table.unit_exponent, table.offset)
                parts = table.sign.tobytes() + table.man.tobytes() + table.exp.tobytes()
                digest = zlib.crc32(repr(own).encode() + parts, digest)
    check(digest == TERMS_DIGEST, digest)
    refused(lambda: term_table("fp8-e4m3", 2), "exponents of")
    refused(lambda: term_table("fp16"), "it takes")


TERMS_DIGEST = 4254571764


def words_are_numbers() -> None:
    """Every word of every activation format, against numpy, ml-free arithmetic and struct."""
    for name, form in ACTIVATIONS.items():
        words = np.arange(1 << form.bits)
        parts = form.fields(words)
        value = np.ldexp((1 - 2.0 * parts.sign) * parts.mantissa, parts.exponent - form.point)
        wanted = _numbers(name, words)
        check(bool((parts.finite == np.isfinite(wanted)).all()), name)
        check(bool((value[parts.finite] == wanted[parts.finite]).all()), name)
        check(int(parts.exponent[parts.finite].max()) == form.largest_exponent, name)
        check(int(parts.mantissa[parts.finite].max()).bit_length() == form.mantissa_bits, name)
        check(int(parts.exponent.min()) == 1, name)
        for word in [*range(0, 1 << form.bits, max(1, 1 << form.bits >> 9)), (1 << form.bits) - 1]:
            if not parts.finite[word]:
                refused(lambda w=word, f=form: reference.decode(w, f), "infinite or NaN")  # type: ignore[misc]
                continue
            own = (int(parts.sign[word]), int(parts.exponent[word]), int(parts.mantissa[word]))
            found = reference.decode(word, form)
            check((found.sign, found.exponent, found.mantissa) == own, (name, word))
        back = form.words(wanted[parts.finite])
        check(bool((back == words[parts.finite]).all()), name)
    refused(lambda: ACTIVATIONS["int8"].words(np.array([[1.5]])), "[0, 0] is 1.5")
    refused(lambda: ACTIVATIONS["int8"].words(np.array([[128.0]])), "128")
    refused(lambda: ACTIVATIONS["int8"].words(np.array([[-129.0]])), "-129")
    check(int(ACTIVATIONS["fp16"].words(np.array([1e6]))[0]) == 0x7C00)


def _numbers(name: str, words: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    if name == "fp16":
        return words.astype(np.uint16).view(np.float16).astype(np.float64)
    if name == "bf16":
        return (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if name == "int8":
        return words.astype(np.uint8).view(np.int8).astype(np.float64)
    if name == "fp8-e5m2":
        return (words << 8).astype(np.uint16).view(np.float16).astype(np.float64)
    sign, field, fraction = words >> 7, words >> 3 & 15, words & 7
    size = np.where(field > 0, (8 + fraction) * 2.0 ** (field - 10), fraction * 2.0**-9)
    return np.where(words & 127 == 127, np.nan, np.where(sign, -size, size))


def rounding_is_ieee() -> None:
    """Sums and products of FP32 numbers against SoftFloat; halves against struct."""
    rng = random.Random(1)
    softfloatpy.set_rounding_mode(softfloatpy.RoundingMode.NEAR_EVEN)
    edges = [0, 1 << 31, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0x3F800000]
    pairs = [(a, b) for a in edges for b in edges]
    for _ in range(1500):
        a = rng.getrandbits(32)
        b = rng.getrandbits(32) if rng.random() < 0.3 else (a ^ rng.getrandbits(25) ^ 1 << 31)
        pairs.append((a, b))
    for a, b in pairs:
        x, y = (struct.unpack("f", struct.pack("I", v))[0] for v in (a, b))
        if x != x or y != y:
            continue
        p, q = (softfloatpy.Float32.from_bytes(v.to_bytes(4, "big")) for v in (a, b))
        for done, wanted in (
            (reference.add(x, y), softfloatpy.f32_add(p, q)),
            (reference.multiply_rounded(x, y, reference.FP32), softfloatpy.f32_mul(p, q)),
        ):
            bits = int.from_bytes(wanted.to_bytes(), "big")
            own = int(np.float32(done).view(np.uint32))
            check(done != done or float(np.float32(done)) == done, "no FP32 number")
            check(own == bits or (done != done and bits & 0x7FFFFF > 0), (hex(a), hex(b)))
    for _ in range(1500):
        value = Fraction(rng.getrandbits(24) - (1 << 23), 1) * Fraction(2) ** rng.randrange(-40, 4)
        exact = float(value)  # 24 bits: exact
        with np.errstate(over="ignore"):
            half = np.float16(exact)
        check(reference.rounded(value, reference.FP16) == float(half), value)
    check(str(reference.rounded(Fraction(-1, 1 << 200), reference.FP32)) == "-0.0")
    check(str(reference.rounded(Fraction(0), reference.FP32)) == "0.0")


def groups_are_near() -> None:
    """Groups in an accumulator that is wide enough are exact; others keep the bound; goldens."""
    rng, digest = random.Random(2), 0
    for name in ("int8", "bitmod4", "int4-asym", "fp3", "int3"):
        table = term_table(name)
        for rule in RULES:
            for spread in (0, 3, 14):
                digest = zlib.crc32(repr(_group(rng, name, rule, spread)).encode(), digest)
                check(table.steps > 0)
    check(digest == GROUPS_DIGEST, digest)


GROUPS_DIGEST = 909638779


def _group(rng: random.Random, name: str, rule: Arithmetic, spread: int) -> tuple[int, ...]:
    """Run a group; check it against rationals; return what it gave."""
    table, count = term_table(name), rng.randrange(1, 40)
    inputs = [
        reference.Activation(rng.getrandbits(1), rng.randrange(15 - spread, 16 + spread),
                             rng.choice([0, 1024, 2047, rng.randrange(2048)]))
        for _ in range(count)
    ]  # fmt: skip
    codes = [rng.randrange(table.man.shape[1]) for _ in range(count)]
    got = reference.group_sum(inputs, codes, 0, table, rule)
    ones = reference.activation_sum(inputs, rule)
    check(got.steps == -(-count // rule.lanes) * table.steps)
    check(0 <= got.busy_steps <= got.steps)
    for partial, values in (
        (got.partial, [table.value(0, code) for code in codes]),
        (ones, [1] * count),
    ):
        check(-(2**rule.accumulator_bits) <= partial.mantissa < 2**rule.accumulator_bits)
        exact = sum(
            (Fraction((-1) ** a.sign * a.mantissa * v) * Fraction(2) ** (a.exponent - 25)
             for a, v in zip(inputs, values, strict=True)), Fraction(0),
        )  # fmt: skip
        unit = Fraction(2) ** (partial.exponent - rule.point)
        top = max(a.exponent for a in inputs) + int(table.exp.max()) + table.significance[-1]
        one = Fraction(2) ** (top - rule.point)
        width = 11 + rule.guard_bits + 2 + got.steps.bit_length()
        last = one * Fraction(2) ** max(0, width - rule.accumulator_bits)
        check(abs(partial.mantissa * unit - exact) <= got.steps * (rule.lanes * one + 2 * last))
        if spread == 0 and rule.accumulator_bits == 22 and count < 5:
            check(partial.mantissa * unit == exact)
    return got.partial.mantissa, got.partial.exponent, got.busy_steps, ones.mantissa, ones.exponent


def _layer(
    name: str, scale: str, seed: int, shape: tuple[int, int], size: int
) -> quant.tensor.QuantizedTensor:
    weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    if name in {"mxfp4", "nvfp4"}:
        return quant.quantize(weight, name)
    return quant.quantize(weight, name, group_size=size, scale=scale)


LAYERS = (("int4-asym", "int8"), ("bitmod4", "int8"), ("bitmod3", "e4m3"), ("int8", "e8m0"),
          ("mxfp4", "e8m0"), ("nvfp4", "e4m3"), ("fp3", "int8"))  # fmt: skip


def matmul_is_near() -> None:
    """Results of the specification against float64, both outputs, and goldens."""
    digest = 0
    for index, (name, scale) in enumerate(LAYERS):
        qt = _layer(name, scale, index, (3, 70), 24)
        x = np.random.default_rng(index).standard_normal((2, 70)).astype(np.float16)
        exact = x.astype(np.float64) @ qt.dequantize().astype(np.float64).T
        for output, places in (("fp32", 2e-3), ("fp16", 4e-3)):
            y, cycles = matmul(qt, x, output=output, backend="reference")  # type: ignore[call-overload]
            error = np.abs(y.astype(np.float64) - exact).max()
            check(bool(error <= places * np.abs(exact).max()), (name, error))
            digest = zlib.crc32(y.tobytes() + str(cycles).encode(), digest)
        _, busy = matmul(qt, x, skip_zero_steps=True, backend="reference")
        digest = zlib.crc32(str(busy).encode(), digest)
    check(digest == MATMUL_DIGEST, digest)
    # 5 * factor lies just above a tie of FP16, and FP32 would round it to the tie.
    factor = -(-(2**26 + 2**15) // 5) / 2**26
    one, table = reference.Activation(0, 15, 1024), term_table("int4")
    for output, wanted in ((reference.FP32, 1 + 2**-11), (reference.FP16, 1 + 2**-10)):
        group = reference.Group([5], 0, 1, 0, 0)
        check(reference.dot([one], [group], factor, table, Arithmetic(), output)[0] == wanted)


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
    qt = replace(qt, spec=replace(qt.spec, rule="global"))
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
    form = ACTIVATIONS["fp16"]
    refused(lambda: activation_words(np.ones((2, 9)), 8, form), "[tokens, 8]")
    refused(lambda: activation_words(np.ones(8), 8, form), "[tokens, 8]")
    refused(lambda: activation_words(np.ones((1, 8), complex), 8, form), "real numbers")
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
            packets = [
                p for job in jobs(operand, scale, x.view(np.uint16), tile) for p in job.packets
            ]
            corrects = operand.zero_points is not None
            count = clocks(packets, scale, corrects, tile)
            check(count == _model_clocks(packets, scale, corrects, tile), (name, skip))
            found.append(count)
            whole = b"".join(p.weights.tobytes() + p.words.tobytes() + p.needed.tobytes()
                             + bytes([p.final, p.user >> 8]) for p in packets)  # fmt: skip
            found.append(zlib.crc32(whole))
    check(zlib.crc32(repr(found).encode()) == CLOCKS_DIGEST, zlib.crc32(repr(found).encode()))
    refused(lambda: Tile(rows=65), "rows = 65")
    refused(lambda: Tile(digit_bits=3), "digit_bits = 3")
    refused(lambda: Tile(max_group=8).check(weights(_layer("int4", "int8", 0, (4, 16), 16), None)[0]),
            "hold 8")  # fmt: skip
    check(Tile(max_group=33).max_blocks == 9 and Tile().word_bits == 32)


CLOCKS_DIGEST = 1374028179


def _model_clocks(packets: Sequence[Packet], kind: str, corrects: bool, tile: Tile) -> int:
    model, results = TileModel(packets, kind, corrects, tile), 0
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


CHECKS = (terms_are_levels, words_are_numbers, rounding_is_ieee, groups_are_near, matmul_is_near,
          operands_are_right, clocks_are_the_models, kernels_are_the_reference)  # fmt: skip


def main() -> None:
    """Run the checks that are named, or all."""
    names = sys.argv[1:]
    for function in CHECKS:
        if not names or function.__name__ in names:
            function()


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    main()
