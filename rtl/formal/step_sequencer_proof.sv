// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Properties of step_sequencer: every needed step of every block is issued once, in order, in no
// more clocks than steps there are, and the last one only when the drain is free.
//
// The environment keeps a group's operands until its last step is issued, and a block's needed
// steps while the block is shown.

module step_sequencer_proof #(
  parameter int unsigned MaxSteps      = 4,
  parameter int unsigned BlockBits     = 5,
  parameter int unsigned CountBits     = 6,
  parameter bit          SkipZeroSteps = 1'b0
) (
  input logic                 clk_i,
  input logic                 rst_ni,
  input logic                 valid_i,
  input logic [CountBits-1:0] blocks_i,
  input logic [2:0]           steps_i,
  input logic [MaxSteps-1:0]  needed_i,
  input logic                 drain_busy_i
);

  logic                 issue, first, last;
  logic [BlockBits-1:0] block;
  logic [1:0]           step;
  step_sequencer #(
    .MaxSteps      (MaxSteps),
    .BlockBits     (BlockBits),
    .CountBits     (CountBits),
    .SkipZeroSteps (SkipZeroSteps)
  ) u_dut (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .valid_i      (valid_i),
    .blocks_i     (blocks_i),
    .steps_i      (steps_i),
    .needed_i     (needed_i),
    .drain_busy_i (drain_busy_i),
    .issue_o      (issue),
    .block_o      (block),
    .step_o       (step),
    .first_o      (first),
    .last_o       (last)
  );

  // The steps that the block must have, and those that were issued.
  logic [MaxSteps-1:0]  wanted, issued_q, issued_d;
  logic [CountBits-1:0] block_q;
  logic [2:0]           taken_q;
  logic                 block_done;
  always_comb begin
    for (int unsigned i = 0; i < MaxSteps; i++) begin
      wanted[i] = i < 32'(steps_i) && (!SkipZeroSteps || needed_i[i]);
    end
  end
  assign issued_d   = issued_q | (MaxSteps'(1) << step);
  assign block_done = (wanted & ~issued_d) == '0;

  logic started_q;
  initial started_q = 1'b0;
  always_ff @(posedge clk_i) begin
    started_q <= 1'b1;
    if (!rst_ni) begin
      issued_q <= '0;
      block_q  <= '0;
      taken_q  <= '0;
    end else if (issue) begin
      issued_q <= block_done ? '0 : issued_d;
      taken_q  <= block_done ? '0 : taken_q + 3'd1;
      if (block_done && block_q + CountBits'(1) == blocks_i) block_q <= '0;
      else if (block_done) block_q <= block_q + CountBits'(1);
    end
  end

  // The clock before.
  logic                 waits_q, same_block_q;
  logic [CountBits-1:0] blocks_q;
  logic [2:0]           steps_q;
  logic [MaxSteps-1:0]  needed_q;
  always_ff @(posedge clk_i) begin
    waits_q      <= rst_ni && valid_i && !(issue && last);
    same_block_q <= rst_ni && valid_i && !(issue && block_done);
    blocks_q     <= blocks_i;
    steps_q      <= steps_i;
    needed_q     <= needed_i;
  end

  logic mid_group, mid_block;
  assign mid_group = block_q != '0 || issued_q != '0;
  assign mid_block = issued_q != '0;

  logic [MaxSteps-1:0] left;
  assign left = wanted & ~issued_q;

  always_comb begin
    assume (started_q || !rst_ni);
    if (rst_ni && started_q) begin
      assume (!valid_i || (steps_i != '0 && steps_i <= 3'(MaxSteps)));
      assume (!valid_i || (blocks_i != '0 && blocks_i <= (CountBits'(1) << BlockBits)));
      assume (!waits_q || (valid_i && blocks_i == blocks_q && steps_i == steps_q));
      assume (!same_block_q || needed_i == needed_q);
    end
    if (rst_ni && started_q) begin
      IssueNeedsOperands: assert (!issue || valid_i);
      LastNeedsTheDrain:  assert (!(issue && last && drain_busy_i));
      IssueIfPossible:    assert (!valid_i || issue || (last && drain_busy_i));
      BlockOfTheGroup:    assert (!valid_i || CountBits'(block) < blocks_i);
      BlocksInOrder:      assert (CountBits'(block) == block_q);
      StepIsNew:          assert (!valid_i || (issued_q & (MaxSteps'(1) << step)) == '0);
      StepIsWanted:       assert (!valid_i || wanted[step] || (wanted == '0 && step == '0));
      StepsInOrder:       assert (!valid_i || (wanted & ~issued_q &
                                               ((MaxSteps'(1) << step) - MaxSteps'(1))) == '0);
      FirstOfTheGroup:    assert (first == !mid_group);
      LastOfTheGroup:     assert (!valid_i || last ==
                                  (block_done && block_q + CountBits'(1) == blocks_i));
      NoMoreThanSteps:    assert (!valid_i || taken_q < steps_i);
      // What ties the model to the module's registers.
      OperandsAreThere:   assert (!mid_group || valid_i);
      TheSameSteps:       assert (u_dut.done_q == issued_q);
      OnlyWantedOnes:     assert (!mid_block || (issued_q & ~wanted) == '0);
      IssuedInOrder:     assert (!mid_block || issued_q < (left & (~left + MaxSteps'(1))));
      BlockIsNotDone:     assert (!mid_block || (wanted & ~issued_q) != '0);
      AsManyAsIssued:     assert (32'(taken_q) == 32'(issued_q[0]) + 32'(issued_q[1]) +
                                  32'(issued_q[2]) + 32'(issued_q[3]));
    end
  end

endmodule
