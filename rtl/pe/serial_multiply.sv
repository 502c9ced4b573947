// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Stage 2: the products of one step, aligned, truncated and added.
//
// A product is the activation's mantissa where the weight has a term. Its magnitude, with guard
// bits below, is shifted right by the gap to the largest exponent; what falls off is truncated.
// Negation is an inversion and a carry, and the carries are added with the lanes. Combinational.

`include "assertions.svh"

module serial_multiply #(
  parameter int unsigned Lanes        = 4,
  parameter int unsigned MantissaBits = 11,
  parameter int unsigned GuardBits    = 3,
  parameter int unsigned GapBits      = 6,

  localparam int unsigned ProductBits = MantissaBits + GuardBits,
  localparam int unsigned SumBits     = ProductBits + $clog2(Lanes) + 1
) (
  input  logic [Lanes-1:0][MantissaBits-1:0] mantissa_i,
  input  logic [Lanes-1:0]                   negative_i,
  input  logic [Lanes-1:0]                   nonzero_i,
  input  logic [Lanes-1:0][GapBits-1:0]      gap_i,
  output logic signed [SumBits-1:0]          sum_o
);

  logic [Lanes-1:0][SumBits-1:0] addend;
  logic [Lanes-1:0]              negate;
  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    logic [ProductBits-1:0] magnitude;
    assign magnitude = ({mantissa_i[lane], {GuardBits{1'b0}}} & {ProductBits{nonzero_i[lane]}})
                       >> gap_i[lane];
    assign negate[lane] = negative_i[lane] & nonzero_i[lane];
    assign addend[lane] = {{(SumBits - ProductBits) {1'b0}}, magnitude} ^ {SumBits{negate[lane]}};
  end

  // Carry-save: the lowest place of the carries is free for a lane's negation.
  logic [SumBits-1:0] partial, carries;
  logic [SumBits-2:0] majority;  // the last carry leaves: the sum fits
  always_comb begin
    partial = addend[0];
    carries = SumBits'(negate[0]);
    for (int unsigned lane = 1; lane < Lanes; lane++) begin
      majority = (partial[SumBits-2:0] & carries[SumBits-2:0]) |
                 (addend[lane][SumBits-2:0] & (partial[SumBits-2:0] | carries[SumBits-2:0]));
      partial  = partial ^ carries ^ addend[lane];
      carries  = {majority, negate[lane]};
    end
  end

  assign sum_o = $signed(partial + carries);

`ifndef SYNTHESIS
  localparam logic signed [SumBits-1:0] Limit = SumBits'(Lanes * ((1 << ProductBits) - 1));
  `ASSERT_COMB(SumIsInRange, sum_o >= -Limit && sum_o <= Limit)
`endif

endmodule
