// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Rounds value_i * 2^exponent_i to FP32 or FP16: to nearest, ties to even, with subnormals, to Inf
// above the largest number. An exact zero gives +0. Combinational.
//
// The leading one is brought to the top by one shift to the left, then the bits that the format
// does not hold are cut by one shift to the right; what falls off decides the rounding.

`include "assertions.svh"

module float_rounder #(
  parameter int unsigned ValueBits    = 48,  // two's complement, at least 26
  parameter int unsigned ExponentBits = 12   // two's complement
) (
  input  logic signed [ValueBits-1:0]    value_i,
  input  logic signed [ExponentBits-1:0] exponent_i,
  input  logic                           fp16_i,
  output logic [31:0]                    float_o  // FP16 in the lower half
);

  `ASSERT_PARAMETER(ValueBits, ValueBits >= 26)
  `ASSERT_PARAMETER(ExponentBits, ExponentBits >= 8 && ExponentBits <= 30)
  `ASSERT_PARAMETER(RoomForBoth, ValueBits <= (1 << ExponentBits))

  localparam int unsigned Precision = 24;
  localparam int unsigned CountBits = $clog2(ValueBits);
  localparam int unsigned ScaleBits = ExponentBits + 2;

  logic                 sign;
  logic [ValueBits-1:0] magnitude, normal;
  logic [CountBits-1:0] leading_zeros;
  assign sign      = value_i[ValueBits-1];
  assign magnitude = ({ValueBits{sign}} ^ unsigned'(value_i)) + ValueBits'(sign);

  always_comb begin
    leading_zeros = '0;
    for (int unsigned i = 0; i < ValueBits; i++) begin
      if (magnitude[i]) leading_zeros = CountBits'(ValueBits - 1 - i);
    end
  end
  assign normal = magnitude << leading_zeros;

  // The biased exponent of the leading one, and how many bits below 1 it is (subnormals).
  logic signed [ScaleBits-1:0] bias, biased, short_of_normal, cut;
  assign bias   = fp16_i ? ScaleBits'(15) : ScaleBits'(127);
  assign biased = ScaleBits'(exponent_i) + bias + signed'(ScaleBits'(ValueBits - 1)) -
                  signed'(ScaleBits'(leading_zeros));
  assign short_of_normal = (biased < 1) ? ScaleBits'(1) - biased : ScaleBits'(0);
  assign cut = short_of_normal + (fp16_i ? ScaleBits'(13) : ScaleBits'(0));

  // The kept bits with the half below them; the rest is sticky. Beyond Precision + 1 all is lost.
  logic [5:0]             places;
  logic [Precision:0]     upper, kept_half;
  logic [2*Precision+1:0] shifted;
  logic                   sticky, half, odd, increment;
  assign places    = (cut > signed'(ScaleBits'(Precision + 1))) ? 6'(Precision + 1) : cut[5:0];
  assign upper     = normal[ValueBits-1-:Precision+1];
  assign shifted   = {upper, {(Precision + 1) {1'b0}}} >> places;
  assign kept_half = shifted[2*Precision+1-:Precision+1];
  assign sticky    = |shifted[Precision:0] || |normal[ValueBits-Precision-2:0] ||
                     (cut > signed'(ScaleBits'(Precision + 1)) && |normal);
  assign half      = kept_half[0];
  assign odd       = kept_half[1];
  assign increment = half && (sticky || odd);

  // A carry of the fraction moves into the exponent by itself, also out of the subnormals.
  logic [Precision:0]         rounded;
  logic                       carries;
  logic signed [ScaleBits-1:0] exponent, carried;
  assign rounded  = {1'b0, kept_half[Precision:1]} + (Precision + 1)'(increment);
  assign carries  = fp16_i ? rounded[11] : rounded[Precision];
  assign exponent = (biased < 1) ? ScaleBits'(0) : biased;
  assign carried  = exponent + signed'(ScaleBits'(carries));

  always_comb begin
    float_o = '0;
    if (fp16_i) begin
      if (carried > 30) float_o[15:0] = {sign, 15'h7c00};
      else if (biased < 1) float_o[15:0] = {sign, 4'b0, rounded[10:0]};
      else float_o[15:0] = {sign, carried[4:0], rounded[9:0]};
    end else begin
      if (carried > 254) float_o = {sign, 31'h7f80_0000};
      else if (biased < 1) float_o = {sign, 7'b0, rounded[23:0]};
      else float_o = {sign, carried[7:0], rounded[22:0]};
    end
    if (value_i == '0) float_o = '0;
  end

`ifndef SYNTHESIS
  `ASSERT_COMB(IsANumber, fp16_i ? float_o[15:0] == {sign, 15'h7c00} || float_o[14:10] != '1
                                 : float_o == {sign, 31'h7f80_0000} || float_o[30:23] != '1)
  `ASSERT_COMB(TopIsOne, normal[ValueBits-1] || value_i == '0)
`endif

endmodule
