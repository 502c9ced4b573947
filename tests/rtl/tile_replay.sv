// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Replays a script (tests/rtl/tile_script.py) on a tile: what is driven in each clock, and what the
// tile must show before the clock's edge. With MUTANTS the tile is a netlist of many faulty ones,
// of which mutsel chooses one; the script runs once for each.
//
// Files, of +folder: INDEX.control has a word of 16 bits a clock, the others a beat a record, all
// with the most significant byte first. A beat is shown until the script says that it is over.

module tile_replay
  import pe_pkg::*;
  import terms_pkg::*;
#(
  parameter int unsigned           Index           = 0,
  parameter int unsigned           Mutants         = 0,
  parameter activation_e           Activation      = ActFp16,
  parameter int unsigned           Rows            = 8,
  parameter int unsigned           Columns         = 8,
  parameter int unsigned           Lanes           = 4,
  parameter int unsigned           ExponentBits    = 2,
  parameter int unsigned           GuardBits       = 3,
  parameter int unsigned           AccumulatorBits = 22,
  parameter int unsigned           MaxBlocks       = 32,
  parameter int unsigned           DigitBits       = 2,
  parameter bit                    HasCorrection   = 1'b1,
  parameter bit                    SkipZeroSteps   = 1'b0,
  parameter logic [NumFormats-1:0] Formats         = '1
) (
  input  logic clk_i,
  output logic done_o
);

  localparam int unsigned WeightBits = Rows * ((8 * Lanes > 32) ? 8 * Lanes : 32);
  localparam int unsigned ActBits    = Columns * Lanes * act_bits(Activation);
  localparam int unsigned UserBits   = FormatWidth + 4;

  // Whole bytes: what $fread takes.
  typedef struct packed {
    logic [15-UserBits-1:0] zero;
    logic                   last;
    logic [UserBits-1:0]    user;
    logic [WeightBits-1:0]  data;
  } weight_t;
  typedef struct packed {
    logic [6:0]         zero;
    logic               last;
    logic [ActBits-1:0] data;
  } act_t;
  typedef struct packed {
    logic [3:0] zero;
    logic       check;  // nothing is known of what a tile shows before its first reset
    logic       result_next;
    logic       act_next;
    logic       weight_next;
    logic       result_last;
    logic       result_valid;
    logic       act_ready;
    logic       weight_ready;
    logic       takes;
    logic       act_valid;
    logic       weight_valid;
    logic       rst_n;
  } control_t;

  weight_t               weight;
  act_t                  act;
  control_t              control;
  logic [Columns*32-1:0] result, wanted;
  logic                  weight_ready, act_ready, result_valid, result_last;

  // What is not valid is something else.
  logic [UserBits-1:0]   user;
  logic [WeightBits-1:0] weight_data;
  logic [ActBits-1:0]    act_data;
  logic                  weight_last, act_last;
  assign user        = weight.user ^ {UserBits{!control.weight_valid}};
  assign weight_data = weight.data ^ {WeightBits{!control.weight_valid}};
  assign weight_last = weight.last ^ !control.weight_valid;
  assign act_data    = act.data ^ {ActBits{!control.act_valid}};
  assign act_last    = act.last ^ !control.act_valid;

`ifdef MUTANTS
  localparam int unsigned SelectBits = $clog2(Mutants + 1);
  dut u_tile (
    .mutsel                 (SelectBits'(mutant)),
`else
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
    .HasCorrection   (HasCorrection),
    .SkipZeroSteps   (SkipZeroSteps),
    .Formats         (Formats)
  ) u_tile (
`endif
    .aclk_i                 (clk_i),
    .aresetn_i              (control.rst_n),
    .s_axis_weight_tvalid_i (control.weight_valid),
    .s_axis_weight_tready_o (weight_ready),
    .s_axis_weight_tdata_i  (weight_data),
    .s_axis_weight_tuser_i  (user),
    .s_axis_weight_tlast_i  (weight_last),
    .s_axis_act_tvalid_i    (control.act_valid),
    .s_axis_act_tready_o    (act_ready),
    .s_axis_act_tdata_i     (act_data),
    .s_axis_act_tlast_i     (act_last),
    .m_axis_result_tvalid_o (result_valid),
    .m_axis_result_tready_i (control.takes),
    .m_axis_result_tdata_o  (result),
    .m_axis_result_tlast_o  (result_last)
  );

  logic differs;
  assign differs = control.check && (
      weight_ready != control.weight_ready || act_ready != control.act_ready ||
      result_valid != control.result_valid ||
      (control.result_valid && (result != wanted || result_last != control.result_last)));

  int              controls, weights, acts, results, count;
  int unsigned     mutant;
  longint unsigned clocks;
  string           folder;

  // The next records, as $fread takes them: arrays.
  logic [$bits(control_t)-1:0] next_control [1];
  logic [$bits(weight_t)-1:0]  next_weight [1];
  logic [$bits(act_t)-1:0]     next_act [1];
  logic [Columns*32-1:0]       next_wanted [1];
  initial begin
    done_o = 1'b0;
    mutant = 0;
    clocks = 0;
    if (!$value$plusargs("folder=%s", folder)) $fatal(1, "+folder=FOLDER is missing");
    controls = $fopen($sformatf("%s/%0d.control", folder, Index), "rb");
    weights  = $fopen($sformatf("%s/%0d.weights", folder, Index), "rb");
    acts     = $fopen($sformatf("%s/%0d.acts", folder, Index), "rb");
    results  = $fopen($sformatf("%s/%0d.results", folder, Index), "rb");
    if (controls == 0 || weights == 0 || acts == 0 || results == 0) $fatal(1, "no %s", folder);
    void'($fread(next_control, controls));
    void'($fread(next_weight, weights));
    void'($fread(next_act, acts));
    void'($fread(next_wanted, results));
    control = next_control[0];
    weight  = next_weight[0];
    act     = next_act[0];
    wanted  = next_wanted[0];
  end

  // The edge samples what the tile shows; all is driven anew after it.
  logic ends;
  always @(posedge clk_i) begin
    if (!done_o) begin
      clocks <= clocks + 1;
      count = $fread(next_control, controls);
      ends  = differs || count == 0;
      if (ends) begin
        if (Mutants != 0) $display("mutant %0d %s", mutant, differs ? "differs" : "alive");
        else if (differs) begin
          $display("tile %0d differs in clock %0d: ready %b%b valid %b last %b %h, wanted %h %h",
                   Index, clocks, weight_ready, act_ready, result_valid, result_last, result,
                   control, wanted);
        end
        else $display("tile %0d equal for %0d clocks", Index, clocks + 1);
        done_o <= mutant == Mutants;
        mutant <= mutant + 1;
        void'($rewind(controls));
        void'($rewind(weights));
        void'($rewind(acts));
        void'($rewind(results));
        void'($fread(next_control, controls));
      end
      control <= next_control[0];
      if (ends || control.weight_next) begin
        void'($fread(next_weight, weights));
        weight <= next_weight[0];
      end
      if (ends || control.act_next) begin
        void'($fread(next_act, acts));
        act <= next_act[0];
      end
      if (ends || control.result_next) begin
        void'($fread(next_wanted, results));
        wanted <= next_wanted[0];
      end
    end
  end

endmodule
