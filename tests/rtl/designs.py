"""The modules that have vectors, with the parameters that they are tried with."""

from __future__ import annotations

from collections.abc import Iterator

from hwsim.pe.activations import ACTIVATIONS
from hwsim.pe.arithmetic import Arithmetic
from hwsim.tile.tile import MAX_LANES
from hwsim.tile.timing import DIGITS
from tests.rtl.machines import constant
from tests.rtl.vectors import Design
from tests.rtl.vectors_array import buffer, drain, sequencer
from tests.rtl.vectors_pe import element
from tests.rtl.vectors_units import activations, adder, decoder, dequantizer, rounder

CONTROL = {"load": 1, "significance": 3, "first": 1, "accumulate": 1}
"""Fields of ``step_control_t``."""
DRAIN = {
    "enable": 1, "multiply": 1, "start": 1, "whole": 1, "row_end": 1, "is_correction": 1,
    "is_factor": 1, "negate": 1, "digit": 8, "exponent": 10,
}  # fmt: skip
"""Fields of ``drain_control_t``."""


def fields(port: str, widths: dict[str, int]) -> dict[str, int]:
    """Return the fields of a packed port."""
    return {f"{port}.{name}": bits for name, bits in widths.items()}


def decoder_design(exponent_bits: int) -> Design:
    """The weight decoder for terms of a width."""
    inputs = {"format_i": 6, "selector_i": 2, "code_i": 8, "step_i": 2}
    name = "weight_decoder" + (f", {exponent_bits} bits" if exponent_bits < 5 else "")
    parameters = {"ExponentBits": str(exponent_bits)}
    outputs = {"term_o": 7, "man_o": 4}
    cases = lambda: decoder(exponent_bits)  # noqa: E731
    return Design(name, "weight_decoder", inputs, outputs, cases, parameters=parameters)


def activation_design(name: str) -> Design:
    """The decoder of a format of activations."""
    form = ACTIVATIONS[name]
    outputs = {"sign_o": 1, "exponent_o": form.exponent_bits, "mantissa_o": form.mantissa_bits}
    outputs |= {"nonzero_o": 1, "nonfinite_o": 1}
    parameters = {"Activation": constant(name)}
    cases = lambda: activations(name)  # noqa: E731
    top = "activation_decoder"
    return Design(f"{top}, {name}", top, {"word_i": form.bits}, outputs, cases, 1 << 16, parameters)


def dequantizer_design(bits: int) -> Design:
    """The dequantizer with digits of so many bits."""
    inputs = {"enable_i": 1, "start_i": 1, "digit_i": bits, "operand_i": 12}
    parameters = {"OperandBits": "12", "ScaleBits": "8", "DigitBits": str(bits)}
    name = "dequantizer" + (f", digits of {bits}" if bits != 2 else "")
    cases = lambda: dequantizer(bits)  # noqa: E731
    outputs = {"product_o": 20}
    return Design(name, "dequantizer", inputs, outputs, cases, 1 << 20, parameters, True)


def rounder_design(bits: int) -> Design:
    """The rounder of values of so many bits."""
    inputs = {"value_i": bits, "exponent_i": 12, "fp16_i": 1}
    name = "float_rounder" + (f" of {bits} bits" if bits != 48 else "")
    cases = lambda: rounder(bits)  # noqa: E731
    parameters = {"ValueBits": str(bits)}
    return Design(name, "float_rounder", inputs, {"float_o": 32}, cases, parameters=parameters)


def pe_design(rule: Arithmetic, clocks: int, name: str) -> Design:
    """The PE of an arithmetic."""
    form, lanes = rule.activations, rule.lanes
    accumulator = {"mantissa": rule.accumulator_bits + 1}
    accumulator["exponent"] = rule.accumulator_exponent_bits
    inputs = {
        "act_sign_i": lanes, "act_exponent_i": lanes * form.exponent_bits,
        "act_mantissa_i": lanes * form.mantissa_bits, "act_nonzero_i": lanes,
        "term_sign_i": lanes, "term_man_i": lanes, "term_exponent_i": lanes * rule.exponent_bits,
        **fields("step_control_i", CONTROL), "shift_i": 1,
        **{f"chain_{part}_i": bits for part, bits in accumulator.items()},
    }  # fmt: skip
    outputs = {f"chain_{part}_o": bits for part, bits in accumulator.items()}
    parameters = {
        "Activation": constant(rule.activation), "Lanes": str(lanes),
        "ExponentBits": str(rule.exponent_bits), "GuardBits": str(rule.guard_bits),
        "AccumulatorBits": str(rule.accumulator_bits),
    }  # fmt: skip
    cases = lambda: element(rule, clocks)  # noqa: E731
    return Design(name, "bit_serial_pe", inputs, outputs, cases, clocks, parameters, True)


