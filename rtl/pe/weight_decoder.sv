// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Weight decoder: one bit-serial term of a weight code.
//
// A weight is the sum over its steps of (-1)^sign * man * 2^(exp + significance), in units of its
// format; the significance belongs to the step, so all lanes of a PE share it. Integers give
// radix-4 Booth digits, all else comes from the generated table. Combinational.

`include "assertions.svh"

module weight_decoder
  import terms_pkg::*;
#(
  parameter int unsigned           ExponentBits = 2,   // of a term
  parameter logic [NumFormats-1:0] Formats      = '1,  // those that this machine takes

  localparam logic [NumRows-1:0] Rows = rows_of_mask(ExponentBits, Formats)
) (
  input  format_e             format_i,
  input  logic [1:0]          selector_i,  // table of the group; 0 for formats without a choice
  input  logic [7:0]          code_i,      // right-aligned; bits above the width are ignored
  input  logic [1:0]          step_i,      // 0 .. steps - 1
  output term_t               term_o,      // all zero beyond the last step
  output logic [MaxSteps-1:0] man_o        // which steps have a term
);

  coding_t of;
  assign of = (32'(format_i) < NumFormats && Formats[format_i]) ?
      coding(format_i, ExponentBits) : '0;

  // Align the code to the left, recentre it, and bring it back with its sign.
  logic        [3:0] vacant;
  logic        [7:0] aligned;
  logic signed [7:0] value;
  assign vacant  = 4'd8 - of.bits;
  assign aligned = (code_i << vacant) ^ {of.is_asymmetric, 7'b0};
  assign value   = $signed(aligned) >>> vacant;

  // Booth digit i covers bits 2i+1, 2i and 2i-1.
  logic [8:0] windows;
  assign windows = {value, 1'b0};

  function automatic term_t booth(logic [2:0] window);
    unique case (window)
      3'b001, 3'b010: return '{sign: 1'b0, man: 1'b1, exp: 5'd0};
      3'b011:         return '{sign: 1'b0, man: 1'b1, exp: 5'd1};
      3'b100:         return '{sign: 1'b1, man: 1'b1, exp: 5'd1};
      3'b101, 3'b110: return '{sign: 1'b1, man: 1'b1, exp: 5'd0};
      default:        return '0;  // 000 and 111
    endcase
  endfunction

  terms_t table_terms, terms;
  term_table #(.Rows(Rows)) u_term_table (
    .row_i   (of.row + RowWidth'(selector_i)),
    .code_i  (code_i),
    .terms_o (table_terms)
  );

  always_comb begin
    terms = '0;
    for (int unsigned step = 0; step < MaxSteps; step++) begin
      if (step < 32'(of.steps)) begin
        terms[step] = of.is_table ? table_terms[step] : booth(windows[2*step+:3]);
      end
      man_o[step] = terms[step].man;
    end
  end

  assign term_o = terms[step_i];

`ifndef SYNTHESIS
  `ASSERT_COMB(FlagIsOfTheTerm, term_o.man == man_o[step_i])
  `ASSERT_COMB(NoTermIsZero, term_o.man || term_o == '0)
  `ASSERT_COMB(ExponentFits, term_o.exp >> ExponentBits == '0)
`endif

endmodule
