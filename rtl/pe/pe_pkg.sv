// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Widths of the processing element as functions of its parameters: hwsim.pe.arithmetic in Verilog.

package pe_pkg;

  // Formats of activations, hwsim.pe.activations.
  typedef enum logic [2:0] {
    ActFp16    = 3'd0,
    ActBf16    = 3'd1,
    ActFp8E4m3 = 3'd2,
    ActFp8E5m2 = 3'd3,
    ActInt8    = 3'd4
  } activation_e;

  // Kinds of group scales: unsigned 8 bits under a row's factor, powers of two, FP8 E4M3.
  typedef enum logic [1:0] {
    ScaleInt8 = 2'd0,
    ScaleE8m0 = 2'd1,
    ScaleE4m3 = 2'd2
  } scale_e;

  parameter int unsigned MaxSignificance = 6;
  parameter int unsigned MaxGroup = 65536;  // weights of a group that exponents are made for

  function automatic int unsigned act_bits(activation_e format);
    case (format)
      ActFp16, ActBf16: return 16;
      default:          return 8;
    endcase
  endfunction

  // Width of the exponent that enters the PE; an integer's is the constant 1.
  function automatic int unsigned act_exponent_bits(activation_e format);
    case (format)
      ActFp16, ActFp8E5m2: return 5;
      ActBf16:             return 8;
      ActFp8E4m3:          return 4;
      default:             return 1;
    endcase
  endfunction

  // Width of the mantissa with its hidden bit; an integer's magnitude reaches 128.
  function automatic int unsigned act_mantissa_bits(activation_e format);
    case (format)
      ActFp16:    return 11;
      ActFp8E4m3: return 4;
      ActFp8E5m2: return 3;
      default:    return 8;
    endcase
  endfunction

  // The largest exponent of a finite word.
  function automatic int unsigned act_largest_exponent(activation_e format);
    case (format)
      ActFp16, ActFp8E5m2: return 30;
      ActBf16:             return 254;
      ActFp8E4m3:          return 15;
      default:             return 1;
    endcase
  endfunction

  // The exponent at which a mantissa of 1 has the value 1.
  function automatic int unsigned act_point(activation_e format);
    case (format)
      ActFp16:    return 25;
      ActBf16:    return 134;
      ActFp8E4m3: return 10;
      ActFp8E5m2: return 17;
      default:    return 1;
    endcase
  endfunction

  // Width of the exponent of a product: activation and term together.
  function automatic int unsigned product_exponent_bits(activation_e format,
                                                        int unsigned exponent_bits);
    return unsigned'($clog2(act_largest_exponent(format) + (1 << exponent_bits)));
  endfunction

  // Magnitude bits of a product with its guard bits.
  function automatic int unsigned product_bits(activation_e format, int unsigned guard_bits);
    return act_mantissa_bits(format) + guard_bits;
  endfunction

  // Magnitude bits of a step's sum, before its significance.
  function automatic int unsigned step_bits(activation_e format, int unsigned guard_bits,
                                            int unsigned lanes);
    return product_bits(format, guard_bits) + unsigned'($clog2(lanes));
  endfunction

  // Width of an accumulator's exponent: it cannot overflow in a group of MaxGroup weights.
  function automatic int unsigned accumulator_exponent_bits(
      activation_e format, int unsigned exponent_bits, int unsigned guard_bits, int unsigned lanes,
      int unsigned accumulator_bits);
    int unsigned blocks, widest, grown;
    blocks = unsigned'($clog2((MaxGroup + lanes - 1) / lanes + 1));
    widest = step_bits(format, guard_bits, lanes) + MaxSignificance + blocks + 3;
    grown  = (widest > accumulator_bits + 1) ? widest - accumulator_bits : 1;
    return unsigned'($clog2(act_largest_exponent(format) + (1 << exponent_bits) + grown));
  endfunction

endpackage
