// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Tile with registers: axis_tile's streams behind a gate that AXI4-Lite opens for a run.
//
// A host writes the format and the number of jobs, then start; the tile takes that many jobs'
// packets, and irq_o rises after the last result. docs/rtl_reference.md has the registers. The side
// band of weights is the register's but for TUSER of a packet's first beat: results leave after
// this group. AWPROT and ARPROT are ignored. A reset is synchronous and active low.

module axil_tile
  import pe_pkg::*;
  import terms_pkg::*;
  import registers_pkg::*;
#(
  parameter activation_e           Activation      = ActFp16,  // FP16, BF16, FP8 E4M3, E5M2, INT8
  parameter int unsigned           Rows            = 8,        // output channels
  parameter int unsigned           Columns         = 8,        // tokens
  parameter int unsigned           Lanes           = 4,        // weights of a block
  parameter int unsigned           ExponentBits    = 2,        // of a term
  parameter int unsigned           GuardBits       = 3,        // of a product
  parameter int unsigned           AccumulatorBits = 22,       // of a group's sum
  parameter int unsigned           MaxBlocks       = 32,       // of a group: its weights / Lanes
  parameter int unsigned           DigitBits       = 2,        // of a scale, multiplied a clock
  parameter bit                    HasCorrection   = 1'b1,     // for asymmetric integers
  parameter bit                    SkipZeroSteps   = 1'b0,     // those without a product in any PE
  parameter logic [NumFormats-1:0] Formats         = '1,       // bit n: the format of number n

  localparam int unsigned WordBits   = (8 * Lanes > 32) ? 8 * Lanes : 32,
  localparam int unsigned WeightBits = Rows * WordBits,
  localparam int unsigned ActBits    = Columns * Lanes * act_bits(Activation),
  localparam int unsigned ResultBits = Columns * 32
) (
  input  logic                   aclk_i,
  input  logic                   aresetn_i,
  output logic                   irq_o,  // status.done
  // Registers.
  input  logic                   s_axil_awvalid_i,
  output logic                   s_axil_awready_o,
  input  logic [AddressBits-1:0] s_axil_awaddr_i,
  input  logic [2:0]             s_axil_awprot_i,
  input  logic                   s_axil_wvalid_i,
  output logic                   s_axil_wready_o,
  input  logic [31:0]            s_axil_wdata_i,
  input  logic [3:0]             s_axil_wstrb_i,
  output logic                   s_axil_bvalid_o,
  input  logic                   s_axil_bready_i,
  output logic [1:0]             s_axil_bresp_o,
  input  logic                   s_axil_arvalid_i,
  output logic                   s_axil_arready_o,
  input  logic [AddressBits-1:0] s_axil_araddr_i,
  input  logic [2:0]             s_axil_arprot_i,
  output logic                   s_axil_rvalid_o,
  input  logic                   s_axil_rready_i,
  output logic [31:0]            s_axil_rdata_o,
  output logic [1:0]             s_axil_rresp_o,
  // Streams.
  input  logic                   s_axis_weight_tvalid_i,
  output logic                   s_axis_weight_tready_o,
  input  logic [WeightBits-1:0]  s_axis_weight_tdata_i,
  input  logic                   s_axis_weight_tuser_i,  // final
  input  logic                   s_axis_weight_tlast_i,
  input  logic                   s_axis_act_tvalid_i,
  output logic                   s_axis_act_tready_o,
  input  logic [ActBits-1:0]     s_axis_act_tdata_i,
  input  logic                   s_axis_act_tlast_i,
  output logic                   m_axis_result_tvalid_o,
  input  logic                   m_axis_result_tready_i,
  output logic [ResultBits-1:0]  m_axis_result_tdata_o,
  output logic                   m_axis_result_tlast_o
);

  // The formats that this machine has terms for and that it was built with.
  function automatic logic [63:0] taken();
    schedule_t plan;
    taken = '0;
    for (int unsigned i = 0; i < NumFormats; i++) begin
      plan = schedule(format_e'(i[FormatWidth-1:0]), ExponentBits);
      taken[i] = Formats[i] && plan != '0 && (HasCorrection || !plan.is_asymmetric);
    end
  endfunction

  localparam geometry_t Geometry = '{
      reserved: '0, rows: 8'(Rows), columns: 8'(Columns), lanes: 8'(Lanes), activation: Activation};
  localparam arithmetic_t Arithmetic = '{
      reserved: '0, exponent_bits: 4'(ExponentBits), guard_bits: 8'(GuardBits),
      accumulator_bits: 8'(AccumulatorBits), digit_bits: 4'(DigitBits),
      has_correction: HasCorrection, skip_zero_steps: SkipZeroSteps};

  logic        start, clear, acknowledge;
  logic [31:0] jobs;
  format_t     format;
  status_t     status;
  counters_t   counters;
  assign irq_o = status.done;

  axil_registers #(
    .Geometry   (Geometry),
    .Arithmetic (Arithmetic),
    .MaxBlocks  (MaxBlocks),
    .Formats    (taken())
  ) u_axil_registers (
    .clk_i         (aclk_i),
    .rst_ni        (aresetn_i),
    .awvalid_i     (s_axil_awvalid_i),
    .awready_o     (s_axil_awready_o),
    .awaddr_i      (s_axil_awaddr_i),
    .wvalid_i      (s_axil_wvalid_i),
    .wready_o      (s_axil_wready_o),
    .wdata_i       (s_axil_wdata_i),
    .wstrb_i       (s_axil_wstrb_i),
    .bvalid_o      (s_axil_bvalid_o),
    .bready_i      (s_axil_bready_i),
    .bresp_o       (s_axil_bresp_o),
    .arvalid_i     (s_axil_arvalid_i),
    .arready_o     (s_axil_arready_o),
    .araddr_i      (s_axil_araddr_i),
    .rvalid_o      (s_axil_rvalid_o),
    .rready_i      (s_axil_rready_i),
    .rdata_o       (s_axil_rdata_o),
    .rresp_o       (s_axil_rresp_o),
    .start_o       (start),
    .clear_o       (clear),
    .acknowledge_o (acknowledge),
    .format_o      (format),
    .jobs_o        (jobs),
    .status_i      (status),
    .counters_i    (counters)
  );

  logic weight_open, weight_ready, act_open, act_ready;
  run_control #(
    .MaxBlocks (MaxBlocks)
  ) u_run_control (
    .clk_i          (aclk_i),
    .rst_ni         (aresetn_i),
    .start_i        (start),
    .clear_i        (clear),
    .acknowledge_i  (acknowledge),
    .jobs_i         (jobs),
    .status_o       (status),
    .counters_o     (counters),
    .weight_open_o  (weight_open),
    .weight_valid_i (s_axis_weight_tvalid_i),
    .weight_ready_i (weight_ready),
    .weight_final_i (s_axis_weight_tuser_i),
    .weight_last_i  (s_axis_weight_tlast_i),
    .act_open_o     (act_open),
    .act_valid_i    (s_axis_act_tvalid_i),
    .act_ready_i    (act_ready),
    .act_last_i     (s_axis_act_tlast_i),
    .result_valid_i (m_axis_result_tvalid_o),
    .result_ready_i (m_axis_result_tready_i),
    .result_last_i  (m_axis_result_tlast_o)
  );

  assign s_axis_weight_tready_o = weight_ready && weight_open;
  assign s_axis_act_tready_o    = act_ready && act_open;
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
  ) u_axis_tile (
    .aclk_i                 (aclk_i),
    .aresetn_i              (aresetn_i),
    .s_axis_weight_tvalid_i (s_axis_weight_tvalid_i && weight_open),
    .s_axis_weight_tready_o (weight_ready),
    .s_axis_weight_tdata_i  (s_axis_weight_tdata_i),
    .s_axis_weight_tuser_i  ({s_axis_weight_tuser_i, format.fp16, format.scale, format.number}),
    .s_axis_weight_tlast_i  (s_axis_weight_tlast_i),
    .s_axis_act_tvalid_i    (s_axis_act_tvalid_i && act_open),
    .s_axis_act_tready_o    (act_ready),
    .s_axis_act_tdata_i     (s_axis_act_tdata_i),
    .s_axis_act_tlast_i     (s_axis_act_tlast_i),
    .m_axis_result_tvalid_o (m_axis_result_tvalid_o),
    .m_axis_result_tready_i (m_axis_result_tready_i),
    .m_axis_result_tdata_o  (m_axis_result_tdata_o),
    .m_axis_result_tlast_o  (m_axis_result_tlast_o)
  );

  logic unused;
  assign unused = ^{s_axil_awprot_i, s_axil_arprot_i, format.reserved};

endmodule
