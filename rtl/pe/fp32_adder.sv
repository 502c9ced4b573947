// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// IEEE 754 binary32 addition, to nearest, ties to even, with subnormals, Inf and NaN (0x7fc00000).
// Single path: order by magnitude, align, add or subtract, normalize, round. Combinational.

`include "assertions.svh"

module fp32_adder (
  input  logic [31:0] a_i,
  input  logic [31:0] b_i,
  output logic [31:0] sum_o
);

  localparam logic [31:0] Nan = 32'h7fc0_0000;

  // x has the larger magnitude.
  logic        swap, subtract;
  logic [31:0] x, y;
  assign swap     = b_i[30:0] > a_i[30:0];
  assign x        = swap ? b_i : a_i;
  assign y        = swap ? a_i : b_i;
  assign subtract = x[31] ^ y[31];

  logic [7:0]  x_exponent, y_exponent, distance;
  logic [23:0] x_mantissa, y_mantissa;
  assign x_exponent = x[30:23] | {7'b0, x[30:23] == '0};
  assign y_exponent = y[30:23] | {7'b0, y[30:23] == '0};
  assign x_mantissa = {x[30:23] != '0, x[22:0]};
  assign y_mantissa = {y[30:23] != '0, y[22:0]};
  assign distance   = x_exponent - y_exponent;

  // Two bits below the mantissa and a sticky bit are enough for one rounding.
  logic [4:0]  places;
  logic [49:0] shifted;
  logic [26:0] aligned;
  assign places  = (distance > 8'd26) ? 5'd26 : distance[4:0];
  assign shifted = {y_mantissa, 26'b0} >> places;
  assign aligned = {shifted[49:24], |shifted[23:0]};

  logic [27:0] total;
  assign total = {1'b0, x_mantissa, 3'b0} +
                 ({28{subtract}} ^ {1'b0, aligned}) + 28'(subtract);

  // Normalize: one to the right, or to the left as far as the exponent allows.
  logic [4:0]  leading_zeros, left;
  logic [26:0] normal;
  logic [8:0]  exponent;
  always_comb begin
    leading_zeros = 5'd27;
    for (int unsigned i = 0; i < 27; i++) begin
      if (total[i]) leading_zeros = 5'(26 - i);
    end
  end
  always_comb begin
    left = (8'(leading_zeros) < x_exponent) ? leading_zeros : 5'(x_exponent - 8'd1);
    if (total[27]) begin
      normal   = {total[27:2], |total[1:0]};
      exponent = {1'b0, x_exponent} + 9'd1;
    end else begin
      normal   = total[26:0] << left;
      exponent = {1'b0, x_exponent} - 9'(left);
    end
  end

  // A subnormal has no hidden bit and the field 0; a carry of the rounding moves up by itself.
  logic        increment;
  logic [8:0]  field;
  logic [31:0] magnitude;
  assign increment = normal[2] && (normal[3] || |normal[1:0]);
  assign field     = normal[26] ? exponent : '0;
  assign magnitude = {field, normal[25:3]} + 32'(increment);

  logic x_special, nan;
  assign x_special = x[30:23] == 8'hff;
  assign nan = (x_special && |x[22:0]) || (y[30:23] == 8'hff && (|y[22:0] || subtract));

  always_comb begin
    if (nan) sum_o = Nan;
    else if (x_special) sum_o = x;
    else if (total == '0) sum_o = {x[31] && y[31], 31'b0};
    else if (magnitude[31:23] >= 9'd255) sum_o = {x[31], 31'h7f80_0000};
    else sum_o = {x[31], magnitude[30:0]};
  end

`ifndef SYNTHESIS
  `ASSERT_COMB(OneNan, sum_o[30:23] != '1 || sum_o[22:0] == '0 || sum_o == Nan)
  `ASSERT_COMB(DifferenceIsPositive, !subtract || !total[27])
`endif

endmodule
