// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Weight terms: the codes of a block become the terms of a step, registered for the PEs of the rows.
//
// Says, too, which steps of the block are needed: those where a lane has a term in some row and an
// activation in some column. With ones_i, the first step also adds the activations up.

`include "assertions.svh"

module weight_terms
  import terms_pkg::*;
#(
  parameter int unsigned           Rows         = 8,
  parameter int unsigned           Lanes        = 4,
  parameter int unsigned           ExponentBits = 2,
  parameter int unsigned           WordBits     = 32,  // of a row
  parameter logic [NumFormats-1:0] Formats      = '1
) (
  input  logic                                         clk_i,
  // Of the group.
  input  format_e                                      format_i,
  input  logic [Rows-1:0][1:0]                         selector_i,
  input  logic                                         ones_i,
  // Of the block and the step.
  input  logic [Rows-1:0][WordBits-1:0]                codes_i,        // 8 bits a lane
  input  logic [Lanes-1:0]                             any_nonzero_i,  // activation of the lane
  input  logic [1:0]                                   step_i,
  output logic [MaxSteps-1:0]                          needed_o,
  // In the clock after.
  output logic [Rows-1:0][Lanes-1:0]                   sign_o,
  output logic [Rows-1:0][Lanes-1:0]                   man_o,
  output logic [Rows-1:0][Lanes-1:0][ExponentBits-1:0] exponent_o,
  output logic                                         ones_o          // every lane's term is 1
);

  logic [Rows-1:0][Lanes-1:0]                   sign_q, man_q;
  logic [Rows-1:0][Lanes-1:0][ExponentBits-1:0] exponent_q;
  logic                                         ones_q;
  logic [Rows-1:0][Lanes-1:0][MaxSteps-1:0]     has_term;
  for (genvar row = 0; row < Rows; row++) begin : gen_row
    for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
      term_t term;
      weight_decoder #(
        .ExponentBits (ExponentBits),
        .Formats      (Formats)
      ) u_weight_decoder (
        .format_i   (format_i),
        .selector_i (selector_i[row]),
        .code_i     (codes_i[row][8*lane+:8]),
        .step_i     (step_i),
        .term_o     (term),
        .man_o      (has_term[row][lane])
      );
      always_ff @(posedge clk_i) begin
        sign_q[row][lane]     <= term.sign;
        man_q[row][lane]      <= term.man;
        exponent_q[row][lane] <= term.exp[ExponentBits-1:0];
      end
    end
  end
  always_ff @(posedge clk_i) ones_q <= ones_i && step_i == '0;

  assign sign_o     = sign_q;
  assign man_o      = man_q;
  assign exponent_o = exponent_q;
  assign ones_o     = ones_q;

  always_comb begin
    needed_o = '0;
    for (int unsigned row = 0; row < Rows; row++) begin
      for (int unsigned lane = 0; lane < Lanes; lane++) begin
        if (any_nonzero_i[lane]) needed_o |= has_term[row][lane];
      end
    end
    if (ones_i && any_nonzero_i != '0) needed_o[0] = 1'b1;
  end

  `ASSERT_PARAMETER(CodesFit, WordBits >= 8 * Lanes)
`ifndef SYNTHESIS
  `ASSERT_COMB(NeedsAnActivation, needed_o == '0 || any_nonzero_i != '0)
`endif

endmodule
