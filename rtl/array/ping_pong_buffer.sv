// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Ping-pong buffer: packets of a stream, one bank filling while the other is read.
//
// A packet ends with last_i. The first two beats and the first beat's side band can be read beside
// any addressed beat. Packets longer than Depth are misuse.

`include "assertions.svh"

module ping_pong_buffer #(
  parameter int unsigned Width     = 32,
  parameter int unsigned UserWidth = 1,
  parameter int unsigned Depth     = 32,

  localparam int unsigned AddressBits = (Depth > 1) ? $clog2(Depth) : 1,
  localparam int unsigned CountBits   = $clog2(Depth + 1)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  // Stream in.
  input  logic                   valid_i,
  output logic                   ready_o,
  input  logic [Width-1:0]       data_i,
  input  logic [UserWidth-1:0]   user_i,
  input  logic                   last_i,
  // The whole packet that is read now.
  output logic                   valid_o,
  output logic [CountBits-1:0]   count_o,   // beats
  output logic [UserWidth-1:0]   user_o,    // of the first beat
  output logic [Width-1:0]       first_o,
  output logic [Width-1:0]       second_o,
  input  logic [AddressBits-1:0] address_i,
  output logic [Width-1:0]       data_o,
  input  logic                   pop_i
);

  logic [Width-1:0]          beats_q [2*Depth];
  logic [1:0]                full_q;
  logic [1:0][CountBits-1:0] count_q;
  logic [1:0][UserWidth-1:0] user_q;
  logic                      write_bank_q, read_bank_q;
  logic [CountBits-1:0]      index_q;

  // A beat's place: bank 1 lies above bank 0.
  localparam int unsigned PlaceBits = $clog2(2 * Depth);
  function automatic logic [PlaceBits-1:0] place(logic bank, logic [PlaceBits-1:0] index);
    return (bank ? PlaceBits'(Depth) : '0) + index;
  endfunction

  logic push;
  assign ready_o = !full_q[write_bank_q];
  assign push    = valid_i && ready_o;

  assign valid_o  = full_q[read_bank_q];
  assign count_o  = count_q[read_bank_q];
  assign user_o   = user_q[read_bank_q];
  assign first_o  = beats_q[place(read_bank_q, '0)];
  assign second_o = beats_q[place(read_bank_q, PlaceBits'((Depth > 1) ? 1 : 0))];
  assign data_o   = beats_q[place(read_bank_q, PlaceBits'(address_i))];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      full_q       <= '0;
      write_bank_q <= 1'b0;
      read_bank_q  <= 1'b0;
      index_q      <= '0;
    end else begin
      if (push) index_q <= last_i ? '0 : index_q + CountBits'(1);
      if (push && last_i) begin
        full_q[write_bank_q] <= 1'b1;
        write_bank_q         <= !write_bank_q;
      end
      if (pop_i) begin
        full_q[read_bank_q] <= 1'b0;
        read_bank_q         <= !read_bank_q;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (push) begin
      beats_q[place(write_bank_q, PlaceBits'(index_q))] <= data_i;
      count_q[write_bank_q] <= index_q + CountBits'(1);
      if (index_q == '0) user_q[write_bank_q] <= user_i;
    end
  end

`ifndef SYNTHESIS
  `ASSERT(PacketFits, !(push && index_q >= CountBits'(Depth)))
  `ASSERT(PopsAPacket, !(pop_i && !valid_o))
  `ASSERT(ValidIsHeld, !$past(valid_i && !ready_o && rst_ni) || valid_i)
  `ASSERT(BeatIsHeld, !$past(valid_i && !ready_o && rst_ni) ||
          {data_i, user_i, last_i} == $past({data_i, user_i, last_i}))
`endif

endmodule
