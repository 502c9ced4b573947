// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Registers of axil_tile behind AXI4-Lite; registers_pkg.sv has their places.
//
// One write and one read at a time: an address and its data are taken in any order and kept, and
// nothing more until the response has been taken. All outputs to the bus are registers or come from
// them alone. What is not mapped or may not be done is answered with SLVERR and does nothing.

module axil_registers
  import pe_pkg::*;
  import registers_pkg::*;
#(
  parameter geometry_t   Geometry   = '0,
  parameter arithmetic_t Arithmetic = '0,
  parameter int unsigned MaxBlocks  = 32,
  parameter logic [63:0] Formats    = '1   // bit n: the format of number n may be started
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  // AXI4-Lite.
  input  logic                   awvalid_i,
  output logic                   awready_o,
  input  logic [AddressBits-1:0] awaddr_i,
  input  logic                   wvalid_i,
  output logic                   wready_o,
  input  logic [31:0]            wdata_i,
  input  logic [3:0]             wstrb_i,
  output logic                   bvalid_o,
  input  logic                   bready_i,
  output logic [1:0]             bresp_o,
  input  logic                   arvalid_i,
  output logic                   arready_o,
  input  logic [AddressBits-1:0] araddr_i,
  output logic                   rvalid_o,
  input  logic                   rready_i,
  output logic [31:0]            rdata_o,
  output logic [1:0]             rresp_o,
  // The run.
  output logic                   start_o,        // for a clock
  output logic                   clear_o,        // the counters, for a clock
  output logic                   acknowledge_o,  // done was seen, for a clock
  output format_t                format_o,
  output logic [31:0]            jobs_o,
  input  status_t                status_i,
  input  counters_t              counters_i
);

  localparam logic [1:0] Okay   = 2'b00;
  localparam logic [1:0] SlvErr = 2'b10;

  format_t     format_q;
  logic [31:0] jobs_q;
  assign format_o = format_q;
  assign jobs_o   = jobs_q;

  // A write waits for its address and its data.
  logic        has_address_q, has_data_q, write, refused;
  register_e   address_q;
  logic [31:0] data_q;
  logic [3:0]  strobe_q;
  assign awready_o = !(has_address_q || bvalid_o);
  assign wready_o  = !(has_data_q || bvalid_o);
  assign write     = has_address_q && has_data_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      has_address_q <= 1'b0;
      has_data_q    <= 1'b0;
      bvalid_o      <= 1'b0;
    end else begin
      if (awvalid_i && awready_o) has_address_q <= 1'b1;
      if (wvalid_i && wready_o) has_data_q <= 1'b1;
      if (bready_i) bvalid_o <= 1'b0;
      if (write) begin
        has_address_q <= 1'b0;
        has_data_q    <= 1'b0;
        bvalid_o      <= 1'b1;
      end
    end
  end
  always_ff @(posedge clk_i) begin
    if (awready_o) address_q <= register_e'(awaddr_i[AddressBits-1:2]);
    if (wready_o) {data_q, strobe_q} <= {wdata_i, wstrb_i};
    if (write) bresp_o <= refused ? SlvErr : Okay;
  end

  // What a write does. Bytes without a strobe are not written: a bit there is no command.
  function automatic logic [31:0] merged(logic [31:0] old, logic [31:0] data, logic [3:0] strobe);
    for (int unsigned i = 0; i < 4; i++) merged[8*i+:8] = strobe[i] ? data[8*i+:8] : old[8*i+:8];
  endfunction

  logic     can_start;
  control_t control;
  status_t  cleared;
  format_t  format;
  assign can_start = !status_i.running && jobs_q != '0 && Formats[format_q.number] &&
                     format_q.scale <= ScaleE4m3;
  assign control   = control_t'(merged('0, data_q, strobe_q));
  assign cleared   = status_t'(merged('0, data_q, strobe_q));
  assign format    = format_t'(merged(format_q, data_q, strobe_q));
  always_comb begin
    case (address_q)
      RegControl:         refused = control.start && !can_start;
      RegStatus:          refused = 1'b0;
      RegFormat, RegJobs: refused = status_i.running;
      default:            refused = 1'b1;
    endcase
  end
  assign start_o       = write && !refused && address_q == RegControl && control.start;
  assign clear_o       = write && !refused && address_q == RegControl && control.clear;
  assign acknowledge_o = write && address_q == RegStatus && cleared.done;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      format_q <= '0;
      jobs_q   <= '0;
    end else if (write && !refused) begin
      if (address_q == RegFormat) format_q <= '{
          reserved: '0, fp16: format.fp16, scale: format.scale, number: format.number};
      if (address_q == RegJobs) jobs_q <= merged(jobs_q, data_q, strobe_q);
    end
  end

  // Reads.
  logic [31:0] value;
  logic        is_mapped;
  always_comb begin
    is_mapped = 1'b1;
    value     = '0;
    case (register_e'(araddr_i[AddressBits-1:2]))
      RegIdentity:      value = Identity;
      RegVersion:       value = Version;
      RegGeometry:      value = Geometry;
      RegArithmetic:    value = Arithmetic;
      RegMaxBlocks:     value = MaxBlocks;
      RegFormatsLow:    value = Formats[31:0];
      RegFormatsHigh:   value = Formats[63:32];
      RegControl:       value = '0;
      RegStatus:        value = status_i;
      RegFormat:        value = format_q;
      RegJobs:          value = jobs_q;
      RegClocks:        value = counters_i.clocks;
      RegWeightPackets: value = counters_i.weight_packets;
      RegActPackets:    value = counters_i.act_packets;
      RegResultBeats:   value = counters_i.result_beats;
      RegWeightStalls:  value = counters_i.weight_stalls;
      RegActStalls:     value = counters_i.act_stalls;
      RegResultStalls:  value = counters_i.result_stalls;
      default:          is_mapped = 1'b0;
    endcase
  end
  assign arready_o = !rvalid_o;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) rvalid_o <= 1'b0;
    else if (arready_o) rvalid_o <= arvalid_i;
    else if (rready_i) rvalid_o <= 1'b0;
  end
  always_ff @(posedge clk_i) begin
    if (arready_o) begin
      rdata_o <= value;
      rresp_o <= is_mapped ? Okay : SlvErr;
    end
  end

  // The bus gives whole words; the tile's own bits lie where the types say.
  logic unused;
  assign unused = ^{awaddr_i[1:0], araddr_i[1:0], control, cleared, format};

endmodule
