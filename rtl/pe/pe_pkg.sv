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

  // What the PEs do in a clock with the sum of the clock before.
  typedef struct packed {
    logic       load;          // the accumulator goes to the column's chain
    logic [2:0] significance;  // of the step: its sum counts 2^significance
    logic       first;         // of a group: the accumulator counts as zero
    logic       accumulate;    // there is a step
  } step_control_t;

  // What the drain does in a clock: a digit of a product, or a whole product at rest.
  typedef struct packed {
    logic              enable;         // nothing moves without it
    logic              multiply;       // by this digit
    logic              start;          // it is the product's first
    logic              whole;          // the product is whole, and rests
    logic              row_end;        // it is the row's last
    logic              is_correction;  // of the sum of activations
    logic              is_factor;      // of a sum of products
    logic              negate;         // the correction
    logic [7:0]        digit;          // in the lowest DigitBits; 0 above
    logic signed [9:0] exponent;       // of the multiplier
  } drain_control_t;

  // What is the same for all products of the group that is drained.
  typedef struct packed {
    logic              first;  // of the groups that are added up
    logic              fp16;   // results are FP16, not FP32
    logic signed [5:0] unit;   // of the format: terms count 2^unit
  } group_control_t;

  parameter int unsigned MaxSignificance = 6;
  parameter int unsigned MaxGroup = 65536;  // weights of a group that exponents are made for

  function automatic int unsigned act_bits(activation_e format);
    unique case (format)
      ActFp16, ActBf16: return 16;
      default:          return 8;
    endcase
  endfunction

  // Width of the exponent that enters the PE; an integer's is the constant 1.
  function automatic int unsigned act_exponent_bits(activation_e format);
    unique case (format)
      ActFp16, ActFp8E5m2: return 5;
      ActBf16:             return 8;
      ActFp8E4m3:          return 4;
      default:             return 1;
    endcase
  endfunction

  // Width of the mantissa with its hidden bit; an integer's magnitude reaches 128.
  function automatic int unsigned act_mantissa_bits(activation_e format);
    unique case (format)
      ActFp16:    return 11;
      ActFp8E4m3: return 4;
      ActFp8E5m2: return 3;
      default:    return 8;
    endcase
  endfunction

  // The largest exponent of a finite word.
  function automatic int unsigned act_largest_exponent(activation_e format);
    unique case (format)
      ActFp16, ActFp8E5m2: return 30;
      ActBf16:             return 254;
      ActFp8E4m3:          return 15;
      default:             return 1;
    endcase
  endfunction

  // The exponent at which a mantissa of 1 has the value 1.
  function automatic int unsigned act_point(activation_e format);
    unique case (format)
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

  // Width of an accumulator's exponent: sums of MaxGroup weights fit, before floors; see max_steps.
  function automatic int unsigned accumulator_exponent_bits(
      activation_e format, int unsigned exponent_bits, int unsigned guard_bits, int unsigned lanes,
      int unsigned accumulator_bits);
    int unsigned blocks, widest, grown;
    blocks = unsigned'($clog2((MaxGroup + lanes - 1) / lanes + 1));
    widest = step_bits(format, guard_bits, lanes) + MaxSignificance + blocks + 3;
    grown  = (widest > accumulator_bits + 1) ? widest - accumulator_bits : 1;
    return unsigned'($clog2(act_largest_exponent(format) + (1 << exponent_bits) + grown));
  endfunction

  // Steps after which no accumulator's exponent can be too wide: those of the worst case, the
  // largest negative step again and again, that leave it within its width.
  function automatic longint unsigned max_steps(
      activation_e format, int unsigned exponent_bits, int unsigned guard_bits, int unsigned lanes,
      int unsigned accumulator_bits);
    longint unsigned largest, added, magnitude, steps, count;
    int unsigned limit, first, exponent, above, places;
    limit = (32'd1 << accumulator_exponent_bits(format, exponent_bits, guard_bits, lanes,
                                                accumulator_bits)) - 32'd1;
    first = act_largest_exponent(format) + (32'd1 << exponent_bits) - 32'd1;
    largest = (format == ActInt8) ? 64'd128 : (64'd1 << act_mantissa_bits(format)) - 64'd1;
    largest = (64'(lanes) * (largest << guard_bits)) << MaxSignificance;
    exponent = first;
    magnitude = 64'd0;
    count = 64'd0;
    while (exponent <= limit) begin
      // Each step adds the same at this exponent, floored away from zero, until it normalizes.
      above = (exponent - first > 32'd40) ? 32'd40 : exponent - first;
      added = (largest + (64'd1 << above) - 64'd1) >> above;
      steps = ((64'd1 << accumulator_bits) - magnitude + added - 64'd1) / added;
      magnitude = magnitude + steps * added;
      places = 32'd0;
      while ((magnitude >> (places + accumulator_bits)) != 64'd0) places = places + 32'd1;
      magnitude = (magnitude + (64'd1 << places) - 64'd1) >> places;
      exponent = exponent + places;
      count = count + steps;
    end
    return count - 64'd1;
  endfunction

endpackage
