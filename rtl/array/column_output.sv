// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Output of a column: group results times their scales, rounded to FP32 and added; at the end each
// sum times its row's factor, rounded to FP32 or FP16.
//
// One multiplier by digits and one rounder serve all three products. A whole product rests for a
// clock and stands for two, in which it is rounded; what comes out stands for two more, in which
// it is added: paths through float_rounder and through fp32_adder have two clocks. The rows take
// turns, so the sums are a queue: the row whose turn it is stands at its end.

`include "assertions.svh"

module column_output
  import pe_pkg::*;
#(
  parameter int unsigned Rows            = 8,
  parameter int unsigned DigitBits       = 2,
  parameter int unsigned AccumulatorBits = 22,
  parameter int unsigned GroupExponent   = 6,
  parameter int signed   Point           = 28   // activations and guard bits
) (
  input  logic                            clk_i,
  input  logic                            rst_ni,
  input  drain_control_t                  drain_i,
  input  group_control_t                  group_i,
  input  logic                            nonfinite_i,  // an activation was Inf or NaN
  // The end of the chain, and the sum of activations.
  input  logic signed [AccumulatorBits:0] mantissa_i,
  input  logic [GroupExponent-1:0]        group_exponent_i,
  input  logic signed [AccumulatorBits:0] ones_mantissa_i,
  input  logic [GroupExponent-1:0]        ones_exponent_i,
  output logic [31:0]                     result_o
);

  localparam int unsigned OperandBits  = (AccumulatorBits + 2 > 25) ? AccumulatorBits + 2 : 25;
  localparam int unsigned ProductBits  = OperandBits + 24;
  localparam int unsigned ExponentBits = 12;
  localparam logic [31:0] Nan32        = 32'h7fc0_0000;
  localparam logic [31:0] Nan16        = 32'h0000_7e00;

  logic [Rows-1:0][31:0] sums_q;
  logic [31:0]           sum;
  assign sum = sums_q[0];

  // What is multiplied.
  logic signed [OperandBits-1:0] operand, sum_mantissa;
  assign sum_mantissa = $signed(OperandBits'({sum[30:23] != '0, sum[22:0]}));
  always_comb begin
    operand = OperandBits'(mantissa_i);
    if (drain_i.is_correction) begin
      operand = drain_i.negate ? -OperandBits'(ones_mantissa_i) : OperandBits'(ones_mantissa_i);
    end
    if (drain_i.is_factor) operand = sum[31] ? -sum_mantissa : sum_mantissa;
  end

  logic signed [ProductBits-1:0] product;
  dequantizer #(
    .OperandBits (OperandBits),
    .ScaleBits   (24),
    .DigitBits   (DigitBits)
  ) u_dequantizer (
    .clk_i     (clk_i),
    .enable_i  (drain_i.enable && drain_i.multiply),
    .start_i   (drain_i.start),
    .digit_i   (drain_i.digit[DigitBits-1:0]),
    .operand_i (operand),
    .product_o (product)
  );

  // Exponent of the product. A format's unit does not count in the sum of activations.
  logic signed [ExponentBits-1:0] base, exponent_d, exponent_q;
  always_comb begin
    base = $signed(ExponentBits'(group_exponent_i)) - ExponentBits'(Point) +
           ExponentBits'(group_i.unit);
    if (drain_i.is_correction) begin
      base = $signed(ExponentBits'(ones_exponent_i)) - ExponentBits'(Point);
    end
    if (drain_i.is_factor) begin
      base = $signed(ExponentBits'(sum[30:23] | 8'(sum[30:23] == '0))) - ExponentBits'(150);
    end
  end
  assign exponent_d = base + ExponentBits'(drain_i.exponent);

  // A product is whole: what it is goes along with it.
  logic        whole_q, row_end_q, factor_q, fp16_q, clear_q, nan_q, infinite_q, negative_q;
  logic [31:0] rounded;
  float_rounder #(
    .ValueBits    (ProductBits),
    .ExponentBits (ExponentBits)
  ) u_float_rounder (
    .value_i    (product),
    .exponent_i (exponent_q),
    .fp16_i     (fp16_q && factor_q),
    .float_o    (rounded)
  );

  logic [31:0] result_d, result_q, value_q, total;
  logic        add_q, commit_q, add_row_end_q, add_clear_q;
  always_comb begin
    result_d = rounded;
    if (infinite_q) result_d = fp16_q ? {16'b0, negative_q, 15'h7c00} : {negative_q, 31'h7f80_0000};
    if (nan_q) result_d = fp16_q ? Nan16 : Nan32;
  end
  assign result_o = result_q;

  fp32_adder u_fp32_adder (
    .a_i   (add_clear_q ? '0 : sum),
    .b_i   (value_q),
    .sum_o (total)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      whole_q  <= 1'b0;
      add_q    <= 1'b0;
      commit_q <= 1'b0;
    end else if (drain_i.enable) begin
      whole_q  <= drain_i.whole;
      add_q    <= whole_q && !factor_q;
      commit_q <= add_q;
    end
  end

  // A row's turn ends with its last addition, or with its factor.
  logic                  turn;
  logic [Rows-1:0][31:0] turned;
  assign turn = (commit_q && add_row_end_q) || (drain_i.is_factor && drain_i.row_end);
  always_comb begin
    for (int unsigned row = 0; row < Rows; row++) turned[row] = sums_q[(row + 1) % Rows];
    turned[Rows-1] = total;
  end

  always_ff @(posedge clk_i) begin
    if (drain_i.enable) begin
      if (drain_i.multiply && drain_i.start) begin
        exponent_q <= exponent_d;
        negative_q <= sum[31];
        infinite_q <= sum[30:23] == 8'hff;
        nan_q      <= nonfinite_i || (sum[30:23] == 8'hff && sum[22:0] != '0);
      end
      factor_q  <= drain_i.is_factor;
      fp16_q    <= group_i.fp16;
      clear_q   <= group_i.first && !drain_i.is_correction;
      row_end_q <= drain_i.row_end;
      if (whole_q) begin
        value_q       <= rounded;
        add_clear_q   <= clear_q;
        add_row_end_q <= row_end_q;
      end
      if (commit_q) sums_q[0] <= total;
      if (turn) sums_q <= turned;
      if (whole_q && factor_q) result_q <= result_d;
    end
  end

  logic unused;
  assign unused = ^drain_i.digit;

`ifndef SYNTHESIS
  // What the paths of two clocks rest on: their operands are those of the clock before.
  `ASSERT(ProductStands, !whole_q ||
          {product, exponent_q, fp16_q && factor_q} ==
          $past({product, exponent_q, fp16_q && factor_q}))
  `ASSERT(AddendsStand, !commit_q ||
          {sum, value_q, add_clear_q} == $past({sum, value_q, add_clear_q}))
`endif

endmodule
