// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Runs packets through the AXI-Stream tile at full speed: files of beats in, a file of results out.
//
// Files are hexadecimal, one beat a line, least significant digit last. A beat of weights is
// {last, user, data}, one of activations {last, data}; a result is {last, data}. The clocks from
// the first one outside reset to the last result are printed.

module tile_tb
  import pe_pkg::*;
  import terms_pkg::*;
#(
  parameter activation_e           Activation      = ActFp16,
  parameter int unsigned           Rows            = 8,
  parameter int unsigned           Columns         = 8,
  parameter int unsigned           Lanes           = 4,
  parameter int unsigned           ExponentBits    = 2,
  parameter int unsigned           GuardBits       = 3,
  parameter int unsigned           AccumulatorBits = 22,
  parameter int unsigned           MaxBlocks       = 32,
  parameter int unsigned           DigitBits       = 2,
  parameter bit                    SkipZeroSteps   = 1'b0,
  parameter logic [NumFormats-1:0] Formats         = '1,
  parameter int unsigned           MaxBeats        = 262144  // of a file
);

  localparam int unsigned UserBits   = FormatWidth + 4;
  localparam int unsigned WeightBits = Rows * ((8 * Lanes > 32) ? 8 * Lanes : 32);
  localparam int unsigned ActBits    = Columns * Lanes * act_bits(Activation);

  string weight_file, act_file, result_file, trace_file;
  int    weight_beats, act_beats, results, repeats;

  // Beats as lines of memory: reading a file in each clock would be timed, too.
  logic [UserBits+WeightBits:0] weights [MaxBeats];
  logic [ActBits:0]             acts [MaxBeats];

  logic clk = 1'b0;
  logic rst_n = 1'b0;
  always #1 clk = !clk;

  int unsigned weight_at = 0, act_at = 0, taken = 0;
  longint unsigned clocks = 0;
  logic weight_ready, act_ready, result_valid, result_last;
  logic [Columns*32-1:0] result;

  logic [UserBits+WeightBits:0] weight;
  logic [ActBits:0]             act;

  axis_tile #(
    .Activation      (Activation),
    .Rows            (Rows),
    .Columns         (Columns),
    .Lanes           (Lanes),
    .ExponentBits    (ExponentBits),
    .GuardBits       (GuardBits),
    .AccumulatorBits (AccumulatorBits),
    .MaxBlocks       (MaxBlocks),
    .DigitBits       (DigitBits),
    .SkipZeroSteps   (SkipZeroSteps),
    .Formats         (Formats)
  ) u_tile (
    .aclk_i                 (clk),
    .aresetn_i              (rst_n),
    .s_axis_weight_tvalid_i (rst_n && weight_at < 32'(weight_beats * repeats)),
    .s_axis_weight_tready_o (weight_ready),
    .s_axis_weight_tdata_i  (weight[WeightBits-1:0]),
    .s_axis_weight_tuser_i  (weight[WeightBits+:UserBits]),
    .s_axis_weight_tlast_i  (weight[WeightBits+UserBits]),
    .s_axis_act_tvalid_i    (rst_n && act_at < 32'(act_beats * repeats)),
    .s_axis_act_tready_o    (act_ready),
    .s_axis_act_tdata_i     (act[ActBits-1:0]),
    .s_axis_act_tlast_i     (act[ActBits]),
    .m_axis_result_tvalid_o (result_valid),
    .m_axis_result_tready_i (1'b1),
    .m_axis_result_tdata_o  (result),
    .m_axis_result_tlast_o  (result_last)
  );

  int result_handle;
  initial begin
    if (!$value$plusargs("weights=%s", weight_file)) $fatal(1, "+weights=FILE is missing");
    if (!$value$plusargs("acts=%s", act_file)) $fatal(1, "+acts=FILE is missing");
    if (!$value$plusargs("results=%s", result_file)) $fatal(1, "+results=FILE is missing");
    if (!$value$plusargs("weight_beats=%d", weight_beats)) $fatal(1, "+weight_beats=N is missing");
    if (!$value$plusargs("act_beats=%d", act_beats)) $fatal(1, "+act_beats=N is missing");
    if (!$value$plusargs("result_beats=%d", results)) $fatal(1, "+result_beats=N is missing");
    if (!$value$plusargs("repeats=%d", repeats)) repeats = 1;
    if (weight_beats > int'(MaxBeats) || act_beats > int'(MaxBeats)) begin
      $fatal(1, "more than %0d beats", MaxBeats);
    end
    $readmemh(weight_file, weights, 0, weight_beats - 1);
    $readmemh(act_file, acts, 0, act_beats - 1);
    result_handle = $fopen(result_file, "w");
    if ($value$plusargs("trace=%s", trace_file)) begin
      $dumpfile(trace_file);
      $dumpvars(0, u_tile);
    end
    weight = weights[0];
    act    = acts[0];
    repeat (4) @(negedge clk);
    rst_n = 1'b1;
  end

  // What the tile shows is sampled at the edge; new operands come after it.
  always @(posedge clk) begin
    if (rst_n) begin
      clocks <= clocks + 1;
      if (weight_ready && weight_at < 32'(weight_beats * repeats)) begin
        weight_at <= weight_at + 1;
        weight    <= weights[(weight_at + 1) % 32'(weight_beats)];
      end
      if (act_ready && act_at < 32'(act_beats * repeats)) begin
        act_at <= act_at + 1;
        act    <= acts[(act_at + 1) % 32'(act_beats)];
      end
      if (result_valid) begin
        if (taken < 32'(results)) $fdisplay(result_handle, "%b %h", result_last, result);
        taken <= taken + 1;
        if (taken + 1 == 32'(results * repeats)) begin
          $fclose(result_handle);
          $display("clocks %0d", clocks + 1);
          $finish;
        end
      end
    end
  end

endmodule
