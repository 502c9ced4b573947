// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Properties of ping_pong_buffer: no full bank is written, what is shown stays until it is popped,
// a packet's length is right, and every beat comes out as it went in.
//
// The environment pops only packets that are there, and sends none that is too long. All else is
// free. The last assertion follows one beat of one packet, any: watch_i says when the packet
// starts, which_i is the beat's place in it.

module ping_pong_buffer_proof #(
  parameter int unsigned Width = 2,
  parameter int unsigned Depth = 5,

  localparam int unsigned AddressBits = (Depth > 1) ? $clog2(Depth) : 1,
  localparam int unsigned CountBits   = $clog2(Depth + 1)
) (
  input logic                   clk_i,
  input logic                   rst_ni,
  input logic                   valid_i,
  input logic [Width-1:0]       data_i,
  input logic [0:0]             user_i,
  input logic                   last_i,
  input logic [AddressBits-1:0] address_i,
  input logic                   pop_i,
  input logic                   watch_i,
  input logic [AddressBits-1:0] which_i
);

  logic                 ready, valid;
  logic [CountBits-1:0] count;
  logic [0:0]           user;
  logic [Width-1:0]     first, second, data;
  ping_pong_buffer #(
    .Width     (Width),
    .UserWidth (1),
    .Depth     (Depth)
  ) u_dut (
    .clk_i     (clk_i),
    .rst_ni    (rst_ni),
    .valid_i   (valid_i),
    .ready_o   (ready),
    .data_i    (data_i),
    .user_i    (user_i),
    .last_i    (last_i),
    .valid_o   (valid),
    .count_o   (count),
    .user_o    (user),
    .first_o   (first),
    .second_o  (second),
    .address_i (address_i),
    .data_o    (data),
    .pop_i     (pop_i)
  );

  // The first clock is one of reset.
  logic started_q;
  initial started_q = 1'b0;
  always_ff @(posedge clk_i) started_q <= 1'b1;

  // Packets that are whole, and beats of the one that comes.
  logic                 push;
  logic [1:0]           whole_q;
  logic [CountBits-1:0] beats_q;
  assign push = valid_i && ready;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      whole_q <= '0;
      beats_q <= '0;
    end else begin
      whole_q <= whole_q + 2'(push && last_i) - 2'(pop_i);
      if (push) beats_q <= last_i ? '0 : beats_q + CountBits'(1);
    end
  end

  // What was shown in the clock before.
  logic                 held_q;
  logic [CountBits-1:0] count_q;
  logic [0:0]           user_q;
  logic [Width-1:0]     first_q, second_q, data_q;
  logic [AddressBits-1:0] address_q;
  always_ff @(posedge clk_i) begin
    held_q    <= rst_ni && valid && !pop_i;
    count_q   <= count;
    user_q    <= user;
    first_q   <= first;
    second_q  <= second;
    data_q    <= data;
    address_q <= address_i;
  end

  // The watched beat: how many packets stand before its own, whether it came, what it is.
  logic                   watched_q, seen_q, follows;
  logic [1:0]             ahead_q;
  logic [AddressBits-1:0] which_q;
  logic [Width-1:0]       wanted_q;
  logic [CountBits-1:0]   length_q;
  logic                   first_beat, whole_watched_q;
  assign first_beat = push && beats_q == '0 && watch_i && !watched_q;
  assign follows    = first_beat || (watched_q && !whole_watched_q);
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      watched_q       <= 1'b0;
      seen_q          <= 1'b0;
      whole_watched_q <= 1'b0;
    end else begin
      if (first_beat) begin
        watched_q <= 1'b1;
        which_q   <= which_i;
        ahead_q   <= whole_q - 2'(pop_i);
      end else if (pop_i) begin
        if (ahead_q != '0) ahead_q <= ahead_q - 2'd1;
        else if (watched_q) watched_q <= 1'b0;
      end
      if (follows && push) begin
        if (beats_q == CountBits'(first_beat ? which_i : which_q)) begin
          seen_q   <= 1'b1;
          wanted_q <= data_i;
        end else if (first_beat) begin
          seen_q <= 1'b0;
        end
        if (last_i) length_q <= beats_q + CountBits'(1);
        whole_watched_q <= last_i;
      end
    end
  end

  logic shows;
  assign shows = watched_q && whole_watched_q && ahead_q == '0;

  // Where the watched beat lies in the module.
  logic                       bank;
  logic [$clog2(2*Depth)-1:0] at;
  logic [1:0]                 counted;
  assign bank = whole_watched_q ? u_dut.read_bank_q ^ ahead_q[0] : u_dut.write_bank_q;
  assign at   = (bank ? $clog2(2 * Depth)'(Depth) : '0) + $clog2(2 * Depth)'(which_q);
  for (genvar i = 0; i < 2; i++) begin : gen_counted
    assign counted[i] = !u_dut.full_q[i] ||
        (u_dut.count_q[i] != '0 && 32'(u_dut.count_q[i]) <= Depth);
  end

  always_comb begin
    assume (started_q || !rst_ni);
    if (rst_ni) begin
      assume (!pop_i || valid);
      assume (!push || last_i || beats_q < CountBits'(Depth - 1));
    end
    if (started_q && rst_ni) begin
      NeverMoreThanTwo:  assert (whole_q <= 2'd2);
      ReadyWhereFree:    assert (ready == (whole_q < 2'd2));
      ValidWhereWhole:   assert (valid == (whole_q != '0));
      WithinDepth:       assert (!valid || (count != '0 && 32'(count) <= Depth));
      ValidStays:        assert (!held_q || valid);
      CountStays:        assert (!held_q || count == count_q);
      UserStays:         assert (!held_q || user == user_q);
      FirstStays:        assert (!held_q || first == first_q);
      SecondStays:       assert (!held_q || count < CountBits'(2) || second == second_q);
      DataStays:         assert (!held_q || address_i != address_q ||
                                 CountBits'(address_i) >= count || data == data_q);
      LengthIsRight:     assert (!shows || count == length_q);
      BeatComesOut:      assert (!shows || !seen_q || address_i != which_q || data == wanted_q);
      // What ties the model to the module's registers.
      TheSameIndex:      assert (u_dut.index_q == beats_q);
      BanksAreInOrder:   assert (u_dut.full_q[0] + u_dut.full_q[1] == whole_q);
      FullBankHasBeats:  assert (counted[0] && counted[1]);
      BeatsWithinDepth:  assert (beats_q < CountBits'(Depth));
      PlaceInTheQueue:   assert (!watched_q || (whole_watched_q ? ahead_q < whole_q :
                                                ahead_q == whole_q && beats_q != '0));
      SeenOnceThere:     assert (!watched_q || seen_q == (CountBits'(which_q) <
                                 (whole_watched_q ? length_q : beats_q)));
      LengthIsKept:      assert (!watched_q || !whole_watched_q ||
                                 u_dut.count_q[bank] == length_q);
      BeatIsKept:        assert (!watched_q || !seen_q || u_dut.beats_q[at] == wanted_q);
      NextIsRead:        assert ((u_dut.read_bank_q == u_dut.write_bank_q) == (whole_q != 2'd1));
    end
  end

endmodule
