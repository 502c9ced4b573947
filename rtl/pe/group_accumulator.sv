// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Stage 3: adds a step's sum to the group's accumulator. Combinational; the PE has the register.
//
// The register holds the last sum before its normalization, which is done on the way to the next:
// normalizing by n and aligning by g is one shift by n + g, since both are floors. Of sum and
// accumulator, whichever has the smaller exponent is shifted right. Normalized means: shifted right
// until the magnitude has AccumulatorBits; there is no normalization to the left.

`include "assertions.svh"

module group_accumulator #(
  parameter int unsigned SumBits         = 17,  // two's complement sum of a step
  parameter int unsigned StepExponent    = 6,   // bits of the step's exponent
  parameter int unsigned MaxSignificance = 6,
  parameter int unsigned AccumulatorBits = 22,  // magnitude bits
  parameter int unsigned ExponentBits    = 6,   // bits of the accumulator's exponent

  localparam int unsigned ShiftedBits = SumBits + MaxSignificance,
  localparam int unsigned HeldBits    = AccumulatorBits + 1,
  localparam int unsigned WideBits    = ((ShiftedBits > HeldBits) ? ShiftedBits : HeldBits) + 1
) (
  input  logic signed [SumBits-1:0]  sum_i,
  input  logic [StepExponent-1:0]    largest_i,
  input  logic [2:0]                 significance_i,
  input  logic                       first_i,      // of a group: the accumulator counts as zero
  input  logic                       normalize_i,  // shift it by no more than it needs
  input  logic signed [WideBits-1:0] wide_i,      // accumulator before normalization
  input  logic [ExponentBits-1:0]    exponent_i,
  output logic signed [WideBits-1:0] wide_o,
  output logic [ExponentBits-1:0]    exponent_o,
  output logic signed [HeldBits-1:0] normal_mantissa_o,  // where normalize_i
  output logic [ExponentBits-1:0]    normal_exponent_o
);

  `ASSERT_PARAMETER(StepExponent, StepExponent <= ExponentBits)
  `ASSERT_PARAMETER(MaxSignificance, MaxSignificance <= 7)

  // How many bits the magnitude has too many: up to the highest place that differs from the next.
  // A negative power of two, -2^k, has one bit more than that; it is found late, and handled late.
  localparam int unsigned ExcessBits = WideBits - 1 - AccumulatorBits;
  localparam int unsigned CountBits  = $clog2(ExcessBits + 1);
  logic                  is_power;
  logic [ExcessBits-1:0] differs, is_power_at;
  logic [CountBits-1:0]  count;
  assign differs = wide_i[WideBits-1-:ExcessBits] ^ wide_i[WideBits-2-:ExcessBits];
  always_comb begin
    count = '0;
    for (int unsigned i = 0; i < ExcessBits; i++) if (differs[i]) count = CountBits'(i + 1);
  end
  for (genvar i = 0; i < ExcessBits; i++) begin : gen_power
    assign is_power_at[i] = wide_i[WideBits-1] && differs[ExcessBits-1:i] == '0 &&
                            wide_i[AccumulatorBits+i-1:0] == '0;
  end
  assign is_power = |is_power_at;

  // How far the accumulator lies above the step, with its bits too many counted.
  logic signed [ExponentBits+1:0] above, normal_above;
  logic [ExponentBits-1:0]        step_exponent;
  logic                           step_is_larger;
  assign step_exponent  = ExponentBits'(largest_i);
  assign above          = $signed({2'b0, exponent_i}) - $signed({2'b0, step_exponent});
  assign normal_above   = above + signed'((ExponentBits + 2)'(count));
  assign step_is_larger = normal_above[ExponentBits+1];

  // Where the accumulator decides it is normalized, else aligned to the step; where it decides and
  // is a power of two, it and the step are shifted by one more.
  logic                          held_decides;
  logic [ExponentBits-1:0]       held_places, step_places;
  logic signed [HeldBits-1:0]    aligned, held;
  logic signed [ShiftedBits-1:0] step_sum, step_aligned, coming;
  assign held_decides = !step_is_larger || normalize_i;
  assign held_places  = held_decides ? ExponentBits'(count)
                                        : unsigned'(ExponentBits'(-above));
  assign aligned      = HeldBits'(wide_i >>> held_places);
  assign held         = (is_power && held_decides) ? aligned >>> 1 : aligned;
  assign step_sum     = ShiftedBits'(sum_i) <<< significance_i;
  assign step_places  = (step_is_larger || first_i) ? '0 : normal_above[ExponentBits-1:0];
  assign step_aligned = step_sum >>> step_places;
  assign coming       = (is_power && !step_is_larger && !first_i) ? step_aligned >>> 1
                                                                  : step_aligned;

  assign wide_o       = WideBits'(coming) + (first_i ? WideBits'(signed'(1'b0)) : WideBits'(held));

  assign normal_mantissa_o = held;
  assign normal_exponent_o = exponent_i + ExponentBits'(count) + ExponentBits'(is_power);
  assign exponent_o = (step_is_larger || first_i) ? step_exponent : normal_exponent_o;

`ifndef SYNTHESIS
  // A shift that normalizes or aligns leaves no bit above the accumulator's.
  `ASSERT_COMB(HeldFits, wide_i >>> held_places == WideBits'(aligned))
`endif

endmodule
