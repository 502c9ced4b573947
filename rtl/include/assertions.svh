// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Assertions in the modules. `clk_i` and `rst_ni` are taken from where the macro stands.

`ifndef HWSIM_ASSERTIONS_SVH
`define HWSIM_ASSERTIONS_SVH

// A condition that holds at every clock edge outside reset.
`define ASSERT(Name, Condition) \
  Name : assert property (@(posedge clk_i) disable iff (!rst_ni) (Condition)) \
  else $error("%m: %s", `"Condition`");

// A parameter that is out of its range stops the elaboration.
`define ASSERT_PARAMETER(Name, Condition) \
  if (!(Condition)) begin : gen_``Name \
    $fatal(1, "parameter %s", `"Condition`"); \
  end

`endif  // HWSIM_ASSERTIONS_SVH
