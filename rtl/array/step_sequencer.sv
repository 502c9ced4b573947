// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Step sequencer: walks the blocks and steps of a group, one step of the whole tile a clock.
//
// A step is issued while both operands' packets are there; the last one of a group waits until the
// results of the group before have left the array. With SkipZeroSteps, steps in which no PE has a
// product are passed over; a block takes one clock at least.

`include "assertions.svh"

module step_sequencer #(
  parameter int unsigned MaxSteps      = 4,
  parameter int unsigned BlockBits     = 5,
  parameter int unsigned CountBits     = 6,
  parameter bit          SkipZeroSteps = 1'b0
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 valid_i,       // operands are there
  input  logic [CountBits-1:0] blocks_i,      // of the group
  input  logic [2:0]           steps_i,       // of the format
  input  logic [MaxSteps-1:0]  needed_i,      // steps of this block that have a product
  input  logic                 drain_busy_i,
  output logic                 issue_o,
  output logic [BlockBits-1:0] block_o,
  output logic [1:0]           step_o,
  output logic                 first_o,       // of the group
  output logic                 last_o
);

  logic [BlockBits-1:0] block_q;
  logic [MaxSteps-1:0]  done_q, served, remaining;
  always_comb begin
    for (int unsigned step = 0; step < MaxSteps; step++) served[step] = step < 32'(steps_i);
  end
  assign remaining = served & ~done_q & (SkipZeroSteps ? needed_i : '1);

  always_comb begin
    step_o = '0;
    for (int unsigned step = MaxSteps; step > 0; step--) begin
      if (remaining[step-1]) step_o = 2'(step - 1);
    end
  end

  logic block_ends;
  assign block_ends = (remaining & (remaining - MaxSteps'(1))) == '0;
  assign block_o    = block_q;
  assign first_o    = block_q == '0 && done_q == '0;
  assign last_o     = block_ends && CountBits'(block_q) + CountBits'(1) == blocks_i;
  assign issue_o    = valid_i && !(last_o && drain_busy_i);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      block_q <= '0;
      done_q  <= '0;
    end else if (issue_o) begin
      done_q <= block_ends ? '0 : done_q | (MaxSteps'(1) << step_o);
      if (last_o) block_q <= '0;
      else if (block_ends) block_q <= block_q + BlockBits'(1);
    end
  end

`ifndef SYNTHESIS
  `ASSERT(FormatIsServed, !valid_i || steps_i != '0)
  `ASSERT(GroupHasBlocks, !valid_i || blocks_i != '0)
`else
  logic unused;
  assign unused = rst_ni;
`endif

endmodule
