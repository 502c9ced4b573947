// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Assertions in the modules, for simulation only: where they stand, SYNTHESIS is not defined.

`ifndef HWSIM_ASSERTIONS_SVH
`define HWSIM_ASSERTIONS_SVH

// A condition that holds at every clock edge outside reset.
`define ASSERT(Name, Condition, Clock = clk_i, ResetN = rst_ni) \
  Name : assert property (@(posedge Clock) disable iff (!ResetN) (Condition)) \
  else $error("%m: %s", `"Condition`");

// A condition that holds for all inputs, so that it needs neither clock nor reset.
`define ASSERT_COMB(Name, Condition) \
  always_comb begin \
    Name : assert final (Condition) \
    else $error("%m: %s", `"Condition`"); \
  end

// A parameter that is out of its range stops the elaboration.
`define ASSERT_PARAMETER(Name, Condition) \
  if (!(Condition)) begin : gen_``Name \
    $fatal(1, "parameter %s", `"Condition`"); \
  end

`endif  // HWSIM_ASSERTIONS_SVH
