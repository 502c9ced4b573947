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
// {final, fp16, scale kind [1:0], format}.

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

  // Weights of the block become the terms of the step.
  logic [Rows-1:0][Lanes-1:0]                   sign_q, man_q;
  logic [Rows-1:0][Lanes-1:0][ExponentBits-1:0] exponent_q;
  logic [Rows-1:0][Lanes-1:0][MaxSteps-1:0]     has_term;
  for (genvar row = 0; row < Rows; row++) begin : gen_row
    for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
      term_t term;
      weight_decoder #(
        .ExponentBits (ExponentBits),
        .Formats      (Formats)
      ) u_weight_decoder (
        .format_i   (format),
        .selector_i (header[row][25:24]),
        .code_i     (codes[row][8*lane+:8]),
        .step_i     (step),
        .term_o     (term),
        .man_o      (has_term[row][lane])
      );
      always_ff @(posedge clk_i) begin
        sign_q[row][lane]     <= term.sign;
        man_q[row][lane]      <= term.man;
        exponent_q[row][lane] <= term.exp[ExponentBits-1:0];
      end
    end
  end

  // A step is needed if a lane has a term in some row and an activation in some column. The first
  // one adds the activations up, too.
  logic [Columns-1:0][Lanes-1:0] nonzero;
  logic [Lanes-1:0]              any_nonzero;
  always_comb begin
    any_nonzero = '0;
    for (int unsigned column = 0; column < Columns; column++) any_nonzero |= nonzero[column];
    needed = '0;
    for (int unsigned row = 0; row < Rows; row++) begin
      for (int unsigned lane = 0; lane < Lanes; lane++) begin
        if (any_nonzero[lane]) needed |= has_term[row][lane];
      end
    end
    if (corrects && any_nonzero != '0) needed[0] = 1'b1;
  end

  // Control follows the operands through the PEs: edge registers, sum, accumulator, chain.
  logic       edge_valid_q, edge_first_q, edge_last_q, ones_q;
  logic       sum_valid_q, sum_first_q, sum_last_q, load_q;
  logic [2:0] edge_significance_q, sum_significance_q;
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
    ones_q              <= corrects && step == '0;
    sum_first_q         <= edge_first_q;
    sum_last_q          <= edge_last_q;
    sum_significance_q  <= edge_significance_q;
  end

  // What the drain needs of a group is kept when its last step is issued.
  logic [Rows-1:0][7:0]  drain_scale_q;
  logic [Rows-1:0][15:0] drain_correction_q;
  logic [Rows-1:0][31:0] drain_factor_q;
  scale_e                drain_kind_q;
  logic                  drain_corrects_q, drain_final_q, drain_fp16_q, drain_first_q, job_first_q;
  logic signed [5:0]     drain_unit_q;
  logic [Columns-1:0]    nonfinite, nonfinite_q, drain_nonfinite_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      job_first_q <= 1'b1;
      nonfinite_q <= '0;
    end else begin
      if (pop) job_first_q <= final_group;
      if (pop && final_group) nonfinite_q <= '0;
      else if (issue) nonfinite_q <= nonfinite_q | nonfinite;
    end
  end
  always_ff @(posedge clk_i) begin
    if (pop) begin
      for (int unsigned row = 0; row < Rows; row++) begin
        drain_scale_q[row]      <= header[row][7:0];
        drain_correction_q[row] <= header[row][23:8];
        drain_factor_q[row]     <= factors[row][31:0];
      end
      drain_kind_q      <= scale_kind;
      drain_corrects_q  <= corrects;
      drain_final_q     <= final_group;
      drain_fp16_q      <= fp16;
      drain_first_q     <= job_first_q;
      drain_unit_q      <= plan.unit;
      drain_nonfinite_q <= nonfinite_q | nonfinite;
    end
  end

  logic enable, multiply, start, digit_end, is_correction, is_factor, negate, row_end;
  logic [DigitBits-1:0] digit;
  logic signed [9:0]    exponent;
  drain_sequencer #(
    .Rows      (Rows),
    .DigitBits (DigitBits)
  ) u_drain_sequencer (
    .clk_i           (clk_i),
    .rst_ni          (rst_ni),
    .take_i          (pop),
    .load_i          (load_q),
    .scale_kind_i    (drain_kind_q),
    .corrects_i      (drain_corrects_q),
    .final_i         (drain_final_q),
    .scale_i         (drain_scale_q),
    .correction_i    (drain_correction_q),
    .factor_i        (drain_factor_q),
    .busy_o          (drain_busy),
    .enable_o        (enable),
    .multiply_o      (multiply),
    .start_o         (start),
    .end_o           (digit_end),
    .digit_o         (digit),
    .is_correction_o (is_correction),
    .is_factor_o     (is_factor),
    .negate_o        (negate),
    .exponent_o      (exponent),
    .row_end_o       (row_end),
    .out_valid_o     (result_valid_o),
    .out_ready_i     (result_ready_i),
    .out_last_o      (result_last_o)
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
      .term_sign_i     (sign_q),
      .term_man_i      (man_q),
      .term_exponent_i (exponent_q),
      .ones_i          (ones_q),
      .accumulate_i    (sum_valid_q),
      .first_i         (sum_first_q),
      .significance_i  (sum_significance_q),
      .load_i          (load_q),
      .enable_i        (enable),
      .multiply_i      (multiply),
      .start_i         (start),
      .end_i           (digit_end),
      .digit_i         (digit),
      .is_correction_i (is_correction),
      .is_factor_i     (is_factor),
      .negate_i        (negate),
      .row_end_i       (row_end),
      .exponent_i      (exponent),
      .first_group_i   (drain_first_q),
      .fp16_i          (drain_fp16_q),
      .nonfinite_i     (drain_nonfinite_q[column]),
      .unit_i          (drain_unit_q),
      .result_o        (result_data_o[column])
    );
  end

  logic unused;
  assign unused = ^{unused_user, unused_first, unused_second, header, factors};

`ifndef SYNTHESIS
  `ASSERT(PacketsAgree, !(weight_valid && act_valid) ||
          32'(weight_count) == 32'(act_count) + 32'd1 + 32'(final_group))
  `ASSERT(KnownScale, !weight_valid || scale_kind <= ScaleE4m3)
  `ASSERT(CanCorrect, !weight_valid || HasCorrection || !plan.is_asymmetric)
  `ASSERT(LoadsBetweenGroups, !(load_q && sum_valid_q && !sum_first_q))
  `ASSERT(FormatIsTaken, !weight_valid || Formats[format])
`endif

endmodule
