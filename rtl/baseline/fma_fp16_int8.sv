// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Baseline: fused multiply-add z = a * w + c, a and c in IEEE 754 binary16, w INT8; one rounding,
// to nearest even.
//
// Subnormals, infinities and signed zeros are exact; every NaN is 7e00. Stage 1 aligns c to the
// product by one shifter and adds it to radix-4 Booth terms, whose signs make X = c +- a * w in
// two's complement. Stage 2 counts X's leading zeros, normalises and rounds. A negative X is
// never negated: its magnitude is ~X followed by endless ones, and only the rounding sees them.
// Latency: 2 cycles, with InputRegisters 3; one result a cycle.

module fma_fp16_int8 #(
  parameter bit InputRegisters = 1'b1
) (
  input  logic        clk_i,
  input  logic        rst_ni,  // synchronous, active low
  input  logic        valid_i,
  input  logic [15:0] a_i,
  input  logic [7:0]  w_i,     // two's complement
  input  logic [15:0] c_i,
  output logic        valid_o,
  output logic [15:0] z_o
);

  // X: a sign, the integer bits in units of the product's last place, two bits and a sticky bit.
  localparam int unsigned Digits = 4;
  localparam int unsigned IntegerBits = 31;
  localparam int unsigned Width = IntegerBits + 3;

  // The Booth terms' sign extension: -s = !s - 1, and this is the sum of those -1.
  localparam logic [IntegerBits:0] SignExtension = -32'h55000;

  logic        valid;
  logic [15:0] a;
  logic [7:0]  w;
  logic [15:0] c;

  if (InputRegisters) begin : gen_input_registers
    logic        valid_q;
    logic [15:0] a_q;
    logic [7:0]  w_q;
    logic [15:0] c_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni) valid_q <= 1'b0;
      else valid_q <= valid_i;
    end

    always_ff @(posedge clk_i) begin
      a_q <= a_i;
      w_q <= w_i;
      c_q <= c_i;
    end

    assign valid = valid_q;
    assign a     = a_q;
    assign w     = w_q;
    assign c     = c_q;
  end else begin : gen_no_input_registers
    assign valid = valid_i;
    assign a     = a_i;
    assign w     = w_i;
    assign c     = c_i;
  end

  // ---- Stage 1: classes, alignment, product and sum ----

  logic a_normal, c_normal;
  logic a_top, c_top;
  logic a_rest, c_rest;
  assign a_normal = |a[14:10];
  assign c_normal = |c[14:10];
  assign a_top    = &a[14:10];
  assign c_top    = &c[14:10];
  assign a_rest   = |a[9:0];
  assign c_rest   = |c[9:0];

  // w brings its own sign into the product; subtract tells only a from c.
  logic subtract, product_sign, product_zero;
  assign subtract     = a[15] ^ c[15];
  assign product_sign = a[15] ^ w[7];
  assign product_zero = !(a_normal || a_rest) || w == '0;

  logic nan_d, nan_q;
  logic inf_d, inf_q;
  logic sign_d, sign_q;
  logic zero_sign_d, zero_sign_q;
  assign nan_d  = (a_top && a_rest) || (c_top && c_rest) || (a_top && w == '0)
                  || (a_top && c_top && product_sign != c[15]);
  assign inf_d  = a_top || c_top;
  assign sign_d = (a_top && !c_top) ? product_sign : c[15];
  assign zero_sign_d = c[15] && product_sign;

  // A subnormal has the exponent of the smallest normal.
  logic [4:0] a_exp, c_exp;
  assign a_exp = {a[14:11], a[10] || !a_normal};
  assign c_exp = {c[14:11], c[10] || !c_normal};

  // c starts above the product and is shifted right. Where it would have to start higher still,
  // or the product is zero, c stays and gives the scale: the product is less than a sticky bit.
  logic [6:0] distance;
  logic       aligned_by_c;
  logic [5:0] shift;
  assign distance     = {2'b0, a_exp} - {2'b0, c_exp} + 7'd20;
  assign aligned_by_c = distance[6] || product_zero;
  assign shift        = aligned_by_c ? '0 : distance[5:0];

  logic [73:0] aligned;
  logic        sticky;
  assign aligned = {c_normal, c[9:0], 63'b0} >> shift;
  assign sticky  = |aligned[40:0];

  // The room of the leading one: so many places can it lie below the top before the result is
  // subnormal.
  logic [5:0] room_d, room_q;
  assign room_d = aligned_by_c ? {1'b0, c_exp} - 6'd1 : {1'b0, a_exp} + 6'd19;

  // Booth terms in one's complement; the ones that complete a negative term stand in the next row.
  logic [2*Digits:0]    recoded;
  logic [Digits-1:0]    negative;
  logic [IntegerBits:0] row[Digits+1];
  assign recoded = {w, 1'b0};

  always_comb begin
    negative = '0;
    for (int unsigned i = 0; i < Digits; i++) row[i] = '0;
    row[Digits] = SignExtension;
    for (int unsigned i = 0; i < Digits; i++) begin
      automatic logic one = recoded[2*i] ^ recoded[2*i+1];
      automatic logic two = (recoded[2*i+2] ^ recoded[2*i+1]) && !one;
      automatic logic [11:0] term = ({1'b0, a_normal, a[9:0]} & {12{one}})
                                    | ({a_normal, a[9:0], 1'b0} & {12{two}});
      negative[i] = recoded[2*i+2] ^ subtract;
      row[i][2*i+:12] = term ^ {12{negative[i]}};
      row[i][2*i+12] = !negative[i];
      row[i+1][2*i] = negative[i];
    end
  end

  logic [IntegerBits:0] sum;
  assign sum = row[0] + row[1] + row[2] + row[3] + row[4] + {1'b0, aligned[73:43]};

  logic [Width:0] x_d, x_q;
  logic           valid_mid_q;
  assign x_d = {sum, aligned[42:41], sticky};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_mid_q <= 1'b0;
    else valid_mid_q <= valid;
  end

  always_ff @(posedge clk_i) begin
    x_q         <= x_d;
    room_q      <= room_d;
    sign_q      <= sign_d;
    zero_sign_q <= zero_sign_d;
    nan_q       <= nan_d;
    inf_q       <= inf_d;
  end

  // ---- Stage 2: normalise, round and pack ----

  // A marker at the smallest normal exponent stops the count of leading zeros there.
  logic             x_negative;
  logic [Width-1:0] marker;
  logic [Width-1:0] marked;
  assign x_negative = x_q[Width];
  assign marker     = {1'b1, {(Width-1){1'b0}}} >> room_q;
  assign marked     = (x_q[Width-1:0] ^ {Width{x_negative}}) | marker;

  logic [63:0] window;
  logic [5:0]  zeros;
  always_comb begin
    zeros  = '0;
    window = {marked, {(64-Width){1'b1}}};
    for (int i = 5; i >= 0; i--) begin
      zeros[i] = (window >> (64 - (1 << i))) == '0;
      if (zeros[i]) window = window << (1 << i);
    end
  end

  logic [Width-1:0] normal;
  logic [10:0]      significand;
  logic             round_up;
  assign normal      = x_q[Width-1:0] << zeros;
  assign significand = normal[Width-1-:11] ^ {11{x_negative}};
  assign round_up    = x_negative
                       ^ (normal[Width-12] && (normal[Width-11] || (|normal[Width-13:0])));

  logic [5:0]  exponent;
  logic [14:0] rounded;
  logic        exact_zero;
  assign exponent   = significand[10] ? room_q - zeros + 6'd1 : '0;
  assign rounded    = {exponent[4:0], significand[9:0]} + {14'b0, round_up};
  assign exact_zero = !x_negative && normal == '0;

  logic [15:0] z_d;
  always_comb begin
    z_d = {exact_zero ? zero_sign_q : sign_q ^ x_negative, rounded};
    if (exponent >= 6'd31) z_d[14:0] = 15'h7c00;
    if (inf_q) z_d = {sign_q, 15'h7c00};
    if (nan_q) z_d = 16'h7e00;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_o <= 1'b0;
    else valid_o <= valid_mid_q;
  end

  always_ff @(posedge clk_i) z_o <= z_d;

endmodule
