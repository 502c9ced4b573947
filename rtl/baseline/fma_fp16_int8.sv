// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Baseline: fused multiply-add z = a * w + c, a and c in IEEE 754 binary16, w in INT8,
// rounded once to nearest even.
//
// Subnormals, infinities and signed zeros are exact; every NaN is 7e00. Stage 1 aligns c to the
// product by one shifter and adds it to radix-4 Booth terms that bring the sign along, so that
// X = |c| +- |a| * w is in two's complement. Stage 2 counts X's leading zeros, normalises and
// rounds. A negative X is never negated: its magnitude is ~X followed by endless ones, so the
// rounding takes ~X and the opposite decision.
// Latency: 2 cycles, 3 with InputRegisters; one result a cycle.

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

  // X: a sign, bits that count the product's last places, two bits below and a sticky bit.
  localparam int unsigned Digits = 4;
  localparam int unsigned IntegerBits = 31;
  localparam int unsigned ProductBits = 19;  // with its sign
  localparam int unsigned Width = IntegerBits + 3;

  // The Booth terms' sign extension: -s = !s - 1, and this is the sum of those -1.
  localparam logic [ProductBits-1:0] SignExtension = -19'h55000;

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
      if (!rst_ni) begin
        valid_q <= 1'b0;
      end else begin
        valid_q <= valid_i;
      end
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
  assign nan_d       = (a_top && a_rest) || (c_top && c_rest) || (a_top && w == '0)
                       || (a_top && c_top && product_sign != c[15]);
  assign inf_d       = a_top || c_top;
  assign sign_d      = (a_top && !c_top) ? product_sign : c[15];
  assign zero_sign_d = c[15] && product_sign;

  // A subnormal has the exponent of the smallest normal.
  logic [4:0] a_exp, c_exp;
  assign a_exp = {a[14:11], a[10] || !a_normal};
  assign c_exp = {c[14:11], c[10] || !c_normal};

  // c starts above the product and is shifted right. Where it would have to start higher still,
  // or the product is zero, c stays and gives the scale: the product is less than a sticky bit.
  logic [6:0] distance;
  logic       aligned_by_c;
  assign distance     = {2'b0, a_exp} - {2'b0, c_exp} + 7'd20;
  assign aligned_by_c = distance[6] || product_zero;

  // The distance's low bits come first; the last shift by 32 also chooses the c that stays.
  logic [10:0] c_significand;
  logic [41:0] shifted;
  logic [32:0] aligned;
  logic        sticky;
  assign c_significand = {c_normal, c[9:0]};
  assign shifted       = {c_significand, 31'b0} >> distance[4:0];

  always_comb begin
    aligned = shifted[41:9];
    sticky  = |shifted[8:0];
    if (distance[5]) begin
      aligned = {32'b0, shifted[41]};
      sticky  = |shifted[40:0];
    end
    if (aligned_by_c) begin
      aligned = {c_significand, 22'b0};
      sticky  = 1'b0;
    end
  end

  // How far below the top of X the leading one of a normal result may lie.
  logic [5:0] room_d, room_q;
  assign room_d = aligned_by_c ? {1'b0, c_exp} - 6'd1 : {1'b0, a_exp} + 6'd19;

  // Booth terms in one's complement; the 1 that completes a negative term is in the next row.
  logic [2*Digits:0]      recoded;
  logic [Digits-1:0]      negative;
  logic [ProductBits-1:0] row[Digits+1];
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

  // Carry-save adders over the terms; c, which comes last, is added last.
  logic [ProductBits-1:0] saved, carries;
  always_comb begin
    saved   = row[0];
    carries = row[1];
    for (int unsigned i = 2; i <= Digits; i++) begin
      automatic logic [ProductBits-1:0] either = saved ^ carries;
      automatic logic [ProductBits-1:0] both = saved & carries;
      saved   = either ^ row[i];
      carries = (both | (either & row[i])) << 1;
    end
  end

  // The sum up to the product's sign. From there on the product is all zeros or all ones, so c's
  // part stays or moves by one: it moves if the sum's last bit is not c's.
  logic [IntegerBits:0]             c_whole;
  logic [ProductBits-1:0]           sum;
  logic [IntegerBits:ProductBits-1] c_high, c_moved, high;
  assign c_whole = {1'b0, aligned[32:2]};
  assign sum     = saved + carries + c_whole[ProductBits-1:0];
  assign c_high  = c_whole[IntegerBits:ProductBits-1];
  assign c_moved = (subtract ^ w[7]) ? c_high - 1'b1 : c_high + 1'b1;
  assign high    = (sum[ProductBits-1] == c_high[ProductBits-1]) ? c_high : c_moved;

  logic [Width:0] x_d, x_q;
  logic           valid_mid_q;
  assign x_d = {high, sum[ProductBits-2:0], aligned[1:0], sticky};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_mid_q <= 1'b0;
    end else begin
      valid_mid_q <= valid;
    end
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

  logic        valid_out_q;
  logic [15:0] z_d, z_q;
  fma_round #(
    .Width (Width)
  ) u_fma_round (
    .x_i         (x_q),
    .room_i      (room_q),
    .sign_i      (sign_q),
    .zero_sign_i (zero_sign_q),
    .nan_i       (nan_q),
    .inf_i       (inf_q),
    .z_o         (z_d)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_out_q <= 1'b0;
    end else begin
      valid_out_q <= valid_mid_q;
    end
  end

  always_ff @(posedge clk_i) z_q <= z_d;

  assign valid_o = valid_out_q;
  assign z_o     = z_q;

endmodule
