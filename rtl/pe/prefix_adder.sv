// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Parallel-prefix adder (Sklansky): a + b modulo 2^Bits in log2(Bits) levels. Combinational.
//
// After level l, place i knows whether the 2^(l+1) places that end at it generate or propagate a
// carry; the upper half of each block takes over the carry of the lower half's last place.

module prefix_adder #(
  parameter int unsigned Bits = 24
) (
  input  logic [Bits-1:0] a_i,
  input  logic [Bits-1:0] b_i,
  output logic [Bits-1:0] sum_o
);

  localparam int unsigned Levels = (Bits > 1) ? $clog2(Bits) : 1;

  logic [Bits-1:0] generates, propagates, half_sum;
  assign half_sum = a_i ^ b_i;

  always_comb begin
    generates  = a_i & b_i;
    propagates = a_i | b_i;
    for (int unsigned level = 0; level < Levels; level++) begin
      for (int unsigned i = 0; i < Bits; i++) begin
        if (((i >> level) & 1) == 1) begin
          // The place before this block's upper half.
          generates[i] = generates[i] |
              (propagates[i] & generates[((i >> level) << level) - 1]);
          propagates[i] = propagates[i] & propagates[((i >> level) << level) - 1];
        end
      end
    end
  end

  assign sum_o = half_sum ^ {generates[Bits-2:0], 1'b0};

endmodule
