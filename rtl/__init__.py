"""The Verilog of the accelerator, and the tools around it."""
