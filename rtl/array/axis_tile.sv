// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Tile behind AXI4-Stream: weights and activations in, results out; see tile.sv for the packets.
//
// TLAST ends a group; TUSER of a weight packet's first beat is the group's control. TKEEP and
// TSTRB are not needed: every byte of a beat counts. A reset is synchronous and active low.

`include "assertions.svh"

module axis_tile
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
  parameter bit                    HasCorrection   = 1'b1,
  parameter bit                    SkipZeroSteps   = 1'b0,
  parameter logic [NumFormats-1:0] Formats         = '1,

  localparam int unsigned WordBits   = (8 * Lanes > 32) ? 8 * Lanes : 32,
  localparam int unsigned WeightBits = Rows * WordBits,
  localparam int unsigned ActBits    = Columns * Lanes * act_bits(Activation),
  localparam int unsigned ResultBits = Columns * 32,
  localparam int unsigned UserBits   = FormatWidth + 4
) (
  input  logic                  aclk_i,
  input  logic                  aresetn_i,
  input  logic                  s_axis_weight_tvalid_i,
  output logic                  s_axis_weight_tready_o,
  input  logic [WeightBits-1:0] s_axis_weight_tdata_i,
  input  logic [UserBits-1:0]   s_axis_weight_tuser_i,
  input  logic                  s_axis_weight_tlast_i,
  input  logic                  s_axis_act_tvalid_i,
  output logic                  s_axis_act_tready_o,
  input  logic [ActBits-1:0]    s_axis_act_tdata_i,
  input  logic                  s_axis_act_tlast_i,
  output logic                  m_axis_result_tvalid_o,
  input  logic                  m_axis_result_tready_i,
  output logic [ResultBits-1:0] m_axis_result_tdata_o,
  output logic                  m_axis_result_tlast_o
);

  tile #(
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
    .clk_i          (aclk_i),
    .rst_ni         (aresetn_i),
    .weight_valid_i (s_axis_weight_tvalid_i),
    .weight_ready_o (s_axis_weight_tready_o),
    .weight_data_i  (s_axis_weight_tdata_i),
    .weight_user_i  (s_axis_weight_tuser_i),
    .weight_last_i  (s_axis_weight_tlast_i),
    .act_valid_i    (s_axis_act_tvalid_i),
    .act_ready_o    (s_axis_act_tready_o),
    .act_data_i     (s_axis_act_tdata_i),
    .act_last_i     (s_axis_act_tlast_i),
    .result_valid_o (m_axis_result_tvalid_o),
    .result_ready_i (m_axis_result_tready_i),
    .result_data_o  (m_axis_result_tdata_o),
    .result_last_o  (m_axis_result_tlast_o)
  );

`ifndef SYNTHESIS
  // AXI4-Stream: a beat that is shown stays until it is taken. ping_pong_buffer asks it of others.
  `ASSERT(ResultIsHeld, !$past(m_axis_result_tvalid_o && !m_axis_result_tready_i && aresetn_i) ||
          (m_axis_result_tvalid_o && {m_axis_result_tdata_o, m_axis_result_tlast_o} ==
           $past({m_axis_result_tdata_o, m_axis_result_tlast_o})), aclk_i, aresetn_i)
`endif

endmodule
