// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Tile: Rows x Columns processing elements, weights broadcast along rows, activations along columns.
//
// A packet of weights is a group of inputs for every row: a beat of headers, a beat of row factors
// if results leave after this group, then a beat a block with the codes of all lanes. A packet of
// activations has a beat a block with the words of all columns. Both are buffered twice. Results
// leave a row at a time, a beat with one value a column.
//
// Words of a row, 32 bits or wider: header {selector [25:24], correction [23:8], scale [7:0]},
// factor FP32, codes 8 bits a lane, lane 0 lowest. The side band of a header beat is
// {final, fp16, scale kind [1:0], format}, all groups of a result alike but for final.

`include "assertions.svh"

module tile
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
  parameter int unsigned           MaxBlocks       = 32,  // of a group: its weights / Lanes
  parameter int unsigned           DigitBits       = 2,   // of a scale, multiplied a clock
  parameter bit                    HasCorrection   = 1'b1,
  parameter bit                    SkipZeroSteps   = 1'b0,
  parameter logic [NumFormats-1:0] Formats         = '1,

  localparam int unsigned WordBits = (8 * Lanes > 32) ? 8 * Lanes : 32,
  localparam int unsigned ActBits  = act_bits(Activation),
  localparam int unsigned UserBits = FormatWidth + 4
) (
  input  logic                                       clk_i,
  input  logic                                       rst_ni,
  input  logic                                       weight_valid_i,
  output logic                                       weight_ready_o,
  input  logic [Rows-1:0][WordBits-1:0]              weight_data_i,
  input  logic [UserBits-1:0]                        weight_user_i,
  input  logic                                       weight_last_i,
  input  logic                                       act_valid_i,
  output logic                                       act_ready_o,
  input  logic [Columns-1:0][Lanes-1:0][ActBits-1:0] act_data_i,
  input  logic                                       act_last_i,
  output logic                                       result_valid_o,
  input  logic                                       result_ready_i,
  output logic [Columns-1:0][31:0]                   result_data_o,
  output logic                                       result_last_o
);

  `ASSERT_PARAMETER(Rows, Rows >= 1 && Rows <= 64)
  `ASSERT_PARAMETER(Columns, Columns >= 1 && Columns <= 64)
  `ASSERT_PARAMETER(Lanes, Lanes >= 1 && Lanes <= 16)
  `ASSERT_PARAMETER(ExponentBits, ExponentBits >= 2 && ExponentBits <= 5)
  `ASSERT_PARAMETER(GuardBits, GuardBits <= 16)
  `ASSERT_PARAMETER(AccumulatorBits, AccumulatorBits >= 8 && AccumulatorBits <= 28)
  `ASSERT_PARAMETER(Digits, DigitBits == 1 || DigitBits == 2 || DigitBits == 4 || DigitBits == 8)
  `ASSERT_PARAMETER(MaxBlocks, MaxBlocks >= 1 && MaxBlocks * Lanes <= MaxGroup)
  `ASSERT_PARAMETER(GroupSteps, MaxBlocks * MaxSteps <= max_steps(
      Activation, ExponentBits, GuardBits, Lanes, AccumulatorBits))
  `ASSERT_PARAMETER(Widths, step_bits(Activation, GuardBits, Lanes) + MaxSignificance + 1 <= 30)

  localparam int unsigned Beats      = MaxBlocks + 2;
  localparam int unsigned BeatBits   = $clog2(Beats);
  localparam int unsigned BeatCount  = $clog2(Beats + 1);
  localparam int unsigned BlockBits  = (MaxBlocks > 1) ? $clog2(MaxBlocks) : 1;
  localparam int unsigned BlockCount = $clog2(MaxBlocks + 1);

  // Operand buffers.
  logic                                       weight_valid, act_valid, pop;
  logic [BeatCount-1:0]                       weight_count;
  logic [BlockCount-1:0]                      act_count;
  logic [UserBits-1:0]                        user;
  logic [Rows-1:0][WordBits-1:0]              header, factors, codes;
  logic [Columns-1:0][Lanes-1:0][ActBits-1:0] words;
  logic [BlockBits-1:0]                       block;
  logic                                       final_group;

  ping_pong_buffer #(
    .Width     (Rows * WordBits),
    .UserWidth (UserBits),
    .Depth     (Beats)
  ) u_weight_buffer (
    .clk_i     (clk_i),
    .rst_ni    (rst_ni),
    .valid_i   (weight_valid_i),
    .ready_o   (weight_ready_o),
    .data_i    (weight_data_i),
    .user_i    (weight_user_i),
    .last_i    (weight_last_i),
    .valid_o   (weight_valid),
    .count_o   (weight_count),
    .user_o    (user),
    .first_o   (header),
    .second_o  (factors),
    .address_i (BeatBits'(block) + BeatBits'(1) + BeatBits'(final_group)),
    .data_o    (codes),
    .pop_i     (pop)
  );

  logic                                       unused_user;
  logic [Columns-1:0][Lanes-1:0][ActBits-1:0] unused_first, unused_second;
  ping_pong_buffer #(
    .Width     (Columns * Lanes * ActBits),
    .UserWidth (1),
    .Depth     (MaxBlocks)
  ) u_act_buffer (
    .clk_i     (clk_i),
    .rst_ni    (rst_ni),
    .valid_i   (act_valid_i),
    .ready_o   (act_ready_o),
    .data_i    (act_data_i),
    .user_i    (1'b0),
    .last_i    (act_last_i),
    .valid_o   (act_valid),
    .count_o   (act_count),
    .user_o    (unused_user),
    .first_o   (unused_first),
    .second_o  (unused_second),
    .address_i (block),
    .data_o    (words),
    .pop_i     (pop)
  );

  // The group's control, and which step of which block is next.
  format_e   format;
  scale_e    scale_kind;
  schedule_t plan;
  logic      fp16, issue, first, last, drain_busy, corrects;
  logic [1:0]          step;
  logic [MaxSteps-1:0] needed;
  assign format      = format_e'(user[FormatWidth-1:0]);
  assign scale_kind  = scale_e'(user[FormatWidth+:2]);
  assign fp16        = user[FormatWidth+2];
  assign final_group = user[FormatWidth+3];
  assign plan        = schedule(format, ExponentBits);
  assign corrects    = HasCorrection && plan.is_asymmetric;
  assign pop         = issue && last;

  step_sequencer #(
    .MaxSteps      (MaxSteps),
    .BlockBits     (BlockBits),
    .CountBits     (BlockCount),
    .SkipZeroSteps (SkipZeroSteps)
  ) u_step_sequencer (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .valid_i      (weight_valid && act_valid),
    .blocks_i     (act_count),
    .steps_i      (plan.steps),
    .needed_i     (needed),
    .drain_busy_i (drain_busy),
    .issue_o      (issue),
    .block_o      (block),
    .step_o       (step),
    .first_o      (first),
    .last_o       (last)
  );

  // Weights of the block become the terms of the step. A lane without an activation in any column
  // needs none.
  logic [Rows-1:0][Lanes-1:0]                   term_sign, term_man;
  logic [Rows-1:0][Lanes-1:0][ExponentBits-1:0] term_exponent;
  logic                                         ones;
  logic [Rows-1:0][1:0]                         selector;
  logic [Columns-1:0][Lanes-1:0]                nonzero;
  logic [Lanes-1:0]                             any_nonzero;
  always_comb begin
    any_nonzero = '0;
    for (int unsigned column = 0; column < Columns; column++) any_nonzero |= nonzero[column];
    for (int unsigned row = 0; row < Rows; row++) selector[row] = header[row][25:24];
  end

  weight_terms #(
    .Rows         (Rows),
    .Lanes        (Lanes),
    .ExponentBits (ExponentBits),
    .WordBits     (WordBits),
    .Formats      (Formats)
  ) u_weight_terms (
    .clk_i         (clk_i),
    .format_i      (format),
    .selector_i    (selector),
    .ones_i        (corrects),
    .codes_i       (codes),
    .any_nonzero_i (any_nonzero),
    .step_i        (step),
    .needed_o      (needed),
    .sign_o        (term_sign),
    .man_o         (term_man),
    .exponent_o    (term_exponent),
    .ones_o        (ones)
  );

  // Control follows the operands through the PEs: edge registers, sum, accumulator, chain.
  logic          edge_valid_q, edge_first_q, edge_last_q;
  logic          sum_valid_q, sum_first_q, sum_last_q, load_q;
  logic [2:0]    edge_significance_q, sum_significance_q;
  step_control_t step_control;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      edge_valid_q <= 1'b0;
      sum_valid_q  <= 1'b0;
      load_q       <= 1'b0;
    end else begin
      edge_valid_q <= issue;
      sum_valid_q  <= edge_valid_q;
      load_q       <= sum_valid_q && sum_last_q;
    end
  end
  always_ff @(posedge clk_i) begin
    edge_first_q        <= first;
    edge_last_q         <= last;
    edge_significance_q <= plan.significance[3*step+:3];
    sum_first_q         <= edge_first_q;
    sum_last_q          <= edge_last_q;
    sum_significance_q  <= edge_significance_q;
  end
  assign step_control = '{load: load_q, significance: sum_significance_q, first: sum_first_q,
                          accumulate: sum_valid_q};

  drain_control_t     drain_control;
  group_control_t     group_control;
  logic [Columns-1:0] nonfinite, drain_nonfinite;
  drain #(
    .Rows      (Rows),
    .Columns   (Columns),
    .WordBits  (WordBits),
    .DigitBits (DigitBits)
  ) u_drain (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .issue_i      (issue),
    .last_i       (last),
    .header_i     (header),
    .factors_i    (factors),
    .scale_kind_i (scale_kind),
    .corrects_i   (corrects),
    .final_i      (final_group),
    .fp16_i       (fp16),
    .unit_i       (plan.unit),
    .nonfinite_i  (nonfinite),
    .load_i       (load_q),
    .busy_o       (drain_busy),
    .drain_o      (drain_control),
    .group_o      (group_control),
    .nonfinite_o  (drain_nonfinite),
    .out_valid_o  (result_valid_o),
    .out_ready_i  (result_ready_i),
    .out_last_o   (result_last_o)
  );

  for (genvar column = 0; column < Columns; column++) begin : gen_column
    pe_column #(
      .Activation      (Activation),
      .Rows            (Rows),
      .Lanes           (Lanes),
      .ExponentBits    (ExponentBits),
      .GuardBits       (GuardBits),
      .AccumulatorBits (AccumulatorBits),
      .HasCorrection   (HasCorrection),
      .DigitBits       (DigitBits)
    ) u_pe_column (
      .clk_i           (clk_i),
      .rst_ni          (rst_ni),
      .words_i         (words[column]),
      .nonzero_o       (nonzero[column]),
      .nonfinite_o     (nonfinite[column]),
      .term_sign_i     (term_sign),
      .term_man_i      (term_man),
      .term_exponent_i (term_exponent),
      .ones_i          (ones),
      .step_control_i  (step_control),
      .drain_i         (drain_control),
      .group_i         (group_control),
      .nonfinite_i     (drain_nonfinite[column]),
      .result_o        (result_data_o[column])
    );
  end

  logic unused;
  assign unused = ^{unused_user, unused_first, unused_second, header};

`ifndef SYNTHESIS
  `ASSERT(PacketsAgree, !(weight_valid && act_valid) ||
          32'(weight_count) == 32'(act_count) + 32'd1 + 32'(final_group))
  `ASSERT(KnownScale, !weight_valid || scale_kind <= ScaleE4m3)
  `ASSERT(CanCorrect, !weight_valid || HasCorrection || !plan.is_asymmetric)
  `ASSERT(LoadsBetweenGroups, !(load_q && sum_valid_q && !sum_first_q))
  `ASSERT(FormatIsTaken, !weight_valid || Formats[format])
`endif

endmodule
