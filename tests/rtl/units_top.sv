// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Every module of the PE and the array with ports of its own, some with several parameter sets, so
// that one build serves all unit tests. Ports: <instance>_<port>.

module units_top
  import pe_pkg::*;
  import terms_pkg::*;
#(
  localparam logic [NumFormats-1:0] Few = (NumFormats'(1) << FmtInt4) | (NumFormats'(1) << FmtFp4)
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  // Weight decoders: term exponents of 2 and 5 bits, and one that takes two formats only.
  input  logic [FormatWidth-1:0]  wd_format_i,
  input  logic [1:0]              wd_selector_i,
  input  logic [7:0]              wd_code_i,
  input  logic [1:0]              wd_step_i,
  output logic [2:0][6:0]         wd_term_o,
  output logic [2:0][3:0]         wd_man_o,
  // Activation decoders: {nonfinite, nonzero, sign, exponent, mantissa} of each format.
  input  logic [15:0]             ad_word_i,
  output logic [18:0]             ad_fp16_o,
  output logic [18:0]             ad_bf16_o,
  output logic [10:0]             ad_e4m3_o,
  output logic [10:0]             ad_e5m2_o,
  output logic [11:0]             ad_int8_o,
  // Exponents: 4 lanes of FP16, 3 of BF16 with wide terms, 1 of FP8 E4M3.
  input  logic [3:0][4:0]         em4_act_i,
  input  logic [3:0][1:0]         em4_term_i,
  input  logic [3:0]              em4_nonzero_i,
  output logic [5:0]              em4_largest_o,
  output logic [3:0][5:0]         em4_gap_o,
  input  logic [2:0][7:0]         em3_act_i,
  input  logic [2:0][4:0]         em3_term_i,
  input  logic [2:0]              em3_nonzero_i,
  output logic [8:0]              em3_largest_o,
  output logic [2:0][8:0]         em3_gap_o,
  input  logic [0:0][3:0]         em1_act_i,
  input  logic [0:0][1:0]         em1_term_i,
  input  logic                    em1_nonzero_i,
  output logic [4:0]              em1_largest_o,
  output logic [0:0][4:0]         em1_gap_o,
  // Products: 4 lanes of FP16, 3 of BF16 without guard bits, 1 of FP8 E4M3.
  input  logic [3:0][10:0]        sm4_mantissa_i,
  input  logic [3:0]              sm4_negative_i,
  input  logic [3:0]              sm4_nonzero_i,
  input  logic [3:0][5:0]         sm4_gap_i,
  output logic [16:0]             sm4_sum_o,
  input  logic [2:0][7:0]         sm3_mantissa_i,
  input  logic [2:0]              sm3_negative_i,
  input  logic [2:0]              sm3_nonzero_i,
  input  logic [2:0][8:0]         sm3_gap_i,
  output logic [10:0]             sm3_sum_o,
  input  logic [0:0][3:0]         sm1_mantissa_i,
  input  logic                    sm1_negative_i,
  input  logic                    sm1_nonzero_i,
  input  logic [0:0][4:0]         sm1_gap_i,
  output logic [7:0]              sm1_sum_o,
  // Accumulators of 14 and 22 bits for sums of 17, and of 28 for sums of 9.
  input  logic [5:0]              ga_largest_i,
  input  logic [2:0]              ga_significance_i,
  input  logic                    ga_first_i,
  input  logic                    ga_normalize_i,
  input  logic [2:0][5:0]         ga_exponent_i,
  output logic [2:0][5:0]         ga_exponent_o,
  output logic [2:0][5:0]         ga_normal_exponent_o,
  input  logic [16:0]             ga17_sum_i,
  input  logic [8:0]              ga9_sum_i,
  input  logic [23:0]             ga14_wide_i,
  output logic [23:0]             ga14_wide_o,
  output logic [14:0]             ga14_normal_mantissa_o,
  input  logic [23:0]             ga22_wide_i,
  output logic [23:0]             ga22_wide_o,
  output logic [22:0]             ga22_normal_mantissa_o,
  input  logic [29:0]             ga28_wide_i,
  output logic [29:0]             ga28_wide_o,
  output logic [28:0]             ga28_normal_mantissa_o,
  // Dequantizers with digits of 1, 2 and 8 bits.
  input  logic [2:0]              dq_enable_i,
  input  logic [2:0]              dq_start_i,
  input  logic                    dq1_digit_i,
  input  logic [1:0]              dq2_digit_i,
  input  logic [7:0]              dq8_digit_i,
  input  logic [2:0][22:0]        dq_operand_i,
  output logic [2:0][30:0]        dq_product_o,
  // Rounders of 49 and 26 bits.
  input  logic [48:0]             fr49_value_i,
  input  logic [25:0]             fr26_value_i,
  input  logic [11:0]             fr_exponent_i,
  input  logic                    fr_fp16_i,
  output logic [31:0]             fr49_float_o,
  output logic [31:0]             fr26_float_o,
  // FP32 adder.
  input  logic [31:0]             u_add_a_i,
  input  logic [31:0]             u_add_b_i,
  output logic [31:0]             u_add_sum_o,
  // Step sequencers: all steps, and the needed ones.
  input  logic [1:0]              ss_valid_i,
  input  logic [5:0]              ss_blocks_i,
  input  logic [2:0]              ss_steps_i,
  input  logic [1:0][3:0]         ss_needed_i,
  input  logic                    ss_drain_busy_i,
  output logic [1:0]              ss_issue_o,
  output logic [1:0][4:0]         ss_block_o,
  output logic [1:0][1:0]         ss_step_o,
  output logic [1:0]              ss_first_o,
  output logic [1:0]              ss_last_o,
  // Ping-pong buffers of 5 beats and of 1.
  input  logic [1:0]              pp_valid_i,
  output logic [1:0]              pp_ready_o,
  input  logic [1:0][15:0]        pp_data_i,
  input  logic [1:0][3:0]         pp_user_i,
  input  logic [1:0]              pp_last_i,
  output logic [1:0]              pp_valid_o,
  output logic [2:0]              pp5_count_o,
  output logic                    pp1_count_o,
  output logic [1:0][3:0]         pp_user_o,
  output logic [1:0][15:0]        pp_first_o,
  output logic [1:0][15:0]        pp_second_o,
  input  logic [2:0]              pp5_address_i,
  output logic [1:0][15:0]        pp_data_o,
  input  logic [1:0]              pp_pop_i,
  // Drain sequencer, for its assertions.
  input  logic                    ds_take_i,
  input  logic                    ds_load_i,
  input  logic [31:0]             ds_factor_i,
  // The smallest tile, for its assertions.
  input  logic                    tile_weight_valid_i,
  output logic                    tile_weight_ready_o,
  input  logic [31:0]             tile_weight_data_i,
  input  logic [FormatWidth+3:0]  tile_weight_user_i,
  input  logic                    tile_weight_last_i,
  input  logic                    tile_act_valid_i,
  output logic                    tile_act_ready_o,
  input  logic [15:0]             tile_act_data_i,
  input  logic                    tile_act_last_i,
  output logic                    tile_result_valid_o,
  output logic [31:0]             tile_result_data_o,
  output logic                    tile_result_last_o
);

  weight_decoder #(.ExponentBits(2)) u_wd2 (
    .format_i   (format_e'(wd_format_i)),
    .selector_i (wd_selector_i),
    .code_i     (wd_code_i),
    .step_i     (wd_step_i),
    .term_o     (wd_term_o[0]),
    .man_o      (wd_man_o[0])
  );
  weight_decoder #(.ExponentBits(5)) u_wd5 (
    .format_i   (format_e'(wd_format_i)),
    .selector_i (wd_selector_i),
    .code_i     (wd_code_i),
    .step_i     (wd_step_i),
    .term_o     (wd_term_o[1]),
    .man_o      (wd_man_o[1])
  );
  weight_decoder #(.ExponentBits(2), .Formats(Few)) u_wd_few (
    .format_i   (format_e'(wd_format_i)),
    .selector_i (wd_selector_i),
    .code_i     (wd_code_i),
    .step_i     (wd_step_i),
    .term_o     (wd_term_o[2]),
    .man_o      (wd_man_o[2])
  );

  activation_decoder #(.Activation(ActFp16)) u_ad_fp16 (
    .word_i      (ad_word_i),
    .sign_o      (ad_fp16_o[16]),
    .exponent_o  (ad_fp16_o[15:11]),
    .mantissa_o  (ad_fp16_o[10:0]),
    .nonzero_o   (ad_fp16_o[17]),
    .nonfinite_o (ad_fp16_o[18])
  );
  activation_decoder #(.Activation(ActBf16)) u_ad_bf16 (
    .word_i      (ad_word_i),
    .sign_o      (ad_bf16_o[16]),
    .exponent_o  (ad_bf16_o[15:8]),
    .mantissa_o  (ad_bf16_o[7:0]),
    .nonzero_o   (ad_bf16_o[17]),
    .nonfinite_o (ad_bf16_o[18])
  );
  activation_decoder #(.Activation(ActFp8E4m3)) u_ad_e4m3 (
    .word_i      (ad_word_i[7:0]),
    .sign_o      (ad_e4m3_o[8]),
    .exponent_o  (ad_e4m3_o[7:4]),
    .mantissa_o  (ad_e4m3_o[3:0]),
    .nonzero_o   (ad_e4m3_o[9]),
    .nonfinite_o (ad_e4m3_o[10])
  );
  activation_decoder #(.Activation(ActFp8E5m2)) u_ad_e5m2 (
    .word_i      (ad_word_i[7:0]),
    .sign_o      (ad_e5m2_o[8]),
    .exponent_o  (ad_e5m2_o[7:3]),
    .mantissa_o  (ad_e5m2_o[2:0]),
    .nonzero_o   (ad_e5m2_o[9]),
    .nonfinite_o (ad_e5m2_o[10])
  );
  activation_decoder #(.Activation(ActInt8)) u_ad_int8 (
    .word_i      (ad_word_i[7:0]),
    .sign_o      (ad_int8_o[9]),
    .exponent_o  (ad_int8_o[8]),
    .mantissa_o  (ad_int8_o[7:0]),
    .nonzero_o   (ad_int8_o[10]),
    .nonfinite_o (ad_int8_o[11])
  );

  exponent_match #(.Lanes(4), .ActBits(5), .ExponentBits(2), .Bits(6)) u_em4 (
    .act_exponent_i  (em4_act_i),
    .term_exponent_i (em4_term_i),
    .nonzero_i       (em4_nonzero_i),
    .largest_o       (em4_largest_o),
    .gap_o           (em4_gap_o)
  );
  exponent_match #(.Lanes(3), .ActBits(8), .ExponentBits(5), .Bits(9)) u_em3 (
    .act_exponent_i  (em3_act_i),
    .term_exponent_i (em3_term_i),
    .nonzero_i       (em3_nonzero_i),
    .largest_o       (em3_largest_o),
    .gap_o           (em3_gap_o)
  );
  exponent_match #(.Lanes(1), .ActBits(4), .ExponentBits(2), .Bits(5)) u_em1 (
    .act_exponent_i  (em1_act_i),
    .term_exponent_i (em1_term_i),
    .nonzero_i       (em1_nonzero_i),
    .largest_o       (em1_largest_o),
    .gap_o           (em1_gap_o)
  );

  serial_multiply #(.Lanes(4), .MantissaBits(11), .GuardBits(3), .GapBits(6)) u_sm4 (
    .mantissa_i (sm4_mantissa_i),
    .negative_i (sm4_negative_i),
    .nonzero_i  (sm4_nonzero_i),
    .gap_i      (sm4_gap_i),
    .sum_o      (sm4_sum_o)
  );
  serial_multiply #(.Lanes(3), .MantissaBits(8), .GuardBits(0), .GapBits(9)) u_sm3 (
    .mantissa_i (sm3_mantissa_i),
    .negative_i (sm3_negative_i),
    .nonzero_i  (sm3_nonzero_i),
    .gap_i      (sm3_gap_i),
    .sum_o      (sm3_sum_o)
  );
  serial_multiply #(.Lanes(1), .MantissaBits(4), .GuardBits(3), .GapBits(5)) u_sm1 (
    .mantissa_i (sm1_mantissa_i),
    .negative_i (sm1_negative_i),
    .nonzero_i  (sm1_nonzero_i),
    .gap_i      (sm1_gap_i),
    .sum_o      (sm1_sum_o)
  );

  group_accumulator #(.SumBits(17), .AccumulatorBits(14)) u_ga14 (
    .sum_i             (ga17_sum_i),
    .largest_i         (ga_largest_i),
    .significance_i    (ga_significance_i),
    .first_i           (ga_first_i),
    .normalize_i       (ga_normalize_i),
    .wide_i            (ga14_wide_i),
    .exponent_i        (ga_exponent_i[0]),
    .wide_o            (ga14_wide_o),
    .exponent_o        (ga_exponent_o[0]),
    .normal_mantissa_o (ga14_normal_mantissa_o),
    .normal_exponent_o (ga_normal_exponent_o[0])
  );
  group_accumulator #(.SumBits(17), .AccumulatorBits(22)) u_ga22 (
    .sum_i             (ga17_sum_i),
    .largest_i         (ga_largest_i),
    .significance_i    (ga_significance_i),
    .first_i           (ga_first_i),
    .normalize_i       (ga_normalize_i),
    .wide_i            (ga22_wide_i),
    .exponent_i        (ga_exponent_i[1]),
    .wide_o            (ga22_wide_o),
    .exponent_o        (ga_exponent_o[1]),
    .normal_mantissa_o (ga22_normal_mantissa_o),
    .normal_exponent_o (ga_normal_exponent_o[1])
  );
  group_accumulator #(.SumBits(9), .AccumulatorBits(28)) u_ga28 (
    .sum_i             (ga9_sum_i),
    .largest_i         (ga_largest_i),
    .significance_i    (ga_significance_i),
    .first_i           (ga_first_i),
    .normalize_i       (ga_normalize_i),
    .wide_i            (ga28_wide_i),
    .exponent_i        (ga_exponent_i[2]),
    .wide_o            (ga28_wide_o),
    .exponent_o        (ga_exponent_o[2]),
    .normal_mantissa_o (ga28_normal_mantissa_o),
    .normal_exponent_o (ga_normal_exponent_o[2])
  );

  dequantizer #(.OperandBits(23), .ScaleBits(8), .DigitBits(1)) u_dq1 (
    .clk_i     (clk_i),
    .enable_i  (dq_enable_i[0]),
    .start_i   (dq_start_i[0]),
    .digit_i   (dq1_digit_i),
    .operand_i (dq_operand_i[0]),
    .product_o (dq_product_o[0])
  );
  dequantizer #(.OperandBits(23), .ScaleBits(8), .DigitBits(2)) u_dq2 (
    .clk_i     (clk_i),
    .enable_i  (dq_enable_i[1]),
    .start_i   (dq_start_i[1]),
    .digit_i   (dq2_digit_i),
    .operand_i (dq_operand_i[1]),
    .product_o (dq_product_o[1])
  );
  dequantizer #(.OperandBits(23), .ScaleBits(8), .DigitBits(8)) u_dq8 (
    .clk_i     (clk_i),
    .enable_i  (dq_enable_i[2]),
    .start_i   (dq_start_i[2]),
    .digit_i   (dq8_digit_i),
    .operand_i (dq_operand_i[2]),
    .product_o (dq_product_o[2])
  );

  float_rounder #(.ValueBits(49), .ExponentBits(12)) u_fr49 (
    .value_i    (fr49_value_i),
    .exponent_i (fr_exponent_i),
    .fp16_i     (fr_fp16_i),
    .float_o    (fr49_float_o)
  );
  float_rounder #(.ValueBits(26), .ExponentBits(12)) u_fr26 (
    .value_i    (fr26_value_i),
    .exponent_i (fr_exponent_i),
    .fp16_i     (fr_fp16_i),
    .float_o    (fr26_float_o)
  );

  fp32_adder u_add (
    .a_i   (u_add_a_i),
    .b_i   (u_add_b_i),
    .sum_o (u_add_sum_o)
  );

  for (genvar skip = 0; skip < 2; skip++) begin : gen_ss
    step_sequencer #(.BlockBits(5), .CountBits(6), .SkipZeroSteps(skip != 0)) u_ss (
      .clk_i        (clk_i),
      .rst_ni       (rst_ni),
      .valid_i      (ss_valid_i[skip]),
      .blocks_i     (ss_blocks_i),
      .steps_i      (ss_steps_i),
      .needed_i     (ss_needed_i[skip]),
      .drain_busy_i (ss_drain_busy_i),
      .issue_o      (ss_issue_o[skip]),
      .block_o      (ss_block_o[skip]),
      .step_o       (ss_step_o[skip]),
      .first_o      (ss_first_o[skip]),
      .last_o       (ss_last_o[skip])
    );
  end

  ping_pong_buffer #(.Width(16), .UserWidth(4), .Depth(5)) u_pp5 (
    .clk_i     (clk_i),
    .rst_ni    (rst_ni),
    .valid_i   (pp_valid_i[0]),
    .ready_o   (pp_ready_o[0]),
    .data_i    (pp_data_i[0]),
    .user_i    (pp_user_i[0]),
    .last_i    (pp_last_i[0]),
    .valid_o   (pp_valid_o[0]),
    .count_o   (pp5_count_o),
    .user_o    (pp_user_o[0]),
    .first_o   (pp_first_o[0]),
    .second_o  (pp_second_o[0]),
    .address_i (pp5_address_i),
    .data_o    (pp_data_o[0]),
    .pop_i     (pp_pop_i[0])
  );
  ping_pong_buffer #(.Width(16), .UserWidth(4), .Depth(1)) u_pp1 (
    .clk_i     (clk_i),
    .rst_ni    (rst_ni),
    .valid_i   (pp_valid_i[1]),
    .ready_o   (pp_ready_o[1]),
    .data_i    (pp_data_i[1]),
    .user_i    (pp_user_i[1]),
    .last_i    (pp_last_i[1]),
    .valid_o   (pp_valid_o[1]),
    .count_o   (pp1_count_o),
    .user_o    (pp_user_o[1]),
    .first_o   (pp_first_o[1]),
    .second_o  (pp_second_o[1]),
    .address_i (1'b0),
    .data_o    (pp_data_o[1]),
    .pop_i     (pp_pop_i[1])
  );

  logic           ds_busy, ds_valid, ds_last;
  drain_control_t ds_drain;
  drain_sequencer #(.Rows(1), .DigitBits(2)) u_ds (
    .clk_i        (clk_i),
    .rst_ni       (rst_ni),
    .take_i       (ds_take_i),
    .load_i       (ds_load_i),
    .scale_kind_i (ScaleInt8),
    .corrects_i   (1'b0),
    .final_i      (1'b1),
    .scale_i      (8'd1),
    .correction_i ('0),
    .factor_i     (ds_factor_i),
    .busy_o       (ds_busy),
    .drain_o      (ds_drain),
    .out_valid_o  (ds_valid),
    .out_ready_i  (1'b1),
    .out_last_o   (ds_last)
  );

  tile #(
    .Rows          (1),
    .Columns       (1),
    .Lanes         (1),
    .MaxBlocks     (2),
    .DigitBits     (8),
    .HasCorrection (1'b0),
    .Formats       ((NumFormats'(1) << FmtInt4Asym) | Few)
  ) u_tile (
    .clk_i          (clk_i),
    .rst_ni         (rst_ni),
    .weight_valid_i (tile_weight_valid_i),
    .weight_ready_o (tile_weight_ready_o),
    .weight_data_i  (tile_weight_data_i),
    .weight_user_i  (tile_weight_user_i),
    .weight_last_i  (tile_weight_last_i),
    .act_valid_i    (tile_act_valid_i),
    .act_ready_o    (tile_act_ready_o),
    .act_data_i     (tile_act_data_i),
    .act_last_i     (tile_act_last_i),
    .result_valid_o (tile_result_valid_o),
    .result_ready_i (1'b1),
    .result_data_o  (tile_result_data_o),
    .result_last_o  (tile_result_last_o)
  );

  logic unused;
  assign unused = ^{ds_busy, ds_valid, ds_last, ds_drain};

endmodule
