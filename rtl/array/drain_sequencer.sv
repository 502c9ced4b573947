// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Drain sequencer: takes the results of a group out of the array, a row at a time.
//
// For each row it multiplies the result at the end of each column's chain by the group's scale,
// digit by digit, and for asymmetric formats the sum of activations by the row's correction; the
// columns round each product to FP32 and add it. After the last group it multiplies the sums by
// the rows' factors, and a beat of results leaves. One sequencer serves all columns.
//
// A product rests for a clock after its last digit, so that it stands still for two clocks: that is
// what rounding and addition have (see column_output).

`include "assertions.svh"

module drain_sequencer
  import pe_pkg::*;
#(
  parameter int unsigned Rows      = 8,
  parameter int unsigned DigitBits = 2,  // of a scale, multiplied a clock: 1, 2, 4 or 8

  localparam int unsigned RowBits = (Rows > 1) ? $clog2(Rows) : 1
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  // The group that is drained; stable while busy_o.
  input  logic                  take_i,        // its last step is issued: no other may be
  input  logic                  load_i,        // the chains are loaded at this clock's end
  input  scale_e                scale_kind_i,
  input  logic                  corrects_i,
  input  logic                  final_i,       // of its results
  input  logic [Rows-1:0][7:0]  scale_i,
  input  logic [Rows-1:0][15:0] correction_i,  // two's complement
  input  logic [Rows-1:0][31:0] factor_i,      // FP32
  output logic                  busy_o,
  // To the columns.
  output drain_control_t        drain_o,
  // A beat of results.
  output logic                  out_valid_o,
  input  logic                  out_ready_i,
  output logic                  out_last_o
);

  typedef enum logic [2:0] {Idle, Product, Correction, Flush, Factor} state_e;

  localparam int unsigned DigitsBits = $clog2(24 / DigitBits + 1);
  function automatic logic [DigitsBits-1:0] digits(int unsigned bits);
    return DigitsBits'((bits + DigitBits - 1) / DigitBits);
  endfunction

  localparam int unsigned FlushClocks = 3;

  state_e                state_q;
  logic                  busy_q, loaded_q;
  logic [RowBits-1:0]    row_q;
  logic [DigitsBits-1:0] digit_q;
  logic                  started_q;

  // The multiplier of this row and pass as an integer, and how many digits it has.
  logic [7:0]            scale;
  logic [15:0]           correction, correction_size;
  logic [23:0]           multiplier, factor_mantissa;
  logic [7:0]            factor_exponent;
  logic [DigitsBits-1:0] first_digit;
  logic signed [9:0]     scale_exponent, exponent;
  assign scale           = scale_i[row_q];
  assign correction      = correction_i[row_q];
  assign correction_size = (correction ^ {16{correction[15]}}) + 16'(correction[15]);
  assign factor_mantissa = {factor_i[row_q][30:23] != '0, factor_i[row_q][22:0]};
  assign factor_exponent = factor_i[row_q][30:23] | 8'(factor_i[row_q][30:23] == '0);

  always_comb begin
    multiplier     = {16'b0, scale};
    first_digit    = digits(8);
    scale_exponent = '0;
    unique case (scale_kind_i)
      ScaleE8m0: begin
        multiplier     = 24'd1;
        first_digit    = digits(1);
        scale_exponent = $signed(10'(scale)) - 10'sd127;
      end
      ScaleE4m3: begin
        multiplier     = {20'b0, scale[6:3] != '0, scale[2:0]};
        first_digit    = digits(4);
        scale_exponent = $signed(10'(scale[6:3] | 4'(scale[6:3] == '0))) - 10'sd10;
      end
      default: ;  // ScaleInt8
    endcase
    exponent = scale_exponent;
    if (state_q == Correction) begin
      multiplier  = {8'b0, correction_size};
      first_digit = digits(15);
    end
    if (state_q == Flush) first_digit = DigitsBits'(FlushClocks - 1);
    if (state_q == Factor) begin
      // An FP16 factor has 11 bits, a power of two's is 1.
      unique case (scale_kind_i)
        ScaleInt8: begin
          multiplier  = {13'b0, factor_mantissa[23:13]};
          first_digit = digits(11);
          exponent    = $signed(10'(factor_exponent)) - 10'sd137;
        end
        ScaleE8m0: begin
          multiplier  = {23'b0, factor_mantissa[23]};
          first_digit = digits(1);
          exponent    = $signed(10'(factor_exponent)) - 10'sd127;
        end
        default: begin
          multiplier  = factor_mantissa;
          first_digit = digits(24);
          exponent    = $signed(10'(factor_exponent)) - 10'sd150;
        end
      endcase
    end
  end

  logic                  active, multiply, whole, is_factor, enable;
  logic [DigitsBits-1:0] digit;  // how many there are left; 0: the product rests
  assign active  = state_q == Product || state_q == Correction || state_q == Factor;
  assign digit   = started_q ? digit_q : first_digit;
  assign multiply  = active && digit != '0;
  assign whole     = active && digit == '0;
  assign is_factor = state_q == Factor;

  // The last product of a result waits in the columns until a beat can leave.
  logic leaving_q, leaving_last_q, out_valid_q, out_last_q;
  assign enable      = !(leaving_q && out_valid_q && !out_ready_i);
  assign out_valid_o = out_valid_q;
  assign out_last_o  = out_last_q;

  logic row_ends, sweep_ends, finishes;
  assign row_ends   = whole && !(state_q == Product && corrects_i);
  assign sweep_ends = row_ends && row_q == RowBits'(Rows - 1);
  assign finishes   = sweep_ends && (state_q == Factor || !final_i);
  assign busy_o     = busy_q;

  assign drain_o = '{
    enable:        enable,
    multiply:      multiply,
    start:         !started_q,
    whole:         whole,
    row_end:       row_ends,
    is_correction: state_q == Correction,
    is_factor:     is_factor,
    negate:        state_q == Correction && correction[15],
    digit:         8'(DigitBits'(multiplier >> ((32'(digit) - 1) * DigitBits))),
    exponent:      exponent
  };

  state_e state_d;
  always_comb begin
    state_d = state_q;
    unique case (state_q)
      Idle:       if (loaded_q) state_d = Product;
      Product:    if (whole && corrects_i) state_d = Correction;
                  else if (sweep_ends) state_d = final_i ? Flush : Idle;
      Correction: if (sweep_ends) state_d = final_i ? Flush : Idle;
                  else if (whole) state_d = Product;
      Flush:      if (digit == '0) state_d = Factor;  // the last addition is done
      Factor:     if (sweep_ends) state_d = Idle;
      default:    state_d = Idle;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q        <= Idle;
      busy_q         <= 1'b0;
      loaded_q       <= 1'b0;
      row_q          <= '0;
      digit_q        <= '0;
      started_q      <= 1'b0;
      leaving_q      <= 1'b0;
      leaving_last_q <= 1'b0;
      out_valid_q    <= 1'b0;
      out_last_q     <= 1'b0;
    end else begin
      if (take_i) busy_q <= 1'b1;
      else if (finishes && enable) busy_q <= 1'b0;

      if (load_i) loaded_q <= 1'b1;
      else if (enable && state_q == Idle) loaded_q <= 1'b0;

      if (enable) begin
        state_q <= state_d;
        digit_q <= digit - DigitsBits'(1);
        started_q <= multiply || (state_q == Flush && digit != '0);
        if (sweep_ends) row_q <= '0;
        else if (row_ends) row_q <= row_q + RowBits'(1);
        leaving_q      <= is_factor && whole;
        leaving_last_q <= sweep_ends;
      end

      if (enable && leaving_q) begin
        out_valid_q <= 1'b1;
        out_last_q  <= leaving_last_q;
      end else if (out_ready_i) begin
        out_valid_q <= 1'b0;
      end
    end
  end

`ifndef SYNTHESIS
  `ASSERT(TakesWhenFree, !(take_i && busy_q))
  `ASSERT(LoadsWhatIsTaken, !(load_i && !busy_q))
  `ASSERT(FactorIsFinite, !(state_q == Factor && factor_exponent == 8'hff))
  `ASSERT(FactorIsPositive, !(state_q == Factor && factor_i[row_q][31]))
  // Rows that are not there have a factor of zero, and no sum.
  `ASSERT(FactorFits, state_q != Factor || factor_i[row_q] == '0 || scale_kind_i == ScaleE4m3 ||
          factor_mantissa[12:0] == '0)
  `ASSERT(ScaleIsANumber, state_q != Product || !(scale_kind_i == ScaleE8m0 && &scale ||
          scale_kind_i == ScaleE4m3 && (scale[7] || &scale[6:0])))
  `ASSERT(CorrectionFits, state_q != Correction || correction_size[15] == 1'b0)
  `ASSERT(ResultIsHeld, !$past(out_valid_q && !out_ready_i && rst_ni) || out_valid_q)
`endif

endmodule
