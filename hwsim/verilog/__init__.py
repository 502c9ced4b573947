"""What the Verilog takes from Python: tables, synthesis."""
