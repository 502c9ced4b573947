// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Drain: keeps what belongs to a group's results when its packets leave the buffers, and takes the
// results out.
//
// Inf and NaN are remembered for each column over the groups whose products are added up.

`include "assertions.svh"

module drain
  import pe_pkg::*;
#(
  parameter int unsigned Rows      = 8,
  parameter int unsigned Columns   = 8,
  parameter int unsigned WordBits  = 32,  // of a row
  parameter int unsigned DigitBits = 2
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  // The group whose steps are issued.
  input  logic                          issue_i,
  input  logic                          last_i,       // of its steps
  input  logic [Rows-1:0][WordBits-1:0] header_i,     // words as tile.sv says
  input  logic [Rows-1:0][WordBits-1:0] factors_i,
  input  scale_e                        scale_kind_i,
  input  logic                          corrects_i,
  input  logic                          final_i,      // results leave after it
  input  logic                          fp16_i,
  input  logic signed [5:0]             unit_i,
  input  logic [Columns-1:0]            nonfinite_i,  // activations of the step
  // The group that is drained: its results are in the chains at the end of the clock of load_i.
  input  logic                          load_i,
  output logic                          busy_o,
  output drain_control_t                drain_o,
  output group_control_t                group_o,
  output logic [Columns-1:0]            nonfinite_o,
  // A beat of results.
  output logic                          out_valid_o,
  input  logic                          out_ready_i,
  output logic                          out_last_o
);

  logic take;
  assign take = issue_i && last_i;

  logic               first_q;  // the group is the first of those that are added up
  logic [Columns-1:0] seen_q;   // Inf or NaN in the steps before
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      first_q <= 1'b1;
      seen_q  <= '0;
    end else begin
      if (take) first_q <= final_i;
      if (take && final_i) seen_q <= '0;
      else if (issue_i) seen_q <= seen_q | nonfinite_i;
    end
  end

  logic [Rows-1:0][7:0]  scale_q;
  logic [Rows-1:0][15:0] correction_q;
  logic [Rows-1:0][31:0] factor_q;
  scale_e                scale_kind_q;
  logic                  corrects_q, final_q;
  group_control_t        group_q;
  logic [Columns-1:0]    nonfinite_q;
  always_ff @(posedge clk_i) begin
    if (take) begin
      for (int unsigned row = 0; row < Rows; row++) begin
        scale_q[row]      <= header_i[row][7:0];
        correction_q[row] <= header_i[row][23:8];
        factor_q[row]     <= factors_i[row][31:0];
      end
      scale_kind_q <= scale_kind_i;
      corrects_q   <= corrects_i;
      final_q      <= final_i;
      group_q      <= '{first: first_q, fp16: fp16_i, unit: unit_i};
      nonfinite_q  <= seen_q | nonfinite_i;
    end
  end
  assign group_o     = group_q;
  assign nonfinite_o = nonfinite_q;

  drain_sequencer #(
    .Rows      (Rows),
    .DigitBits (DigitBits)
  ) u_drain_sequencer (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .take_i       (take),
    .load_i       (load_i),
    .scale_kind_i (scale_kind_q),
    .corrects_i   (corrects_q),
    .final_i      (final_q),
    .scale_i      (scale_q),
    .correction_i (correction_q),
    .factor_i     (factor_q),
    .busy_o       (busy_o),
    .drain_o      (drain_o),
    .out_valid_o  (out_valid_o),
    .out_ready_i  (out_ready_i),
    .out_last_o   (out_last_o)
  );

  logic unused;
  assign unused = ^{header_i, factors_i};

`ifndef SYNTHESIS
  // Sums hold results of the groups before only if there were some.
  `ASSERT(StartsAfterResults, !take || first_q || !final_q)
  `ASSERT(ControlIsTheJobs, !take || first_q ||
          {scale_kind_i, corrects_i, fp16_i, unit_i} ==
          {scale_kind_q, corrects_q, group_q.fp16, group_q.unit})
`endif

endmodule
