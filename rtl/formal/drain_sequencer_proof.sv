// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Properties of drain_sequencer: a beat of results stays until it is taken and its data are not
// overwritten, the drain is busy while it works, a group gives as many beats as there are rows, and
// it ends.
//
// The environment takes a group only when the drain is free, loads it once after that, and keeps
// what belongs to it. That the work ends is shown by a number that falls in every clock that is not
// stalled.

module drain_sequencer_proof
  import pe_pkg::*;
#(
  parameter int unsigned Rows      = 3,
  parameter int unsigned DigitBits = 2,

  localparam int unsigned RowBits = (Rows > 1) ? $clog2(Rows) : 1
) (
  input logic                  clk_i,
  input logic                  rst_ni,
  input logic                  take_i,
  input logic                  load_i,
  input logic [1:0]            scale_kind_i,
  input logic                  corrects_i,
  input logic                  final_i,
  input logic [Rows-1:0][7:0]  scale_i,
  input logic [Rows-1:0][15:0] correction_i,
  input logic [Rows-1:0][31:0] factor_i,
  input logic                  out_ready_i
);

  logic               busy, out_valid, out_last;
  drain_control_t     drain;
  logic [RowBits-1:0] row;
  drain_sequencer #(
    .Rows      (Rows),
    .DigitBits (DigitBits)
  ) u_dut (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .take_i       (take_i),
    .load_i       (load_i),
    .scale_kind_i (scale_e'(scale_kind_i)),
    .corrects_i   (corrects_i),
    .final_i      (final_i),
    .scale_i      (scale_i),
    .correction_i (correction_i),
    .factor_i     (factor_i),
    .busy_o       (busy),
    .drain_o      (drain),
    .out_valid_o  (out_valid),
    .out_ready_i  (out_ready_i),
    .out_last_o   (out_last)
  );

  // The chains' shift, as the columns form it.
  logic shift, enable, start, ends, is_factor;
  assign enable    = drain.enable;
  assign start     = drain.start;
  assign ends      = drain.whole;
  assign is_factor = drain.is_factor;
  assign row       = u_dut.row_q;
  assign shift     = enable && drain.row_end && !is_factor;

  // A group is taken and not yet loaded.
  logic started_q;
  initial started_q = 1'b0;
  logic awaits_q;
  always_ff @(posedge clk_i) begin
    started_q <= 1'b1;
    if (!rst_ni) awaits_q <= 1'b0;
    else if (take_i) awaits_q <= 1'b1;
    else if (load_i) awaits_q <= 1'b0;
  end

  // The columns: a product is whole, and the register of results is written.
  logic whole_q, factor_q, writes, written_q;
  assign writes = enable && whole_q && factor_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      whole_q   <= 1'b0;
      factor_q  <= 1'b0;
      written_q <= 1'b0;
    end else begin
      written_q <= writes;
      if (enable) begin
        whole_q  <= ends;
        factor_q <= is_factor;
      end
    end
  end

  // Rows that were shifted out, and results, of the group.
  localparam int unsigned CountBits = $clog2(Rows + 1);
  logic [CountBits-1:0] shifted_q, results_q;
  logic                 leaves;
  assign leaves = enable && is_factor && ends;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || take_i) begin
      shifted_q <= '0;
      results_q <= '0;
    end else begin
      if (shift) shifted_q <= shifted_q + CountBits'(1);
      if (leaves) results_q <= results_q + CountBits'(1);
    end
  end

  // The states by their numbers.
  localparam logic [2:0] Idle = 3'd0, Product = 3'd1, Correction = 3'd2, Flush = 3'd3,
                         Factor = 3'd4;
  logic [2:0] state;
  assign state = u_dut.state_q;

  // Work that is left.
  logic        working;
  logic [1:0]  phase;
  logic [15:0] left;
  assign working = state != Idle;
  always_comb begin
    phase = 2'd2;
    if (state == Flush) phase = 2'd1;
    if (state == Factor) phase = 2'd0;
    left = {phase, 7'(32'(Rows) - 32'(row)), state == Product,
            1'b0, 5'(u_dut.digit)};
  end

  // The clock before.
  logic                  held_q, last_q, stalled_q, worked_q, busy_q, corrects_q, final_q;
  logic [1:0]            kind_q;
  logic [15:0]           left_q;
  logic [Rows-1:0][7:0]  scale_q;
  logic [Rows-1:0][15:0] correction_q;
  logic [Rows-1:0][31:0] factors_q;
  always_ff @(posedge clk_i) begin
    held_q       <= rst_ni && out_valid && !out_ready_i;
    last_q       <= out_last;
    stalled_q    <= rst_ni && !enable;
    worked_q     <= rst_ni && enable && working;
    busy_q       <= rst_ni && busy;
    left_q       <= left;
    kind_q       <= scale_kind_i;
    corrects_q   <= corrects_i;
    final_q      <= final_i;
    scale_q      <= scale_i;
    correction_q <= correction_i;
    factors_q    <= factor_i;
  end

  always_comb begin
    assume (started_q || !rst_ni);
    if (started_q && rst_ni) begin
      assume (!take_i || !busy);
      assume (!load_i || awaits_q);
      assume (scale_kind_i <= 2'd2);
      if (busy_q && busy) begin
        assume (kind_q == scale_kind_i && corrects_q == corrects_i && final_q == final_i);
        assume (scale_q == scale_i && correction_q == correction_i && factors_q == factor_i);
      end
    end
    if (started_q && rst_ni) begin
      ResultStays:       assert (!held_q || (out_valid && out_last == last_q));
      DataStay:          assert (!(writes && out_valid && !out_ready_i));
      DataAreThere:      assert (!written_q || out_valid);
      StallOnlyIfFull:   assert (enable || (out_valid && !out_ready_i));
      BusyWhileWorking:  assert (!working || busy);
      BusyWhileAwaited:  assert (!awaits_q || busy);
      WorkWaitsForLoad:  assert (!awaits_q || (!working && !u_dut.loaded_q));
      BusyHasAReason:    assert (!busy || awaits_q || u_dut.loaded_q || working);
      LoadedIsIdle:      assert (!u_dut.loaded_q || (busy && !working));
      StallHolds:        assert (!stalled_q || !working || left == left_q);
      WorkGetsLess:      assert (!worked_q || !working || left < left_q);
      EveryRowIsShifted: assert (!(u_dut.finishes && enable) ||
                                 32'(shifted_q) + 32'(shift) == Rows);
      RowsInOrder:       assert (!working || is_factor || phase == 2'd1 ||
                                 CountBits'(row) == shifted_q);
      AllRowsBefore:     assert (!(working && phase <= 2'd1) || shifted_q == CountBits'(Rows));
      NoResultBefore:    assert (!(awaits_q || u_dut.loaded_q || (working && !is_factor)) ||
                                 results_q == '0);
      ResultsInOrder:    assert (!is_factor || CountBits'(row) == results_q);
      LastIsTheLast:     assert (!(leaves && u_dut.sweep_ends) ||
                                 results_q == CountBits'(Rows - 1));
      ShiftsOnlyWork:    assert (!shift || (busy && !is_factor));
      // What ties the model to the module's registers.
      FactorIfFinal:     assert (!(working && phase <= 2'd1) || final_i);
      CorrectionIfAny:   assert (state != Correction || corrects_i);
      KnownState:        assert (state <= Factor);
      RowInRange:        assert (32'(row) < Rows);
      IdleAtTheFirst:    assert (working || (row == '0 && start));
      FlushAtTheFirst:   assert (phase != 2'd1 || row == '0);
      NothingShifted:    assert (!(awaits_q || u_dut.loaded_q) || shifted_q == '0);
      DigitInRange:      assert (!drain.multiply || start || u_dut.digit_q < u_dut.first_digit);
      NoStallInANumber:  assert (!u_dut.leaving_q || start);
      LeavingIsWhole:    assert (u_dut.leaving_q == (whole_q && factor_q));
    end
  end

  logic unused;
  assign unused = ^drain;

endmodule
