// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Stage 4: multiplies a signed operand by an unsigned number that comes in digits, first the most
// significant. One digit a clock; the product is whole in the clock after the last.

`include "assertions.svh"

module dequantizer #(
  parameter int unsigned OperandBits = 23,  // two's complement
  parameter int unsigned ScaleBits   = 8,
  parameter int unsigned DigitBits   = 1,   // bit-serial: 1

  localparam int unsigned ProductBits = OperandBits + ScaleBits
) (
  input  logic                          clk_i,
  input  logic                          enable_i,
  input  logic                          start_i,    // this is the first digit
  input  logic [DigitBits-1:0]          digit_i,
  input  logic signed [OperandBits-1:0] operand_i,  // stable while its digits come
  output logic signed [ProductBits-1:0] product_o
);

  logic signed [ProductBits-1:0] shifted, part, product_d, product_q;
  always_comb begin
    shifted = product_q <<< DigitBits;
    if (start_i) shifted = '0;
  end
  assign part      = ProductBits'(operand_i) * $signed(ProductBits'(digit_i));
  assign product_d = shifted + part;
  assign product_o = product_q;

  always_ff @(posedge clk_i) begin
    if (enable_i) product_q <= product_d;
  end

`ifndef SYNTHESIS
  // No more digits come than the product has room for. Before the first number it is anything.
  localparam int unsigned WideBits = ProductBits + DigitBits + 1;
  bit                         has_begun_q;
  logic signed [WideBits-1:0] wide;
  initial has_begun_q = 1'b0;
  always_ff @(posedge clk_i) if (enable_i && start_i) has_begun_q <= 1'b1;
  always_comb begin
    wide = WideBits'(operand_i) * $signed(WideBits'(digit_i));
    if (!start_i) wide += WideBits'(product_q) <<< DigitBits;
  end
  `ASSERT(ProductFits, !enable_i || WideBits'(product_d) == wide, clk_i, has_begun_q)
`endif

endmodule
