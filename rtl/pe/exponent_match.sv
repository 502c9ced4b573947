// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Stage 1: exponents of the products, their largest, and how far below it each one lies.
//
// The largest is taken over lanes whose product is not zero; it is 0 if there is none, since a
// product's exponent is at least 1. All pairs are compared at once: a difference tells who is
// larger, and is the gap if it is the largest's. Combinational.

`include "assertions.svh"

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

  // Unpacked: simulators handle one wide vector of all pairs badly.
  logic [Bits-1:0]  exponent [Lanes];
  logic [Bits:0]    difference [Lanes][Lanes];  // of a lane and another, two's complement
  logic [Lanes-1:0] is_largest;                 // the first of equals

  always_comb begin
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      exponent[lane] = Bits'(act_exponent_i[lane]) + Bits'(term_exponent_i[lane]);
    end
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      for (int unsigned other = 0; other < Lanes; other++) begin
        difference[lane][other] = {1'b0, exponent[lane]} - {1'b0, exponent[other]};
      end
    end
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      is_largest[lane] = nonzero_i[lane];
      for (int unsigned other = 0; other < Lanes; other++) begin
        // Of a pair one difference is asked, so that equals agree on the first.
        if (other > lane && nonzero_i[other] && difference[lane][other][Bits]) begin
          is_largest[lane] = 1'b0;
        end
        if (other < lane && nonzero_i[other] && !difference[other][lane][Bits]) begin
          is_largest[lane] = 1'b0;
        end
      end
    end
  end

  always_comb begin
    largest_o = '0;
    gap_o     = '0;
    for (int unsigned lane = 0; lane < Lanes; lane++) begin
      if (is_largest[lane]) largest_o |= exponent[lane];
      for (int unsigned other = 0; other < Lanes; other++) begin
        if (is_largest[other]) gap_o[lane] |= difference[other][lane][Bits-1:0];
      end
    end
  end

`ifndef SYNTHESIS
  `ASSERT_COMB(OneIsLargest, (nonzero_i == '0) ? is_largest == '0 : $onehot(is_largest))
  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_checks
    `ASSERT_COMB(GapEndsAtTheLargest, !nonzero_i[lane] ||
                 {1'b0, exponent[lane]} + {1'b0, gap_o[lane]} == {1'b0, largest_o})
  end
`endif

endmodule
