// Copyright hwsim contributors.
// Licensed under the Apache License, Version 2.0, see LICENSE for details.
// SPDX-License-Identifier: Apache-2.0
//
// Bench of the baseline FMAs: streams the vectors of a file and compares every result.
//
// +vectors=<file> holds lines "a b c z" in hex, z the expected result; +gaps=1 puts gaps of valid
// between them. A result must come in order and exactly Latency cycles after its operands.

module fma_tb #(
  parameter bit Int8 = 1'b0,
  parameter bit InputRegisters = 1'b1
);

  localparam int Latency = InputRegisters ? 3 : 2;
  localparam int MaxPrinted = 10;

  logic        clk;
  logic        rst_n;
  logic        in_valid;
  logic [15:0] a, b, c;
  logic        out_valid;
  logic [15:0] z;

  if (Int8) begin : gen_int8
    fma_fp16_int8 #(
      .InputRegisters(InputRegisters)
    ) u_dut (
      .clk_i  (clk),
      .rst_ni (rst_n),
      .valid_i(in_valid),
      .a_i    (a),
      .w_i    (b[7:0]),
      .c_i    (c),
      .valid_o(out_valid),
      .z_o    (z)
    );
  end else begin : gen_fp16
    fma_fp16 #(
      .InputRegisters(InputRegisters)
    ) u_dut (
      .clk_i  (clk),
      .rst_ni (rst_n),
      .valid_i(in_valid),
      .a_i    (a),
      .b_i    (b),
      .c_i    (c),
      .valid_o(out_valid),
      .z_o    (z)
    );
  end

  // What went in: the newest in place 0; the oldest is what comes out now.
  logic        expect_valid[Latency];
  logic [63:0] expected[Latency];

  int          file;
  int          gaps;
  int          checked;
  int          mismatches;
  int          protocol_errors;
  logic [15:0] want;
  string       name;

  function automatic void check();
    if (out_valid !== expect_valid[Latency-1]) protocol_errors++;
    if (out_valid && expect_valid[Latency-1]) begin
      checked++;
      if (z !== expected[Latency-1][15:0]) begin
        mismatches++;
        if (mismatches <= MaxPrinted) begin
          $display("mismatch: a b c %h, expected %h, got %h", expected[Latency-1][63:16],
                   expected[Latency-1][15:0], z);
        end
      end
    end
  endfunction

  // One cycle: drive, clock, and check what stands at the output after the edge.
  task automatic cycle(input logic valid);
    in_valid = valid;
    for (int i = Latency - 1; i > 0; i--) begin
      expect_valid[i] = expect_valid[i-1];
      expected[i]     = expected[i-1];
    end
    expect_valid[0] = valid && rst_n;
    expected[0]     = {a, b, c, want};
    #1 clk = 1'b1;
    #1 check();
    clk = 1'b0;
  endtask

  initial begin
    clk      = 1'b0;
    rst_n    = 1'b0;
    in_valid = 1'b0;
    {a, b, c, want} = '0;
    gaps     = 0;
    if (!$value$plusargs("vectors=%s", name)) $fatal(1, "+vectors=<file> is missing");
    void'($value$plusargs("gaps=%d", gaps));
    file = $fopen(name, "r");
    if (file == 0) $fatal(1, "the file of vectors cannot be read");
    for (int i = 0; i < Latency; i++) expect_valid[i] = 1'b0;
    // Under reset an operand must leave no result; the first edges only settle the registers.
    repeat (Latency) cycle(1'b1);
    checked         = 0;
    mismatches      = 0;
    protocol_errors = 0;
    repeat (2) cycle(1'b1);
    rst_n = 1'b1;
    while ($fscanf(file, "%h %h %h %h", a, b, c, want) == 4) begin
      cycle(1'b1);
      while (gaps != 0 && $urandom_range(7) == 0) begin
        {a, b, c} = {$urandom, 16'($urandom)};
        cycle(1'b0);
      end
    end
    repeat (Latency) cycle(1'b0);
    $display("checked %0d mismatches %0d protocol_errors %0d", checked, mismatches,
             protocol_errors);
    $finish;
  end

endmodule