def every_lanes() -> Iterator[Design]:
    """A PE of every number of lanes, of activations and widths in turn."""
    for lanes in range(1, MAX_LANES + 1):
        activation = list(ACTIVATIONS)[lanes % len(ACTIVATIONS)]
        widths = {"guard_bits": lanes % 4, "accumulator_bits": (14, 22, 28, 18)[lanes % 4]}
        rule = Arithmetic(lanes=lanes, exponent_bits=2 + lanes % 4, activation=activation, **widths)
        yield pe_design(rule, 1_200, f"bit_serial_pe, {lanes} lanes of {activation}")


def buffer_design(depth: int) -> Design:
    """A ping-pong buffer of so many beats."""
    address, count = max(1, (depth - 1).bit_length()), depth.bit_length()
    inputs = {"rst_ni": 1, "valid_i": 1, "data_i": 4, "user_i": 2, "last_i": 1}
    inputs |= {"address_i": address, "pop_i": 1}
    outputs = {"ready_o": 1, "valid_o": 1, "count_o": count, "user_o": 2, "first_o": 4}
    outputs |= {"second_o": 4, "data_o": 4}
    parameters = {"Width": "4", "UserWidth": "2", "Depth": str(depth)}
    name = "ping_pong_buffer" + (f" of {depth}" if depth != 3 else "")
    cases = lambda: buffer(depth)  # noqa: E731
    return Design(name, "ping_pong_buffer", inputs, outputs, cases, 4_000, parameters, True)


def sequencer_design(skips: bool) -> Design:
    """The step sequencer, which passes over zero steps or not."""
    inputs = {"rst_ni": 1, "valid_i": 1, "blocks_i": 4, "steps_i": 3, "needed_i": 4}
    inputs |= {"drain_busy_i": 1}
    outputs = {"issue_o": 1, "block_o": 3, "step_o": 2, "first_o": 1, "last_o": 1}
    parameters = {"BlockBits": "3", "CountBits": "4", "SkipZeroSteps": str(int(skips))}
    name = "step_sequencer" + ("" if skips else ", all steps")
    cases = lambda: sequencer(skips)  # noqa: E731
    return Design(name, "step_sequencer", inputs, outputs, cases, 6_000, parameters, True)


def drain_design(rows: int, digit_bits: int) -> Design:
    """The drain sequencer."""
    inputs = {
        "rst_ni": 1, "take_i": 1, "load_i": 1, "scale_kind_i": 2, "corrects_i": 1, "final_i": 1,
        "scale_i": 8 * rows, "correction_i": 16 * rows, "factor_i": 32 * rows, "out_ready_i": 1,
    }  # fmt: skip
    outputs = {"busy_o": 1, **fields("drain_o", DRAIN), "out_valid_o": 1, "out_last_o": 1}
    parameters = {"Rows": str(rows), "DigitBits": str(digit_bits)}
    name = "drain_sequencer"
    name += f", {rows} rows, digits of {digit_bits}" if (rows, digit_bits) != (3, 2) else ""
    cases = lambda: drain(rows, digit_bits)  # noqa: E731
    return Design(name, "drain_sequencer", inputs, outputs, cases, 8_000, parameters, True)


DESIGNS = (
    *(decoder_design(bits) for bits in (5, 4, 3, 2)),
    *(activation_design(name) for name in ACTIVATIONS),
    *(dequantizer_design(bits) for bits in DIGITS),
    *(rounder_design(bits) for bits in (48, 54)),
    Design("fp32_adder", "fp32_adder", {"a_i": 32, "b_i": 32}, {"sum_o": 32}, adder),
    pe_design(Arithmetic(), 24_000, "bit_serial_pe"),
    pe_design(
        Arithmetic(lanes=16, accumulator_bits=8, exponent_bits=5), 2_000, "bit_serial_pe of 8 bits"
    ),
    *every_lanes(),
    *(buffer_design(depth) for depth in (3, 1, 4, 5, 34)),
    *(sequencer_design(skips) for skips in (True, False)),
    *(drain_design(*shape) for shape in ((3, 2), (1, 1), (2, 4), (5, 8))),
)  # fmt: skip
"""All of them; names differ."""
