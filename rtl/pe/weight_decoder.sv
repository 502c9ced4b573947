// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Weight decoder: one bit-serial term of a weight code.
//
// A weight is the sum over its steps of (-1)^sign * man * 2^(exp + significance), in units of its
// format; the significance belongs to the step, so all lanes of a PE share it. Integers give
// radix-4 Booth digits, small floats come from the generated table. Combinational.

module weight_decoder
  import terms_pkg::*;
(
  input  format_e    format_i,
  input  logic [1:0] selector_i,      // special value of the group; 0 for formats without
  input  logic [7:0] code_i,          // right-aligned; bits above the format's width are ignored
  input  logic [1:0] step_i,          // 0 .. steps_o - 1
  output term_t      term_o,
  output logic [2:0] significance_o,
  output logic [2:0] steps_o          // 0: no such format
);

  facts_t facts_of;
  assign facts_of = facts(format_i);
  assign steps_o  = facts_of.steps;

  logic active;
  assign active = {1'b0, step_i} < facts_of.steps;

  // Align the code to the left, recentre it, and bring it back with its sign.
  logic [3:0] vacant;
  logic [7:0] aligned;
  logic signed [7:0] value;
  assign vacant  = 4'd8 - facts_of.bits;
  assign aligned = (code_i << vacant) ^ {facts_of.is_asymmetric, 7'b0};
  assign value   = $signed(aligned) >>> vacant;

  // Booth digit i covers bits 2i+1, 2i and 2i-1.
  logic [8:0] windows;
  logic [2:0] window;
  term_t      booth;
  assign windows = {value, 1'b0} >> {step_i, 1'b0};
  assign window  = windows[2:0];

  always_comb begin
    case (window)
      3'b001, 3'b010: booth = '{sign: 1'b0, man: 1'b1, exp: 2'd0};
      3'b011:         booth = '{sign: 1'b0, man: 1'b1, exp: 2'd1};
      3'b100:         booth = '{sign: 1'b1, man: 1'b1, exp: 2'd1};
      3'b101, 3'b110: booth = '{sign: 1'b1, man: 1'b1, exp: 2'd0};
      default:        booth = '0;  // 000 and 111
    endcase
  end

  // Bits above the format's width are cut, as they are for integers.
  logic [3:0] code;
  assign code = (facts_of.bits == 4'd3) ? {1'b0, code_i[2:0]} : code_i[3:0];

  always_comb begin
    term_o         = '0;
    significance_o = '0;
    if (active) begin
      if (facts_of.is_float) begin
        term_o         = float_term(format_i, selector_i, code, step_i[0]);
        significance_o = {1'b0, step_i};
      end else begin
        term_o         = booth;
        significance_o = {step_i, 1'b0};
      end
    end
  end

  // Only six of the shifted bits can ever be looked at again by a later step.
  logic unused;
  assign unused = ^windows[8:3];

endmodule
