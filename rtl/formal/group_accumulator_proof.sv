// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that group_accumulator does what an absolute value, a count of its bits and two shifters
// do, with more bits than it has, so that an overflow would show; and a step of the argument that
// its exponent does not overflow.
//
// Assumed: the significance is within its limit; the step's sum is not the least number of its
// width (serial_multiply_proof) and neither is the accumulator (bad_range_o: it stays so); the
// normalized exponent is within its width (the argument's conclusion, for groups of MaxGroup).

module group_accumulator_proof #(
  parameter int unsigned SumBits         = 17,
  parameter int unsigned StepExponent    = 6,
  parameter int unsigned MaxSignificance = 6,
  parameter int unsigned AccumulatorBits = 22,
  parameter int unsigned ExponentBits    = 6,

  localparam int unsigned ShiftedBits = SumBits + MaxSignificance,
  localparam int unsigned HeldBits    = AccumulatorBits + 1,
  localparam int unsigned WideBits    = ((ShiftedBits > HeldBits) ? ShiftedBits : HeldBits) + 1
) (
  input  logic signed [SumBits-1:0]  sum_i,
  input  logic [StepExponent-1:0]    largest_i,
  input  logic [2:0]                 significance_i,
  input  logic                       first_i,
  input  logic                       normalize_i,
  input  logic signed [WideBits-1:0] wide_i,
  input  logic [ExponentBits-1:0]    exponent_i,
  output logic                       bad_sum_o,     // the next accumulator differs
  output logic                       bad_range_o,   // it is the least number of its width
  output logic                       bad_normal_o,  // the normalized accumulator differs
  output logic                       not_full_o     // the exponent rose above a mantissa not full
);

  logic signed [WideBits-1:0] wide;
  logic signed [HeldBits-1:0] normal;
  logic [ExponentBits-1:0]    exponent, normal_exponent;
  group_accumulator #(
    .SumBits         (SumBits),
    .StepExponent    (StepExponent),
    .MaxSignificance (MaxSignificance),
    .AccumulatorBits (AccumulatorBits),
    .ExponentBits    (ExponentBits)
  ) u_dut (
    .sum_i             (sum_i),
    .largest_i         (largest_i),
    .significance_i    (significance_i),
    .first_i           (first_i),
    .normalize_i       (normalize_i),
    .wide_i            (wide_i),
    .exponent_i        (exponent_i),
    .wide_o            (wide),
    .exponent_o        (exponent),
    .normal_mantissa_o (normal),
    .normal_exponent_o (normal_exponent)
  );

  localparam int unsigned SimpleBits = WideBits + 2;
  localparam int unsigned PlaceBits  = ExponentBits + 2;
  localparam logic signed [WideBits-1:0] Least = signed'({1'b1, {(WideBits - 1) {1'b0}}});
  logic signed [SimpleBits-1:0] before_it, kept, held, coming, total;
  logic [SimpleBits-1:0]        size;
  logic [PlaceBits-1:0]         step, at, top, bits, excess;
  always_comb begin
    before_it = SimpleBits'(wide_i);
    size      = unsigned'((before_it < 0) ? -before_it : before_it);
    bits      = '0;
    for (int unsigned i = 0; i < SimpleBits; i++) if (size[i]) bits = PlaceBits'(i + 1);
    excess = (bits > PlaceBits'(AccumulatorBits)) ? bits - PlaceBits'(AccumulatorBits) : '0;
    kept   = before_it >>> excess;
    at     = PlaceBits'(exponent_i) + excess;

    step   = PlaceBits'(largest_i);
    top    = (first_i || step > at) ? step : at;
    coming = (SimpleBits'(sum_i) <<< significance_i) >>> (top - step);
    held   = kept >>> (top - at);
    total  = first_i ? coming : coming + held;
  end

  logic allowed, full;
  assign allowed = significance_i <= 3'(MaxSignificance) && at < (PlaceBits'(1) << ExponentBits) &&
                   sum_i != {1'b1, {(SumBits - 1) {1'b0}}} && wide_i != Least;
  // The top bit of the magnitude is in place, also where a floor made it one larger.
  assign full = normal[HeldBits-1] ? (normal[HeldBits-2:0] <= {1'b1, {(HeldBits - 2) {1'b0}}})
                                   : normal[HeldBits-2];

  assign bad_sum_o = allowed && (first_i || !normalize_i) &&
                     (SimpleBits'(wide) != total || PlaceBits'(exponent) != top);
  assign bad_range_o = allowed && (first_i || !normalize_i) && wide == Least;
  assign bad_normal_o = allowed && normalize_i &&
                        (SimpleBits'(normal) != kept || PlaceBits'(normal_exponent) != at);
  assign not_full_o = allowed && normalize_i && !full &&
                      PlaceBits'(normal_exponent) > PlaceBits'(exponent_i);

endmodule
