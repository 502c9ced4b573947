// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that serial_multiply adds what a division of each product by a power of two gives.

module serial_multiply_proof #(
  parameter int unsigned Lanes        = 4,
  parameter int unsigned MantissaBits = 11,
  parameter int unsigned GuardBits    = 3,
  parameter int unsigned GapBits      = 6
) (
  input  logic [Lanes-1:0][MantissaBits-1:0] mantissa_i,
  input  logic [Lanes-1:0]                   negative_i,
  input  logic [Lanes-1:0]                   nonzero_i,
  input  logic [Lanes-1:0][GapBits-1:0]      gap_i,
  output logic                               bad_o
);

  localparam int unsigned ProductBits = MantissaBits + GuardBits;
  localparam int unsigned SumBits     = ProductBits + $clog2(Lanes) + 1;
  localparam int unsigned WideBits    = SumBits + 4;

  logic signed [SumBits-1:0] sum;
  serial_multiply #(
    .Lanes        (Lanes),
    .MantissaBits (MantissaBits),
    .GuardBits    (GuardBits),
    .GapBits      (GapBits)
  ) u_dut (
    .mantissa_i (mantissa_i),
    .negative_i (negative_i),
    .nonzero_i  (nonzero_i),
    .gap_i      (gap_i),
    .sum_o      (sum)
  );

  // One case for each gap: the bits at and above it. Wider than the module: an overflow shows.
  logic signed [WideBits-1:0] total, product;
  always_comb begin
    total = '0;
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      product = '0;
      for (int unsigned gap = 0; gap < ProductBits; gap++) begin
        if (32'(gap_i[lane]) == gap) begin
          product = $signed({{(WideBits - ProductBits) {1'b0}}, mantissa_i[lane],
                             {GuardBits{1'b0}}} / (WideBits'(1) << gap));
        end
      end
      if (!nonzero_i[lane]) product = '0;
      total = negative_i[lane] ? total - product : total + product;
    end
  end
  // Nor is it the least number of its width.
  assign bad_o = WideBits'(sum) != total || sum == {1'b1, {(SumBits - 1) {1'b0}}};

endmodule
