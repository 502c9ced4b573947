// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Plays a file of vectors to bit_serial_pe, one line a clock, and compares the chain's register
// after each edge. The same bench runs on Verilator and, with NETLIST, on Icarus. Fields of a line:
// activations, terms, control, chain in, chain out (its top bit: whether it is known).

module pe_tb;

  parameter integer AccumulatorBits = 22;
  parameter integer GroupExponent   = 6;

  reg                            clk = 1'b0;
  reg  [71:0]                    acts = 0;     // {nonzero, mantissas, exponents, signs}
  reg  [15:0]                    terms = 0;    // {exponents, mans, signs}
  reg  [6:0]                     control = 0;  // {shift, step_control_t}
  reg  [AccumulatorBits+GroupExponent:0]   link = 0;
  reg  [AccumulatorBits+GroupExponent+1:0] wanted = 0;
  wire [AccumulatorBits:0]       mantissa;
  wire [GroupExponent-1:0]       exponent;

`ifdef NETLIST
  bit_serial_pe u_pe (
`else
  bit_serial_pe #(.AccumulatorBits(AccumulatorBits)) u_pe (
`endif
    .clk_i            (clk),
    .act_sign_i       (acts[3:0]),
    .act_exponent_i   (acts[23:4]),
    .act_mantissa_i   (acts[67:24]),
    .act_nonzero_i    (acts[71:68]),
    .term_sign_i      (terms[3:0]),
    .term_man_i       (terms[7:4]),
    .term_exponent_i  (terms[15:8]),
    .step_control_i   (control[5:0]),
    .shift_i          (control[6]),
    .chain_mantissa_i (link[AccumulatorBits:0]),
    .chain_exponent_i (link[AccumulatorBits+GroupExponent:AccumulatorBits+1]),
    .chain_mantissa_o (mantissa),
    .chain_exponent_o (exponent)
  );

  integer file, fields, checked, mismatches;
  reg [8*512-1:0] path;
  initial begin
    checked = 0;
    mismatches = 0;
    fields = $value$plusargs("vectors=%s", path);
    file = $fopen(path, "r");
    fields = $fscanf(file, "%h %h %h %h %h\n", acts, terms, control, link, wanted);
    while (fields == 5) begin
      #1 clk = 1'b1;
      #1;
      if (wanted[AccumulatorBits+GroupExponent+1]) begin
        checked = checked + 1;
        if ({exponent, mantissa} !== wanted[AccumulatorBits+GroupExponent:0]) begin
          mismatches = mismatches + 1;
          if (mismatches < 10) begin
            $display("clock %0d: wanted %h, got %h", checked, wanted, {1'b1, exponent, mantissa});
          end
        end
      end
      clk = 1'b0;
      fields = $fscanf(file, "%h %h %h %h %h\n", acts, terms, control, link, wanted);
    end
    $fclose(file);
    $display("checked %0d mismatches %0d", checked, mismatches);
    $finish;
  end

endmodule
