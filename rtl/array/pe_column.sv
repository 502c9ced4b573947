// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// A column of processing elements: the decoded activations of one token go to the PEs of all rows,
// whose results leave through one chain, row 0 first.
//
// With HasCorrection a further PE whose weights are 1 forms the sum of the activations.

`include "assertions.svh"

module pe_column
  import pe_pkg::*;
#(
  parameter activation_e Activation      = ActFp16,
  parameter int unsigned Rows            = 8,
  parameter int unsigned Lanes           = 4,
  parameter int unsigned ExponentBits    = 2,
  parameter int unsigned GuardBits       = 3,
  parameter int unsigned AccumulatorBits = 22,
  parameter bit          HasCorrection   = 1'b1,
  parameter int unsigned DigitBits       = 2,

  localparam int unsigned ActBits = act_bits(Activation)
) (
  input  logic                                         clk_i,
  input  logic                                         rst_ni,
  input  logic [Lanes-1:0][ActBits-1:0]                words_i,
  output logic [Lanes-1:0]                             nonzero_o,    // of words_i
  output logic                                         nonfinite_o,  // any of words_i
  // Terms of the rows, registered like the activations.
  input  logic [Rows-1:0][Lanes-1:0]                   term_sign_i,
  input  logic [Rows-1:0][Lanes-1:0]                   term_man_i,
  input  logic [Rows-1:0][Lanes-1:0][ExponentBits-1:0] term_exponent_i,
  input  logic                                         ones_i,       // add the activations
  input  step_control_t                                step_control_i,
  // Output, see column_output.
  input  drain_control_t                               drain_i,
  input  group_control_t                               group_i,
  input  logic                                         nonfinite_i,
  output logic [31:0]                                  result_o
);

  localparam int unsigned ActExponent   = act_exponent_bits(Activation);
  localparam int unsigned MantissaBits  = act_mantissa_bits(Activation);
  localparam int unsigned GroupExponent = accumulator_exponent_bits(
      Activation, ExponentBits, GuardBits, Lanes, AccumulatorBits);

  logic [Lanes-1:0]                   sign_d, sign_q, nonzero_q, nonfinite;
  logic [Lanes-1:0][ActExponent-1:0]  exponent_d, exponent_q;
  logic [Lanes-1:0][MantissaBits-1:0] mantissa_d, mantissa_q;
  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    activation_decoder #(.Activation(Activation)) u_activation_decoder (
      .word_i      (words_i[lane]),
      .sign_o      (sign_d[lane]),
      .exponent_o  (exponent_d[lane]),
      .mantissa_o  (mantissa_d[lane]),
      .nonzero_o   (nonzero_o[lane]),
      .nonfinite_o (nonfinite[lane])
    );
  end
  assign nonfinite_o = |nonfinite;

  always_ff @(posedge clk_i) begin
    sign_q     <= sign_d;
    exponent_q <= exponent_d;
    mantissa_q <= mantissa_d;
    nonzero_q  <= nonzero_o;
  end

  // Link r + 1 feeds link r; link 0 is read until its row ends.
  logic shift;
  assign shift = drain_i.enable && drain_i.row_end && !drain_i.is_factor;
  logic [Rows:0][AccumulatorBits:0] chain_mantissa;
  logic [Rows:0][GroupExponent-1:0] chain_exponent;
  assign chain_mantissa[Rows] = '0;
  assign chain_exponent[Rows] = '0;
  for (genvar row = 0; row < Rows; row++) begin : gen_row
    bit_serial_pe #(
      .Activation      (Activation),
      .Lanes           (Lanes),
      .ExponentBits    (ExponentBits),
      .GuardBits       (GuardBits),
      .AccumulatorBits (AccumulatorBits)
    ) u_pe (
      .clk_i            (clk_i),
      .act_sign_i       (sign_q),
      .act_exponent_i   (exponent_q),
      .act_mantissa_i   (mantissa_q),
      .act_nonzero_i    (nonzero_q),
      .term_sign_i      (term_sign_i[row]),
      .term_man_i       (term_man_i[row]),
      .term_exponent_i  (term_exponent_i[row]),
      .step_control_i   (step_control_i),
      .shift_i          (shift),
      .chain_mantissa_i (chain_mantissa[row+1]),
      .chain_exponent_i (chain_exponent[row+1]),
      .chain_mantissa_o (chain_mantissa[row]),
      .chain_exponent_o (chain_exponent[row])
    );
  end

  logic [AccumulatorBits:0]        ones_mantissa;
  logic [GroupExponent-1:0]        ones_exponent;
  if (HasCorrection) begin : gen_ones
    bit_serial_pe #(
      .Activation      (Activation),
      .Lanes           (Lanes),
      .ExponentBits    (ExponentBits),
      .GuardBits       (GuardBits),
      .AccumulatorBits (AccumulatorBits)
    ) u_pe (
      .clk_i            (clk_i),
      .act_sign_i       (sign_q),
      .act_exponent_i   (exponent_q),
      .act_mantissa_i   (mantissa_q),
      .act_nonzero_i    (nonzero_q),
      .term_sign_i      ('0),
      .term_man_i       ({Lanes{ones_i}}),
      .term_exponent_i  ('0),
      .step_control_i   (step_control_i),
      .shift_i          (1'b0),
      .chain_mantissa_i ('0),
      .chain_exponent_i ('0),
      .chain_mantissa_o (ones_mantissa),
      .chain_exponent_o (ones_exponent)
    );
  end else begin : gen_no_ones
    logic unused;
    assign unused        = ones_i;
    assign ones_mantissa = '0;
    assign ones_exponent = '0;
  end

  column_output #(
    .Rows            (Rows),
    .DigitBits       (DigitBits),
    .AccumulatorBits (AccumulatorBits),
    .GroupExponent   (GroupExponent),
    .Point           (act_point(Activation) + GuardBits)
  ) u_column_output (
    .clk_i            (clk_i),
    .rst_ni           (rst_ni),
    .drain_i          (drain_i),
    .group_i          (group_i),
    .nonfinite_i      (nonfinite_i),
    .mantissa_i       (signed'(chain_mantissa[0])),
    .group_exponent_i (chain_exponent[0]),
    .ones_mantissa_i  (signed'(ones_mantissa)),
    .ones_exponent_i  (ones_exponent),
    .result_o         (result_o)
  );

`ifndef SYNTHESIS
  `ASSERT(ChainIsLoadedAtRest, !(step_control_i.load && shift))
  `ASSERT(SignificanceIsServed, !step_control_i.accumulate ||
          32'(step_control_i.significance) <= MaxSignificance)
`endif

endmodule
