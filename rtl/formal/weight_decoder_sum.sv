// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// What a weight code's terms add up to, for a proof against the levels of its format.
//
// The four steps' terms come from four decoders and the significances from the format's schedule.

module weight_decoder_sum
  import terms_pkg::*;
#(
  parameter int unsigned ExponentBits = 2,

  localparam int unsigned SumBits = 48
) (
  input  format_e                   format_i,
  input  logic [1:0]                selector_i,
  input  logic [7:0]                code_i,
  output logic signed [SumBits-1:0] sum_o,   // in units of 2^unit_o
  output logic signed [5:0]         unit_o,
  output logic                      terms_o, // each term is zero or flagged, none beyond the steps
  output logic                      narrow_o // no exponent takes more than ExponentBits
);

  term_t [MaxSteps-1:0]               terms;
  logic  [MaxSteps-1:0][MaxSteps-1:0] flags;
  for (genvar step = 0; step < MaxSteps; step++) begin : gen_step
    weight_decoder #(
      .ExponentBits (ExponentBits)
    ) u_weight_decoder (
      .format_i   (format_i),
      .selector_i (selector_i),
      .code_i     (code_i),
      .step_i     (2'(step)),
      .term_o     (terms[step]),
      .man_o      (flags[step])
    );
  end

  schedule_t plan;
  assign plan   = schedule(format_i, ExponentBits);
  assign unit_o = plan.unit;
  logic unused;
  assign unused = plan.is_asymmetric;

  always_comb begin
    sum_o    = '0;
    terms_o  = 1'b1;
    narrow_o = 1'b1;
    for (int unsigned step = 0; step < MaxSteps; step++) begin
      logic [SumBits-1:0] size;
      size = SumBits'(terms[step].man) << (6'(terms[step].exp) + 6'(plan.significance[3*step+:3]));
      if (terms[step].sign) sum_o = sum_o - $signed(size);
      else sum_o = sum_o + $signed(size);
      for (int unsigned other = 0; other < MaxSteps; other++) begin
        if (flags[other][step] != terms[step].man) terms_o = 1'b0;
      end
      if (!terms[step].man && terms[step] != '0) terms_o = 1'b0;
      if (terms[step].man && step >= 32'(plan.steps)) terms_o = 1'b0;
      if ((terms[step].exp >> ExponentBits) != '0) narrow_o = 1'b0;
    end
  end

endmodule
