// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// A small tile behind its AXI-Stream ports, with the ports of the tile: what coverage is taken of.

module covered_tile
  import pe_pkg::*;
  import terms_pkg::*;
#(
  parameter activation_e Activation    = ActFp16,
  parameter int unsigned ExponentBits  = 5,
  parameter int unsigned DigitBits     = 2,
  parameter bit          SkipZeroSteps = 1'b0,

  localparam int unsigned Rows    = 2,
  localparam int unsigned Columns = 2,
  localparam int unsigned Lanes   = 4,
  localparam int unsigned ActBits = act_bits(Activation)
) (
  input  logic                                       clk_i,
  input  logic                                       rst_ni,
  input  logic                                       weight_valid_i,
  output logic                                       weight_ready_o,
  input  logic [Rows-1:0][31:0]                      weight_data_i,
  input  logic [FormatWidth+3:0]                     weight_user_i,
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

  axis_tile #(
    .Activation    (Activation),
    .Rows          (Rows),
    .Columns       (Columns),
    .Lanes         (Lanes),
    .ExponentBits  (ExponentBits),
    .MaxBlocks     (4),
    .DigitBits     (DigitBits),
    .SkipZeroSteps (SkipZeroSteps)
  ) u_axis_tile (
    .aclk_i                 (clk_i),
    .aresetn_i              (rst_ni),
    .s_axis_weight_tvalid_i (weight_valid_i),
    .s_axis_weight_tready_o (weight_ready_o),
    .s_axis_weight_tdata_i  (weight_data_i),
    .s_axis_weight_tuser_i  (weight_user_i),
    .s_axis_weight_tlast_i  (weight_last_i),
    .s_axis_act_tvalid_i    (act_valid_i),
    .s_axis_act_tready_o    (act_ready_o),
    .s_axis_act_tdata_i     (act_data_i),
    .s_axis_act_tlast_i     (act_last_i),
    .m_axis_result_tvalid_o (result_valid_o),
    .m_axis_result_tready_i (result_ready_i),
    .m_axis_result_tdata_o  (result_data_o),
    .m_axis_result_tlast_o  (result_last_o)
  );

endmodule
