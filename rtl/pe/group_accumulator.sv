// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Stage 3: adds a step's sum to the group's accumulator. Combinational; the PE has the register.
//
// Whichever of the two has the smaller exponent is shifted right (floor). The exact sum is
// normalized to the right until its magnitude fits AccumulatorBits (floor); there is no
// normalization to the left. A step without a product (exponent 0) changes nothing.

module group_accumulator #(
  parameter int unsigned SumBits         = 17,  // two's complement sum of a step
  parameter int unsigned StepExponent    = 6,   // bits of the step's exponent
  parameter int unsigned MaxSignificance = 6,
  parameter int unsigned AccumulatorBits = 22,  // magnitude bits
  parameter int unsigned ExponentBits    = 6,   // bits of the accumulator's exponent

  localparam int unsigned ShiftedBits = SumBits + MaxSignificance,
  localparam int unsigned HeldBits    = AccumulatorBits + 1,
  localparam int unsigned OperandBits = (ShiftedBits > HeldBits) ? ShiftedBits : HeldBits,
  localparam int unsigned WideBits    = OperandBits + 1
) (
  input  logic signed [SumBits-1:0]    sum_i,
  input  logic [StepExponent-1:0]      largest_i,       // 0: no product
  input  logic [2:0]                   significance_i,
  input  logic signed [HeldBits-1:0]   mantissa_i,
  input  logic [ExponentBits-1:0]      exponent_i,
  output logic signed [HeldBits-1:0]   mantissa_o,
  output logic [ExponentBits-1:0]      exponent_o
);

  logic signed [OperandBits-1:0] coming, held, larger, smaller, aligned;
  assign coming = OperandBits'(sum_i) <<< significance_i;
  assign held   = OperandBits'(mantissa_i);

  // One shifter: the operand of the smaller exponent takes it. A negative difference d gives the
  // gap -d = ~d + 1; the one is a fixed shift before the shifter.
  logic [ExponentBits:0]         difference;
  logic [ExponentBits-1:0]       step_exponent, top, gap;
  logic                          step_is_smaller;
  assign step_exponent   = ExponentBits'(largest_i);
  assign difference      = {1'b0, step_exponent} - {1'b0, exponent_i};
  assign step_is_smaller = difference[ExponentBits];
  assign gap     = difference[ExponentBits-1:0] ^ {ExponentBits{step_is_smaller}};
  assign top     = step_is_smaller ? exponent_i : step_exponent;
  assign larger  = step_is_smaller ? held : coming;
  assign smaller = step_is_smaller ? coming >>> 1 : held;
  assign aligned = smaller >>> gap;

  logic signed [WideBits-1:0] wide;
  assign wide = WideBits'(larger) + WideBits'(aligned);

  // How many bits the magnitude has too many. Bits that differ from the sign count; a negative
  // power of two has one bit more than its inverse: -2^k, but not what lies just above it.
  localparam int unsigned ExcessBits = WideBits - 1 - AccumulatorBits;
  localparam int unsigned CountBits  = $clog2(ExcessBits + 1);
  logic [ExcessBits:0]  lower_is_zero;  // the bits below AccumulatorBits + i
  logic [CountBits-1:0] count, excess;
  for (genvar i = 0; i <= ExcessBits; i++) begin : gen_lower
    assign lower_is_zero[i] = wide[AccumulatorBits+i-1:0] == '0;
  end
  always_comb begin
    count = '0;
    for (int unsigned i = 0; i < ExcessBits; i++) begin
      if (wide[AccumulatorBits+i] != wide[WideBits-1]) count = CountBits'(i + 1);
    end
  end
  assign excess = count + CountBits'(wide[WideBits-1] && lower_is_zero[count]);

  logic none;
  assign none       = largest_i == '0;
  assign mantissa_o = none ? mantissa_i : HeldBits'(wide >>> excess);
  assign exponent_o = none ? exponent_i : top + ExponentBits'(excess);

endmodule
