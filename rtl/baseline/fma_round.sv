// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Last stage of the FP16 FMAs: normalizes, rounds (to nearest, ties to even) and packs a sum.
//
// The sum is in two's complement. Leading digits are counted on differences of neighbours, and a
// negative sum is never negated: the decision of the rounding is inverted instead. Combinational.

module fma_round #(
  parameter int unsigned Width = 37  // of the sum without its sign
) (
  input  logic [Width:0] x_i,          // |c| plus or minus the product, last bit sticky
  input  logic [5:0]     room_i,       // places from the top to the smallest normal number
  input  logic           sign_i,       // of a sum that is not negative
  input  logic           zero_sign_i,  // of an exact zero
  input  logic           nan_i,
  input  logic           inf_i,
  output logic [15:0]    z_o
);

  // The leading digit of X is the first that differs from the one before. A marker at the
  // smallest normal exponent stops the count of leading zeros there.
  logic             x_negative;
  logic [Width-1:0] marker;
  logic [47:0]      changes;
  assign x_negative = x_i[Width];
  assign marker     = {1'b1, {(Width-1){1'b0}}} >> room_i;
  assign changes    = {(x_i[Width:1] ^ x_i[Width-1:0]) | marker, {(48-Width){1'b1}}};

  function automatic logic [3:0] leading_zeros(input logic [15:0] bits);
    logic [3:1]      any;  // of a group of four bits
    logic [3:0][1:0] count;
    logic [1:0]      fine;
    any = {|bits[15:12], |bits[11:8], |bits[7:4]};
    for (int unsigned i = 0; i < 4; i++) begin
      count[i] = {!(bits[4*i+3] || bits[4*i+2]), !bits[4*i+3] && (bits[4*i+2] || !bits[4*i+1])};
    end
    if (any[3] || any[2]) fine = any[3] ? count[3] : count[2];
    else fine = any[1] ? count[1] : count[0];
    return {!(any[3] || any[2]), !any[3] && (any[2] || !any[1]), fine};
  endfunction

  logic       any_high, any_middle;
  logic [5:0] zeros;
  assign any_high   = |changes[47:32];
  assign any_middle = |changes[31:16];
  always_comb begin
    zeros = {2'b10, leading_zeros(changes[15:0])};
    if (any_middle) zeros = {2'b01, leading_zeros(changes[31:16])};
    if (any_high) zeros = {2'b00, leading_zeros(changes[47:32])};
  end

  // Normalise, coarse shifts first; what no later shift can bring back goes into the sticky bit.
  logic [26:0] by_16;
  logic [18:0] by_8;
  logic [14:0] by_4;
  logic [12:0] by_2;
  logic [11:0] by_1;
  logic        lost;

  always_comb begin
    by_16 = {x_i[Width-33:0], {(59-Width){1'b0}}};
    if (any_middle) by_16 = {x_i[Width-17:0], {(43-Width){1'b0}}};
    if (any_high) by_16 = x_i[Width-1-:27];
  end

  assign by_8  = zeros[3] ? by_16[18:0] : by_16[26:8];
  assign by_4  = zeros[2] ? by_8[14:0] : by_8[18:4];
  assign by_2  = zeros[1] ? by_4[12:0] : by_4[14:2];
  assign by_1  = zeros[0] ? by_2[11:0] : by_2[12:1];
  assign lost  = (any_high && (|x_i[Width-28:0])) || (!zeros[3] && (|by_16[7:0]))
                 || (!zeros[2] && (|by_8[3:0])) || (!zeros[1] && (|by_4[1:0]))
                 || (!zeros[0] && by_2[0]);

  logic [10:0] significand;
  logic        round_up;
  assign significand = by_1[11:1] ^ {11{x_negative}};
  assign round_up    = x_negative ^ (by_1[0] && (by_1[1] || lost));

  logic [5:0]  exponent;
  logic [14:0] truncated;
  logic [14:0] rounded;
  logic        exact_zero;
  assign exponent   = significand[10] ? room_i - zeros + 6'd1 : '0;
  assign truncated  = {exponent[4:0], significand[9:0]};
  assign rounded    = round_up ? truncated + 15'd1 : truncated;
  assign exact_zero = !x_negative && !lost && by_1 == '0;

  always_comb begin
    z_o = {exact_zero ? zero_sign_i : sign_i ^ x_negative, rounded};
    if (exponent >= 6'd31) z_o[14:0] = 15'h7c00;
    if (inf_i) z_o = {sign_i, 15'h7c00};
    if (nan_i) z_o = 16'h7e00;
  end

endmodule
