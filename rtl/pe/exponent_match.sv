// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Stage 1: exponents of the products, their largest, and how far below it each one lies.
//
// The largest is taken over lanes whose product is not zero; it is 0 if there is none, since a
// product's exponent is at least 1. A tree of comparators. Combinational.

module exponent_match #(
  parameter int unsigned Lanes        = 4,
  parameter int unsigned ActBits      = 5,  // exponent of an activation
  parameter int unsigned ExponentBits = 2,  // exponent of a term
  parameter int unsigned Bits         = 6   // exponent of a product
) (
  input  logic [Lanes-1:0][ActBits-1:0]      act_exponent_i,
  input  logic [Lanes-1:0][ExponentBits-1:0] term_exponent_i,
  input  logic [Lanes-1:0]                   nonzero_i,
  output logic [Bits-1:0]                    largest_o,
  output logic [Lanes-1:0][Bits-1:0]         gap_o  // of any value where the product is zero
);

  // A complete binary tree: leaves are the products, node i has the children 2i and 2i + 1.
  localparam int unsigned Leaves = 1 << $clog2(Lanes);

  logic [2*Leaves-1:1][Bits-1:0] node;
  logic [Lanes-1:0][Bits-1:0]    exponent;

  always_comb begin
    node = '0;
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      exponent[lane] = Bits'(act_exponent_i[lane]) + Bits'(term_exponent_i[lane]);
      if (nonzero_i[lane]) node[Leaves+lane] = exponent[lane];
    end
    for (int unsigned i = Leaves - 1; i > 0; i--) begin
      node[i] = (node[2*i] > node[2*i+1]) ? node[2*i] : node[2*i+1];
    end
  end
  assign largest_o = node[1];

  always_comb begin
    for (int unsigned lane = 0; lane < Lanes; lane++) gap_o[lane] = largest_o - exponent[lane];
  end

endmodule
