// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Bit-serial processing element: stages 1 to 3 and the register that a group's result leaves by.
//
// Operands come registered from the edges of the array: activations of the column, terms of the
// row. Stage 1 and 2 fill the sum register, stage 3 the accumulator one clock later, so that the
// control of stage 3 belongs to the terms of the clock before. The last register is a link of the
// column's chain: it is loaded from the accumulator, then shifted towards the dequantizer.

`include "assertions.svh"

module bit_serial_pe
  import pe_pkg::*;
#(
  parameter activation_e Activation      = ActFp16,
  parameter int unsigned Lanes           = 4,
  parameter int unsigned ExponentBits    = 2,   // of a term
  parameter int unsigned GuardBits       = 3,
  parameter int unsigned AccumulatorBits = 22,  // magnitude bits

  localparam int unsigned ActExponent  = act_exponent_bits(Activation),
  localparam int unsigned MantissaBits = act_mantissa_bits(Activation),
  localparam int unsigned StepExponent = product_exponent_bits(Activation, ExponentBits),
  localparam int unsigned SumBits      = step_bits(Activation, GuardBits, Lanes) + 1,
  localparam int unsigned GroupExponent = accumulator_exponent_bits(
      Activation, ExponentBits, GuardBits, Lanes, AccumulatorBits)
) (
  input  logic                               clk_i,
  // Stages 1 and 2: this clock's operands.
  input  logic [Lanes-1:0]                   act_sign_i,
  input  logic [Lanes-1:0][ActExponent-1:0]  act_exponent_i,
  input  logic [Lanes-1:0][MantissaBits-1:0] act_mantissa_i,
  input  logic [Lanes-1:0]                   act_nonzero_i,
  input  logic [Lanes-1:0]                   term_sign_i,
  input  logic [Lanes-1:0]                   term_man_i,
  input  logic [Lanes-1:0][ExponentBits-1:0] term_exponent_i,
  // Stage 3: control of the clock before.
  input  step_control_t                      step_control_i,
  // The column's chain.
  input  logic                               shift_i,
  input  logic [AccumulatorBits:0]           chain_mantissa_i,  // two's complement
  input  logic [GroupExponent-1:0]           chain_exponent_i,
  output logic [AccumulatorBits:0]           chain_mantissa_o,
  output logic [GroupExponent-1:0]           chain_exponent_o
);

  logic [Lanes-1:0] nonzero;
  assign nonzero = act_nonzero_i & term_man_i;

  logic [StepExponent-1:0]            largest_d, largest_q;
  logic [Lanes-1:0][StepExponent-1:0] gap;
  exponent_match #(
    .Lanes        (Lanes),
    .ActBits      (ActExponent),
    .ExponentBits (ExponentBits),
    .Bits         (StepExponent)
  ) u_exponent_match (
    .act_exponent_i  (act_exponent_i),
    .term_exponent_i (term_exponent_i),
    .nonzero_i       (nonzero),
    .largest_o       (largest_d),
    .gap_o           (gap)
  );

  logic signed [SumBits-1:0] sum_d, sum_q;
  serial_multiply #(
    .Lanes        (Lanes),
    .MantissaBits (MantissaBits),
    .GuardBits    (GuardBits),
    .GapBits      (StepExponent)
  ) u_serial_multiply (
    .mantissa_i (act_mantissa_i),
    .negative_i (act_sign_i ^ term_sign_i),
    .nonzero_i  (nonzero),
    .gap_i      (gap),
    .sum_o      (sum_d)
  );

  localparam int unsigned ShiftedBits = SumBits + MaxSignificance;
  localparam int unsigned WideBits =
      ((ShiftedBits > AccumulatorBits + 1) ? ShiftedBits : AccumulatorBits + 1) + 1;
  logic signed [WideBits-1:0]      wide_d, wide_q;
  logic signed [AccumulatorBits:0] normal_mantissa;
  logic [GroupExponent-1:0]        exponent_d, exponent_q, normal_exponent;
  group_accumulator #(
    .SumBits         (SumBits),
    .StepExponent    (StepExponent),
    .MaxSignificance (MaxSignificance),
    .AccumulatorBits (AccumulatorBits),
    .ExponentBits    (GroupExponent)
  ) u_group_accumulator (
    .sum_i             (sum_q),
    .largest_i         (largest_q),
    .significance_i    (step_control_i.significance),
    .first_i           (step_control_i.first),
    .normalize_i       (step_control_i.load),
    .wide_i            (wide_q),
    .exponent_i        (exponent_q),
    .wide_o            (wide_d),
    .exponent_o        (exponent_d),
    .normal_mantissa_o (normal_mantissa),
    .normal_exponent_o (normal_exponent)
  );

  // A step without a product changes nothing, unless it is the group's first.
  logic write;
  assign write = step_control_i.accumulate && (step_control_i.first || largest_q != '0);

  logic [AccumulatorBits:0] chain_mantissa_q;
  logic [GroupExponent-1:0] chain_exponent_q;
  assign chain_mantissa_o = chain_mantissa_q;
  assign chain_exponent_o = chain_exponent_q;

  // Data registers need no reset: control says when they hold something.
  always_ff @(posedge clk_i) begin
    sum_q     <= sum_d;
    largest_q <= largest_d;
    if (write) begin
      wide_q     <= wide_d;
      exponent_q <= exponent_d;
    end
    if (step_control_i.load) begin
      chain_mantissa_q <= unsigned'(normal_mantissa);
      chain_exponent_q <= normal_exponent;
    end else if (shift_i) begin
      chain_mantissa_q <= chain_mantissa_i;
      chain_exponent_q <= chain_exponent_i;
    end
  end

`ifndef SYNTHESIS
  // Exponents only rise within a group: a wrapped one would have overflowed. Before the first group
  // begins, the registers hold anything, and there may have been no reset yet.
  bit has_begun_q;
  initial has_begun_q = 1'b0;
  always_ff @(posedge clk_i) if (write && step_control_i.first) has_begun_q <= 1'b1;
  `ASSERT(ExponentRises, !write || step_control_i.first || exponent_d >= exponent_q,
          clk_i, has_begun_q)
`endif

endmodule
