// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Runs of axil_tile: when its streams are open, when a run is done, and what is counted.
//
// A run takes the packets of its jobs and no others: weights to the last beat of the last group
// that gives results, and as many packets of activations, each from the clock after its weights
// have begun. What comes after waits for the next run. A packet that the tile's buffers do not hold
// closes both streams before they overflow.

`include "assertions.svh"

module run_control
  import registers_pkg::*;
#(
  parameter int unsigned MaxBlocks = 32
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  // Commands, each for a clock.
  input  logic        start_i,
  input  logic        clear_i,
  input  logic        acknowledge_i,
  input  logic [31:0] jobs_i,
  output status_t     status_o,
  output counters_t   counters_o,
  // Handshakes; ready is the tile's, before it is gated with open.
  output logic        weight_open_o,
  input  logic        weight_valid_i,
  input  logic        weight_ready_i,
  input  logic        weight_final_i,  // of a packet's first beat
  input  logic        weight_last_i,
  output logic        act_open_o,
  input  logic        act_valid_i,
  input  logic        act_ready_i,
  input  logic        act_last_i,
  input  logic        result_valid_i,
  input  logic        result_ready_i,
  input  logic        result_last_i
);

  localparam int unsigned IndexBits = $clog2(MaxBlocks + 2);
  localparam int unsigned OwedBits  = 4;  // more than the tile's buffers can be ahead

  logic running_q, done_q, error_q;
  assign status_o = '{reserved: '0, error: error_q, done: done_q, running: running_q};

  // Packets: the beat that comes next, and whether it would be one too many.
  logic                 weight_beat, act_beat, result_beat;
  logic                 weight_first, final_group, final_q, weight_too_long, act_too_long;
  logic [IndexBits-1:0] weight_index_q, act_index_q;
  assign weight_beat     = weight_open_o && weight_valid_i && weight_ready_i;
  assign act_beat        = act_open_o && act_valid_i && act_ready_i;
  assign result_beat     = result_valid_i && result_ready_i;
  assign weight_first    = weight_index_q == '0;
  assign final_group     = weight_first ? weight_final_i : final_q;
  assign weight_too_long = weight_beat && !weight_last_i &&
                           weight_index_q == IndexBits'(MaxBlocks) + IndexBits'(final_group);
  assign act_too_long    = act_beat && !act_last_i && act_index_q == IndexBits'(MaxBlocks - 1);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      weight_index_q <= '0;
      act_index_q    <= '0;
    end else begin
      if (weight_beat) weight_index_q <= weight_last_i ? '0 : weight_index_q + IndexBits'(1);
      if (act_beat) act_index_q <= act_last_i ? '0 : act_index_q + IndexBits'(1);
    end
  end
  always_ff @(posedge clk_i) if (weight_beat) final_q <= final_group;

  // The run: jobs whose weights and whose results are still to come, and packets of weights that
  // have begun and whose activations have not all come.
  logic [31:0]         weight_jobs_q, result_jobs_q;
  logic [OwedBits-1:0] owed_q;
  logic                job_taken, job_given, finished;
  assign weight_open_o = running_q && !error_q && weight_jobs_q != '0;
  assign act_open_o    = running_q && !error_q && owed_q != '0;
  assign job_taken     = weight_beat && weight_last_i && final_group;
  assign job_given     = result_beat && result_last_i;
  assign finished      = job_given && result_jobs_q == 32'd1;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q     <= 1'b0;
      done_q        <= 1'b0;
      error_q       <= 1'b0;
      weight_jobs_q <= '0;
      result_jobs_q <= '0;
      owed_q        <= '0;
    end else begin
      running_q     <= start_i || (running_q && !finished);
      done_q        <= finished || (done_q && !start_i && !acknowledge_i);
      error_q       <= error_q || weight_too_long || act_too_long;
      weight_jobs_q <= start_i ? jobs_i : weight_jobs_q - 32'(job_taken);
      result_jobs_q <= start_i ? jobs_i : result_jobs_q - 32'(job_given);
      owed_q        <= owed_q + OwedBits'(weight_beat && weight_first)
                              - OwedBits'(act_beat && act_last_i);
    end
  end

  counters_t counters_q;
  assign counters_o = counters_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      counters_q <= '0;
    end else begin
      counters_q.clocks         <= counters_q.clocks + 32'(running_q);
      counters_q.weight_packets <= counters_q.weight_packets + 32'(weight_beat && weight_last_i);
      counters_q.act_packets    <= counters_q.act_packets + 32'(act_beat && act_last_i);
      counters_q.result_beats   <= counters_q.result_beats + 32'(result_beat);
      counters_q.weight_stalls  <= counters_q.weight_stalls +
                                   32'(weight_open_o && weight_ready_i && !weight_valid_i);
      counters_q.act_stalls     <= counters_q.act_stalls +
                                   32'(act_open_o && act_ready_i && !act_valid_i);
      counters_q.result_stalls  <= counters_q.result_stalls +
                                   32'(result_valid_i && !result_ready_i);
    end
  end

`ifndef SYNTHESIS
  `ASSERT(StartsAtRest, !(start_i && running_q))
  `ASSERT(ResultsAreOfARun, !result_valid_i || (running_q && result_jobs_q != '0))
  `ASSERT(NothingIsOwedAtRest, running_q || owed_q == '0)
  `ASSERT(OwedFits, !(&owed_q))
`endif

endmodule
