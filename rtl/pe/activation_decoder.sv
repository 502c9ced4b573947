// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Activation decoder: a word as sign, exponent and mantissa.
//
// The value is (-1)^sign * mantissa * 2^(exponent - point). The hidden bit is added, subnormals
// have exponent 1, integers are split into sign and magnitude. Inf and NaN are flagged and become
// zero. Combinational.

`include "assertions.svh"

module activation_decoder
  import pe_pkg::*;
#(
  parameter activation_e Activation = ActFp16,

  localparam int unsigned Bits         = act_bits(Activation),
  localparam int unsigned ExponentBits = act_exponent_bits(Activation),
  localparam int unsigned MantissaBits = act_mantissa_bits(Activation)
) (
  input  logic [Bits-1:0]         word_i,
  output logic                    sign_o,
  output logic [ExponentBits-1:0] exponent_o,
  output logic [MantissaBits-1:0] mantissa_o,
  output logic                    nonzero_o,
  output logic                    nonfinite_o
);

  assign sign_o    = word_i[Bits-1];
  assign nonzero_o = |mantissa_o;

  if (Activation == ActInt8) begin : gen_integer
    assign exponent_o  = 1'b1;
    assign mantissa_o  = (word_i ^ {8{sign_o}}) + {7'b0, sign_o};
    assign nonfinite_o = 1'b0;
  end else begin : gen_float
    localparam int unsigned FractionBits = MantissaBits - 1;
    logic [ExponentBits-1:0] field;
    logic [FractionBits-1:0] fraction;
    logic                    normal;
    assign field    = word_i[Bits-2-:ExponentBits];
    assign fraction = word_i[FractionBits-1:0];
    assign normal   = |field;

    // E4M3 has NaN at the last code only; the others give the largest exponent to Inf and NaN.
    assign nonfinite_o = &field && (Activation != ActFp8E4m3 || &fraction);
    assign exponent_o  = field | {{(ExponentBits - 1) {1'b0}}, !normal};
    assign mantissa_o  = nonfinite_o ? '0 : {normal, fraction};
  end

`ifndef SYNTHESIS
  // An exponent of 0 stands for no product, see exponent_match.
  `ASSERT_COMB(ExponentIsNotZero, exponent_o != '0)
  `ASSERT_COMB(NonfiniteIsZero, !(nonfinite_o && nonzero_o))
`endif

endmodule
