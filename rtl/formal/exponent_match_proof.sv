// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Proof that exponent_match gives what a search through the lanes gives.

module exponent_match_proof #(
  parameter int unsigned Lanes        = 4,
  parameter int unsigned ActBits      = 5,
  parameter int unsigned ExponentBits = 2,
  parameter int unsigned Bits         = 6
) (
  input  logic [Lanes-1:0][ActBits-1:0]      act_exponent_i,
  input  logic [Lanes-1:0][ExponentBits-1:0] term_exponent_i,
  input  logic [Lanes-1:0]                   nonzero_i,
  output logic                               bad_o
);

  logic [Bits-1:0]            largest;
  logic [Lanes-1:0][Bits-1:0] gap;
  exponent_match #(
    .Lanes        (Lanes),
    .ActBits      (ActBits),
    .ExponentBits (ExponentBits),
    .Bits         (Bits)
  ) u_dut (
    .act_exponent_i  (act_exponent_i),
    .term_exponent_i (term_exponent_i),
    .nonzero_i       (nonzero_i),
    .largest_o       (largest),
    .gap_o           (gap)
  );

  // With more bits than the module, so that an overflow would show.
  int unsigned              most;
  logic [Lanes-1:0][31:0]   each;
  always_comb begin
    most  = 0;
    bad_o = 1'b0;
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      each[lane] = 32'(act_exponent_i[lane]) + 32'(term_exponent_i[lane]);
      if (nonzero_i[lane] && each[lane] > most) most = each[lane];
    end
    if (32'(largest) != most) bad_o = 1'b1;
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      if (nonzero_i[lane] && 32'(gap[lane]) != most - each[lane]) bad_o = 1'b1;
    end
  end

endmodule
